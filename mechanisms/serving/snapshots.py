"""Show a mechanism by both of its models: the one before the deletion and the one after it.

In the flow: plans with ``access = "transcript"`` audit a mechanism that is wrapped here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mechanisms.claim import Certificate, EpsilonDelta, Reference
from mechanisms.errors import InvalidInputError, require
from mechanisms.protocol import Access, GaussianLaw, HasStages, Mechanism, ReleaseSpec, World
from mechanisms.reading.records import RecordSet

Array = NDArray[np.float64]
BOTH_SEEN = (
    "The models before and after the deletion are seen, against a world in which the records were never there: "
    "unlearning is the same random map of the first model in both worlds, so that the second one tells nothing more."
)


@dataclass(frozen=True, kw_only=True)
class BothSnapshots:
    """A mechanism whose releases are the models before and after the deletion, in a world where it was never there.

    Parameters
    ----------
    mechanism
        What is shown. Its deletions have stages (:class:`mechanisms.HasStages`), and releases are parameters.

    Notes
    -----
    The reference world learns without the records, and its two models are what it learned and what the unlearning steps
    make of that. Certificates are those of the learning noise alone (``epsilon_without_unlearning``): exact for this
    observer where unlearning does not look at what is deleted.
    """

    mechanism: Mechanism

    @property
    def name(self) -> str:
        """Name of the mechanism."""
        return self.mechanism.name

    @property
    def reference(self) -> Reference:
        """The reference world."""
        return getattr(self.mechanism, "reference", Reference.RETRAIN_THEN_UNLEARN)

    def bind(self, data: RecordSet, forget: tuple[int, ...]) -> SnapshotsDeletion:
        """Bind the mechanism.

        Raises
        ------
        InvalidInputError
            For a deletion without stages or parameters to show, or plain retraining as its reference: that world has
            no second model.
        """
        bound: Any = self.mechanism.bind(data, forget)
        if not isinstance(bound, HasStages) or bound.release.access is not Access.WHITE_BOX or bound.release.axes:
            raise InvalidInputError(
                field="access",
                expected="white_box or black_box for a mechanism that does not show models before and after",
                got="transcript",
                fix='leave access out, or take a sampler that learns models (sampler = "stepwise")',
            )
        require(
            bound.reference is Reference.RETRAIN_THEN_UNLEARN,
            "reference",
            expected='"retrain_then_unlearn" where both models are seen',
            got=bound.reference.value,
            fix="plain retraining has no second model",
        )
        release = ReleaseSpec(
            shape=(2, *bound.release.shape), access=Access.TRANSCRIPT, continuous=bound.release.continuous
        )
        knows_law = hasattr(bound, "law_of_both") and bound.law_of_both(World.UNLEARNED) is not None
        kind = LawfulSnapshots if knows_law else SnapshotsDeletion
        return kind(bound=bound, data=data, forget=tuple(forget), release=release)


@dataclass(frozen=True, kw_only=True, eq=False)
class SnapshotsDeletion:
    """One deletion, seen before and after; build it with ``BothSnapshots.bind``."""

    bound: Any
    data: RecordSet
    forget: tuple[int, ...]
    release: ReleaseSpec

    @property
    def reference(self) -> Reference:
        """The reference world."""
        return Reference.RETRAIN_THEN_UNLEARN

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        """Return n independent pairs of models of a world, shape (n, 2, *shape of a model)."""
        retained, nothing = self.data.without(self.forget), self.data.take(())
        learned_on = retained if world is World.RETRAINED else self.data
        kept = self.data if world is World.NEGLECTED else retained
        request = self.data.take(self.forget) if world is World.UNLEARNED else nothing
        pairs = []
        for start in range(0, n, self.bound.at_once):
            models = self.bound.learn(learned_on, min(self.bound.at_once, n - start), rng)
            after = self.bound.unlearn(models, kept, request, rng)
            pairs.append(np.stack([self.bound.released(models), self.bound.released(after)], axis=1))
        return np.concatenate(pairs)

    def parameters(self) -> Mapping[str, int | float | str]:
        """Return the public hyper-parameters of the mechanism."""
        return self.bound.parameters() if hasattr(self.bound, "parameters") else {}

    def certificates(self) -> tuple[Certificate, ...]:
        """Return what the mechanism's certificates say of this observer: epsilon of the learning noise alone."""
        stated = self.bound.certificates() if hasattr(self.bound, "certificates") else ()
        return tuple(_for_both(c) for c in stated if c.epsilon_of_both_models is not None)


@dataclass(frozen=True, kw_only=True, eq=False)
class LawfulSnapshots(SnapshotsDeletion):
    """One deletion, seen before and after, where both models together have a Gaussian law."""

    def law(self, world: World) -> GaussianLaw:
        """Return the law of the model before and the one after it, one above the other, shape (2p, q)."""
        law: GaussianLaw = self.bound.law_of_both(world)
        return law


def _for_both(certificate: Certificate) -> Certificate:
    epsilon = certificate.epsilon_without_unlearning or 0.0
    claim = replace(
        certificate.claim,
        guarantee=EpsilonDelta(epsilon=epsilon, delta=certificate.delta),
        assumptions=(*certificate.claim.assumptions[:1], BOTH_SEEN),
    )
    return replace(certificate, claim=claim, epsilon=epsilon)
