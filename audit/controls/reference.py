"""Control of the reference world: is unlearning nothing after retraining still retraining, or does it bring data back?

In the flow: the runner asks after scoring. The reference ``retrain_then_unlearn`` runs the mechanism's own code on an
empty forget set, so a mechanism could make its own reference: one whose calibration remembers what the deleted records
did to a model can lose the deletion and add the difference to the reference, and both worlds agree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from audit.errors import TrialError
from audit.plan.audit_plan import AuditPlan
from audit.records.ledger import Control
from audit.statistics.multiplicity import equal_share
from audit.trials.chunks import Stream, make_generator
from audit.trials.engines import Streams, raise_failure, worker_limits
from audit.trials.independence import FALSE_ALARM
from audit.trials.workers.pool import Failure
from mechanisms.claim import Reference
from mechanisms.errors import UnlearnAuditError
from mechanisms.protocol import Deletion, ShowsLearned, World

Array = NDArray[np.float64]
# Pairs of a model before and after unlearning nothing, and models of each kind that say where the deletion points.
N_PAIRS, N_MODELS, CHUNK = 50, 25, 5


@dataclass(frozen=True, kw_only=True)
class Pull:
    """How far unlearning nothing moves a retrained model, in standard deviations of what it adds at random.

    Parameters
    ----------
    towards, error
        Along the way from retrained models to models of all data, and the standard error.
    aside
        In all other directions together, less what chance explains.
    way
        Length of that way.
    p_value
        Of moving along at most half of it.
    """

    towards: float
    error: float
    aside: float
    way: float
    p_value: float


def pull_of(before: Array, after: Array, retrained: Array, learned: Array) -> Pull | None:
    """Return how far a reference world moves towards models of all data; ``None`` where those are the retrained ones.

    Parameters
    ----------
    before, after
        The same retrained models before and after unlearning nothing, shape (m, d), m at least 2.
    retrained, learned
        Other models, without and with the deleted records, shapes (n, d).

    Notes
    -----
    Student's t-test on the m moves along the way, which other models decide: exact for Gaussian moves, approximate for
    other ones. Numbers are scaled by the standard deviation of their own moves, and where these vary by less than a
    thousandth of the largest one, by that.
    """
    moves = after - before
    spread = moves.std(axis=0, ddof=1)
    largest = float(spread.max(initial=0.0))
    scale = np.maximum(spread, 1e-3 * largest) if largest > 1e-12 * float(np.abs(after).max(initial=0.0)) else 1.0
    moves, way = moves / scale, (learned.mean(axis=0) - retrained.mean(axis=0)) / scale
    length = float(np.linalg.norm(way))
    if length <= 1e-9 * float(np.linalg.norm(retrained.mean(axis=0) / scale)):
        return None
    along, m = moves @ (way / length), len(moves)
    towards, error = float(along.mean()), float(along.std(ddof=1)) / math.sqrt(m)
    square = float(np.sum(moves.mean(axis=0) ** 2) - np.sum(moves.var(axis=0, ddof=1)) / m)
    excess = towards - length / 2
    # Without noise every move is the same: a comparison and no test.
    p_value = float(stdtr(m - 1, -excess / error)) if error > 1e-9 * length else float(excess <= 0)
    return Pull(
        towards=towards, error=error, aside=math.sqrt(max(0.0, square - towards**2)), way=length, p_value=p_value
    )


def reference_control(
    deletion: Deletion, plan: AuditPlan, record: int, forget: tuple[int, ...], label: str, *, engine: Streams
) -> tuple[Control, ...]:
    """Measure how far the reference world is from plain retraining; nothing where a mechanism does not show it.

    Raises
    ------
    TrialError
        When the mechanism fails.

    Notes
    -----
    Alarms where unlearning nothing moves retrained models more than half of the way back to models of all data, and
    aside of it, or beyond the end of it, by no more than that way: learning that simply goes on moves models further,
    or elsewhere. If it moves at most half of the way, a false alarm has at most the level's probability, approximately
    (:func:`pull_of`). A reference that is changed in other ways is not found, only measured.
    """
    if not _is_shown(deletion):
        return ()
    drawn = _drawn(deletion, plan, record, engine)
    pull = None if drawn is None else pull_of(*drawn)
    level = equal_share(FALSE_ALARM, len(plan.forget))
    rejected = pull is not None and pull.p_value <= level and max(pull.aside, pull.towards - pull.way) <= pull.way
    if drawn is None:
        message = "Not applicable: what is learned cannot be released without unlearning, so nothing could be compared."
    elif pull is None:
        message = "Not applicable: learning with and without the deleted records gives the same models."
    else:
        share = f"{100 * pull.towards / pull.way:.0f} % of the way to models of all data"
        size = f"{pull.towards:.2g} ± {pull.error:.2g} standard deviations of what it adds, {N_PAIRS} models"
        message = (
            f"The reference world is not retraining: unlearning nothing moves retrained models {share} ({size}). It "
            "brings back what was deleted, so that an ignored deletion would look right. Nothing that unlearn knows, "
            "the value of calibrate included, may hold what the deleted records did to a model."
            if rejected
            else f"Unlearning nothing moves retrained models {share} ({size}), and {pull.aside:.2g} aside."
        )
    return (
        Control(
            name="reference",
            forget=forget,
            label=label,
            as_expected=not rejected,
            applicable=pull is not None,
            message=message,
            p_value=None if pull is None else pull.p_value,
            level=None if pull is None else level,
            n_trials=N_PAIRS + N_MODELS,
        ),
    )


def n_drawn(deletion: Deletion) -> dict[World, int]:
    """Return how many models of each world the control draws."""
    drawn = {World.UNLEARNED: 0, World.RETRAINED: N_PAIRS + N_MODELS, World.NEGLECTED: N_MODELS}
    return drawn if _is_shown(deletion) else dict.fromkeys(drawn, 0)


def _is_shown(deletion: Deletion) -> TypeGuard[ShowsLearned]:
    return deletion.reference is not Reference.RETRAIN_ONLY and isinstance(deletion, ShowsLearned)


def _drawn(deletion: ShowsLearned, plan: AuditPlan, record: int, engine: Streams) -> tuple[Array, ...] | None:
    """Return pairs before and after, and other models without and with the deleted records; ``None`` without any."""
    sizes = ((World.RETRAINED, N_PAIRS), (World.RETRAINED, N_MODELS), (World.NEGLECTED, N_MODELS))
    calls = [
        (deletion, world, plan.seed, record, part, chunk)
        for part, (world, n) in enumerate(sizes)
        for chunk in range(n // CHUNK)
    ]
    # The first alone: where nothing can be shown, one is enough to know.
    ((_, first),) = engine.stream(learned_chunk, calls[:1])
    if first is None:
        return None
    done: dict[int, tuple[Array, Array] | Failure | None] = {0: first}
    done |= {1 + i: pair for i, pair in engine.stream(learned_chunk, calls[1:])}
    found: list[list[tuple[Array, Array]]] = [[], [], []]
    for i, call in enumerate(calls):
        pair = done[i]
        if pair is None:
            return None
        if not isinstance(pair, Failure):
            found[call[4]].append(pair)
    for part, (_, n) in enumerate(sizes):
        # A few that failed are left out; they are no counted trials.
        if 2 * len(found[part]) < n // CHUNK:
            raise_failure(next(each for each in done.values() if isinstance(each, Failure)))
    before, after = _joined([pair[0] for pair in found[0]]), _joined([pair[1] for pair in found[0]])
    return before, after, *(_joined([pair[0] for pair in part]) for part in found[1:])


def learned_chunk(
    deletion: ShowsLearned, world: World, seed: int, record: int, part: int, chunk: int
) -> tuple[Array, Array] | None:
    """Draw a few models before and after unlearning, in a worker.

    Raises
    ------
    TrialError
        When the mechanism fails.
    """
    where = f"world {world.value}, forget set {record}, reference control, seed {seed}"
    with worker_limits():
        try:
            rng = make_generator(seed, Stream.REFERENCE, record, part, chunk)
            return deletion.before_and_after(world, CHUNK, rng=rng)
        except UnlearnAuditError as error:
            raise TrialError(f"{error} ({where})") from error


def _joined(parts: Sequence[Array]) -> Array:
    return np.concatenate([part.reshape(len(part), -1) for part in parts])
