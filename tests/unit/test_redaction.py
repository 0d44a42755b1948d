"""Redaction: nothing of a single record is left in any format, and what is left is true and says why."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reports
from audit.records.result import AuditCollection, AuditResult, read_json
from audit.records.verdict import Verdict
from mechanisms.claim import Claim, GaussianDP
from reports.audits import terminal
from reports.audits.view import page
from reports.page.numbers import up
from reports.redaction import LEAST, redact
from tests.unit.report_cases import finding, make_collection, profile_claim, result

pytestmark = pytest.mark.pictures


@functools.cache
def audit_of(n: int, *, provenance: Any = "exact", refuted: tuple[int, ...] = ()) -> AuditResult:
    """An audit of records 9001, 9002, ..., each with an epsilon and noise of its own."""
    made = []
    for i in range(n):
        mu = 0.1 + 0.0137 * i
        claim = profile_claim(mu) if provenance == "exact" else Claim(guarantee=GaussianDP(mu=0.4))
        verdict = Verdict.REFUTED if i in refuted else Verdict.NOT_REFUTED
        made.append(finding(claim, 9001 + i, f"zebra{i}", shown=mu, true=mu, verdict=verdict))
    return result("Deleting record 9001", tuple(made))


def redacted(value: AuditResult) -> AuditResult:
    found = redact(value)
    assert isinstance(found, AuditResult)
    return found


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for item in value.values():
            yield from numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, float):
        yield value


def test_no_number_of_a_record_is_left(tmp_path: Path) -> None:
    full = audit_of(4, refuted=(2,))
    secret = {round(x, 12) for f in json.loads(full.to_json())["findings"] for x in numbers(f)}
    # What is the same for every record, and is kept.
    secret -= {0.0, 1.0, *(round(f.level, 12) for f in full.findings), full.plan.delta, full.plan.significance}
    secret -= {round(full.findings[0].sandwiches[0].ceiling, 12), 0.4567, 0.00025}
    left = {round(x, 12) for x in numbers(json.loads(redacted(full).to_json()))}
    assert len(secret) > 500
    assert left & secret == set()


@pytest.mark.parametrize("formats", [("html",), ("json",), ("md",), ("csv", "html"), ("junit",)])
def test_no_name_of_a_record_is_left_in_any_format(tmp_path: Path, formats: tuple[str, ...]) -> None:
    full = audit_of(3)
    collection = dataclasses.replace(make_collection(), results=(full,))
    for value in (full, collection):
        for path in reports.write(value, tmp_path, formats, redact=True):
            text = path.read_text(encoding="utf-8")
            for word in (
                "900",
                "zebra",
                "hardest",
                "Three records",
                "certificate costs",
                "plan.toml",
                "data:image/png",
            ):
                assert word not in re.sub(r"[0-9a-f]{64}", "", text), (path, word)
    assert "900" not in terminal.summary(redacted(full))
    assert "9001" in terminal.summary(full)


def test_why_is_said_and_how_to_repeat_it(tmp_path: Path) -> None:
    for path in reports.write(audit_of(3), tmp_path, ("html", "md"), redact=True):
        text = path.read_text(encoding="utf-8").replace("\\", "")
        assert "computed from that very record" in text
        assert "it does not anonymise" in text
        assert "This page is sensitive." not in text
        assert "Which records these are is withheld." in text
        assert "seed 7" in text
        assert "9f" * 32 in text
        assert "the full report, which names the records and the command" in text


def test_verdicts_stay_and_order_tells_nothing() -> None:
    full = audit_of(5, refuted=(3,))
    found = redacted(full)
    assert found.verdict is Verdict.REFUTED
    assert sorted(f.verdict.value for f in found.findings) == sorted(f.verdict.value for f in full.findings)
    turned = dataclasses.replace(
        full,
        findings=full.findings[::-1],
        plan=dataclasses.replace(full.plan, forget=full.plan.forget[::-1], labels=full.plan.labels[::-1]),
        controls=tuple(sorted(full.controls, key=lambda control: control.forget, reverse=True)),
        family=dataclasses.replace(full.family, members=full.family.members[::-1]),
    )
    again = redacted(turned)
    assert again.findings == found.findings
    assert again.controls == found.controls
    assert set(again.family.members) == set(found.family.members)
    assert [f.forget for f in found.findings] == [(-1,), (-2,), (-3,), (-4,), (-5,)]


def test_averages_need_many_deletions() -> None:
    few, many = redacted(audit_of(LEAST - 1)), redacted(audit_of(LEAST))
    assert few.redaction is not None
    assert many.redaction is not None
    assert few.redaction.averages == ()
    (average,) = many.redaction.averages
    full = audit_of(LEAST)
    rows = [next(s for s in f.sandwiches if s.role == "plan_delta") for f in full.findings]
    assert average.n_deletions == LEAST
    assert average.claimed == pytest.approx(np.mean([s.claimed for s in rows]))
    assert average.exact == pytest.approx(np.mean([s.exact for s in rows if s.exact is not None]))
    assert average.bound == pytest.approx(np.mean([s.bound.value for s in rows]))
    (table,) = [audit.averages for audit in page(many).audits]
    assert table is not None
    assert len(table.rows) == 1
    assert "on the average over 5 deletions" in page(many).audits[0].findings[0].strength


def test_a_users_claim_is_kept_with_what_could_have_been_seen() -> None:
    full, found = audit_of(3, provenance="user"), redacted(audit_of(3, provenance="user"))
    assert [f.claim for f in found.findings] == [f.claim for f in full.findings]
    assert found.redaction is not None
    assert found.redaction.detectable[0] == full.findings[0].sandwiches[1].detectable_epsilon
    view = page(found).audits[0].findings[0]
    assert "Gaussian differential privacy with μ ≤ 0.4" in view.claim
    assert f"probability 0.8 is {up(found.redaction.detectable[0] or 0)} " in view.strength
    hidden = page(redacted(audit_of(3))).audits[0].findings[0]
    assert "withheld" in hidden.claim
    assert "withheld" in hidden.strength


def test_a_withheld_claim_promises_nothing() -> None:
    for f in redacted(audit_of(2)).findings:
        assert all(math.isinf(p.epsilon) for way in f.claim.directions for p in f.claim.points(way))
        assert f.p_value == 1.0


def test_redacted_results_survive_the_json_and_a_second_redaction(tmp_path: Path) -> None:
    collection = redact(make_collection())
    assert isinstance(collection, AuditCollection)
    again = read_json(collection.to_json())
    assert again == collection
    assert redact(again) == collection
    assert collection.tables == ()
    for name, value in (("html", 1), ("md", slice(None))):
        first = reports.write(collection.results[value], tmp_path / "a", (name,))[0].read_bytes()
        assert reports.write(again.results[value], tmp_path / "b", (name,))[0].read_bytes() == first


@pytest.mark.slow
def test_data_of_an_earlier_report_do_not_stay_beside_a_redacted_one(tmp_path: Path) -> None:
    reports.write(audit_of(2), tmp_path)
    assert len(list((tmp_path / "report-data").iterdir())) == 4
    (tmp_path / "report-data" / "mine.txt").write_text("mine")
    reports.write(audit_of(2), tmp_path, redact=True)
    assert [path.name for path in (tmp_path / "report-data").iterdir()] == ["mine.txt"]
    assert "report-data" not in (tmp_path / "report.html").read_text(encoding="utf-8")
