"""One law for all candidates: the noise that single deletions share, and what is certified of each of them with it.

In the flow: :func:`audit.lots.running.run_lots` asks where the claims are the mechanism's own certificates.
Certificates of "all records, delete one" are about other data than runs that are given one candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from mechanisms.claim import Claim, EpsilonDelta, OneRecord, Reference
from mechanisms.errors import InvalidInputError
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
    calibrated = _calibrated_fields(mechanism)
    if calibrated and mechanism.reference is Reference.RETRAIN_ONLY:
        raise InvalidInputError(
            field=calibrated[0],
            expected="a number, with the reference world retrain_only",
            got="a calibration",
            fix="epsilon does not fall with the noise there, so that no noise serves all candidates: choose one, and "
            "its epsilon is computed for each",
        )
    frozen = replace(mechanism, **dict.fromkeys(calibrated, 0.0)).bind_pool(data, tuple(pool))
    step = frozen.parameters().get(_STEP) if isinstance(frozen, HasParameters) else None
    common = replace(mechanism, **{_STEP: step}) if step is not None and hasattr(mechanism, _STEP) else mechanism
    for name in calibrated:
        noises = [float(_bound(common, data, pool, i).parameters()[name]) for i in range(len(pool))]
        common = replace(common, **{name: max(noises)})
    return common, tuple(_certified(_bound(common, data, pool, i), method) for i in range(len(pool)))


def _calibrated_fields(mechanism: Any) -> list[str]:
    """Return the fields that hold a target (epsilon and delta) instead of a number."""
    if not is_dataclass(mechanism):
        return []
    values = {f.name: getattr(mechanism, f.name) for f in fields(mechanism)}
    return [name for name, value in values.items() if hasattr(value, "epsilon") and hasattr(value, "delta")]


def _bound(mechanism: Any, data: RecordSet, pool: Sequence[int], i: int) -> Any:
    """Return the mechanism bound to what a run is given that drew candidate i."""
    others = [record for record in pool if record != pool[i]]
    position = pool[i] - sum(record < pool[i] for record in others)
    return mechanism.bind(data.without(others), (position,))


def _certified(deletion: Any, method: str) -> Claim:
    stated = {c.method: c for c in deletion.certificates()} if isinstance(deletion, HasCertificates) else {}
    if method not in stated:
        raise InvalidInputError(
            field="claim",
            expected=f"from one of the mechanism's certificates ({', '.join(stated) or 'it states none'})",
            got=method,
            fix="name one of them, or give the claim itself",
        )
    found = stated[method]
    return replace(found.claim, guarantee=EpsilonDelta(epsilon=found.epsilon, delta=found.delta), covers=OneRecord())
