"""What the command ``compare`` compares: files are read, plans are certified or run, and baselines are written."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from audit.certificates.certification import Certification
from audit.certificates.certifying import Request, certify
from audit.certificates.routes_compared import ALL_ROUTES
from audit.commands.output.saying import say_notes
from audit.commands.plan_file.reading import ResolvedPlan, read_plan
from audit.commands.processes.user_code import load_mechanism
from audit.errors import SchemaError
from audit.plan.split import Sequential
from audit.records.json_text import schema_of
from audit.records.result import AuditCollection, AuditResult
from audit.regression.comparing import compare
from audit.regression.comparison import Comparison, Margins
from audit.regression.frozen import Auditable, FrozenCount, check_orders, count_frozen_events
from audit.running.runner import run
from audit.running.stored import load_json
from audit.trials.engines import Engine, Progress
from mechanisms.claim import Reference
from mechanisms.errors import InvalidInputError
from mechanisms.ridge.langevin import RidgeLangevin

Stored = AuditResult | Certification
Kind = Literal["certificates", "audits"]
MAKE_ONE = "make a baseline: unlearn-audit certify PLAN --json > baseline.json, or run PLAN --json > baseline.json"


@dataclass(frozen=True, kw_only=True)
class Given:
    """One side as the command line names it.

    Parameters
    ----------
    path
        A JSON file, or a plan (a name that ends in .toml).
    mechanism
        ``module:object`` for a plan without ``[mechanism]``.
    plan
        For a stored result: the plan that it was made from.
    """

    path: Path
    mechanism: str | None = None
    plan: Path | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Wanted:
    """How plans are turned into something to compare.

    Parameters
    ----------
    kind
        ``None``: that of a stored side; with two plans, certificates where both mechanisms have them, else audits.
    records
        Records to certify where no stored side says.
    """

    kind: Kind | None
    records: str
    margins: Margins
    engine: Engine
    progress: Progress | None


def compare_given(baseline: Given, candidate: Given, wanted: Wanted) -> tuple[Comparison, Stored]:
    """Return the comparison of two sides, and the candidate's result or certification.

    Raises
    ------
    InvalidInputError, PlanError, SchemaError
        For sides that cannot be read or compared.
    TrialError
        When a mechanism fails.
    """
    old, new = _read(baseline, "BASELINE"), _read(candidate, "CANDIDATE")
    plan = _plan_of(baseline, old)
    kind = _kind(old, new, wanted.kind)
    if kind == "certificates":
        stored = old if isinstance(old, Certification) else new if isinstance(new, Certification) else None
        request = _request(stored, wanted.records)
        first, second = (
            _certified(side, request, given, wanted) for side, given in ((old, baseline), (new, candidate))
        )
        return compare(first, second, margins=wanted.margins), second
    frozen_by = _freezing(plan, new, asked=baseline.plan is not None)
    before, after = _audited(old, baseline, wanted), _audited(new, candidate, wanted)
    frozen: tuple[FrozenCount, ...] = ()
    if frozen_by is not None:
        frozen = count_frozen_events(
            before,
            baseline=frozen_by[0],
            candidate=frozen_by[1],
            engine=wanted.engine,
            progress=wanted.progress,
        )
    return compare(before, after, margins=wanted.margins, frozen=frozen), after


def _freezing(
    baseline: ResolvedPlan | None, candidate: Stored | ResolvedPlan, *, asked: bool
) -> tuple[Auditable, Auditable] | None:
    """Return both sides where the candidate is to be counted at the baseline's events, checked before anything is run.

    An audit that stops when decided has no one event to freeze; asking for it all the same is an error.
    """
    if baseline is None or not isinstance(candidate, ResolvedPlan):
        return None
    if isinstance(baseline.plan.counting, Sequential) and not asked:
        return None
    check_orders(baseline.plan, candidate.plan)
    return _auditable(baseline), _auditable(candidate)


def without_volatile(value: Stored) -> Stored:
    """Return a result or certification for version control.

    Without what changes from run to run (time, duration, platform, workers), and without what records look like.
    """
    environment = replace(value.environment, started="", seconds=0.0, platform="", machine="", n_jobs=1)
    value = replace(value, environment=environment)
    if isinstance(value, AuditResult):
        return replace(value, findings=tuple(replace(finding, preview=()) for finding in value.findings))
    return replace(value, previews=())


def write_baseline(value: Stored, path: Path) -> None:
    """Write a file for version control: the same for every run of one plan with the same libraries.

    Raises
    ------
    InvalidInputError
        When the file or its folder cannot be written.
    """
    from reports.page.files import write_whole

    try:
        write_whole({path: without_volatile(value).to_json() + "\n"})
    except OSError as error:
        raise InvalidInputError(
            field="--write-baseline", expected="a file that can be written", got=str(path), fix=str(error.strerror)
        ) from None


def _read(given: Given, name: str) -> Stored | ResolvedPlan:
    if given.path.suffix.lower() == ".toml":
        if given.plan is not None:
            raise InvalidInputError(
                field="--baseline-plan",
                expected="left out when BASELINE is a plan",
                got=str(given.plan),
                fix="the plan itself is run; name one of the two",
            )
        return _read_plan(given.path, given.mechanism, name)
    if given.mechanism is not None and given.plan is None:
        option = "--mechanism" if name == "CANDIDATE" else "--baseline-mechanism"
        raise InvalidInputError(
            field=option,
            expected=f"left out when {name} is a stored file",
            got=given.mechanism,
            fix=f"a stored file has its numbers; give a plan (.toml) for {name}",
        )
    try:
        text = given.path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SchemaError(f"Expected {name} to be a readable file, got {given.path} ({error}); {MAKE_ONE}.") from None
    return _parse(text, given.path, name)


def _read_plan(path: Path, mechanism: str | None, name: str) -> ResolvedPlan:
    option = "--mechanism" if name == "CANDIDATE" else "--baseline-mechanism"
    own = None if mechanism is None else load_mechanism(mechanism, option=option)
    plan = read_plan(path, mechanism=own)
    say_notes(plan)
    return plan


def _parse(text: str, path: Path, name: str) -> Stored:
    schema = schema_of(text)
    if schema.startswith("unlearn-audit/certification/"):
        return Certification.from_json(text)
    if not schema.startswith(("unlearn-audit/result/", "unlearn-audit/collection/")):
        raise SchemaError(
            f"Expected {name} to be JSON of `run` or `certify`, or a plan that ends in .toml, got {path} "
            f"(schema {schema or 'missing'}); {MAKE_ONE}."
        )
    value = load_json(text)
    if isinstance(value, AuditCollection):
        raise InvalidInputError(
            field=name,
            expected="one result",
            got=f"a collection of {len(value.results)} in {path}",
            fix="compare results one by one: run each plan with --out, and take report.json",
        )
    return value


def _plan_of(given: Given, side: Stored | ResolvedPlan) -> ResolvedPlan | None:
    """Return the plan from which a side was made, with the seed and trials that it was in fact run with."""
    if isinstance(side, ResolvedPlan):
        return side
    if given.plan is None:
        return None
    if isinstance(side, Certification):
        raise InvalidInputError(
            field="--baseline-plan",
            expected="left out when certificates are compared",
            got=str(given.plan),
            fix="it is needed to fit attacks again, and certificates have none",
        )
    own = None if given.mechanism is None else load_mechanism(given.mechanism, option="--baseline-mechanism")
    return read_plan(given.plan, seed=side.plan.seed, trials=side.plan.trials, mechanism=own)


def _kind(old: Stored | ResolvedPlan, new: Stored | ResolvedPlan, wanted: Kind | None) -> Kind:
    stored = {_kind_of(side) for side in (old, new) if not isinstance(side, ResolvedPlan)}
    if len(stored | ({wanted} if wanted else set())) > 1:
        raise InvalidInputError(
            field="BASELINE and CANDIDATE",
            expected="of one kind, and of the kind asked for",
            got=" and ".join(sorted({_kind_of(s) for s in (old, new) if not isinstance(s, ResolvedPlan)}))
            + (f", with --kind {wanted}" if wanted else ""),
            fix="compare two results of `run`, or two files of certificates of `certify`",
        )
    for known in stored:
        return known
    if wanted:
        return wanted
    plans = [side for side in (old, new) if isinstance(side, ResolvedPlan)]
    return "certificates" if all(_is_certifiable(plan) for plan in plans) else "audits"


def _kind_of(side: Stored) -> Kind:
    return "certificates" if isinstance(side, Certification) else "audits"


def _is_certifiable(plan: ResolvedPlan) -> bool:
    mechanism = plan.mechanism
    return isinstance(mechanism, RidgeLangevin) and mechanism.reference is Reference.RETRAIN_THEN_UNLEARN


def _request(stored: Certification | None, records: str) -> Request:
    """Return the request that certifies the same records and routes as a stored certification."""
    if stored is None:
        return Request(records=records)
    rows = [row.record for row in stored.rows]
    routes = {row.route for row in stored.routes}
    return Request(
        records="all" if len(rows) == stored.data.n_records else ",".join(map(str, rows)),
        routes=tuple(route for route in ALL_ROUTES if route in routes),
        compared=tuple(dict.fromkeys(row.record for row in stored.routes)),
    )


def _certified(side: Stored | ResolvedPlan, request: Request, given: Given, wanted: Wanted) -> Certification:
    if isinstance(side, Certification):
        return side
    if isinstance(side, AuditResult):
        raise InvalidInputError(field="CANDIDATE", expected="certificates", got="a result", fix="certify its plan")
    return certify(
        side.mechanism,
        side.data,
        request,
        seed=side.plan.seed,
        n_jobs=wanted.engine.n_jobs,
        progress=wanted.progress,
        title=side.title,
        command=_command("certify", given),
    )


def _audited(side: Stored | ResolvedPlan, given: Given, wanted: Wanted) -> AuditResult:
    if isinstance(side, AuditResult):
        return side
    if isinstance(side, Certification):
        raise InvalidInputError(field="CANDIDATE", expected="a result", got="certificates", fix="run its plan")
    return run(
        side.mechanism,
        side.data,
        side.plan,
        engine=wanted.engine,
        progress=wanted.progress,
        title=side.title,
        command=_command("run", given),
    )


def _command(name: str, given: Given) -> str:
    option = "" if given.mechanism is None else f" --mechanism {shlex.quote(given.mechanism)}"
    return f"unlearn-audit {name} {shlex.quote(str(given.path))}{option}"


def _auditable(plan: ResolvedPlan) -> Auditable:
    return Auditable(mechanism=plan.mechanism, data=plan.data, plan=plan.plan)
