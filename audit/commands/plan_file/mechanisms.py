"""The tables ``[mechanism]`` of a plan file, one class a mechanism."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from audit.commands.plan_file.fields import (
    AtLeastOne,
    AtLeastZero,
    NonNegative,
    Positive,
    Probability,
    ReferenceName,
    Section,
)
from mechanisms.claim import Reference
from mechanisms.logistic.langevin import CalibratedLogisticNoise, LogisticLangevin
from mechanisms.networks.fine_tuning import NoisyFineTuning
from mechanisms.networks.individual import IndividualFilter
from mechanisms.networks.langevin import NetworkLangevin
from mechanisms.perturbation.newton_removal import NewtonRemoval
from mechanisms.ridge.downdate import ExactDowndate
from mechanisms.ridge.langevin import CalibratedNoise, RidgeLangevin
from mechanisms.ridge.minibatches import RidgeMinibatch


class CalibrateSection(Section):
    """``sigma_unlearn = { calibrate = ... }``."""

    calibrate: Literal["exact", "published", "repaired", "uniform"]
    epsilon: Positive
    delta: Probability = 1e-5
    grid_ratio: Annotated[float, Field(gt=1)] | None = None


class RidgeLangevinSection(Section):
    """``[mechanism]`` with ``name = "ridge_langevin"``."""

    name: Literal["ridge_langevin"]
    penalty: Positive = 1.0
    n_learn: AtLeastOne = 300
    n_unlearn: AtLeastZero = 100
    sigma_learn: NonNegative = 0.001
    sigma_unlearn: NonNegative | CalibrateSection
    step_size: Positive | None = None
    reference: ReferenceName = "retrain_then_unlearn"
    sampler: Literal["stepwise", "closed_form"] = "stepwise"
    delta: Probability = 1e-5

    def build(self) -> RidgeLangevin:
        """Return the mechanism."""
        fields = self.model_dump(exclude={"name", "sigma_unlearn", "reference"})
        return RidgeLangevin(**fields, sigma_unlearn=_noise(self.sigma_unlearn), reference=Reference(self.reference))


class CalibrateMinibatchSection(Section):
    """``sigma_unlearn = { calibrate = "exact", ... }`` with minibatches."""

    calibrate: Literal["exact"]
    epsilon: Positive
    delta: Probability = 1e-5
    grid_ratio: Annotated[float, Field(gt=1)] | None = None


class RidgeMinibatchSection(Section):
    """``[mechanism]`` with ``name = "ridge_minibatch"``."""

    name: Literal["ridge_minibatch"]
    batch: AtLeastOne
    schedule: AtLeastZero = 0
    penalty: Positive = 1.0
    n_learn: AtLeastOne = 300
    n_unlearn: AtLeastZero = 100
    sigma_learn: NonNegative = 0.001
    sigma_unlearn: NonNegative | CalibrateMinibatchSection
    step_size: Positive | None = None
    delta: Probability = 1e-5

    def build(self) -> RidgeMinibatch:
        """Return the mechanism."""
        fields = self.model_dump(exclude={"name", "sigma_unlearn"})
        return RidgeMinibatch(**fields, sigma_unlearn=_noise(self.sigma_unlearn))


def _noise(stated: float | CalibrateSection | CalibrateMinibatchSection) -> float | CalibratedNoise:
    """Return the noise of ridge regression that a plan states, or the target that it is calibrated to."""
    return (
        stated
        if isinstance(stated, float)
        else CalibratedNoise(
            route=stated.calibrate, epsilon=stated.epsilon, delta=stated.delta, grid_ratio=stated.grid_ratio
        )
    )


class CalibrateLogisticSection(Section):
    """``sigma_unlearn = { calibrate = ... }`` of logistic regression."""

    calibrate: Literal["probable", "sure", "uniform"]
    epsilon: Positive
    delta: Probability = 1e-5
    grid_ratio: Annotated[float, Field(gt=1)] | None = None


class LogisticLangevinSection(Section):
    """``[mechanism]`` with ``name = "logistic_langevin"``."""

    name: Literal["logistic_langevin"]
    penalty: Positive = 10.0
    n_learn: AtLeastOne = 100
    n_unlearn: AtLeastZero = 100
    sigma_learn: NonNegative = 0.003
    sigma_unlearn: NonNegative | CalibrateLogisticSection
    step_size: Positive | None = None
    reference: ReferenceName = "retrain_then_unlearn"
    delta: Probability = 1e-5

    def build(self) -> LogisticLangevin:
        """Return the mechanism."""
        sigma = self.sigma_unlearn
        if isinstance(sigma, CalibrateLogisticSection):
            noise: float | CalibratedLogisticNoise = CalibratedLogisticNoise(
                route=sigma.calibrate, epsilon=sigma.epsilon, delta=sigma.delta, grid_ratio=sigma.grid_ratio
            )
        else:
            noise = sigma
        fields = self.model_dump(exclude={"name", "sigma_unlearn", "reference"})
        return LogisticLangevin(**fields, sigma_unlearn=noise, reference=Reference(self.reference))


class ExactDowndateSection(Section):
    """``[mechanism]`` with ``name = "exact_downdate"``."""

    name: Literal["exact_downdate"]
    penalty: Positive = 1.0
    decimals: Annotated[int, Field(ge=0, le=12)] = 8

    def build(self) -> ExactDowndate:
        """Return the mechanism."""
        return ExactDowndate(penalty=self.penalty, decimals=self.decimals)


class IndividualSection(Section):
    """``individual = { ... }``."""

    margin: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.3
    pilot_seed: AtLeastZero = 0
    target: Positive | None = None
    carried: bool = False


class FineTuningSection(Section):
    """``fine_tuning = { ... }``."""

    start_norm: Positive
    gradient_norm: Positive | None = None
    step_size: Positive = 0.1
    penalty: NonNegative = 0.0
    n_clean: AtLeastZero = 0


class NetworkLangevinSection(Section):
    """``[mechanism]`` with ``name = "network_langevin"``."""

    name: Literal["network_langevin"]
    hidden: AtLeastOne = 16
    n_learn: AtLeastOne = 200
    n_unlearn: AtLeastZero = 50
    step_size: Positive = 2.0
    clip_norm: Positive = 1.0
    sigma_learn: NonNegative = 0.0
    sigma_unlearn: NonNegative = 0.02
    n_probe: AtLeastZero = 4
    reference: ReferenceName = "retrain_then_unlearn"
    delta: Probability = 1e-5
    start_seed: AtLeastZero | None = None
    individual: IndividualSection | None = None
    fine_tuning: FineTuningSection | None = None

    @property
    def penalty(self) -> float:
        """Penalty of the ridge fit that ranks records by difficulty: a network has no leverages."""
        return 1.0

    def build(self) -> NetworkLangevin:
        """Return the mechanism."""
        fields = self.model_dump(exclude={"name", "reference", "individual", "fine_tuning"})
        return NetworkLangevin(
            **fields,
            individual=None if self.individual is None else IndividualFilter(**self.individual.model_dump()),
            fine_tuning=None if self.fine_tuning is None else NoisyFineTuning(**self.fine_tuning.model_dump()),
            reference=Reference(self.reference),
        )


class NewtonRemovalSection(Section):
    """``[mechanism]`` with ``name = "newton_removal"``."""

    name: Literal["newton_removal"]
    penalty: Positive = 0.01
    sigma: Positive = 1.0
    epsilon: Positive = 1.0
    delta: Probability = 1e-4
    reference: ReferenceName = "retrain_then_unlearn"

    def build(self) -> NewtonRemoval:
        """Return the mechanism."""
        return NewtonRemoval(**self.model_dump(exclude={"name", "reference"}), reference=Reference(self.reference))


class OwnMechanismSection(Section):
    """What takes the place of ``[mechanism]`` when the mechanism is an object of the user's own."""

    mechanism: Any

    @property
    def penalty(self) -> float:
        """Penalty of the ridge fit that ranks records by difficulty: the object's, if it has one."""
        return float(getattr(self.mechanism, "penalty", 1.0))

    def build(self) -> Any:
        """Return the object."""
        return self.mechanism
