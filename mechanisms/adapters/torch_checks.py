"""Three trainings before an audit: what functions return, whether seeds decide it, and whether they decide anything.

In the flow: :mod:`mechanisms.adapters.torch` asks when it is bound, so that a mistake costs two networks and no audit.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mechanisms.adapters.functions import FunctionsMechanism
from mechanisms.adapters.seeding import words_of
from mechanisms.adapters.stages import FunctionsStages
from mechanisms.adapters.torch_models import Asked, Trained, weights_of
from mechanisms.errors import InvalidInputError, UserFunctionError
from mechanisms.reading.records import RecordSet

Array = NDArray[np.float64]
# Differences of trainings below this share of the largest number may be rounding, and a tolerance may be named.
_MAY_BE_ROUNDING = 1e-2


def columns_of(
    functions: FunctionsMechanism, data: RecordSet, shown: tuple[int, ...], *, sees: str, replay: str | float
) -> int:
    """Return how many numbers a record's answer has, or a network's weights, once trainings were seen to be sound.

    Parameters
    ----------
    functions
        The user's functions; what they observe is of any shape.
    data, shown
        All records, and those that may be deleted.
    sees, replay
        As :func:`~mechanisms.adapters.torch.from_torch` takes them.

    Raises
    ------
    InvalidInputError
        For what a function should not return, for training that its seeds do not decide, and for one that no seed
        changes.
    UserFunctionError
        When a function raises.
    """
    stages = functions.bind_pool(data, shown)
    # Labels are too coarse to see by them that two trainings differ.
    observe: Any = replace(stages.observe_fn, sees="logits") if sees == "labels" else stages.observe_fn  # type: ignore[type-var]
    first = _learned(stages, 0)
    found = observe(first, None)
    if sees != "weights":
        _check_answers(first, observe.asked)
    if replay != "off":
        weights = weights_of(first)
        again = _learned(stages, 0)
        if not np.array_equal(weights, weights_of(first)):
            raise InvalidInputError(
                field="what learn returns",
                expected="a network of its own for each call",
                got="the network of the call before, or a part of it, trained further",
                fix="build the network within learn; a part that all share must stay as it is, in evaluation mode",
            )
        _check_alike(found, observe(again, None), replay)
    other = _learned(stages, 1)
    retained, deleted = stages.retained, stages.deleted
    released = [
        observe(_passed(stages.unlearned, model, retained, deleted, np.random.default_rng(i)), None)
        for i, model in enumerate((first, other))
    ]
    if sees != "labels" and np.array_equal(*released):
        raise InvalidInputError(
            field="training",
            expected="to draw its random numbers from the trial",
            got="the same network from two different streams",
            fix="take fixed seeds out of learn and unlearn, such as torch.manual_seed(0): the audit seeds torch, numpy "
            "and random itself. Training without any random number cannot be audited",
        )
    return int(found.shape[-1])


def _learned(stages: FunctionsStages, stream: int) -> Trained:
    # No trial draws from these generators.
    trained: Trained = _passed(stages.learned, stages.data, np.random.default_rng(stream))
    return trained


def _passed(stage: Any, *arguments: Any) -> Any:
    """Run a stage; what was wrong with its return is raised as it is, without the words for a function that raised."""
    try:
        return stage(*arguments)
    except UserFunctionError as error:
        if isinstance(error.__cause__, InvalidInputError):
            raise error.__cause__ from None
        raise


def _check_answers(trained: Trained, asked: Asked) -> None:
    """Refuse answers that are random, and answers that are probabilities already."""
    logits = asked.logits(trained)
    again = asked.logits(replace(trained, words=words_of(np.random.default_rng(1))))
    if asked.ask is None and not np.array_equal(logits, again):
        raise InvalidInputError(
            field="what the network answers",
            expected="the same when it is asked twice",
            got="other answers in evaluation mode",
            fix="give dropout its mode, as F.dropout(x, training=self.training), or, where the service answers at "
            "random, say so by ask=lambda model, items: ...",
        )
    if _are_probabilities(logits):
        raise InvalidInputError(
            field="what the network answers",
            expected="logits",
            got="rows of probabilities, which add up to 1",
            fix='take the softmax out of forward; sees="probabilities" applies it',
        )


def _are_probabilities(rows: Array) -> bool:
    return rows.shape[1] > 1 and bool(np.all(rows >= 0) and np.allclose(rows.sum(axis=1), 1, atol=1e-5))


def _check_alike(first: Array, again: Array, replay: str | float) -> None:
    tolerance = 0.0 if isinstance(replay, str) else replay
    if first.shape == again.shape:
        share = float(np.abs(first - again).max(initial=0.0)) / (float(np.abs(first).max(initial=0.0)) or 1.0)
        if share <= tolerance:
            return
        size = f"differ by up to {share:.1g} of the largest number"
    else:
        share, size = math.inf, f"have shapes {first.shape} and {again.shape}"
    fix = (
        "draw every random number from torch, numpy's global generator, random or generator, which are seeded for each "
        "trial (np.random.default_rng() without a seed is none of them), and keep nothing from one call to the next"
    )
    if share < _MAY_BE_ROUNDING:
        near = 10.0 ** (math.ceil(math.log10(share)) + 1)
        fix += f". Where only digits differ, as with kernels of a GPU, allow that: from_torch(..., replay={near:g})"
    raise InvalidInputError(
        field="training",
        expected="to give one network for one random stream",
        got=f"two networks whose releases {size}",
        fix=fix,
    )
