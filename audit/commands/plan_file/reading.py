"""Read a plan file: every problem at once with its path and a fix; then turn it into objects."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from attacks.registry import attacks_named
from audit.certificates.canaries import choose_canaries
from audit.commands.plan_file.mechanisms import OwnMechanismSection
from audit.commands.plan_file.tables import OwnPlanFile, PlanFile, ProbeSection
from audit.commands.plan_file.toml_text import read_toml
from audit.errors import PlanError
from audit.plan.audit_plan import AuditPlan
from audit.running.requests import audited_sets
from mechanisms.adapters.observed import ObservedOutputs
from mechanisms.claim import Reference
from mechanisms.dataset import Dataset, validate_forget
from mechanisms.errors import shown
from mechanisms.networks.langevin import NetworkLangevin
from mechanisms.protocol import Access, Mechanism
from mechanisms.ridge.downdate import ExactDowndate
from mechanisms.serving.snapshots import BothSnapshots
from mechanisms.serving.stages import validate_requests
from mechanisms.serving.streams import RequestStream


@dataclass(frozen=True, kw_only=True, eq=False)
class ResolvedPlan:
    """What a plan file means: objects that :func:`audit.running.runner.run` takes."""

    title: str | None
    mechanism: Mechanism
    data: Dataset
    plan: AuditPlan


def read_plan(
    path: Path,
    *,
    seed: int | None = None,
    trials: int | None = None,
    stop_when_decided: bool | None = None,
    max_failed: int | None = None,
    trial_timeout: float | None = None,
    mechanism: Mechanism | None = None,
    claimed: bool = True,
    seen: Callable[[str, Path], None] = lambda role, path: None,
) -> ResolvedPlan:
    """Return the objects of a plan file; keywords that are given override what the file says.

    With a ``mechanism`` of your own the file has no ``[mechanism]`` table: of two mechanisms neither is passed over in
    silence. Where nothing need be ``claimed``, the file may lack claims. ``seen`` is called with "plan" or "data" and
    each file before it is read.

    Raises
    ------
    PlanError
        For an unreadable file, TOML errors, or any field out of range: every problem with its path and fix.
    InvalidInputError
        For unusable data or records.
    """
    seen("plan", path)
    raw = read_toml(path)
    overrides = {
        "seed": seed,
        "trials": trials,
        "stop_when_decided": stop_when_decided,
        "max_failed": max_failed,
        "trial_timeout": trial_timeout,
    }
    raw |= {name: value for name, value in overrides.items() if value is not None}
    if not claimed:
        raw.setdefault("claims", [{"kind": "epsilon_delta", "epsilon": 0.0, "delta": 0.0}])
    if mechanism is not None:
        if "mechanism" in raw:
            raise PlanError(
                f"{path}: 1 problem(s) in the plan\n  mechanism: expected no such table beside --mechanism, got one; "
                "remove the table, or leave the option out"
            )
        raw["mechanism"] = OwnMechanismSection(mechanism=mechanism)
    try:
        file = (PlanFile if mechanism is None else OwnPlanFile).model_validate(raw)
    except ValidationError as error:
        raise PlanError(_explain(path, error)) from None
    if file.data.path is not None:
        seen("data", path.parent / file.data.path)
    return _resolve(file, path.parent)


def limit_in(path: Path) -> float | None:
    """Return the ``trial_timeout`` of a plan file before its mechanism is imported; ``None`` for none that is usable.

    Raises
    ------
    PlanError
        For an unreadable file, or TOML errors.
    """
    found = read_toml(path).get("trial_timeout")
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) and found > 0 else None


def _resolve(file: PlanFile, folder: Path) -> ResolvedPlan:
    data = file.data.load(folder)
    mechanism: Any = file.mechanism.build()
    # An object of the user's own need not say; the deletion will, and a claim that disagrees is refused then.
    published = Reference.RETRAIN_THEN_UNLEARN
    reference = (
        Reference.RETRAIN_ONLY if isinstance(mechanism, ExactDowndate) else getattr(mechanism, "reference", published)
    )
    if file.records.stream is not None:
        mechanism = RequestStream(mechanism=mechanism, requests=file.records.stream)
    data, forget, labels = _records(file, data, mechanism)
    plan = AuditPlan(
        claims=tuple(claim.build(reference) for claim in file.claims),
        forget=forget,
        labels=labels,
        attacks=tuple(attack for section in file.attacks for attack in attacks_named(section.name)),
        trials=file.trials,
        counting=file.counting.build(stop_when_decided=file.stop_when_decided),
        significance=file.significance,
        correction=file.correction.build(),
        delta=file.delta,
        control_trials=file.control_trials,
        seed=file.seed,
        chunk_size=file.chunk_size,
        access=None if file.access is None else Access(file.access),
        max_failed=file.max_failed,
        trial_timeout=file.trial_timeout,
        replay=file.replay,
        share_learned=file.share_learned,
    )
    return ResolvedPlan(title=file.title, mechanism=_granted(file, mechanism), data=data, plan=plan)


def _granted(file: PlanFile, mechanism: Mechanism) -> Mechanism:
    """Return the mechanism as the plan's access shows it."""
    if file.access == "transcript":
        return BothSnapshots(mechanism=mechanism)
    if file.access != "black_box" or isinstance(mechanism, NetworkLangevin):
        return mechanism
    probe = file.probe or ProbeSection()
    return ObservedOutputs(mechanism=mechanism, outputs=probe.outputs, probe=tuple(probe.records))


