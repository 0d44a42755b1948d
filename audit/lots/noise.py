"""One law for all candidates: the noise that single deletions share, and what is certified of each of them with it.

In the flow: :func:`audit.lots.running.run_lots` asks where the claims are the mechanism's own certificates.
Certificates of "all records, delete one" are about other data than runs that are given one candidate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from mechanisms.claim import Certificate, Claim, EpsilonDelta, OneRecord, Reference
from mechanisms.errors import InvalidInputError, require
from mechanisms.protocol import HasCertificates, HasParameters
from mechanisms.reading.records import RecordSet

_STEP = "step_size"


def certified_singles(
    mechanism: Any, data: RecordSet, pool: Sequence[int], method: str
) -> tuple[Any, tuple[Claim, ...]]:
    """Return the mechanism with one noise and step size for all candidates, and the claim about each of them.

    Parameters
    ----------
    mechanism
        A mechanism with certificates; its noise may be a calibration.
    data, pool
        All records, and which of them are candidates: a run is given those outside the pool and one inside.
    method
        Which of the certificates.

    Raises
    ------
    InvalidInputError
        When the mechanism states no such certificate; or its noise is calibrated and the reference world is
        ``retrain_only``, where epsilon does not fall as the noise grows, so that the largest noise serves nobody.

    Notes
    -----
    With ``retrain_then_unlearn`` epsilon falls as the noise grows, so that the largest of the calibrated noises meets
    every candidate's target; what is certified of each is then computed with it. The step size is that of all records,
    as in the runs.
    """
    calibrated = calibrated_fields(mechanism)
    if calibrated and mechanism.reference is Reference.RETRAIN_ONLY:
        raise InvalidInputError(
            field=calibrated[0],
            expected="a number, with the reference world retrain_only",
            got="a calibration",
            fix="epsilon does not fall with the noise there, so that no noise serves all candidates: choose one, and "
            "its epsilon is computed for each",
        )
    common = with_frozen_step(mechanism, data, pool)
    for name in calibrated:
        noises = [float(bound_to_draw(common, data, pool, (i,)).parameters()[name]) for i in range(len(pool))]
        common = replace(common, **{name: max(noises)})
    published = parameters_of(common.bind_pool(data, tuple(pool)))
    claims = []
    for i in range(len(pool)):
        deletion = bound_to_draw(common, data, pool, (i,))
        check_same_process(published, deletion)
        claims.append(_certified(deletion, method))
    return common, tuple(claims)


def parameters_of(bound: Any) -> dict[str, Any]:
    """Return the public parameters of what is bound."""
    return dict(bound.parameters()) if isinstance(bound, HasParameters) else {}


def with_frozen_step(mechanism: Any, data: RecordSet, pool: Sequence[int]) -> Any:
    """Return the mechanism with the step size that it freezes from all records, where it has one."""
    calibrated = calibrated_fields(mechanism)
    frozen = replace(mechanism, **dict.fromkeys(calibrated, 0.0)) if calibrated else mechanism
    bound = frozen.bind_pool(data, tuple(pool))
    step = bound.parameters().get(_STEP) if isinstance(bound, HasParameters) else None
    return replace(mechanism, **{_STEP: step}) if step is not None and hasattr(mechanism, _STEP) else mechanism


def calibrated_fields(mechanism: Any) -> list[str]:
    """Return the fields that hold a target (epsilon and delta) instead of a number."""
    if not is_dataclass(mechanism):
        return []
    values = {f.name: getattr(mechanism, f.name) for f in fields(mechanism)}
    return [name for name, value in values.items() if hasattr(value, "epsilon") and hasattr(value, "delta")]


def bound_to_draw(mechanism: Any, data: RecordSet, pool: Sequence[int], drawn: Sequence[int]) -> Any:
    """Return the mechanism bound to what a run is given that drew these candidates, by their places in the pool."""
    inside = {pool[i] for i in drawn}
    others = [record for record in pool if record not in inside]
    positions = tuple(record - sum(other < record for other in others) for record in sorted(inside))
    return mechanism.bind(data.without(others), positions)


def check_same_process(published: Mapping[str, Any], deletion: Any) -> None:
    """Refuse certificates of another process than the one that runs: bound to a draw it publishes other parameters.

    Raises
    ------
    InvalidInputError
        Naming the parameter.
    """
    found = parameters_of(deletion)
    for name in sorted({*found} & {*published}):
        require(
            found[name] == published[name],
            f"parameters: {name}",
            expected=f"{published[name]}, as when the pool was bound",
            got=found[name],
            fix="what is certified of a draw is then of another process than its run: freeze it, or state the claim",
        )


def stated_by(deletion: Any, method: str) -> Certificate:
    """Return one of a deletion's certificates.

    Raises
    ------
    InvalidInputError
        When it states none of this name.
    """
    stated = {c.method: c for c in deletion.certificates()} if isinstance(deletion, HasCertificates) else {}
    if method not in stated:
        raise InvalidInputError(
            field="claim",
            expected=f"from one of the mechanism's certificates ({', '.join(stated) or 'it states none'})",
            got=method,
            fix="name one of them, or give the claim itself",
        )
    return stated[method]


def _certified(deletion: Any, method: str) -> Claim:
    found = stated_by(deletion, method)
    return replace(found.claim, guarantee=EpsilonDelta(epsilon=found.epsilon, delta=found.delta), covers=OneRecord())
