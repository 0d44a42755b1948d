"""Replay before the first chunk: one random stream gives one release, here, again, and in a process that is new.

In the flow: the runner asks before anything is counted, and stops where the answer is no. An unseeded service, or one
that answers from what it kept, then costs a few trainings and not an audit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from audit.errors import TrialError
from audit.plan.audit_plan import AuditPlan
from audit.records.ledger import Control
from audit.trials.chunks import Stream, make_generator, sampled_with_models
from audit.trials.engines import Engine, Streams, worker_limits
from audit.trials.workers.fresh import Unasked, copy_of, in_fresh_process
from audit.trials.workers.pool import Failure
from mechanisms.errors import UnlearnAuditError
from mechanisms.protocol import Deletion, World

Array = NDArray[np.float64]
WORLDS = (World.UNLEARNED, World.RETRAINED)
# Two processes may order a sum differently; a model that was kept, or noise that was, is off by far more.
_LAST_DIGITS = 1e-9
# Streams that are tried where a plan lets trials fail: one that fails would end the audit before its first chunk.
_ATTEMPTS = 5
_SAME = "Drawing the same random stream twice gave the same releases in both worlds"
_OFF = (
    'Not asked (replay = "off"): nothing shows whether trials take all of their randomness from their stream, or keep '
    "something from one to the next."
)


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """The control, and whether a world learned one model from two streams, the second in a fresh process."""

    control: Control
    one_model: tuple[bool | None, bool | None] = (None, None)

    def to_text(self) -> str:
        """Return it as JSON text, which :func:`replayed_of` reads."""
        control = self.control
        return json.dumps(
            {
                "forget": control.forget,
                "label": control.label,
                "as_expected": control.as_expected,
                "applicable": control.applicable,
                "message": control.message,
                "one_model": self.one_model,
            }
        )


def replayed_of(text: str) -> Replayed:
    """Return what :meth:`Replayed.to_text` wrote."""
    said = json.loads(text)
    first, second = said.pop("one_model")
    return Replayed(
        control=Control(name="replay", **{**said, "forget": tuple(said["forget"])}), one_model=(first, second)
    )


@dataclass(frozen=True, kw_only=True)
class ReplayTask:
    """What a replay draws: the plan's seed, and the position of the forget set."""

    seed: int
    record: int
    tolerance: float = 0.0
    attempt: int = 0

    @property
    def n_trials(self) -> int:
        """Number of trials, of both worlds together."""
        return 6


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """One release, with 64 bits of the model that it was made from where the mechanism shows them."""

    release: Array
    model: int | None


def replay(
    deletion: Deletion,
    plan: AuditPlan,
    record: int,
    forget: tuple[int, ...],
    label: str,
    *,
    engine: Streams | None = None,
    fresh: bool = True,
) -> Replayed:
    """Draw one stream twice in one process, and another one there and in a fresh one; both worlds must agree.

    Parameters
    ----------
    deletion
        Of the reference mechanisms, which keep nothing, a fresh process is not asked.
    plan, record
        The seed, and the position of the forget set.
    forget, label
        For the control.
    engine
        Where it has worker processes, the first of the two processes is one of them, and else this one.
    fresh
        Whether a fresh process is asked, which takes about a second.

    Raises
    ------
    TrialError
        When the mechanism fails while drawing.
    """

    def concluded(as_expected: bool, message: str) -> Control:
        return Control(name="replay", forget=forget, label=label, as_expected=as_expected, message=message)

    if plan.replay == "off":
        return Replayed(control=replace(concluded(True, _OFF), applicable=False))
    tolerance = 0.0 if isinstance(plan.replay, str) else plan.replay
    # Before the first draw, so that whatever trials leave behind is not in it.
    untouched = copy_of(deletion) if fresh and _may_keep(deletion) else None
    attempt, drawn = _drawn(deletion, plan, record, engine or Engine())
    for world, (first, again, other) in zip(WORLDS, drawn, strict=False):
        if not alike(first.release, again.release, tolerance):
            return Replayed(control=concluded(False, _differs(world, first.release, again.release)))
        is_random = deletion.release.continuous and not np.array_equal(first.release, other.release)
        if tolerance and is_random and alike(first.release, other.release, tolerance):
            return Replayed(control=concluded(False, _too_wide(world, tolerance)))
    same = f"{_SAME}, but for differences of at most {tolerance:g} of the largest number" if tolerance else _SAME
    if not fresh and _may_keep(deletion):
        return Replayed(control=concluded(True, f"{same}; a fresh process was not asked, which the audit does."))
    before, used = [first for first, *_ in drawn], [other for *_, other in drawn]
    if untouched is None:
        return Replayed(control=concluded(True, f"{same}."))
    asked = (
        untouched
        if isinstance(untouched, Unasked)
        else in_fresh_process(_fresh, untouched, ReplayTask(seed=plan.seed, record=record, attempt=attempt))
    )
    if isinstance(asked, Unasked):
        return Replayed(control=concluded(True, _here_only(same, asked)))
    pairs = list(zip(WORLDS, used, asked, strict=True))
    most = max(tolerance, _LAST_DIGITS)
    kept = [world for world, here, there in pairs if not alike(here.release, there.release, most)]
    if kept:
        return Replayed(control=concluded(False, _kept(kept)))
    first_of, second_of = (
        None if here.model is None else here.model == there.model for here, there in zip(before, asked, strict=True)
    )
    return Replayed(
        control=concluded(True, f"{same}, and so did a fresh process."),
        one_model=(first_of, second_of),
    )


