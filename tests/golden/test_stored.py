"""Files that earlier versions stored still load, and render to the same words.

``stored/`` holds one file of every schema that was ever written, by the versions that wrote them, and beside each the
words that it renders to. ``python tests/golden/test_stored.py`` writes the words anew, for a change that means to.
"""

from __future__ import annotations

import json
import re
import tempfile
import tomllib
from pathlib import Path

import pytest
from lxml import html

import audit
import reports
from audit.certificates.certification import Certification
from audit.certificates.shares import CertificationShares
from audit.certificates.stream_rows import StreamCertification
from audit.commands.plan_file.reading import read_plan
from audit.models.following.deletion import STATE_SCHEMA, ModelsStream
from audit.power.forecasts import Forecast
from audit.records import json_text
from audit.records.filing.manifest import Manifest
from audit.regression.comparison import Comparison
from audit.running.shards.origin import Origin
from audit.running.shared_noise import SameRandomness
from audit.selftest.result import SelftestResult
from audit.selftest.wild.result import WildResult
from reports.audits.terminal import summary
from reports.certificates.shares import shares_summary, write_shares
from reports.certificates.streams import stream_summary, write_stream_certification
from reports.certificates.writing import certification_summary, write_certification
from reports.comparisons.summary import comparison_markdown, comparison_summary
from reports.forecasts.summary import forecast_summary
from reports.randomness.summary import randomness_summary
from reports.selftests.summary import selftest_markdown, selftest_summary
from reports.wild.writing import wild_summary, write_wild

pytestmark = pytest.mark.pictures

STORED = Path(__file__).parent / "stored"
FILES = sorted(STORED.glob("*.json"))


def visible(page: Path) -> str:
    """Return the words of a page, without styles and pictures' paths."""
    tree = html.fromstring(page.read_bytes())
    for element in tree.xpath("//style | //script | //metadata | //defs"):
        element.drop_tree()
    words = (re.sub(r"\s+", " ", text).strip() for text in tree.itertext() if isinstance(text, str))
    return "\n".join(word for word in words if word)


def rendered(text: str) -> dict[str, str]:
    """Return what a stored text says in every format that it can be rendered to."""
    kind = json.loads(text)["schema"].split("/")[1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if kind in ("result", "collection"):
            value = audit.load_json(text)
            reports.write(value, folder, ("html", "md", "junit", "csv"))
            words = {"terminal": summary(value), "print": f"{value}\n", "repr": f"{value!r}\n"}
        elif kind == "certification":
            certificates = Certification.from_json(text)
            write_certification(certificates, folder, ("html", "md", "csv"))
            words = {"terminal": certification_summary(certificates)}
        elif kind == "comparison":
            comparison = Comparison.from_json(text)
            words = {"terminal": comparison_summary(comparison), "md": comparison_markdown(comparison)}
        elif kind == "randomness":
            shown = SameRandomness.from_json(text)
            words = {"terminal": randomness_summary(shown), "print": f"{shown}\n", "repr": f"{shown!r}\n"}
        elif kind == "lots":
            by_lot = audit.LotsResult.from_json(text)
            reports.write_lots(by_lot, folder, ("html", "md", "junit"))
            words = {"terminal": reports.lots_summary(by_lot), "repr": f"{by_lot!r}\n"}
        elif kind == "models":
            of_models = audit.ModelsResult.from_json(text)
            reports.write_models(of_models, folder, ("html", "md", "junit"))
            words = {"terminal": reports.models_summary(of_models), "repr": f"{of_models!r}\n"}
        elif kind == "measure":
            measured = audit.MeasureResult.from_json(text)
            reports.write_measures(measured, folder, ("html", "md"))
            words = {
                "terminal": reports.measures_summary(measured),
                "print": f"{measured}\n",
                "repr": f"{measured!r}\n",
            }
        elif kind == "manifest":
            files = Manifest.from_json(text)
            words = {"json": files.to_json()}
        elif kind == "following":
            words = {"json": json_text.dump(json_text.load(text, ModelsStream, schemas=(STATE_SCHEMA,)))}
        elif kind == "origin":
            words = {"json": Origin.from_json(text).to_json()}
        elif kind == "stream":
            releases = StreamCertification.from_json(text)
            write_stream_certification(releases, folder)
            words = {"terminal": stream_summary(releases), "redacted": stream_summary(releases.without_records())}
        elif kind == "shares":
            shares = CertificationShares.from_json(text)
            write_shares(shares, folder)
            words = {"terminal": shares_summary(shares)}
        elif kind == "wild":
            table = WildResult.from_json(text)
            write_wild(table, folder)
            words = {"terminal": wild_summary(table, ())}
        elif kind == "forecast":
            words = {"terminal": forecast_summary(Forecast.from_json(text))}
        else:
            result = SelftestResult.from_json(text)
            words = {"terminal": selftest_summary(result), "md": selftest_markdown(result)}
        for path in sorted(folder.iterdir()):
            if path.is_file():
                words[path.suffix] = visible(path) if path.suffix == ".html" else path.read_text("utf-8")
    return words


def joined(words: dict[str, str]) -> str:
    return "".join(f"======== {name}\n{text}" for name, text in words.items())


def test_every_published_schema_has_a_stored_file() -> None:
    published = {path.stem for path in (Path(reports.__file__).parent / "schema").glob("*.json")}
    stored = {json.loads(path.read_text("utf-8"))["schema"] for path in FILES}
    assert len(published) == 16
    assert {f"unlearn-audit/{name.replace('-', '/')}" for name in published} == stored


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_stored_file_renders_to_the_same_words(path: Path) -> None:
    words = joined(rendered(path.read_text("utf-8")))
    expected = path.with_suffix(".txt").read_text("utf-8")
    assert words.splitlines() == expected.splitlines()


def test_stored_plan_still_means_the_same() -> None:
    path = STORED / "plan-1.toml"
    resolved = read_plan(path)
    assert tomllib.loads(path.read_text("utf-8"))["schema"] == "unlearn-audit/plan/1"
    assert resolved.plan.trials == 600
    assert [attack.name for attack in resolved.plan.attacks] == ["likelihood_ratio", "target_loss"]
    assert resolved.plan.forget == ((291,),)


if __name__ == "__main__":
    for stored in FILES:
        stored.with_suffix(".txt").write_text(joined(rendered(stored.read_text("utf-8"))), encoding="utf-8")
