"""The pytest plugin of unlearn-audit, loaded by every pytest session of an environment that has it installed.

It stands beside the packages and imports none of them until a test asks for ``audit_claim``: a project may have a
folder of its own named ``audit`` or ``reports``, and neither that project nor this plugin may break of it. What
audits and what writes reports is in ``audit.pytest_plugin``.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import math
import re
import shlex
import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from audit.pytest_plugin import AuditClaim

PACKAGES = ("mechanisms", "attacks", "audit", "reports")
HOME = Path(__file__).resolve().parent
# Name of the attribute by which a test report carries its claim, from a worker to the controlling process too.
CARRIED = "unlearn_audit_claim"
_NOT_OURS = re.compile(
    rf"No module named '(?:{'|'.join(PACKAGES)})\.|cannot import name '\w+' from '(?:{'|'.join(PACKAGES)})[.']"
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the configuration says of claims.

    Parameters
    ----------
    level, budget
        Probability of refuting a true claim, of a test and of all collected tests together.
    seed
        The base of every test's own seed.
    skip_inconclusive
        Whether a claim that could not be decided skips its test instead of failing it.
    """

    level: float
    budget: float
    seed: int
    skip_inconclusive: bool


SETTINGS = pytest.StashKey[Settings]()
# What a test's audit found, as plain data; empty until the claim is audited.
OUTCOME = pytest.StashKey[dict[str, Any]]()
REFUSAL = pytest.StashKey[str]()
_MARK_IT = "mark it with @pytest.mark.claim, so that its level is counted."


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options of the command line and of the configuration file."""
    group = parser.getgroup("unlearn-audit", "claims of machine unlearning")
    group.addoption("--claim-seed", type=int, default=None, metavar="N", help="Base seed of all audits of claims.")
    group.addoption(
        "--claim-report", default=None, metavar="DIR", help="Write report.html, .json and junit.xml of all claims."
    )
    parser.addini("claim_level", "probability of refuting a true claim, for each claim (default 1e-3)", default="1e-3")
    parser.addini("claim_budget", "largest sum of the collected claims' levels (default 0.05)", default="0.05")
    parser.addini("claim_seed", "base seed of all audits of claims (default 0)", default="0")
    parser.addini("claim_inconclusive", '"fail" (default) or "skip" a test that could not decide', default="fail")


def pytest_configure(config: pytest.Config) -> None:
    """Read the settings and register the marker."""
    config.addinivalue_line(
        "markers", "claim(level=...): the test audits one claim of unlearning by audit_claim, at this level"
    )
    config.stash[SETTINGS] = _settings(config)
    if not _is_worker(config):
        config.pluginmanager.register(_Gathered(config), "unlearn_audit_gathered")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Compare the collected claims' levels with the budget, and refuse tests that would audit nothing."""
    settings = session.config.stash[SETTINGS]
    asking = [item for item in session.items if "audit_claim" in getattr(item, "fixturenames", ())]
    if not asking:
        # The marker's name is a plain word, which may mean something else in this project.
        return
    marked = [item for item in session.items if item.get_closest_marker("claim")]
    problems = [f"{i.nodeid} uses audit_claim: {_MARK_IT}" for i in asking if i not in marked]
    problems += [f"{i.nodeid} is marked as a claim: let it take audit_claim." for i in marked if i not in asking]
    try:
        levels = [_level(item, settings) for item in marked]
    except pytest.UsageError as error:
        problems.append(str(error))
    else:
        problems += _over_budget(levels, settings)
    if problems:
        message = "\n".join(problems)
        if not _is_worker(session.config):
            raise pytest.UsageError(message)
        # An error while a worker collects would be shown as a crash of the worker; its claims fail instead.
        session.config.stash[REFUSAL] = message


@pytest.fixture
def audit_claim(request: pytest.FixtureRequest) -> AuditClaim:
    """Audit one claim of unlearning: call it with (mechanism, data, forget, claim); a refuted claim fails the test.

    Further arguments: ``trials``, ``attacks``, ``stop_when_decided``, ``engine``. It returns the ``AuditResult``.
    """
    item, config = request.node, request.config
    refusal = config.stash.get(REFUSAL, None if item.get_closest_marker("claim") else _MARK_IT)
    if refusal is not None:
        pytest.fail(refusal, pytrace=False)
    settings, record = config.stash[SETTINGS], item.stash.setdefault(OUTCOME, {})
    made: AuditClaim = _load("audit.pytest_plugin").AuditClaim(
        test=_test_id(item),
        level=_level(item, settings),
        seed=seed_of(settings.seed, _test_id(item)),
        command=_replay(item, settings),
        skip_inconclusive=settings.skip_inconclusive,
        record=record,
    )
    return made


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Fail a test that asked for ``audit_claim`` and passed without an audit."""
    done = yield
    if pyfuncitem.stash.get(OUTCOME, None) == {}:
        pytest.fail("No claim was audited: the test never called audit_claim.", pytrace=False)
    return done


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Hand what an audit found to whoever reads the test's report, in this process or another."""
    report = yield
    if call.when == "call" and item.stash.get(OUTCOME, None):
        setattr(report, CARRIED, item.stash[OUTCOME])
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Say so when a module could not be imported because the user's own folder hides one of our packages."""
    report = yield
    if report.failed and _NOT_OURS.search(str(report.longrepr)) and (hidden := hidden_packages()):
        report.sections.append(("unlearn-audit", "\n".join(hidden)))
    return report


