"""The page of an audit of existing models: formats agree, names are data, and redaction withholds records."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from lxml import etree

import audit
import reports
from audit.records.models import ModelsResult
from mechanisms import Claim, EpsilonDelta
from reports.page import schemas
from tests.unit.page_checks import check_html

# What is drawn of odd numbers and names is looked at too.
pytestmark = pytest.mark.pictures

CLAIM = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5))
HOSTILE = "<script>alert(1)</script>\x1b[31m"


def one_deletion(gap: float) -> ModelsResult:
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((200, 6))
    rows[:100] += gap
    names = [HOSTILE, *(f"person {i}" for i in range(1, 6))]
    return audit.from_models(rows[:100], rows[100:], claim=CLAIM, kind="scores", records=names, details=3)


def per_record(gap: float) -> ModelsResult:
    drawn = audit.assign_status(records=8, models=200, seed=1)
    rows = np.random.default_rng(2).standard_normal((200, 8)) + gap * (drawn.status == 1)
    names = [HOSTILE, *(f"person {i}" for i in range(1, 8))]
    return audit.from_status(rows, drawn.status, drawn.kinds, claim=CLAIM, kind="scores", records=names, details=8)


RESULTS = {
    "one, refuted": one_deletion(2.0),
    "one, not": one_deletion(0.0),
    "each, refuted": per_record(4.0),
    "each, not": per_record(0.0),
}


@pytest.fixture(autouse=True)
def no_report_of_the_joint_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an audit's, with tests of its own, and takes most of the time."""
    monkeypatch.setattr("reports.models.writing.write", lambda *_, **__: ())


@pytest.mark.parametrize("name", RESULTS)
def test_all_formats_say_the_same_verdict(name: str, tmp_path: Path) -> None:
    result = RESULTS[name]
    assert (result.verdict.value == "refuted") == name.endswith(", refuted")
    paths = reports.write_models(result, tmp_path, ("html", "json", "csv", "md", "junit"))
    assert {path.name for path in paths} >= {"models.html", "models.json", "models.csv", "models.md", "models.xml"}
    words = result.verdict.value.upper().replace("_", " ")
    assert words in (tmp_path / "models.md").read_text()
    assert words in (tmp_path / "models.html").read_text()
    assert words in reports.models_summary(result)
    assert words in str(result)
    suite = etree.parse(tmp_path / "models.xml").getroot()[0]
    assert (suite.get("failures") != "0") == (result.verdict.value == "refuted")
    stored = json.loads((tmp_path / "models.json").read_text())
    assert stored["verdict"] == result.verdict.value
    jsonschema.validate(stored, json.loads((schemas.FOLDER / "models-1.json").read_text()))
    assert ModelsResult.from_json((tmp_path / "models.json").read_text()) == result


@pytest.mark.parametrize("name", RESULTS)
def test_the_page_is_whole_and_names_are_data(name: str, tmp_path: Path) -> None:
    reports.write_models(RESULTS[name], tmp_path)
    text = (tmp_path / "models.html").read_text()
    # Beside it lie the data, and the report of the joint test.
    check_html(re.sub(r'href="(models.csv|joint/report.html)"', "", text))
    assert "<script" not in text
    assert "<svg" in text
    for shown in (reports.models_summary(RESULTS[name]), (tmp_path / "models.md").read_text(), str(RESULTS[name])):
        assert "\x1b" not in shown


def test_every_record_is_in_the_csv_file(tmp_path: Path) -> None:
    result = RESULTS["each, refuted"]
    reports.write_models(result, tmp_path, ("csv",))
    lines = (tmp_path / "models.csv").read_text().splitlines()
    assert lines[0] == "record,auc,auc_se,p_value,log_e_value,n_unlearned,n_retrained,refuted,listed"
    assert len(lines) == 9
    assert result.records is not None
    assert float(lines[2].split(",")[3]) == result.records.p_values[1]
    assert sum(int(line.rsplit(",", 2)[1]) for line in lines[1:]) == len(result.refuted) > 0


@pytest.mark.parametrize("name", RESULTS)
def test_redaction_withholds_names_and_numbers_of_single_records(name: str, tmp_path: Path) -> None:
    result = RESULTS[name]
    reports.write_models(result, tmp_path)
    assert (tmp_path / "models.csv").exists()
    reports.write_models(result, tmp_path, ("html", "json", "csv", "md", "junit"), redact=True)
    # What lay there from before would tell what the page withholds.
    assert not (tmp_path / "models.csv").exists()
    hidden = reports.redact_models(result)
    assert hidden.verdict is result.verdict
    assert len(hidden.refuted) == len(result.refuted)
    assert hidden.records is None
    assert reports.redact_models(hidden) == hidden
    assert ModelsResult.from_json(hidden.to_json()) == hidden
    assert result.records is not None
    telling = [
        "person",
        *(repr(value) for value in (*result.records.auc, *result.records.p_values) if value not in (0, 1)),
    ]
    for path in tmp_path.rglob("*.*"):
        text = path.read_text()
        assert not [word for word in telling if word in text], path


def test_a_result_of_another_kind_or_of_impossible_numbers_is_refused() -> None:
    text = RESULTS["each, not"].to_json()
    with pytest.raises(audit.errors.SchemaError, match="unlearn-audit/models/1"):
        ModelsResult.from_json(text.replace("unlearn-audit/models/1", "unlearn-audit/result/1"))
    raw = json.loads(text)
    raw["records"]["p_values"][0] = 1.5
    with pytest.raises(audit.errors.SchemaError, match=r"p_values\[0\]"):
        ModelsResult.from_json(json.dumps(raw))
    raw["records"]["p_values"] = [0.5]
    with pytest.raises(audit.errors.SchemaError, match="records"):
        ModelsResult.from_json(json.dumps(raw))
