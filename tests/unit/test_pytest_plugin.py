"""The pytest plugin, as its users run it: verdicts, seeds, budgets, reports, workers, and names that hide ours."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import sklearn.covariance

# Loaded before pytester runs a session in this process: it forgets modules that a session loads first, and numpy
# cannot be loaded twice.
import audit.pytest_plugin
import reports.audits.html
import unlearn_audit_pytest
from audit.pytest_plugin import write_report
from mechanisms.claim import Claim, EpsilonDelta
from unlearn_audit_pytest import seed_of

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parents[2]
PLUGIN = ("-p", "unlearn_audit_pytest", "-p", "no:cacheprovider")
LOADED = (audit.pytest_plugin, reports.audits.html, sklearn.covariance, unlearn_audit_pytest)

TOY = """
    from __future__ import annotations
    from dataclasses import dataclass
    import numpy as np
    import pytest
    from attacks.linear.discriminant import LinearDiscriminant
    from mechanisms.claim import Claim, EpsilonDelta, GaussianDP, Reference
    from mechanisms.dataset import from_arrays
    from mechanisms.protocol import ReleaseSpec, World

    DATA = from_arrays(np.eye(4), np.arange(4.0), kind="regression")
    CLAIM = Claim(guarantee=GaussianDP(mu=0.5))

    @dataclass(frozen=True)
    class Shifted:
        shift: float
        name: str = "toy"

        def bind(self, data, forget):
            return self

        release = ReleaseSpec(shape=(1,))
        reference = Reference.RETRAIN_THEN_UNLEARN

        def sample(self, world, n, *, rng):
            if self.shift != self.shift:
                raise RuntimeError("diverged")
            return rng.standard_normal((n, 1)) + self.shift * (world is not World.RETRAINED)

    def audited(audit_claim, shift, claim=CLAIM, trials=150):
        return audit_claim(Shifted(shift), DATA, 0, claim, trials=trials, attacks=(LinearDiscriminant(),))
"""

EVERY_OUTCOME = """
    import pytest
    from toy import Claim, EpsilonDelta, audited

    @pytest.mark.claim
    def test_holds(audit_claim):
        assert audited(audit_claim, 0.1).findings[0].bound is not None

    @pytest.mark.claim(level=0.002)
    def test_does_not(audit_claim):
        audited(audit_claim, 3.0)

    @pytest.mark.claim
    def test_beyond_reach(audit_claim):
        audited(audit_claim, 0.1, Claim(guarantee=EpsilonDelta(epsilon=30, delta=0.0)))

    @pytest.mark.claim
    def test_crashes(audit_claim):
        audited(audit_claim, float("nan"))

    def test_of_something_else():
        pass
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Return a folder with a toy mechanism: a Gaussian release, shifted in the unlearned world."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    # Sessions are many here, and other plugins take a second each to load.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(toy=TOY)
    return pytester


