"""Draw one chunk in a process of its own, once, and show where it is when it ends its process or hangs.

In the flow: :mod:`audit.running.replaying` asks for a chunk of a stored run.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from attacks.protocol import FittedAttack
from audit.trials.chunks import ChunkTask, ScoredChunk, draw_chunk, draw_watched, score_releases
from audit.trials.engines import worker_limits
from audit.trials.rows import releases_digest
from audit.trials.workers.handing_out import HandingOut
from audit.trials.workers.pool import Failure
from mechanisms.protocol import Deletion

# Share of a limit after which a process that is still at work shows where.
_NEARLY = 0.9


@dataclass(frozen=True, kw_only=True, eq=False)
class Alone:
    """What a chunk gave.

    Parameters
    ----------
    scored
        Scores and what was watched; ``None`` for a chunk that only fits, or failed.
    releases_sha256
        Digest of its releases; empty where it failed.
    failure
        Why it gave nothing.
    """

    scored: ScoredChunk | None = None
    releases_sha256: str = ""
    failure: Failure | None = None

    @property
    def lost(self) -> bool:
        """Whether it ended its process, or was given up."""
        return self.failure is not None and self.failure.error is None and not self.failure.traceback


def drawn_alone(
    deletion: Deletion, attacks: Mapping[Any, FittedAttack], task: ChunkTask, *, fits: bool, trial_timeout: float | None
) -> Alone:
    """Return what a chunk gives in a process of its own, at the first try.

    Parameters
    ----------
    deletion, attacks, task
        As for :func:`audit.trials.chunks.score_chunk`.
    fits
        Whether only its releases were asked for, as of chunks that attacks are fitted on.
    trial_timeout
        Seconds that a trial may take; ``None`` for as long as it takes.

    Raises
    ------
    TrialError
        When the arguments cannot be sent to another process.
    """
    limit = None if trial_timeout is None else trial_timeout * task.n
    calls = [(deletion, attacks, task, fits, limit)]
    ((_, found),) = HandingOut(_drawn, calls, n_workers=1, limits=[limit], tries=1).outcomes()
    return Alone(failure=found) if isinstance(found, Failure) else found


def _drawn(
    deletion: Deletion, attacks: Mapping[Any, FittedAttack], task: ChunkTask, fits: bool, limit: float | None
) -> Alone:
    """Draw a chunk as it was drawn; runs in a worker."""
    with _shown(limit):
        if fits:
            return Alone(releases_sha256=releases_digest(draw_chunk(deletion, task)))
        with worker_limits():
            releases, watched = draw_watched(deletion, task)
            return Alone(scored=score_releases(releases, watched, attacks), releases_sha256=releases_digest(releases))


@contextlib.contextmanager
def _shown(limit: float | None) -> Iterator[None]:
    """Print the stack of a process that crashes, exits, or has nearly used up its time."""
    usual = os._exit

    def told(code: int) -> NoReturn:
        print(f"os._exit({code}) was called here:", file=sys.stderr)
        traceback.print_stack(file=sys.stderr)
        sys.stderr.flush()
        usual(code)

    has_stream = sys.stderr is not None
    if has_stream:
        os._exit = told  # type: ignore[assignment]
        with contextlib.suppress(OSError, ValueError, AttributeError):
            faulthandler.enable()
            if limit is not None:
                faulthandler.dump_traceback_later(_NEARLY * limit)
    try:
        yield
    finally:
        os._exit = usual
        if has_stream:
            faulthandler.cancel_dump_traceback_later()
            faulthandler.disable()
