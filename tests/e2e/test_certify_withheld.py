"""``certify`` and ``calibrate`` with ``--redact``: what is left on disk and on the terminal names no record."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from audit.certificates.certification import Certification
from audit.certificates.keeping import KeptRoutes
from audit.certificates.shares import FEWEST, CertificationShares
from tests.e2e.command_line import run

PLAN = """
schema = "unlearn-audit/plan/1"
[data]
name = "{data}"
rows = 60
[mechanism]
{mechanism}
[records]
forget = [[3]]
[[claims]]
kind = "epsilon_delta"
epsilon = 1.0
delta = 1e-5
"""
MECHANISMS = {
    "ridge": ("diabetes", 'name = "ridge_langevin"\nn_learn = 20\nn_unlearn = 2\nsigma_unlearn = 0.01'),
    "minibatches": (
        "diabetes",
        'name = "ridge_minibatch"\nbatch = 10\nn_learn = 6\nn_unlearn = 2\nsigma_learn = 0.05\nsigma_unlearn = 0.04',
    ),
    "logistic": (
        "breast_cancer",
        'name = "logistic_langevin"\npenalty = 10.0\nn_learn = 5\nn_unlearn = 2\nsigma_learn = 0.05\n'
        "sigma_unlearn = 0.1",
    ),
}  # fmt: skip
# The other routes take their time.
ROUTES = ("--routes", "exact", "--jobs", "1")
NUMBERS = ("difficulty", "sigma_unlearn", "epsilon_unlearned_from_retrained", "epsilon_retrained_from_unlearned",
           "epsilon_without_unlearning")  # fmt: skip


def write_plan(folder: Path, name: str = "ridge") -> Path:
    data, mechanism = MECHANISMS[name]
    path = folder / "plan.toml"
    path.write_text(PLAN.format(data=data, mechanism=mechanism))
    return path


def numbers_of(certification: Certification) -> list[str]:
    """Return every number of a record in full but for those that many share."""
    counts = Counter(repr(getattr(row, name)) for row in certification.rows for name in NUMBERS)
    for row in certification.routes:
        counts.update(repr(value) for value in (row.sigma_unlearn, row.epsilon, row.exact_epsilon, row.accuracy))
    return [number for number, n in counts.items() if n < FEWEST and len(number) > 6]


@pytest.mark.parametrize("name", ["ridge", *(pytest.param(n, marks=pytest.mark.slow) for n in [*MECHANISMS][1:])])
def test_what_is_left_is_of_many(name: str, tmp_path: Path) -> None:
    plan, out, whole = write_plan(tmp_path, name), tmp_path / "out", tmp_path / "whole"
    assert run("certify", plan, *ROUTES, "--out", whole).returncode == 0
    certification = Certification.from_json((whole / "certificates.json").read_text())
    done = run("certify", plan, *ROUTES, "--out", out, "--redact", "--show-records")
    assert done.returncode == 0, done.stderr
    assert "The store is deleted" in done.stderr
    assert {path.name for path in out.iterdir()} == {f"certificates.{kind}" for kind in ("json", "html", "md", "csv")}
    text = done.stdout + done.stderr + "".join(path.read_text("utf-8") for path in out.iterdir())
    single = numbers_of(certification)
    assert len(single) > 120
    assert [number for number in single if number in text] == []
    assert "--records" not in text
    shares = CertificationShares.from_json((out / "certificates.json").read_text())
    assert shares.n_records == 60
    assert [share.share for share in shares.measures[0].shares] == [0.5]
    # Rendered again, from either.
    for folder, more in ((out, ()), (whole, ("--redact",))):
        again = run("report", folder / "certificates.json", "--out", tmp_path / "again", *more)
        assert again.returncode == 0, again.stderr
        for kind in ("md", "html", "csv"):
            shown = (tmp_path / "again" / f"certificates.{kind}").read_text()
            assert [number for number in single if number in shown] == []
            assert folder is whole or shown == (out / f"certificates.{kind}").read_text()


def test_few_records_are_refused_before_anything_is_computed(tmp_path: Path) -> None:
    plan, out = write_plan(tmp_path), tmp_path / "out"
    for records in ("hardest:19", "3,17", ",".join(["3"] * 40)):
        refused = run("calibrate", plan, "--epsilon", "1", "--records", records, "--redact", "--out", out)
        assert refused.returncode == 2
        assert "Expected --redact to be at least 20 records" in refused.stderr
    assert not out.exists()


def test_withheld_certificates_go_on_and_leave_nothing_of_earlier_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, out = write_plan(tmp_path), tmp_path / "out"
    arguments = ("calibrate", plan, "--epsilon", "0.5", *ROUTES, "--out", out)

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    put = KeptRoutes.put
    monkeypatch.setattr(KeptRoutes, "put", stopped)
    assert run(*arguments, "--redact").returncode == 130
    # What it goes on from is still there.
    assert (out / "certificates-store").is_dir()
    monkeypatch.setattr(KeptRoutes, "put", put)
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    assert "Going on: " in done.stderr
    assert (out / "routes.csv").is_file()
    done = run(*arguments, "--redact", "--json")
    assert done.returncode == 0, done.stderr
    assert "are read from their store" in done.stderr
    assert "routes.csv is deleted" in done.stderr
    assert {path.name for path in out.iterdir()} == {f"certificates.{kind}" for kind in ("json", "html", "md", "csv")}
    assert json.loads(done.stdout)["schema"] == "unlearn-audit/shares/1"
    assert json.loads(done.stdout)["n_without_noise"] is not None


def test_what_is_not_written_keeps_its_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, out = write_plan(tmp_path), tmp_path / "out"

    def full(*_: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr("reports.certificates.shares.write_shares", full)
    done = run("certify", plan, *ROUTES, "--out", out, "--redact")
    assert done.returncode == 4
    assert "no space" in done.stderr
    assert "60 records" in done.stdout
    assert (out / "certificates-store").is_dir()