def run(suite: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return suite.runpytest_inprocess(*PLUGIN, *arguments)


def test_each_verdict_has_its_own_words(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_claims=EVERY_OUTCOME)
    result = run(suite)
    result.assert_outcomes(passed=2, failed=3)
    text = result.stdout.str()
    assert re.search(r"test_claims.py::test_does_not: a claim is refuted", text)
    assert re.search(
        r"claimed +Gaussian differential privacy with μ ≤ 0\.5 \(.*\), against the reference retrain_then_unlearn", text
    )
    counted = re.search(r"counted +lda scored (.*) \S+ for (\d+) of \d+ unlearned and (\d+) of \d+ retrained", text)
    assert counted is not None
    assert (int(counted[2]) > int(counted[3])) == (counted[1] == "above")
    assert re.search(r"bound +ε ≥ \d\.\d+ where ε ≤ \S+ is claimed at δ = ", text)
    assert re.search(r"level +p = \S+, tested at 0\.001\b", text)
    assert "it would refute any with probability at most 0.002" in text
    assert "Run it again: pytest test_claims.py::test_does_not --claim-seed 0" in text
    assert "test_claims.py::test_beyond_reach: could not decide" in text
    assert "reason   cannot_be_refuted_at_this_n: what is claimed lies above everything that this many" in text
    assert "RuntimeError" in text
    lines = [line for line in result.outlines if line.endswith(tuple(f"::test_{n}" for n in ("holds", "does_not")))]
    assert lines[0].startswith("✕ REFUTED: ε ≥ ")
    assert lines[1].startswith("○ NOT REFUTED, weak: ε ≥ ")
    assert "detectable" in lines[1]
    told = "3 audited, 1 could not be. Were all of them true*at most 0.005 (budget 0.05, base seed 0)."
    result.stdout.fnmatch_lines([told])


def test_the_command_that_is_printed_replays_the_audit(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_claims=EVERY_OUTCOME)
    first = run(suite, "--claim-seed", "5", "-o", "claim_level=0.003", "-k", "does_not").stdout.str()
    command = re.search(r"Run it again: pytest (.*)", first)
    assert command is not None
    assert command[1] == "test_claims.py::test_does_not --claim-seed 5 -o claim_level=0.003"
    again = run(suite, *command[1].split()).stdout.str()
    other = run(suite, "test_claims.py::test_does_not", "--claim-seed", "6").stdout.str()
    counted = [re.findall(r"counted .*", text) for text in (first, again, other)]
    assert counted[0] == counted[1] != counted[2]


def test_undecided_claims_can_be_skipped(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_claims=EVERY_OUTCOME)
    result = run(suite, "-o", "claim_inconclusive=skip", "-k", "beyond_reach", "-rs")
    result.assert_outcomes(skipped=1, deselected=4)
    result.stdout.fnmatch_lines(["SKIPPED*could not decide*"])


def test_one_claim_a_test_and_never_none(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        test_claims="""
        import pytest
        from toy import audited

        @pytest.mark.claim
        def test_two(audit_claim):
            audited(audit_claim, 0.1)
            audited(audit_claim, 0.1)

        @pytest.mark.claim
        def test_none(audit_claim):
            pass

        @pytest.mark.claim
        @pytest.mark.parametrize("shift", [0.0, 0.1])
        def test_each(audit_claim, shift):
            audited(audit_claim, shift)
        """
    )
    result = run(suite)
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines_random(
        ["*Expected audit_claim to be called once in a test, got a second call*", "No claim was audited*"]
    )


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def test_a(audit_claim): pass", "test_a uses audit_claim: mark it with @pytest.mark.claim"),
        (
            "@pytest.mark.claim\ndef test_a(): pass\n@pytest.mark.claim\ndef test_b(audit_claim): pass",
            "test_a is marked as a claim: let it take audit_claim",
        ),
        ("@pytest.mark.claim(0.1)\ndef test_a(audit_claim): pass", r"expected @pytest.mark.claim or @pytest.mark"),
        ("@pytest.mark.claim(level=2)\ndef test_a(audit_claim): pass", r"test_a: level to be in \(0, 0\.5\), got 2"),
    ],
)
def test_claims_that_would_not_count_are_refused_at_collection(suite: pytest.Pytester, source: str, words: str) -> None:
    suite.makepyfile(test_claims=f"import pytest\n{source}")
    result = run(suite)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert re.search(words, result.stderr.str())


def test_a_claim_that_is_asked_for_by_name_must_be_marked(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_claims="def test_a(request): request.getfixturevalue('audit_claim')")
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*mark it with @pytest.mark.claim*"])


def test_the_marker_is_left_alone_where_nothing_is_audited(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_insurance="import pytest\n@pytest.mark.claim('flood', 2)\ndef test_a(): pass")
    run(suite).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("claim_level=0.7", "claim_level to be in (0, 0.5), got '0.7'"),
        ("claim_budget=much", "claim_budget to be in (0, 0.5), got 'much'"),
        ("claim_inconclusive=pass", 'claim_inconclusive to be "fail" or "skip", got \'pass\''),
        ("claim_seed=-1", "claim_seed to be an integer of at least 0"),
    ],
)
def test_settings_out_of_range_are_refused(suite: pytest.Pytester, setting: str, words: str) -> None:
    result = run(suite, "-o", setting)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert words in result.stderr.str()


MANY = """
    import pytest
    from toy import audited

    @pytest.mark.claim
    @pytest.mark.parametrize("i", range(3))
    def test_many(audit_claim, i):
        audited(audit_claim, 0.1, trials=60)
"""


