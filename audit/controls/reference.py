"""Control of the reference world: is unlearning nothing after retraining still retraining, or does it bring data back?

In the flow: the runner asks after scoring. The reference ``retrain_then_unlearn`` runs the mechanism's own code on an
empty forget set, so a mechanism could make its own reference: one whose calibration remembers what the deleted records
did to a model can lose the deletion and add the difference to the reference, and both worlds agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from audit.errors import TrialError
from audit.gathering.contrast import shown_tasks
from audit.plan.audit_plan import AuditPlan
from audit.plan.bound_record import BoundRecord
from audit.records.ledger import Control
from audit.statistics.multiplicity import equal_share
from audit.trials.chunks import ChunkTask, Stream, draw_watched, make_generator
from audit.trials.engines import Streams, raise_failure, worker_limits
from audit.trials.independence import FALSE_ALARM
from audit.trials.learned_once import shows_learned
from audit.trials.watching import N_MODELS, N_PAIRS, SHOWN, Seen
from audit.trials.workers.pool import Failure
from mechanisms.errors import UnlearnAuditError
from mechanisms.protocol import Deletion, HasModels, SamplesLearned, ShowsLearned, World

Array = NDArray[np.float64]
CHUNK = 5
NOTHING_SEEN: Mapping[World, Seen] = MappingProxyType({})


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
    bound: BoundRecord, plan: AuditPlan, record: int, *, seen: Mapping[World, Seen] = NOTHING_SEEN, engine: Streams
) -> tuple[Control, ...]:
    """Measure how far the reference world is from plain retraining; nothing where a mechanism does not show it.

    Parameters
    ----------
    bound
        The deletion, bound.
    plan, record
        The plan, and the position of the forget set in it.
    seen
        What was seen of counted trials: with ``share_learned`` their models serve here too, and only what they leave
        open is trained.
    engine
        Draws.

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

    Models of counted trials are as good as others. Pairs and the models that say where the deletion points come from
    different trials, and are as independent as if they were drawn for it: its false alarms stay what they are. It can
    take a REFUTED away and never give one, so that a true claim is refuted at most as often as its tests reject,
    however this control depends on them.
    """
    deletion, forget, label = bound.deletion, bound.forget, bound.label
    if not isinstance(deletion, ShowsLearned) or not shows_learned(deletion):
        return ()
    drawn = _drawn(deletion, bound, plan, record, seen, engine)
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


def n_drawn(deletion: Deletion, plan: AuditPlan) -> dict[World, int]:
    """Return how many models of each world the control draws beside the trials of a plan."""
    drawn = dict.fromkeys(World, 0)
    if not shows_learned(deletion):
        return drawn
    for world, _, _ in _own_chunks(_shared(deletion, plan, 0)):
        drawn[world] += CHUNK
    return drawn


def _shared(deletion: object, plan: AuditPlan, record: int) -> list[ChunkTask]:
    """Return the counted chunks whose models serve here too: of retrained models, and of those of all data."""
    if not isinstance(deletion, SamplesLearned) or not isinstance(deletion, HasModels):
        return []
    return [task for world in SHOWN for task in shown_tasks(plan, record, world)]


def _own_chunks(shared: Sequence[ChunkTask]) -> list[tuple[World, int, int]]:
    """Return the chunks that no trial stands for: world, part and number of each."""
    own = []
    for world, sizes in ((World.RETRAINED, (N_PAIRS, N_MODELS)), (World.UNLEARNED, (0, 0, N_MODELS))):
        chunks = [(part, i) for part, n in enumerate(sizes) for i in range(n // CHUNK)]
        n_shared = sum(task.shows for task in shared if task.source.world is world)
        # Models of all data are drawn as what is neglected: their deletion is not looked at.
        drawn = World.RETRAINED if world is World.RETRAINED else World.NEGLECTED
        own += [(drawn, *chunk) for chunk in chunks[n_shared // CHUNK :]]
    return own


def _drawn(
    deletion: ShowsLearned,
    bound: BoundRecord,
    plan: AuditPlan,
    record: int,
    seen: Mapping[World, Seen],
    engine: Streams,
) -> tuple[Array, ...] | None:
    """Return pairs before and after, and other models without and with the deleted records; ``None`` without any."""
    known = {(world, shown.chunk): (shown.before, shown.after) for world in seen for shown in seen[world].shown}
    shared = _shared(deletion, plan, record)
    own_chunks = _own_chunks(shared)
    # What a store held was not seen: it is drawn again, from the same streams.
    again = [task for task in shared if (task.source.world, task.chunk) not in known]
    calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
        *((shown_chunk, (bound.sampler(task.source.world), task)) for task in again),
        *((learned_chunk, (deletion, world, plan.seed, record, *rest)) for world, *rest in own_chunks),
    ]
    done = _models(calls, engine)
    if done is None:
        return None
    own = iter(done)
    pairs: dict[bool, list[tuple[Array, Array]]] = {True: [], False: []}
    failed: list[Failure] = []
    for world, pair in [
        *((task.source.world, known.get((task.source.world, task.chunk)) or next(own)) for task in shared),
        *((world, next(own)) for world, *_ in own_chunks),
    ]:
        if isinstance(pair, Failure):
            failed.append(pair)
        else:
            pairs[world is World.RETRAINED].append(pair)
    before, after = (_joined([pair[i] for pair in pairs[True]], N_PAIRS + N_MODELS) for i in (0, 1))
    learned = _joined([pair[0] for pair in pairs[False]], N_MODELS)
    # A few that failed are left out; they are no counted trials.
    if 2 * len(before) < N_PAIRS + N_MODELS or 2 * len(learned) < N_MODELS:
        raise_failure(failed[0])
    n = len(before) * N_PAIRS // (N_PAIRS + N_MODELS)
    return before[:n], after[:n], before[n:], learned


def _models(
    calls: Sequence[tuple[Callable[..., Any], tuple[Any, ...]]], engine: Streams
) -> list[tuple[Array, Array] | Failure] | None:
    """Return what each call gives, in order; ``None`` where a learned model cannot be shown."""
    done: dict[int, Any] = {}
    # The first alone: where nothing can be shown, one is enough to know.
    for function, positions in (
        *((function, (0,)) for function, _ in calls[:1]),
        *((f, [i for i in range(1, len(calls)) if calls[i][0] is f]) for f in (shown_chunk, learned_chunk)),
    ):
        for j, pair in engine.stream(function, [calls[i][1] for i in positions]):
            if pair is None:
                return None
            done[positions[j]] = pair
    return [done[i] for i in range(len(calls))]


def shown_chunk(deletion: Deletion, task: ChunkTask) -> tuple[Array, Array] | None:
    """Draw the models of a chunk of trials again, in a worker.

    Raises
    ------
    TrialError
        When the mechanism fails.
    """
    with worker_limits():
        shown = draw_watched(deletion, task)[1].shown
        return None if shown is None else (shown.before, shown.after)


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


def _joined(parts: Sequence[Array], most: int) -> Array:
    return np.concatenate([np.empty((0, 1)), *parts] if not parts else [p.reshape(len(p), -1) for p in parts])[:most]