def _may_keep(deletion: Deletion) -> bool:
    """Return whether code of the user draws; what this project's own samplers hold is frozen."""
    module = type(deletion).__module__
    return module.startswith("mechanisms.adapters.") or not module.startswith("mechanisms.")


def _generator(seed: int, record: int, which: int, again: int) -> np.random.Generator:
    key = (record, which, again) if again else (record, which)
    return make_generator(seed, Stream.REPLAY, *key)


def _trial(deletion: Deletion, world: World, seed: int, record: int, which: int, again: int) -> Trial:
    with worker_limits():
        releases, models = sampled_with_models(
            deletion,
            world,
            1,
            rng=_generator(seed, record, which, again),
            where=f"forget set {record}, replay, seed {seed}",
        )
    prints = None if models is None else models.prints
    return Trial(release=releases[0], model=None if prints is None else int(prints[0]))


Drawn = list[tuple[Trial, Trial, Trial]]


def _drawn(deletion: Deletion, plan: AuditPlan, record: int, engine: Streams) -> tuple[int, Drawn]:
    """Return what one process draws, a worker where the engine has any; the second world only after the first agrees.

    Where the plan lets trials fail a stream that fails is left for the next one; returned is also which.

    Raises
    ------
    TrialError
        When the mechanism fails there twice, in every stream that is tried.
    """
    tolerance = 0.0 if isinstance(plan.replay, str) else plan.replay
    failure = Failure(message="no stream was tried")
    for attempt in range(_ATTEMPTS if plan.max_failed else 1):
        task = ReplayTask(seed=plan.seed, record=record, tolerance=tolerance, attempt=attempt)
        ((_, found),) = engine.stream(draw_again, [(deletion, task)])
        if not isinstance(found, Failure):
            return attempt, found
        failure = found
    if isinstance(failure.error, UnlearnAuditError):
        raise failure.error
    raise TrialError(f"{failure.message} (forget set {record}, replay, seed {plan.seed})")


def draw_again(deletion: Deletion, task: ReplayTask) -> Drawn:
    """Draw one stream twice and another one once, of each world."""
    seed, record, drawn = task.seed, task.record, []
    one, another = 2 * task.attempt, 2 * task.attempt + 1
    for i, world in enumerate(WORLDS):
        first, again = (_trial(deletion, world, seed, record, i, one) for _ in range(2))
        if not alike(first.release, again.release, task.tolerance):
            # Nothing more is asked: each draw is a training.
            drawn.append((first, again, again))
            break
        drawn.append((first, again, _trial(deletion, world, seed, record, i, another)))
    return drawn


def _fresh(deletion: Deletion, task: ReplayTask) -> tuple[Trial, Trial]:
    """Draw the second stream of both worlds; runs in a fresh process."""
    which = 2 * task.attempt + 1
    first, second = (_trial(deletion, world, task.seed, task.record, i, which) for i, world in enumerate(WORLDS))
    return first, second


def alike(first: Array, second: Array, digits: float) -> bool:
    """Return whether two arrays are of one shape, and differ by at most this share of the largest number."""
    if first.shape != second.shape or np.array_equal(first, second):
        return first.shape == second.shape
    largest = float(np.abs(first).max(initial=0.0))
    return bool(np.all(np.abs(first - second) <= digits * largest))


def _here_only(same: str, fresh: Unasked) -> str:
    return (
        f"{same}, in this process only: a fresh process could not draw it ({fresh.why}). What the mechanism keeps "
        "from one trial to the next may have gone unseen."
    )


def _differs(world: World, first: Array, again: Array) -> str:
    size = ""
    if first.shape == again.shape:
        share = float(np.abs(first - again).max(initial=0.0)) / (float(np.abs(first).max(initial=0.0)) or 1.0)
        size = f" (by up to {share:.1g} of the largest number)"
    return (
        f"The {world.value} world gave other releases for the same random stream{size}: it draws randomness from "
        "elsewhere, or keeps something from one trial to the next, so nothing can be replayed. Take every random "
        "number from rng, and learn anew in each trial. Where training differs in its last digits only, as with "
        "kernels of a GPU, allow that: replay = 1e-4."
    )


def _too_wide(world: World, tolerance: float) -> str:
    return (
        f"Two different random streams gave releases of the {world.value} world that differ by at most {tolerance:g} "
        "of the largest number too: so wide a tolerance shows nothing. Choose a smaller one."
    )


def _kept(worlds: Sequence[World]) -> str:
    return (
        f"The {' and '.join(world.value for world in worlds)} world gave another release in a fresh process than here, "
        "after other trials, for the same random stream: it keeps something from one trial to the next (a model, or "
        "noise that was drawn once). Such trials are not independent. Learn anew in each trial, and take every random "
        "number from rng."
    )
