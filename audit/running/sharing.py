"""Learned models that all forget sets of an audit are served from: whether that is valid, and what is drawn first.

In the flow: the runner comes here before it goes through the forget sets, and then goes on as without sharing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from audit.controls.replay import alike
from audit.errors import TrialError
from audit.gathering.ahead import Ahead, draw_ahead
from audit.gathering.at_once import Fitted, fit
from audit.gathering.contrast import Contrast, make_contrasts, retrained_sample
from audit.plan.audit_plan import AuditPlan
from audit.plan.bound_record import BoundRecord
from audit.trials.chunks import Stream, make_generator
from audit.trials.engines import Progress, Streams, results, worker_limits
from audit.trials.learned_once import LearnedOnce
from audit.trials.pace import set_phase
from mechanisms.adapters.models import OpaqueModelError, numbers_of
from mechanisms.errors import InvalidInputError, UnlearnAuditError

Array = NDArray[np.float64]
Fits = Callable[[int, BoundRecord], Fitted]
# Position in the key of a replay's random stream, after the forget set; others are in audit.controls.
_LEARNED = 4


def contrasts_of(plan: AuditPlan, index: int, services: Sequence[BoundRecord]) -> list[Contrast]:
    """Return the contrasts of all services about one forget set."""
    return [contrast for s, service in enumerate(services) for contrast in make_contrasts(plan, index, s, service)]


def check_same_learning(plan: AuditPlan, bound: Sequence[Sequence[BoundRecord]], engine: Streams) -> None:
    """Refuse to share models whose learning depends on what is deleted: one stream gives one model in all forget sets.

    Raises
    ------
    InvalidInputError
        When the models of two forget sets of a service differ by more than the plan allows of a replay, or cannot be
        compared.
    TrialError
        When learning fails.
    """
    tolerance = 0.0 if isinstance(plan.replay, str) else plan.replay
    calls = [(record.learned_once, plan.seed) for row in bound for record in row]
    done = dict(results(engine.stream(learned_numbers, calls), doing="learning a model"))
    for s in range(len(bound[0])):
        first, *others = (done[i * len(bound[0]) + s] for i in range(len(bound)))
        for i, other in enumerate(others, start=1):
            if not alike(first, other, tolerance):
                raise InvalidInputError(
                    field="share_learned",
                    expected="with a learning that does not depend on what will be deleted",
                    got=f"other models for forget sets {bound[0][s].forget} and {bound[i][s].forget} from one random "
                    "stream",
                    fix="freeze step size, noise and schedule of learning from all records, or leave share_learned out",
                )


def learned_numbers(deletion: LearnedOnce, seed: int) -> Array:
    """Learn one model in a worker, and return its numbers.

    Raises
    ------
    InvalidInputError
        When it holds no numbers that can be seen.
    TrialError
        When learning fails.
    """
    with worker_limits():
        try:
            return numbers_of(deletion.learned(make_generator(seed, Stream.REPLAY, 0, _LEARNED)))
        except OpaqueModelError as error:
            raise InvalidInputError(
                field="share_learned",
                expected="with learned models that can be compared",
                got=f"models that cannot ({error})",
                fix="let learn return arrays or objects that hold them, or leave share_learned out",
            ) from None
        except UnlearnAuditError as error:
            raise TrialError(f"{error} (learning a model that forget sets share, seed {seed})") from error


def share(
    plan: AuditPlan,
    bound: Mapping[int, Sequence[BoundRecord]],
    *,
    engine: Streams,
    progress: Progress | None,
) -> tuple[Ahead, Fits]:
    """Fit the attacks of all forget sets, and draw and score all counted releases that shared models are behind.

    Parameters
    ----------
    plan
        Which trials.
    bound
        By the position of the forget set, every service bound to it.
    engine, progress
        As for :func:`audit.gathering.at_once.gather`.

    Returns
    -------
    engine
        Gives what was drawn.
    fits
        The fitted attacks of a forget set.

    Notes
    -----
    Held at once are the releases of all forget sets that fit, the attacks that are fitted on them, and scores.
    """
    contrasts = {i: contrasts_of(plan, i, row) for i, row in bound.items()}
    fitting = draw_ahead(plan, list(contrasts.values()), None, engine=engine, progress=progress)
    fitted = {
        i: fit(
            retrained_sample(plan, i, row[0].deletion),
            contrasts[i],
            plan,
            engine=fitting,
            progress=shown_progress(progress, i, len(plan.forget)),
        )
        for i, row in bound.items()
    }
    prepared = [fitted[i].prepared for i in bound]
    counted = draw_ahead(plan, list(contrasts.values()), prepared, engine=engine, progress=progress)
    return counted, lambda index, _: fitted[index]


def shown_progress(progress: Progress | None, record: int, n_records: int) -> Progress | None:
    """Return what shows the phases of one forget set."""
    if progress is None:
        return None
    return lambda phase, done, total: progress(set_phase(record + 1, n_records, phase), done, total)
