"""The small problem that faults of a certified network are audited on: a canary with a feature of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mechanisms.accounting.clipped_learning import filtered_mu
from mechanisms.claim import Certificate, Reference
from mechanisms.dataset import Dataset, from_arrays
from mechanisms.faulty.deletion import FaultyDeletion
from mechanisms.faulty.network_service import NetworkPhase, NetworkRun, NetworkService, gradients
from mechanisms.faulty.problems import BoundFault
from mechanisms.networks.certificates import gaussian_certificate
from mechanisms.protocol import ReleaseSpec

Array = NDArray[np.float64]
# "none": all records take part; "canary": the canary may spend a hundredth of its first step; "others": these may take
# one step, and the canary all.
Filter = Literal["none", "canary", "others"]
_N, _P, _Q, _HIDDEN = 10, 4, 2, 2
_STEP, _CLIP = 0.2, 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class CertifiedNetwork:
    """What the service claims to be: learning within budgets that hides each record by its noise."""

    mu: float
    release: ReleaseSpec
    stated: Mapping[str, int | float | str]
    reference: Reference = Reference.RETRAIN_THEN_UNLEARN
    delta: float = 0.01

    def certificates(self) -> tuple[Certificate, ...]:
        """Return the certificate of the canary."""
        return (gaussian_certificate(self.mu, of=self, method="individual", assumptions=()),)

    def parameters(self) -> Mapping[str, int | float | str]:
        """Return the public hyper-parameters."""
        return self.stated


@dataclass(frozen=True, kw_only=True)
class NetworkProblem:
    """A network of 14 weights on 10 records, from a public start; the canary alone has the last feature.

    Its gradients are clipped and keep their direction, so that the released weights show nearly all that is certified:
    random starts would hide it.
    """

    edit: Callable[[NetworkService], NetworkService]
    mu: float = 0.5
    n_learn: int = 4
    n_unlearn: int = 2
    keeping: Filter = "none"

    def bind(self) -> BoundFault:
        """Return the faulty service, bound."""
        rng = np.random.default_rng(14)
        features = np.zeros((_N, _P))
        features[:, : _P - 1] = rng.normal(size=(_N, _P - 1)) / 2
        features[0] = [0, 0, 0, 6]
        start = rng.normal(size=(_P, _HIDDEN)) / 2, rng.normal(size=(_HIDDEN + 1, _Q)) / math.sqrt(2)
        # Both units see the canary, and what they say of it is wrong.
        start[0][-1] = np.abs(start[0][-1])
        labels = rng.integers(0, _Q, _N)
        labels[0] = int(np.argmin(np.append(features[0] @ start[0], 1.0) @ start[1]))
        data = from_arrays(features, labels, name="seeded classes", kind="classification", intercept=False)
        sigma = _STEP * _CLIP * math.sqrt(self.n_learn) / (_N * self.mu)
        budgets = self._budgets(data, start)
        mu = filtered_mu([budgets[0]], step_size=_STEP, divisor=_N, sigma=sigma)
        claimed = CertifiedNetwork(
            mu=mu,
            release=ReleaseSpec(shape=(sum(part.size for part in start), 1)),
            stated={"step_size": _STEP, "clip_norm": _CLIP, "n_learn": self.n_learn, "sigma_learn": sigma},
        )
        deletion = FaultyDeletion(claimed=claimed, service=self.edit(self._service(data, start, sigma, budgets)))
        return BoundFault(
            mechanism="network_langevin",
            data=data,
            forget=(0,),
            deletion=deletion,
            claim=claimed.certificates()[0].claim,
        )

    def _budgets(self, data: Dataset, start: tuple[Array, Array]) -> Array:
        """Return every record's budget; all that there is where nobody keeps to one."""
        budgets = np.full(_N, self.n_learn * _CLIP**2)
        squared = gradients(start[0][None], start[1][None], data.features, data.targets)[2][0]
        first_step = np.minimum(squared, _CLIP**2)
        if self.keeping == "canary":
            budgets[0] = first_step[0] / 100
        elif self.keeping == "others":
            budgets[1:] = first_step[1:]
        return budgets

    def _service(self, data: Dataset, start: tuple[Array, Array], sigma: float, budgets: Array) -> NetworkService:
        phase = NetworkPhase(
            features=data.features,
            targets=data.targets,
            n_steps=self.n_learn,
            step_size=_STEP,
            divisor=_N,
            clip_norm=_CLIP,
            sigma=sigma,
            budgets=None if self.keeping == "none" else budgets,
        )
        without: dict[str, Any] = {
            "features": data.features[1:],
            "targets": data.targets[1:],
            "budgets": None if phase.budgets is None else budgets[1:],
        }
        unlearning: dict[str, Any] = {"n_steps": self.n_unlearn, "sigma": 0.0, "budgets": None}
        retained = replace(phase, **without)
        served = replace(retained, **unlearning)
        return NetworkService(
            unlearned=NetworkRun(phases=(phase, served), start=start),
            retrained=NetworkRun(phases=(retained, served), start=start),
            neglected=NetworkRun(phases=(phase, replace(phase, **unlearning)), start=start),
        )
