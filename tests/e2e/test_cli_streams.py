"""``certify`` and ``calibrate`` with a plan that names a stream of requests."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from audit.certificates import stream_certifying
from audit.certificates.stream_rows import StreamCertification
from audit.commands.plan_file.reading import read_plan
from mechanisms.serving.streams import RequestStream
from tests.unit.page_checks import html_text

from .command_line import run

PLAN = """
schema = "unlearn-audit/plan/1"
trials = 200
[data]
name = "digits"
rows = 60
[mechanism]
name = "ridge_langevin"
n_learn = 10
n_unlearn = 3
sigma_learn = 0.01
sigma_unlearn = 0.05
[records]
stream = [[29], [], [17, 3]]
[[claims]]
kind = "profile"
from = "exact"
"""


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.toml"
    path.write_text(PLAN)
    return path


def test_certify_prints_epsilon_after_each_request(plan: Path, tmp_path: Path) -> None:
    done = run("certify", plan, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    certified = StreamCertification.from_json((tmp_path / "out" / "stream.json").read_text())
    resolved = read_plan(plan)
    assert isinstance(resolved.mechanism, RequestStream)
    stated = [
        resolved.mechanism.bind(resolved.data, gone).certificates()[0].epsilon
        for gone in resolved.mechanism.forget_sets()
    ]
    assert [row.epsilon for row in certified.rows] == pytest.approx([stated[0], stated[0], stated[1]], rel=1e-9)
    assert [row.records for row in certified.rows] == [(29,), (), (17, 3)]
    assert "17, 3" in done.stdout
    assert "release after that request alone" in done.stdout


@pytest.mark.slow
def test_calibrate_goes_on_where_it_was_stopped(plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("calibrate", plan, "--epsilon", "0.5", "--out", tmp_path / "out")
    calls, calibrate = [], stream_certifying.calibrated_phases

    def stopped(setup, requests, **options):  # type: ignore[no-untyped-def]
        calls.append(requests)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return calibrate(setup, requests, **options)

    monkeypatch.setattr(stream_certifying, "calibrated_phases", stopped)
    assert run(*arguments).returncode == 130
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    assert "Going on: 2 of 3 releases are stored" in done.stderr
    # The first request was not calibrated again.
    assert calls == [[(29,)], [(17, 3)], [(17, 3)]]
    rows = json.loads((tmp_path / "out" / "stream.json").read_text())["rows"]
    assert [row["meets_target"] for row in rows] == [True, True, True]
    alone = run("calibrate", plan, "--epsilon", "0.5", "--json")
    assert json.loads(alone.stdout)["rows"] == rows


def test_what_was_deleted_is_withheld(plan: Path, tmp_path: Path) -> None:
    done = run("certify", plan, "--out", tmp_path / "out", "--redact")
    assert done.returncode == 0, done.stderr
    for path in (tmp_path / "out").iterdir():
        assert path.suffix in (".json", ".md", ".csv", ".html")
        rows = json.loads(path.read_text())["rows"] if path.suffix == ".json" else []
        assert all(row["records"] == [] and row["epsilon"] is None and row["sigma_unlearn"] is None for row in rows)
        if path.suffix != ".json":
            shown = html_text(path.read_text()) if path.suffix == ".html" else path.read_text()
            assert not re.search(r"(?<![\d.:])17(?![\d.:])", shown), path
    assert "17, 3" not in done.stdout


def test_what_does_not_go_with_a_stream_is_refused(plan: Path) -> None:
    assert "--records" in run("certify", plan, "--records", "3").stderr