def _records(
    file: PlanFile, data: Dataset, mechanism: Mechanism
) -> tuple[Dataset, tuple[tuple[int, ...], ...], tuple[str, ...]]:
    words = file.records.choose
    if words is not None:
        found = choose_canaries(
            data, words, by=file.records.by, mechanism=mechanism, penalty=file.mechanism.penalty, seed=file.seed
        )
        return found.data, tuple((record,) for record in found.records), tuple(words)
    if isinstance(mechanism, RequestStream):
        asked = [request for request in mechanism.requests if request]
        validate_requests(asked, data.n_records, field="records.stream")
        return (data, *audited_sets(mechanism, file.records.after))
    sets = file.records.forget or []
    return (
        data,
        tuple(validate_forget(forget, data.n_records, field=f"records.forget[{i}]") for i, forget in enumerate(sets)),
        (),
    )


MOST_PROBLEMS = 50
# What pydantic calls an alternative that is no table: "function-after[check(), constrained-float]", or a class of ours.
_IS_CHECK = re.compile(r"\[|Section$")
# Bounds such as 1e-100, written out.
_LONG = re.compile(r"\d+\.\d{20,}|\d{20,}(?:\.\d+)?")
_FIXES = {
    "missing": "add it",
    "extra_forbidden": "remove it, or check the spelling",
    "union_tag_invalid": "choose one of the listed names",
    "union_tag_not_found": "add it",
    "literal_error": "choose one of the listed values",
    "string_type": "put it in quotes",
    "int_type": "write a whole number without quotes",
    "float_type": "write a number without quotes",
    "too_short": "add an entry",
}


def _explain(path: Path, error: ValidationError) -> str:
    problems = _meant(error.errors(include_url=False))
    lines = [f"{path}: {len(problems)} problem(s) in the plan"]
    for problem in problems[:MOST_PROBLEMS]:
        where = ".".join(part for part in map(str, problem["loc"]) if not _IS_CHECK.search(part)) or "plan"
        fix = _FIXES.get(problem["type"], "mend the value")
        if problem["type"] == "missing" and problem["loc"] == ("mechanism",):
            fix = "add [mechanism], or audit an object of your own by --mechanism module:object"
        if problem["type"] == "union_tag_not_found" and problem["loc"] == ("mechanism",):
            fix = 'add it, say name = "ridge_langevin", or leave the table out for an object of your own: --mechanism'
        lines.append(f"  {where}: {_message(problem)}; {fix}")
    if len(problems) > MOST_PROBLEMS:
        lines.append(f"  and {len(problems) - MOST_PROBLEMS} more")
    return "\n".join(lines)


def _meant(problems: Sequence[Any]) -> list[Any]:
    """Return the problems without those of alternatives that nobody meant: a table is no number that went wrong."""
    return [problem for problem in problems if not _is_other_alternative(problem, problems)]


def _is_other_alternative(problem: Any, problems: Sequence[Any]) -> bool:
    if problem["type"] != "float_type" or not isinstance(problem.get("input"), dict):
        return False
    within = problem["loc"][:-1]
    return any(other is not problem and other["loc"][: len(within)] == within for other in problems)


def _message(problem: Any) -> str:
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "union_tag_not_found":
        message = f"Expected a {problem['ctx']['discriminator'].strip(chr(39))} that says which kind it is, got none"
    message = _LONG.sub(lambda number: f"{float(number[0]):g}", message)
    message = message[:1].lower() + message[1:]
    got = problem.get("input")
    said = "" if problem["type"] == "missing" or isinstance(got, dict | list) else f", got {shown(got)}"
    return message.replace("input should be", "expected") + said
