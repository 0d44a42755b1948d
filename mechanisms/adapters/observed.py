"""A linear mechanism of which an attacker sees outputs only: the same service behind an interface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from mechanisms.claim import Certificate, Provenance, Reference
from mechanisms.dataset import Dataset, matrices
from mechanisms.errors import InvalidInputError
from mechanisms.protocol import (
    Access,
    Deletion,
    HasCertificates,
    HasNotes,
    HasParameters,
    HasStages,
    Mechanism,
    OutputKind,
    Outputs,
    ReleaseSpec,
    World,
)

Array = NDArray[np.float64]
# What is exact of the weights is a rigorous bound on their outputs.
_BOUND: dict[Provenance, Provenance] = {
    "exact": "repaired",
    "repaired": "repaired",
    "published": "published",
    "user": "user",
}


@dataclass(frozen=True, kw_only=True)
class ObservedOutputs:
    """A mechanism that releases linear weights, seen through its outputs at the deleted records and at probe records.

    Its claims stay true: outputs are computed from the weights, and post-processing reveals nothing more (Dwork and
    Roth 2014, Proposition 2.1). They are no longer exact, so that its certificates are restated as upper bounds, and
    its closed-form laws are not granted.

    Parameters
    ----------
    mechanism
        What is observed; its releases have the shape (p, q) of linear weights, or (p,).
    outputs
        "values" or "logits" (what the weights predict), "probabilities" (their softmax) or "labels" (the largest).
    probe
        Records of the data that an attacker asks about besides the deleted ones.
    """

    mechanism: Mechanism
    outputs: OutputKind = "logits"
    probe: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """Short name for reports."""
        return self.mechanism.name

    def notes_on(self, data: Dataset) -> tuple[str, ...]:
        """Return what the mechanism has to say of the data."""
        return self.mechanism.notes_on(data) if isinstance(self.mechanism, HasNotes) else ()

    def bind(self, data: Dataset, forget: tuple[int, ...]) -> ObservedDeletion:
        """Bind the mechanism, and fix what is asked.

        Raises
        ------
        InvalidInputError
            When a release is not linear weights, or a probe record is out of range.
        """
        data = matrices(data, self.name)
        deletion = self.mechanism.bind(data, forget)
        shape, p = deletion.release.shape, data.features.shape[1]
        if deletion.release.access is not Access.WHITE_BOX or shape[:1] != (p,) or len(shape) > 2:
            raise InvalidInputError(
                field="access",
                expected=f"white_box for a mechanism that releases no linear weights ({p}, columns)",
                got=f"black_box with releases of shape {shape}",
                fix="leave access out, or choose another mechanism",
            )
        bad = [i for i in self.probe if not 0 <= i < data.n_records]
        if bad:
            raise InvalidInputError(
                field="probe.records",
                expected=f"indices in [0, {data.n_records - 1}]",
                got=bad[0],
                fix="count records from 0 after the choice of rows",
            )
        records = (*forget, *(i for i in self.probe if i not in forget))
        columns = shape[1] if len(shape) == 2 else 1
        release = ReleaseSpec(
            shape=(len(records), 1 if self.outputs == "labels" else columns),
            access=Access.BLACK_BOX,
            continuous=deletion.release.continuous and self.outputs != "labels",
            outputs=Outputs(records=records, kind=self.outputs),
        )
        asked = data.features[list(records)]
        if isinstance(deletion, HasStages):
            return StagedObservedDeletion(observed=deletion, asked=asked, release=release, stages=deletion)
        return ObservedDeletion(observed=deletion, asked=asked, release=release)


@dataclass(frozen=True, kw_only=True, eq=False)
class ObservedDeletion:
    """One deletion of :class:`ObservedOutputs`; it grants no law."""

    observed: Deletion
    asked: Array
    release: ReleaseSpec

    @property
    def reference(self) -> Reference:
        """The reference world."""
        return self.observed.reference

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        """Return n independent releases of a world, shape (n, records, columns)."""
        return self.answered(self.observed.sample(world, n, rng=rng))

    def answered(self, releases: Array) -> Array:
        """Return what an interface answers with from released weights."""
        weights = releases.reshape(len(releases), self.asked.shape[1], -1)
        values = np.asarray(np.einsum("rp,npq->nrq", self.asked, weights, optimize=True))
        kind = self.release.outputs.kind if self.release.outputs else "values"
        if kind == "probabilities":
            both = values if values.shape[2] > 1 else np.concatenate([np.zeros_like(values), values], axis=2)
            return np.asarray(softmax(both, axis=2)[:, :, -values.shape[2] :])
        if kind == "labels":
            winners = values.argmax(axis=2) if values.shape[2] > 1 else values[:, :, 0] > 0
            return np.asarray(winners[:, :, None], dtype=np.float64)
        return values

    def certificates(self) -> tuple[Certificate, ...]:
        """Return the mechanism's certificates, as upper bounds on what outputs reveal."""
        stated = self.observed.certificates() if isinstance(self.observed, HasCertificates) else ()
        return tuple(replace(c, claim=replace(c.claim, provenance=_BOUND[c.claim.provenance])) for c in stated)

    def parameters(self) -> Mapping[str, int | float | str]:
        """Return the public hyper-parameters."""
        return self.observed.parameters() if isinstance(self.observed, HasParameters) else {}


@dataclass(frozen=True, kw_only=True, eq=False)
class StagedObservedDeletion(ObservedDeletion):
    """One deletion of :class:`ObservedOutputs` whose mechanism has stages."""

    stages: HasStages

    @property
    def at_once(self) -> int:
        """How many models go through the stages together."""
        return self.stages.at_once

    def learn(self, records: Dataset, n: int, rng: np.random.Generator) -> Any:
        """Return n models of these records."""
        return self.stages.learn(records, n, rng)

    def unlearn(self, models: Any, retained: Dataset, request: Dataset, rng: np.random.Generator) -> Any:
        """Return the models without the requested records."""
        return self.stages.unlearn(models, retained, request, rng)

    def released(self, models: Any) -> Array:
        """Return the outputs, shape (n, records, columns)."""
        return self.answered(self.stages.released(models))
