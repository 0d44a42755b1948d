"""Releases of one deletion, trial by trial, from learned models that other deletions are served from as well.

In the flow: with ``share_learned`` the worlds that learn all records are drawn here, each trial from two random streams
of its own: one learns model t, the same for every forget set, and one unlearns it, for this forget set alone.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.errors import TrialError
from mechanisms.adapters.models import OpaqueModelError, fingerprint
from mechanisms.claim import Reference
from mechanisms.protocol import HasData, HasModels, HasStages, LearnedModels, ReleaseSpec, ShowsLearned, World
from mechanisms.reading.records import RecordSet

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class TrialStreams:
    """The two generators of one trial: what learns its model, and what unlearns it."""

    learning: np.random.Generator
    unlearning: np.random.Generator


@dataclass(frozen=True, kw_only=True, eq=False)
class LearnedOnce:
    """A deletion of which the worlds that learn all records are drawn trial by trial.

    Parameters
    ----------
    bound
        The deletion, with its stages.
    data, retained, deleted
        All records, those that stay, and those that are deleted.
    """

    bound: HasStages
    data: RecordSet
    retained: RecordSet
    deleted: RecordSet

    @property
    def release(self) -> ReleaseSpec:
        """Shape and kind of one release."""
        return self.bound.release

    @property
    def reference(self) -> Reference:
        """The reference world."""
        return self.bound.reference

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        """Return n releases of the unlearned or the neglected world that share no model with another deletion's."""
        return np.concatenate([self.served(self.learned(rng), world, rng) for _ in range(n)])

    def changed_data(self) -> tuple[str, ...]:
        """Return which arrays are no longer what they were when the deletion was bound, in words."""
        return self.bound.changed_data() if isinstance(self.bound, HasData) else ()

    def learned(self, rng: np.random.Generator) -> Any:
        """Return one model of all records, in the form that the stages hold models in."""
        return self.bound.learn(self.data, 1, rng)

    def served(self, models: Any, world: World, rng: np.random.Generator) -> Array:
        """Return the release of one learned model after unlearning, shape (1, *release.shape).

        Raises
        ------
        TrialError
            When unlearning changed the model that it was given, from which other deletions are served.
        """
        before = print_of(models)
        nothing = self.data.take(())
        kept, request = (self.data, nothing) if world is World.NEGLECTED else (self.retained, self.deleted)
        releases = self.bound.released(self.bound.unlearn(models, kept, request, rng))
        if before is not None and print_of(models) != before:
            raise TrialError(
                "unlearn changed the learned model that it was given, from which other forget sets are served too "
                "(share_learned): let it work on a copy"
            )
        return releases

    def seen_before(self, models: Any) -> Array | None:
        """Return the release of a learned model, which stays as it is; ``None`` where it has none, or nobody asks.

        A copy is looked at: to observe a model may change it.
        """
        if not shows_learned(self.bound):
            return None
        try:
            return self.bound.released(copy.deepcopy(models))
        except Exception:
            return None

    def drawn(
        self, world: World, streams: Sequence[TrialStreams], shows: int = 0
    ) -> tuple[Array, LearnedModels | None]:
        """Return the release of each trial, and what the deletion shows of its models, so many as they were learned."""
        releases, prints, before = [], [], list[Array | None]()
        for stream in streams:
            models = self.learned(stream.learning)
            prints.append(print_of(models))
            if len(before) < shows:
                before.append(self.seen_before(models))
            releases.append(self.served(models, world, stream.unlearning))
        return np.concatenate(releases), self.shown(prints, before)

    def shown(self, prints: Sequence[int | None], before: Sequence[Array | None] = ()) -> LearnedModels | None:
        """Return what an audit is told of the learned models of some trials, the leading ones as they were learned."""
        if not isinstance(self.bound, HasModels):
            return None
        seen = [each for each in before if each is not None]
        released = np.concatenate(seen) if seen and len(seen) == len(before) else None
        known = [each for each in prints if each is not None]
        if len(known) < len(prints):
            return LearnedModels(prints=None, opaque="learned models cannot be taken apart", released=released)
        return LearnedModels(prints=np.array(known, dtype=np.uint64), released=released)


def shows_learned(deletion: object) -> bool:
    """Return whether a control looks at a deletion's models before unlearning: its reference world unlearns too."""
    return isinstance(deletion, ShowsLearned) and getattr(deletion, "reference", None) is not Reference.RETRAIN_ONLY


def print_of(models: Any) -> int | None:
    """Return 64 bits of a model, ``None`` where it cannot be taken apart."""
    try:
        return fingerprint(models)
    except OpaqueModelError:
        return None
