"""What repeated models mean: is a learned model a function of data and random stream alone, or was it kept?

In the flow: asked by :mod:`audit.controls.models`, after scoring and only where trainings gave equal models. A dozen
trainings on data that no trial has learned from.
"""

from __future__ import annotations

import math
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from audit.controls.replay import WORLDS, alike
from audit.trials.chunks import Stream, make_generator
from audit.trials.engines import worker_limits
from audit.trials.workers.fresh import Unasked, copy_of, in_fresh_process
from mechanisms.errors import NotApplicableError, UnlearnAuditError
from mechanisms.protocol import Deletion, HasModels, World

Array = NDArray[np.float64]
# Position in the key of a random stream, after the forget set: 0 and 1 are the worlds, 2 compares services.
_LEARNING = 3
# One training here and one in a fresh process order their sums differently; other randomness is off by far more.
_LAST_DIGITS = 1e-9
# Features times 1 + this: a few units in the last place of float64. Three, for a training that stops by a criterion may
# take one step more for one of them.
_ROUNDINGS = (2.0**-51, 2.0**-50, 2.0**-49)
# What ill-conditioned training makes of such a rounding, as a share of the largest number of the model.
_AFTER_ROUNDING = 1e-6
# The same for what computes in float32, on which the roundings above are lost.
_COARSE, _AFTER_COARSE = 2.0**-21, 1e-3
# Most trainings on half of the records, to see whether learning has few outcomes there too.
_MAX_ELSEWHERE = 60


class Learning(Enum):
    """Whether a learned model is a function of the data and the random stream alone, as far as was seen."""

    OF_ITS_STREAM = "of its stream"
    KEEPS_MODELS = "keeps models"
    UNKNOWN = "unknown"


class _Nudged(Enum):
    """What becomes of a model when its data move by a rounding, and its random stream stays."""

    ALIKE = "moves as little"
    UNLIKE = "is another"
    SAME = "does not move"
    UNCLEAR = "moves, in single precision, or has no data that can be moved"
    FAILED = "is not learned"


def learning_of(deletion: Deletion, models: int, *, seed: int, record: int) -> Learning:
    """Learn on data that no trial has, to see what repeated models come from.

    Parameters
    ----------
    deletion
        A copy of it learns.
    models
        Distinct models, in the world that has more of them.
    seed, record
        Of the plan, and the position of the forget set.

    Notes
    -----
    On data that are moved by a rounding, training gives nearly the same model from the same stream. A store of models
    has none for such data, wherever it lies and whoever filled it: a cache must train anew, by other random numbers. A
    store that goes by the number of records or the name of a world answers as before; so does training that rounds its
    data. These learn on half of the records: in a fresh process from one stream, and here from another before the same,
    and all over again, which must agree; and models that never repeat there show that repeats elsewhere were no law.
    """
    copied = copy_of(deletion)
    subject = deletion if isinstance(copied, Unasked) else copied
    if not isinstance(subject, HasModels):
        return Learning.UNKNOWN
    nudged = [_nudged(subject, world, seed, record) for world in WORLDS]
    if _Nudged.UNLIKE in nudged:
        return Learning.KEEPS_MODELS
    if all(outcome is _Nudged.ALIKE for outcome in nudged):
        return Learning.OF_ITS_STREAM
    return _elsewhere(subject, models, nudged, seed=seed, record=record)


def _nudged(subject: HasModels, world: World, seed: int, record: int) -> _Nudged:
    """Learn from one stream, on a world's data and on roundings of them."""

    def numbers(nudge: float) -> Array | None:
        return _numbers(subject, world, _stream(seed, record, 0), nudge)

    original = numbers(0.0)
    try:
        moved = [numbers(nudge) for nudge in _ROUNDINGS]
    except NotApplicableError:
        return _Nudged.UNCLEAR
    if original is None or any(each is None for each in moved):
        return _Nudged.FAILED
    known = [each for each in moved if each is not None]
    if any(not np.array_equal(each, original) for each in known):
        near = any(alike(original, each, _AFTER_ROUNDING) for each in known)
        return _Nudged.ALIKE if near else _Nudged.UNLIKE
    coarse = numbers(_COARSE)
    if coarse is None:
        return _Nudged.FAILED
    if np.array_equal(original, coarse):
        return _Nudged.SAME
    return _Nudged.ALIKE if alike(original, coarse, _AFTER_COARSE) else _Nudged.UNCLEAR


def _elsewhere(subject: HasModels, models: int, nudged: list[_Nudged], *, seed: int, record: int) -> Learning:
    """Learn on half of the records, which tells whoever goes by their number."""
    asked = in_fresh_process(_half_and_all, subject, seed, record)
    if isinstance(asked, Unasked):
        return Learning.UNKNOWN
    fresh, retained = asked
    if fresh is None:
        # Half of the records may be too few; where roundings of all are too much as well, models are looked up.
        looked_up = all(outcome in (_Nudged.SAME, _Nudged.FAILED) for outcome in nudged)
        return Learning.KEEPS_MODELS if looked_up else Learning.UNKNOWN
    if retained is not None and alike(fresh, retained, _LAST_DIGITS):
        return Learning.UNKNOWN
    n = min(_MAX_ELSEWHERE, 2 if models == 1 else 2 + math.ceil(6 * math.sqrt(models)))
    # Then all over again, when a pool that trains until it is full has been filled.
    found = [_numbers(subject, None, _stream(seed, record, which)) for which in (*range(n), *range(n))]
    known = [each for each in found if each is not None]
    if len(known) < len(found):
        return Learning.UNKNOWN
    first, again = known[:n], known[n:]
    if not alike(first[1], fresh, _LAST_DIGITS) or any(map(_differ, first, again)):
        return Learning.KEEPS_MODELS
    distinct = len({each.tobytes() for each in first})
    # With as few outcomes as in the trials, n trainings without a repeat have a probability below exp(-n^2 / 2 models).
    return Learning.KEEPS_MODELS if distinct == n and _Nudged.SAME in nudged else Learning.OF_ITS_STREAM


def _half_and_all(subject: HasModels, seed: int, record: int) -> tuple[Array | None, Array | None]:
    """Learn on half of the retained records and on all of them, from one stream; runs in a fresh process."""
    half, retained = (_numbers(subject, world, _stream(seed, record, 1)) for world in (None, World.RETRAINED))
    return half, retained


def _differ(first: Array, again: Array) -> bool:
    return not np.array_equal(first, again)


def _stream(seed: int, record: int, which: int) -> np.random.Generator:
    return make_generator(seed, Stream.REPLAY, record, _LEARNING, which)


def _numbers(subject: HasModels, world: World | None, rng: np.random.Generator, nudge: float = 0.0) -> Array | None:
    with worker_limits():
        try:
            return subject.learned(world, rng=rng, nudge=nudge)
        except NotApplicableError:
            raise
        except UnlearnAuditError:
            # Too few records, values that were checked, or a model that holds no numbers.
            return None
