"""What is seen of trials besides their releases: equal ones, the models they came from, and data that were changed.

In the flow: workers watch each chunk that they draw; the chunks of a world are put together here, and
:mod:`audit.controls` makes controls of what was seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from audit.trials.independence import Prints, n_distinct, n_repeated
from mechanisms.protocol import World

Array = NDArray[np.float64]
# Pairs of a model before and after unlearning nothing, and models of each kind that say where the deletion points: what
# the control of the reference world needs.
N_PAIRS, N_MODELS = 50, 25
SHOWN = {World.RETRAINED: N_PAIRS + N_MODELS, World.UNLEARNED: N_MODELS}


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """Models of the leading trials of a chunk before and after unlearning, shape (n, *release.shape) each."""

    chunk: int
    before: Array
    after: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class Watched:
    """What was seen of one chunk.

    Parameters
    ----------
    releases
        64 bits for each release, by which equal ones are found.
    models
        64 bits for each learned model; ``None`` where the mechanism shows none, or none that can be told apart.
    opaque
        Why models cannot be told apart; empty where the mechanism shows none.
    changed
        Arrays of the data that are no longer what they were, in words.
    shown
        Models before and after unlearning, where the chunk's task asks for them; never stored.
    """

    releases: Prints
    models: Prints | None = None
    opaque: str = ""
    changed: tuple[str, ...] = ()
    shown: Shown | None = None


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was seen of all counted trials of one world.

    Parameters
    ----------
    n, repeated
        Releases, and how many of them are equal to an earlier one.
    models
        Distinct learned models among the n trainings; ``None`` where they cannot be told apart.
    opaque
        Why not, if there is a reason.
    changed
        Arrays of the data that were changed, in words.
    shown
        Models before and after unlearning, of each chunk that was asked for them and was drawn, not read from a store.
    """

    n: int = 0
    repeated: int = 0
    models: int | None = None
    opaque: str = ""
    changed: tuple[str, ...] = ()
    shown: tuple[Shown, ...] = field(default=(), compare=False)


def together(chunks: Sequence[Watched]) -> Seen:
    """Return what was seen of all chunks of a world, equal releases and models of different chunks included."""
    # Nothing was seen of chunks that failed.
    chunks = [chunk for chunk in chunks if len(chunk.releases)]
    if not chunks:
        return Seen()
    releases = np.concatenate([chunk.releases for chunk in chunks])
    models = [chunk.models for chunk in chunks if chunk.models is not None]
    return Seen(
        n=len(releases),
        repeated=n_repeated(releases),
        models=n_distinct(np.concatenate(models)) if len(models) == len(chunks) else None,
        opaque=next((chunk.opaque for chunk in chunks if chunk.opaque), ""),
        changed=tuple(dict.fromkeys(what for chunk in chunks for what in chunk.changed)),
        shown=tuple(chunk.shown for chunk in chunks if chunk.shown is not None),
    )
