"""The published JSON schemas: up to date, and every file that is written is valid under them."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import audit
import reports
from attacks.linear.discriminant import LinearDiscriminant
from audit.certificates.certifying import certify, make_request
from audit.plan.audit_plan import AuditPlan
from audit.records.result import AuditCollection
from audit.running.forecast_plan import forecast
from mechanisms.ridge.langevin import RidgeLangevin
from mechanisms.sources import load_named
from reports.certificates.writing import write_certification
from reports.page import schemas
from tests.unit.report_cases import point_claim, promising_nothing, result

ROOT = Path(reports.__file__).parents[1]


@functools.cache
def validator(name: str) -> jsonschema.Draft202012Validator:
    schema = json.loads((schemas.FOLDER / name).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_published_schemas_are_those_of_the_dataclasses(tmp_path: Path) -> None:
    made = schemas.schemas()
    assert {path.name for path in schemas.FOLDER.iterdir()} == set(made)
    for name, text in made.items():
        published = json.loads((schemas.FOLDER / name).read_text(encoding="utf-8"))
        assert published == json.loads(text), "run python -m reports.page.schemas"
    assert [path.name for path in schemas.write_schemas(tmp_path / "new")] == list(made)


def test_everything_that_is_written_has_a_schema() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "audit").rglob("*.py")]
    kinds = {name for text in sources for name in re.findall(r'Literal\["unlearn-audit/([a-z]+/\d+)"\] = ', text)}
    published = {name.removesuffix(".json").replace("-", "/") for name in schemas.KINDS}
    assert kinds == published  # a plan is read, and never written


@pytest.mark.parametrize("redact", [False, True])
def test_written_results_are_valid(collection: AuditCollection, tmp_path: Path, redact: bool) -> None:
    for value, name in (
        (dataclasses.replace(collection, results=collection.results[2:]), "collection-1.json"),
        *((made, "result-1.json") for made in collection.results),
        (result("One", (promising_nothing(),)), "result-1.json"),
    ):
        (path,) = reports.write(value, tmp_path, formats=("json",), redact=redact)
        validator(name).validate(json.loads(path.read_text(encoding="utf-8")))


def test_written_certificates_comparisons_and_forecasts_are_valid(tmp_path: Path) -> None:
    data, mechanism = load_named("digits", rows=40), RidgeLangevin(n_learn=6, n_unlearn=3, sigma_unlearn=0.01)
    certification = certify(mechanism, data, make_request(records="3", routes="exact", target=None))
    (path,) = write_certification(certification, tmp_path, formats=("json",))
    validator("certification-1.json").validate(json.loads(path.read_text(encoding="utf-8")))
    plan = AuditPlan(
        claims=(point_claim(1.0, 1e-5),), forget=((3,),), attacks=(LinearDiscriminant(),), trials=60, seed=1
    )
    compared = audit.compare(certification, certification)
    validator("comparison-1.json").validate(json.loads(compared.to_json()))
    audited = audit.run(mechanism, data, plan)
    rates = audit.compare(audited, audited)
    validator("comparison-1.json").validate(json.loads(rates.to_json()))
    made = forecast(mechanism, data, plan)
    validator("forecast-1.json").validate(json.loads(made.to_json()))


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value where an object lies."""
    if isinstance(value, dict):
        return [path, *(p for key, item in value.items() for p in paths(item, (*path, key)))]
    if isinstance(value, list) and value:
        return paths(value[0], (*path, 0))
    return []


def test_the_schema_notices_what_does_not_belong(collection: AuditCollection) -> None:
    check, free = validator("result-1.json"), {"failures", "parameters", "libraries", "log_deltas"}
    # Every finding has the same places.
    stored = json.loads(
        dataclasses.replace(collection.results[0], findings=collection.results[0].findings[:1]).to_json()
    )
    places = [path for path in paths(stored) if not free & set(path)]
    assert len(places) > 20
    for path in places:
        spoiled = json.loads(json.dumps(stored))
        place = spoiled
        for key in path:
            place = place[key]
        place["unheard_of"] = 1
        assert not check.is_valid(spoiled), path
    for path, wrong in ((("title",), 3), (("plan", "seed"), "seven"), (("schema",), "unlearn-audit/result/2")):
        spoiled = json.loads(json.dumps(stored))
        place = spoiled
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = wrong
        assert not check.is_valid(spoiled), path


def test_older_results_are_valid_too(collection: AuditCollection) -> None:
    stored = json.loads(collection.results[0].to_json())
    del stored["redaction"]
    for finding in stored["findings"]:
        del finding["histograms"]
    validator("result-1.json").validate(stored)
