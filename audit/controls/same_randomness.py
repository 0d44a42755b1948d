"""Control of the two worlds from the same random numbers: is their difference hidden by the noise that they share?

In the flow: the runner asks after scoring. Counting may be too short to see what a few pairs of runs show exactly; the
verdicts stay those of the counts, and the control says where they were too generous.
"""

from __future__ import annotations

from audit.controls.same_noise import SameNoise, same_noise
from audit.errors import TrialError
from audit.plan.bound_record import BoundRecord
from audit.records.ledger import Control
from audit.records.words.rounding import down, enough_digits, nearest, up
from audit.statistics.gaussian_shift import largest_mu
from audit.statistics.multiplicity import equal_share
from audit.trials.engines import Streams
from audit.trials.independence import FALSE_ALARM
from audit.trials.workers.pool import Failure
from mechanisms.protocol import Deletion

# Enough where the drawn numbers are recognised; an estimate from so few would say nothing, and is not made to.
CONTROL_STREAMS = 3


def same_randomness_control(
    record: BoundRecord, *, seed: int, index: int, n_controls: int, engine: Streams
) -> tuple[Control, ...]:
    """Run a few pairs of both worlds from the same random streams, and compare their shift with what claims allow.

    Parameters
    ----------
    record
        A forget set with its claims.
    seed, index
        Of the streams, and the position of the forget set.
    n_controls
        Forget sets of the audit, which share the level.
    engine
        Runs the pairs.
    """
    level = equal_share(FALSE_ALARM, n_controls)
    ((_, shown),) = engine.stream(_looked, [(record.deletion, seed, index, level)])
    if isinstance(shown, Failure):
        shown = _failed(shown.message)
    allowed = min(map(largest_mu, record.claims))
    false = shown.mu is not None and shown.mu > allowed
    return (
        Control(
            name="same_randomness",
            forget=record.forget,
            label=record.label,
            as_expected=not false,
            applicable=shown.applies,
            message=_said(shown, allowed, false),
            n_trials=shown.streams,
        ),
    )


def _looked(deletion: Deletion, seed: int, index: int, level: float) -> SameNoise:
    """Return what the pairs show; a mechanism that fails here loses this control, and no trial that was counted."""
    try:
        return same_noise(deletion, seed=seed, record=index, streams=CONTROL_STREAMS, level=level)
    except TrialError as error:
        return _failed(str(error))


def _failed(why: str) -> SameNoise:
    return SameNoise(applies=False, why=why, streams=0)


def _said(shown: SameNoise, allowed: float, false: bool) -> str:
    if shown.mu is None:
        return f"Not applicable: {shown.why}"
    if shown.shift == 0:
        return shown.why
    digits = enough_digits(shown.mu, allowed)
    found = (
        f"From the same random numbers the two worlds differ by {down(shown.shift or 0.0)}, under noise of "
        f"{nearest(shown.noise or 0.0)}: {down(shown.mu, digits)} standard deviations"
    )
    compared = f"{found}, where the strictest claim allows {up(allowed, digits)}."
    if not false:
        return compared
    return (
        f"{compared} That claim is false here, whatever the counts say: the noise is too small for the difference that "
        "it has to hide."
    )
