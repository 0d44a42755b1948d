"""The command line as a user runs it: messages, exit codes, files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from audit.commands.plan_file.reading import read_plan
from tests.e2e.command_line import COMMAND, ROOT, hear_interruptions, run, run_alone

PLAN = """
schema = "unlearn-audit/plan/1"
seed = 3
trials = 400
{extra}
[data]
name = "digits"
rows = 200
[mechanism]
name = "ridge_langevin"
n_learn = 30
n_unlearn = 5
sigma_unlearn = {noise}
sampler = "closed_form"
[records]
forget = [[3]]
[[claims]]
{claim}
[[attacks]]
name = "likelihood_ratio"
"""
EXACT = 'kind = "profile"\nfrom = "exact"'
# One row where the claim is not what a test is about.
ROW = 'kind = "epsilon_delta"\nepsilon = 1.0\ndelta = 1e-5'


def write_plan(folder: Path, *, claim: str = EXACT, noise: str = "0.01", extra: str = "") -> Path:
    path = folder / "plan.toml"
    path.write_text(PLAN.format(claim=claim, noise=noise, extra=extra))
    return path


def test_run_writes_reports_and_prints_json_but_no_progress_and_exits_zero(tmp_path: Path) -> None:
    done = run("run", write_plan(tmp_path, claim=ROW), "--out", tmp_path / "out", "--jobs", "1", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["schema"] == "unlearn-audit/result/1"
    assert "forget set 1/1: done in" in done.stderr
    names = {"report.html", "report.json", "report.md", "report-data", "audit-store", "manifest.json"}
    assert {p.name for p in (tmp_path / "out").iterdir()} == names
    again = run("report", tmp_path / "out" / "report.json", "--out", tmp_path / "again")
    assert again.returncode == 0, again.stderr
    for name in ("report.html", "report.json", "report.md"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


@pytest.mark.slow
def test_several_results_become_one_page_with_an_index(tmp_path: Path) -> None:
    plan = write_plan(tmp_path)
    assert run("run", plan, "--out", tmp_path / "a", "--jobs", "1").returncode == 0
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    results = [tmp_path / name / "report.json" for name in ("a", "b")]
    done = run("report", *results, "--out", tmp_path / "both", "--junit", tmp_path / "both.xml")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "both" / "report.md").read_text()
    assert text.index("## Audits") < text.index("## Summary") < text.index("### Summary for the file")
    assert "Each audit is a family of its own" in text
    assert (tmp_path / "both.xml").read_text().count("<testsuite ") == 2
    (tmp_path / "bad.json").write_text("{}")
    done = run("report", results[0], tmp_path / "bad.json", "--out", tmp_path / "none")
    assert done.returncode == 2
    assert "bad.json: Expected JSON" in done.stderr


def test_run_writes_junit_and_withholds_records_when_asked(tmp_path: Path) -> None:
    out, junit = tmp_path / "out", tmp_path / "build" / "audit.xml"
    plan = write_plan(tmp_path, claim=ROW)
    done = run("run", plan, "--out", out, "--junit", junit, "--redact", "--jobs", "1", "--json")
    assert done.returncode == 0, done.stderr
    stored = json.loads(done.stdout)
    assert stored == json.loads((out / "report.json").read_text())
    assert stored["plan"]["forget"] == [[-1]]
    assert stored["findings"][0]["sandwiches"] == []
    assert {p.name for p in out.iterdir()} == {"report.html", "report.json", "report.md", "manifest.json"}
    assert 'tests="1" failures="0" errors="0" skipped="0"' in junit.read_text()
    assert str(junit) in done.stderr


def test_false_claim_is_refuted_with_exit_code_one(tmp_path: Path) -> None:
    claim = 'kind = "epsilon_delta"\nepsilon = 0.01\ndelta = 1e-5'
    done = run("run", write_plan(tmp_path, claim=claim, noise="0.00001"), "--trials", "2000", "--jobs", "1")
    assert done.returncode == 1, done.stderr
    assert "refuted" in done.stdout.lower()


def test_false_claim_stops_early_when_asked_to(tmp_path: Path) -> None:
    claim = 'kind = "epsilon_delta"\nepsilon = 0.01\ndelta = 1e-5'
    plan = write_plan(tmp_path, claim=claim, noise="0.00001")
    done = run("run", plan, "--trials", "2000", "--jobs", "1", "--stop-when-decided", "--out", tmp_path / "out")
    assert done.returncode == 1, done.stderr
    assert "of at most 1,400" in done.stdout or "of at most 1,500" in done.stdout
    stored = json.loads((tmp_path / "out" / "report.json").read_text())
    assert stored["plan"]["counting"]["kind"] == "sequential"
    assert stored["findings"][0]["history"]["pairs"][-1] < 500
    assert "--stop-when-decided" in stored["environment"]["command"]


def test_undecidable_claim_exits_three_unless_allowed(tmp_path: Path) -> None:
    plan = write_plan(tmp_path, claim='kind = "epsilon_delta"\nepsilon = 12.0\ndelta = 1e-5')
    words = ("run", plan, "--jobs", "1", "--out", tmp_path / "out")
    assert run(*words).returncode == 3
    # The same result, read.
    again = run(*words, "--allow-inconclusive")
    assert again.returncode == 0, again.stderr
    assert "nothing is drawn" in again.stderr


BROKEN_PLANS = {
    "several_at_once": (
        lambda text: text.replace("trials = 400", "trials = 3").replace("n_learn = 30", 'n_learn = "30"\nspeed = 9'),
        [
            "trials",
            "mechanism.ridge_langevin.n_learn",
            "'30'",
            "mechanism.ridge_langevin.speed",
            "remove it",
            "3 problem",
        ],
    ),
    "unknown_mechanism": (
        lambda text: text.replace('"ridge_langevin"', '"ridge"'),
        ["mechanism", "ridge_langevin", "'ridge'", "choose one"],
    ),
    "record_out_of_range": (
        lambda text: text.replace("[[3]]", "[[3000]]"),
        ["records.forget[0]", "[0, 199]", "3000", "count records from 0"],
    ),
    "unknown_data": (lambda text: text.replace('"digits"', '"mnist"'), ["data", "mnist", "digits, diabetes"]),
    "unknown_attack": (
        lambda text: text.replace('"likelihood_ratio"', '"magic"'),
        ["attacks.0", "magic", "likelihood_ratio, target_loss, influence, lda"],
    ),
    "wrong_schema": (lambda text: text.replace("plan/1", "plan/9"), ["schema", "unlearn-audit/plan/1", "plan/9"]),
    "no_claims": (lambda text: text.replace("[[claims]]", "[[claimz]]"), ["claims", "add it", "claimz", "remove it"]),
    "not_toml": (lambda text: text + "\n= 3", ["TOML", "line"]),
    "reference_mismatch": (
        lambda text: text.replace('from = "exact"', 'from = "exact"\nreference = "retrain_only"'),
        ["claims.reference", "retrain_then_unlearn", "retrain_only", "agree"],
    ),
    "calibration_for_retrain_only": (
        lambda text: text.replace(
            "sigma_unlearn = 0.01", 'reference = "retrain_only"\nsigma_unlearn = { calibrate = "exact", epsilon = 1.0 }'
        ),
        ["sigma_unlearn", "retrain_only", "give the noise"],
    ),
}


@pytest.mark.parametrize("case", BROKEN_PLANS)
def test_broken_plan_names_field_value_and_fix(tmp_path: Path, case: str) -> None:
    edit, expected = BROKEN_PLANS[case]
    path = write_plan(tmp_path)
    path.write_text(edit(path.read_text()))
    done = run("run", path)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    for words in expected:
        assert words in done.stderr


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("a,y\n1,2\n3,oops\n", ["line 3, column y", "'oops'", "encode text"]),
        ("a,y\n1,2\nnan,3\n4,5\n", ["features[1, 0]", "nan", "impute"]),
        ("a,y\n1,7\n2,7\n3,7\n", ["targets", "constant [7.0]", "another target column"]),
        ("a,b\n1,2\n2,3\n", ["data.target", "columns a, b", "name the target column"]),
        ("a,y\n1,2\n3\n", ["line 3", "2 cells", "mend the row"]),
        ("a,y,a\n1,2,3\n", ["line 1", "distinct column names", "a more than once"]),
        ("y\n1\n2\n", ["the column y alone", "the columns that a model learns from"]),
        ("a;y\n1;2\n", ["columns a;y", "separate columns by commas"]),
        ("", ["data.csv", "an empty file"]),
    ],
)
def test_broken_data_file_names_field_value_and_fix(tmp_path: Path, rows: str, words: list[str]) -> None:
    (tmp_path / "data.csv").write_text(rows)
    path = write_plan(tmp_path)
    path.write_text(path.read_text().replace('name = "digits"\nrows = 200', 'path = "data.csv"'))
    done = run("run", path)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


OWN = """
import sys
import numpy as np
from mechanisms.adapters.functions import from_functions