class _Gathered:
    """The claims of a session, gathered where its reports arrive: in the controlling process under pytest-xdist."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.records: dict[str, dict[str, Any]] = {}
        self.written: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a claim that a test's report carries."""
        record = getattr(report, CARRIED, None)
        if record is not None:
            self.records[record["test"]] = record

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Write the report, if one was asked for."""
        folder = self.config.getoption("claim_report")
        if folder is not None and self.records:
            settings = self.config.stash[SETTINGS]
            write = _load("audit.pytest_plugin").write_report
            ordered = [self.records[test] for test in sorted(self.records)]
            target = Path(self.config.invocation_params.dir, folder)
            self.written = [str(path) for path in write(ordered, target, budget=settings.budget, seed=settings.seed)]

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print one line for each claim: a test that passes says nothing by itself."""
        if not self.records:
            return
        settings = self.config.stash[SETTINGS]
        rounding = _load("audit.records.words.rounding")
        spent = rounding.total(record["level"] for record in self.records.values())
        terminalreporter.section("claims of unlearning")
        for test in sorted(self.records):
            terminalreporter.line(f"{self.records[test]['line']}  {test}")
        crashed = sum(record["result"] is None for record in self.records.values())
        counted = f"{len(self.records) - crashed} audited" + (f", {crashed} could not be" if crashed else "")
        terminalreporter.line(
            f"{counted}. Were all of them true, this session would refute any with probability at "
            f"most {rounding.up(spent)} (budget {settings.budget:g}, base seed {settings.seed})."
        )
        for path in self.written:
            terminalreporter.line(path)


def seed_of(base: int, test: str) -> int:
    """Return a test's own seed: the same for any order, worker and machine."""
    return int.from_bytes(hashlib.sha256(f"{base}\n{test}".encode()).digest()[:6], "big")


def hidden_packages() -> list[str]:
    """Return a sentence for each of our packages that another folder or module of the same name hides."""
    sentences = []
    for name in PACKAGES:
        found = _where(name)
        if found is None or found != HOME / name:
            sentences.append(
                f"{found or 'Nothing'} is imported as {name!r}, which hides the package {name!r} of unlearn-audit in "
                f"{HOME / name}: rename that folder or module, or keep it out of sys.path (pytest rather than "
                "python -m pytest, and --import-mode=importlib)."
            )
    return sentences


def _where(name: str) -> Path | None:
    """Return the folder or file that ``import name`` gives, without importing it."""
    module = sys.modules.get(name)
    spec = importlib.util.find_spec(name) if module is None else module.__spec__
    folders = list((spec.submodule_search_locations if spec else None) or getattr(module, "__path__", []))
    if folders:
        return Path(folders[0]).resolve()
    file = (spec.origin if spec else None) or getattr(module, "__file__", None)
    return Path(file).resolve() if file else None


def _load(name: str) -> Any:
    """Import one of our modules, once it is sure to be ours."""
    if hidden := hidden_packages():
        pytest.fail("\n".join(hidden), pytrace=False)
    return importlib.import_module(name)


def _settings(config: pytest.Config) -> Settings:
    base, inconclusive = config.getoption("claim_seed"), str(config.getini("claim_inconclusive"))
    if inconclusive not in ("fail", "skip"):
        raise pytest.UsageError(f'Expected claim_inconclusive to be "fail" or "skip", got {inconclusive!r}.')
    try:
        seed = int(config.getini("claim_seed")) if base is None else base
    except ValueError:
        seed = -1
    if seed < 0:
        raise pytest.UsageError("Expected claim_seed to be an integer of at least 0; choose any.")
    return Settings(
        level=_probability("claim_level", config.getini("claim_level")),
        budget=_probability("claim_budget", config.getini("claim_budget")),
        seed=seed,
        skip_inconclusive=inconclusive == "skip",
    )


def _probability(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < 0.5:
        raise pytest.UsageError(f"Expected {name} to be in (0, 0.5), got {value!r}; 0.001 is usual for a claim.")
    return number


def _level(item: pytest.Item, settings: Settings) -> float:
    marker = item.get_closest_marker("claim")
    if marker is None:
        return settings.level
    if marker.args or set(marker.kwargs) - {"level"}:
        raise pytest.UsageError(f"{item.nodeid}: expected @pytest.mark.claim or @pytest.mark.claim(level=...).")
    return _probability(f"{item.nodeid}: level", marker.kwargs["level"]) if marker.kwargs else settings.level


def _over_budget(levels: list[float], settings: Settings) -> list[str]:
    total = math.fsum(levels)
    if total <= settings.budget * (1 + 1e-9):
        return []
    return [
        f"{len(levels)} claims are collected whose levels add up to {total:.3g}, above the session's claim_budget of "
        f"{settings.budget:g}: with that probability a session could refute a claim that holds. Lower claim_level (or "
        f"level= of single claims; {settings.budget / len(levels):.2g} for each would fit), raise claim_budget, or "
        "select fewer tests."
    ]


def _test_id(item: pytest.Item) -> str:
    # Not item.nodeid: pytest-xdist appends the names of its groups to that.
    return f"{item.parent.nodeid}::{item.name}" if item.parent is not None else item.nodeid


def _replay(item: pytest.Item, settings: Settings) -> str:
    overridden = [f"-o {shlex.quote(o)}" for o in item.config.getoption("override_ini") or () if o.startswith("claim_")]
    return " ".join(["pytest", shlex.quote(_test_id(item)), f"--claim-seed {settings.seed}", *overridden])


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")