def test_levels_above_the_budget_stop_the_session(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_claims=MANY)
    settings = ("-o", "claim_level=0.02")
    result = run(suite, *settings)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = "3 claims are collected whose levels add up to 0.06, above the session's claim_budget of 0.05"
    assert said in result.stderr.str()
    assert "0.017 for each would fit" in result.stderr.str()
    run(suite, *settings, "-k", "0 or 1").assert_outcomes(passed=2, deselected=1)
    workers = suite.runpytest_subprocess(*PLUGIN, *settings, "-p", "xdist", "-n", "1")
    workers.assert_outcomes(errors=3)
    workers.stdout.fnmatch_lines([f"*{said}*"])


def test_the_configuration_file_sets_levels_and_budget(suite: pytest.Pytester) -> None:
    suite.makepyprojecttoml("[tool.pytest.ini_options]\nclaim_level = 0.04\nclaim_budget = '0.1'\nclaim_seed = 3\n")
    suite.makepyfile(test_claims=MANY)
    assert "levels add up to 0.12, above the session's claim_budget of 0.1" in run(suite).stderr.str()
    result = run(suite, "-k", "0 or 1")
    result.stdout.fnmatch_lines(["2 audited*at most 0.08 (budget 0.1, base seed 3)."])


def records(folder: Path) -> list[dict[str, Any]]:
    return list(json.loads((folder / "report.json").read_text())["results"])


def test_the_report_of_a_session(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_claims=EVERY_OUTCOME)
    run(suite, "--claim-report", "out/claims")
    folder = suite.path / "out" / "claims"
    page = (folder / "report.html").read_text()
    assert "Claims of a test session" in page
    assert "pytest test_claims.py::test_does_not --claim-seed 0" in page
    found = {result["title"]: result for result in records(folder)}
    assert set(found) == {f"test_claims.py::test_{name}" for name in ("holds", "does_not", "beyond_reach")}
    refuted = found["test_claims.py::test_does_not"]
    assert refuted["family"]["significance"] == 0.002
    assert refuted["plan"]["seed"] == seed_of(0, "test_claims.py::test_does_not")
    (ours,) = ElementTree.parse(folder / "junit.xml").getroot()
    assert {name: ours.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "4",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
    }
    children = {case.get("name"): {child.tag for child in case} for case in ours.iter("testcase")}
    assert set(children) == {"test_holds", "test_does_not", "test_beyond_reach", "test_crashes"}
    assert "failure" in children["test_does_not"]
    assert "skipped" in children["test_beyond_reach"]
    assert "error" in children["test_crashes"]
    assert not children["test_holds"] & {"failure", "skipped", "error"}


def test_a_session_in_which_every_audit_crashed_is_reported(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_claims=EVERY_OUTCOME)
    run(suite, "-k", "crashes", "--claim-report", "out").assert_outcomes(failed=1, deselected=4)
    (error,) = ElementTree.parse(suite.path / "out" / "junit.xml").getroot().iter("error")
    message = error.get("message")
    assert message is not None
    assert message.startswith("TrialError: The mechanism raised RuntimeError (world unlearned, forget set 0")
    assert message.endswith("diverged")
    assert "test_claims.py::test_crashes" in (suite.path / "out" / "report.html").read_text()


@pytest.mark.slow
def test_workers_hand_their_claims_to_the_controller(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_claims=EVERY_OUTCOME)
    some = ("-k", "not beyond_reach")
    run(suite, *some, "--claim-report", "alone")
    result = suite.runpytest_subprocess(
        *PLUGIN,
        *some,
        "-p",
        "xdist",
        "-n",
        "2",
        "--dist",
        "loadgroup",
        "--claim-report",
        "both",
        "--junitxml",
        "all.xml",
    )
    result.assert_outcomes(passed=2, failed=2)
    written = [f"*both/{name}" for name in ("report.html", "report.json", "junit.xml")]
    result.stdout.fnmatch_lines(["2 audited, 1 could not be*", *written])
    alone, both = records(suite.path / "alone"), records(suite.path / "both")
    assert len(alone) == 2
    for one, other in zip(alone, both, strict=True):
        # The same seeds on any worker, and so the same verdicts; only the clock differs.
        assert {**one, "environment": None} == {**other, "environment": None}
    everything = ElementTree.parse(suite.path / "all.xml").getroot().find("testsuite")
    assert everything is not None
    assert (everything.get("tests"), everything.get("failures")) == ("4", "2")