def leaves(model, retained, forget, rng):
    sys.exit(0)

quits = from_functions(learn=lambda data, rng: rng.standard_normal(2), unlearn=leaves, release=2)
"""


@pytest.mark.slow
def test_an_exit_in_the_users_code_is_no_verdict(tmp_path: Path) -> None:
    """A mechanism, or the module that holds it, that calls sys.exit(0) must not let a build pass."""
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "script.py").write_text("import sys\nsys.exit(0)\n")
    plan = write_plan(tmp_path, claim='kind = "epsilon_delta"\nepsilon = 1.0\ndelta = 0.01')
    text = plan.read_text().replace('"likelihood_ratio"', '"lda"')
    plan.write_text(text[: text.index("[mechanism]")] + text[text.index("[records]") :])
    for name, said in (("own:quits", "unlearn raised SystemExit"), ("script:x", "Importing script raised SystemExit")):
        done = run_alone("run", plan, "--mechanism", name, cwd=tmp_path)
        assert done.returncode == 4, done.stdout
        assert said in done.stderr
    done = run_alone("run", plan, "--mechanism", "../own:quits", cwd=tmp_path)
    assert done.returncode == 2
    assert "without its path" in done.stderr


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    plan = write_plan(tmp_path)
    (tmp_path / "file").write_text("")
    for option, kind in (("--out", "folder"), ("--junit", "file")):
        done = run("run", plan, option, tmp_path / "file" / "sub")
        assert done.returncode == 2, done.stderr
        assert f"Expected {option} to be a {kind} that can be written" in done.stderr
        assert "done in" not in done.stderr
    for command in (("demo",), ("selftest",), ("certify", plan)):
        done = run(*command, "--out", tmp_path / "file")
        assert done.returncode == 2, done.stderr
    stored = tmp_path / "baseline.json"
    for option in ("--markdown", "--write-baseline"):
        done = run("compare", stored, plan, option, tmp_path / "file" / "sub")
        assert done.returncode == 2
        assert f"Expected {option} to be a file that can be written" in done.stderr


def test_missing_files_are_usage_errors(tmp_path: Path) -> None:
    for command in ("run", "report"):
        done = run(command, tmp_path / "nowhere")
        assert done.returncode == 2
        assert "nowhere" in done.stderr
        assert "Traceback" not in done.stderr
    (tmp_path / "bad.json").write_text('{"schema": "other"}')
    done = run("report", tmp_path / "bad.json")
    assert done.returncode == 2
    assert "unlearn-audit/result/1" in done.stderr


def test_bad_options_are_usage_errors() -> None:
    assert run("demo", "--rows", "0").returncode == 2
    assert run("frobnicate").returncode == 2
    assert run("list", "nothing").returncode == 2
    assert run().returncode == 2


@pytest.mark.slow
def test_crashing_mechanism_exits_four_and_names_the_chunk(tmp_path: Path) -> None:
    """A mechanism that raises in a worker is an error of its own, never a verdict."""
    script = tmp_path / "crash.py"
    script.write_text(
        "import audit.cli as cli\n"
        "from mechanisms.ridge.langevin import RidgeDeletion\n"
        "def crash(self, world, n, *, rng):\n"
        "    if n > 2: raise ZeroDivisionError('the trainer broke')\n"
        "    return self.closed_form.sample(world, n, rng=rng)\n"
        "RidgeDeletion.sample = crash\n"
        f"arguments = ['run', {str(write_plan(tmp_path))!r}, '--jobs', '1', '--junit', {str(tmp_path / 'c.xml')!r}]\n"
        "raise SystemExit(cli.guarded(arguments))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 4, done.stderr
    assert "the trainer broke" in done.stderr
    assert "chunk 0, seed 3" in done.stderr
    recorded = (tmp_path / "c.xml").read_text()
    assert 'failures="0" errors="1"' in recorded
    assert "TrialError" in recorded


@pytest.mark.slow
def test_interrupted_run_exits_130(tmp_path: Path) -> None:
    path = write_plan(tmp_path, extra="chunk_size = 20")
    path.write_text(path.read_text().replace("closed_form", "stepwise").replace("n_learn = 30", "n_learn = 300"))
    process = subprocess.Popen(
        [*COMMAND, "run", str(path), "--trials", "200000", "--jobs", "2", "--out", str(tmp_path / "out")],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear_interruptions,
    )
    assert process.stderr is not None
    process.stderr.readline()
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    try:
        _, stderr = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    assert "Interrupted by SIGINT: " in stderr
    assert not (tmp_path / "out" / "report.json").exists()


def test_help_is_fast_and_imports_nothing_heavy() -> None:
    probe = (
        "import sys; from audit.cli import guarded; guarded(['--help']); "
        "heavy = {'numpy', 'scipy', 'torch', 'sklearn', 'pydantic', 'matplotlib', 'joblib'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in ("demo", "init", "list", "power", "run", "report", "scores", "certify", "calibrate", "compare"):
        assert command in done.stdout


@pytest.mark.slow
def test_no_command_imports_torch(tmp_path: Path) -> None:
    script = (
        "import sys; from audit.cli import guarded; "
        f"code = guarded(['run', {str(write_plan(tmp_path))!r}, '--jobs', '1']); "
        "sys.exit('torch imported' if 'torch' in sys.modules else code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_init_prints_a_plan_that_can_be_read(tmp_path: Path) -> None:
    """That it runs, and what it then prints, is tested with the README."""
    plan = tmp_path / "plan.toml"
    plan.write_text(run("init").stdout)
    assert len(read_plan(plan).plan.forget) == 3


@pytest.mark.parametrize("what", ["mechanisms", "attacks", "datasets"])
def test_list(what: str) -> None:
    done = run("list", what)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) >= 2


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "rows"), [("11", "300")])
def test_demo_with_other_seed_and_rows(tmp_path: Path, seed: str, rows: str) -> None:
    """A small demonstration still works; with so few trials only the crash-free path and the files are checked."""
    done = run("demo", "--seed", seed, "--rows", rows, "--trials", "400", "--out", tmp_path / "out", "--jobs", "2")
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr
    collection = json.loads((tmp_path / "out" / "report.json").read_text())
    assert len(collection["results"]) == 5
    assert {r["plan"]["seed"] for r in collection["results"]} == {11}
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000


CALIBRATED = '{ calibrate = "exact", epsilon = 0.5, delta = 1e-5 }'


def test_certify_writes_every_record_and_every_route(tmp_path: Path) -> None:
    plan = write_plan(tmp_path, noise=CALIBRATED)
    smaller = plan.read_text().replace('"digits"\nrows = 200', '"diabetes"\nrows = 4').replace("= 30", "= 3")
    plan.write_text(smaller)
    done = run("certify", plan, "--records", "all", "--jobs", "2", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"certificates.html", "certificates.json", "certificates.csv"} <= names
    stored = json.loads((tmp_path / "out" / "certificates.json").read_text())
    assert stored["schema"] == "unlearn-audit/certification/1"
    assert len(stored["rows"]) == 4
    for row in stored["rows"]:
        epsilon = max(row["epsilon_unlearned_from_retrained"], row["epsilon_retrained_from_unlearned"])
        assert epsilon <= 0.5
        assert epsilon <= row["epsilon_without_unlearning"] * (1 + 1e-9)
    for route in stored["routes"]:
        assert route["epsilon"] <= 0.5
        assert route["exact_epsilon"] <= route["epsilon"] * (1 + 1e-6)
    assert {route["route"] for route in stored["routes"]} == {"exact", "repaired", "published", "uniform", "downdate"}


def test_report_renders_certificates_again_and_alone(tmp_path: Path) -> None:
    plan = write_plan(tmp_path)
    assert run("certify", plan, "--records", "3,17", "--routes", "exact", "--out", tmp_path / "out").returncode == 0
    stored = tmp_path / "out" / "certificates.json"
    again = run("report", stored, "--out", tmp_path / "again")
    assert again.returncode == 0, again.stderr
    # Beside them is what they go on from.
    for path in (path for path in (tmp_path / "out").iterdir() if path.is_file()):
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name
    few = run("report", stored, "--redact", "--out", tmp_path / "no")
    assert few.returncode == 2
    assert "at least 20 records" in few.stderr
    for more in (("--junit", tmp_path / "a.xml"), (stored.with_name("certificates.csv"),)):
        refused = run("report", stored, *more, "--out", tmp_path / "no")
        assert refused.returncode == 2
        assert "Expected certificates to be rendered alone" in refused.stderr
        assert not (tmp_path / "no").exists()


def test_json_of_another_kind_is_named() -> None:
    done = run("report", ROOT / "tests" / "golden" / "stored" / "forecast-1.json")
    assert done.returncode == 2
    assert "or unlearn-audit/collection/1, got JSON of unlearn-audit/forecast/1." in done.stderr


def test_calibrate_overrides_the_plan_and_says_when_no_noise_is_needed(tmp_path: Path) -> None:
    plan = write_plan(tmp_path)
    done = run("calibrate", plan, "--epsilon", "60", "--records", "3,17", "--routes", "exact", "--json")
    assert done.returncode == 0, done.stderr
    stored = json.loads(done.stdout)
    assert stored["target_epsilon"] == 60
    assert [row["record"] for row in stored["rows"]] == [3, 17]
    exact = [route for route in stored["routes"] if route["route"] == "exact"]
    assert all(route["sigma_unlearn"] == 0 for route in exact)
    assert all("The learning noise alone gives" in route["note"] for route in exact)
    assert all(0 < route["accuracy"] <= 1 for route in exact)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--records", "3,999"), ["--records", "[0, 199]", "999"]),
        (("--records", "hardest:0"), ["--records", "hardest:N", "'hardest:0'"]),
        (("--records", "some"), ["--records", "'some'"]),
        (("--routes", "exact,magic"), ["--routes", "exact, repaired, published, uniform", "'magic'"]),
    ],
)
def test_bad_certify_options(tmp_path: Path, arguments: tuple[str, ...], words: list[str]) -> None:
    done = run("certify", write_plan(tmp_path), *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def test_certify_is_for_mechanisms_that_have_these_certificates(tmp_path: Path) -> None:
    path = write_plan(tmp_path)
    text = path.read_text()
    start, end = text.index("[mechanism]"), text.index("[records]")
    path.write_text(text[:start] + '[mechanism]\nname = "exact_downdate"\n' + text[end:])
    done = run("certify", path)
    assert done.returncode == 2
    assert "ridge_langevin" in done.stderr
