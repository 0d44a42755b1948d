"""The JSON schemas of what this package writes, made from the dataclasses themselves.

``python -m reports.page.schemas`` writes them to ``reports/schema/`` anew; a test fails when they have drifted.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from audit.certificates.certification import Certification
from audit.certificates.shares import CertificationShares
from audit.certificates.stream_rows import StreamCertification
from audit.lots.result import LotsResult
from audit.models.following.deletion import ModelsStream
from audit.power.forecasts import Forecast
from audit.records.filing.manifest import Manifest
from audit.records.measures import MeasureResult
from audit.records.models import ModelsResult
from audit.records.result import AuditCollection, AuditResult
from audit.regression.comparison import Comparison
from audit.running.shards.origin import Origin
from audit.running.shared_noise import SameRandomness
from audit.selftest.result import SelftestResult
from audit.selftest.wild.result import WildResult

FOLDER = Path(__file__).parents[1] / "schema"
KINDS: dict[str, tuple[Any, str]] = {
    "result-1.json": (AuditResult, "What one audit found (unlearn-audit/result/1)"),
    "collection-1.json": (AuditCollection, "Several audits on one page (unlearn-audit/collection/1)"),
    "certification-1.json": (Certification, "Certificates of many records (unlearn-audit/certification/1)"),
    "comparison-1.json": (Comparison, "A calibration against its baseline (unlearn-audit/comparison/1)"),
    "following-1.json": (ModelsStream, "Which models were counted so far (unlearn-audit/following/1)"),
    "forecast-1.json": (Forecast, "What an audit could show (unlearn-audit/forecast/1)"),
    "lots-1.json": (LotsResult, "An audit of deletions drawn by lot (unlearn-audit/lots/1)"),
    "manifest-1.json": (Manifest, "The files of a folder by their digests (unlearn-audit/manifest/1)"),
    "measure-1.json": (MeasureResult, "What was measured where nothing is claimed (unlearn-audit/measure/1)"),
    "models-1.json": (ModelsResult, "Many records by models that exist already (unlearn-audit/models/1)"),
    "origin-1.json": (Origin, "Where and from which plan a shard was drawn (unlearn-audit/origin/1)"),
    "randomness-1.json": (SameRandomness, "Both worlds from the same random numbers (unlearn-audit/randomness/1)"),
    "selftest-1.json": (SelftestResult, "Which seeded faults an audit finds (unlearn-audit/selftest/1)"),
    "shares-1.json": (CertificationShares, "Certificates of many records without any of them (unlearn-audit/shares/1)"),
    "stream-1.json": (StreamCertification, "Certificates of a stream of requests (unlearn-audit/stream/1)"),
    "wild-1.json": (WildResult, "Published mechanisms and their corrected twins (unlearn-audit/wild/1)"),
}
DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _WithInfinity(GenerateJsonSchema):
    """JSON has no infinity: a number that may be one is written as a word."""

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchemaValue:
        return {"anyOf": [super().float_schema(schema), {"enum": ["Infinity", "-Infinity", "NaN"]}]}


def schemas() -> dict[str, str]:
    """Return the text of each schema by file name.

    Fields that were added later have defaults and are not required, so that older files are valid too.
    """
    return {name: _text(kind, title) for name, (kind, title) in KINDS.items()}


def write_schemas(folder: str | Path = FOLDER) -> tuple[Path, ...]:
    """Write the schemas; return their paths."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    for name, text in schemas().items():
        (target / name).write_text(text, encoding="utf-8", newline="\n")
    return tuple(target / name for name in KINDS)


def _text(kind: Any, title: str) -> str:
    made = TypeAdapter(kind).json_schema(schema_generator=_WithInfinity, mode="validation")
    return json.dumps({"$schema": DIALECT, **_shortened(made), "title": title}, indent=1, sort_keys=True) + "\n"


def _shortened(value: Any) -> Any:
    """Return a schema in which every description is the first line of its docstring."""
    if isinstance(value, list):
        return [_shortened(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: item.split("\n\n")[0].replace("\n", " ")
        if key == "description" and isinstance(item, str)
        else _shortened(item)
        for key, item in value.items()
    }


if __name__ == "__main__":
    for path in write_schemas():
        print(path)
