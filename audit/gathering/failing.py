"""Chunks that failed: what is kept of each, and when nothing is left to go on with.

In the flow: between the engine and what gathers, which counts the trials of such a chunk against refuting.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from audit.trials.chunks import ChunkTask, trial_error
from audit.trials.failed_chunks import FailedChunk
from audit.trials.workers.pool import Failure
from mechanisms.protocol import Deletion

Array = NDArray[np.float64]


def failed_chunk(task: ChunkTask, failure: Failure) -> FailedChunk:
    """Return a chunk that failed as data."""
    return FailedChunk(
        stream=task.source.stream.name.lower(),
        world=task.source.world,
        chunk=task.chunk,
        seed=task.seed,
        n=task.n,
        message=str(trial_error(task, failure)),
        traceback=failure.traceback,
    )


def no_releases(deletion: Deletion) -> Array:
    """Return the releases of a chunk that failed."""
    return np.empty((0, *deletion.release.shape))


def check_some_succeeded(tasks: Sequence[ChunkTask], failures: Iterable[tuple[ChunkTask, Failure]]) -> None:
    """Refuse to go on with a world of which every chunk failed.

    Parameters
    ----------
    tasks
        All chunks that were drawn for one purpose.
    failures
        Those that failed.

    Raises
    ------
    TrialError
        The first failure, when there is no chunk without one.
    """
    failed = sorted(failures, key=lambda each: each[0].chunk)
    if tasks and len(failed) == len(tasks):
        raise trial_error(*failed[0])