def test_no_report_without_claims(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_claims="def test_a(): pass")
    run(suite, "--claim-report", "out").assert_outcomes(passed=1)
    assert not (suite.path / "out").exists()


def test_seeds_are_stable() -> None:
    # printf '0\ntest_a.py::test_b' | sha256sum: the first 12 digits. A change would change every user's audits.
    assert seed_of(0, "test_a.py::test_b") == 0x9B4214CEA3F5
    assert len({seed_of(base, test) for base in range(30) for test in "abcdefghij"}) == 300


def test_a_session_without_claims_loads_nothing(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        conftest="""
        import sys

        def pytest_sessionfinish(session):
            heavy = {"numpy", "scipy", "torch", "sklearn", "audit", "mechanisms", "attacks", "reports"}
            loaded = sorted(heavy & set(sys.modules))
            assert not loaded, loaded
        """,
        test_light="def test_a(): pass",
        toy="",
    )
    result = suite.runpytest_subprocess(*PLUGIN)
    result.assert_outcomes(passed=1)
    assert result.ret == 0


@pytest.mark.parametrize("name", ["audit", "reports"])
def test_a_folder_that_hides_ours_is_named(suite: pytest.Pytester, name: str) -> None:
    (suite.mkpydir(name) / "ours.py").write_text("ANSWER = 42\n")
    suite.makepyfile(
        test_own=f"from {name}.ours import ANSWER\ndef test_a(): assert ANSWER == 42",
        test_claims="import pytest\n@pytest.mark.claim\ndef test_b(audit_claim): pass",
        test_import=f"import {name}.anything\nimport audit.anything",
        toy="",
    )
    # As python -m pytest puts the current folder first.
    done = subprocess.run(
        # -rN: the short summary repeats a message or not, by the terminal's width and by CI.
        [sys.executable, "-m", "pytest", *PLUGIN, "--continue-on-collection-errors", "-rN"],
        cwd=suite.path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in done.stdout
    assert done.stdout.count(f"{suite.path / name} is imported as {name!r}, which hides the package") == 2
    assert "rename that folder" in done.stdout


def test_one_result_that_cannot_be_read_does_not_lose_the_report(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    claim = Claim(guarantee=EpsilonDelta(epsilon=2.0, delta=0.01))
    result = audit.from_scores(rng.normal(size=60), rng.normal(size=60), claim=claim, title="the good one")
    good = result.to_json()
    broken = json.loads(good)
    broken["findings"][0]["verdict"] = "refuted"
    told = {"level": 0.01, "seed": 1, "command": "pytest", "line": "told", "text": "told", "seconds": 1.0}
    records = [
        {**told, "test": "t.py::good", "verdict": "not_refuted", "result": good},
        {**told, "test": "t.py::changed", "verdict": "refuted", "result": json.dumps(broken)},
        {**told, "test": "t.py::garbled", "verdict": "not_refuted", "result": "{"},
        {**told, "test": "t.py::failed", "verdict": "error", "result": None},
    ]
    paths = write_report(records, tmp_path, budget=0.05, seed=1)
    assert {path.name for path in paths} >= {"report.html", "report.json", "junit.xml"}
    collection = audit.load_json((tmp_path / "report.json").read_text("utf-8"))
    assert isinstance(collection, audit.AuditCollection)
    assert [found.title for found in collection.results] == ["the good one"]
    assert "Could not be read, and not shown in full (2 of these tests): t.py::changed: " in collection.introduction
    assert "stored refuted, recomputed not_refuted" in collection.introduction
    outcomes = {row[0]: row[1] for row in collection.tables[0].rows}
    assert outcomes == {
        "t.py::good": "not refuted",
        "t.py::changed": "refuted (could not be read)",
        "t.py::garbled": "not refuted (could not be read)",
        "t.py::failed": "error",
    }
    assert "changed" in (tmp_path / "report.html").read_text("utf-8")
    assert (tmp_path / "junit.xml").read_text("utf-8").count("<testcase ") == 4
