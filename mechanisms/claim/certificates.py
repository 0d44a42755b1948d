"""A claim together with how it was derived."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mechanisms.claim.claims import Claim, Reference
from mechanisms.claim.guarantees import JSON_CONFIG
from mechanisms.errors import require
from mechanisms.reading.scalars import real_number


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A claim together with how it was derived: an upper bound on epsilon, or its exact value.

    Parameters
    ----------
    claim
        What the certificate promises.
    method
        Name of the route, for example "exact" or "published".
    epsilon, delta
        The headline point, the larger epsilon of the claim's directions at ``delta``.
    numerical_error
        Bound on the relative numerical error of epsilon; the value is already rounded up by more than that.
    epsilon_without_unlearning
        Epsilon at ``delta`` of the learning noise alone, with no unlearning step. A certificate that is hardly
        below this number says nothing about the unlearning. ``None`` where it is not known.
    """

    __pydantic_config__ = JSON_CONFIG
    claim: Claim
    method: str
    epsilon: float
    delta: float
    numerical_error: float
    epsilon_without_unlearning: float | None = None

    @property
    def epsilon_of_both_models(self) -> float | None:
        """Epsilon at ``delta`` of whoever sees the model before the deletion as well as the one after it.

        Against a world in which the records were never there: where the reference world unlearns too, unlearning is
        one random map of the first model in both worlds, so that this is ``epsilon_without_unlearning``. ``None`` where
        that is not known, and against plain retraining, which has no second model.
        """
        unlearns = self.claim.reference is Reference.RETRAIN_THEN_UNLEARN
        return self.epsilon_without_unlearning if unlearns else None

    def __post_init__(self) -> None:
        for name in ("epsilon", "epsilon_without_unlearning"):
            value, fix = getattr(self, name), "give epsilon in nats"
            if value is None and name != "epsilon":
                continue
            value = real_number(value, name, fix=fix)
            require(value >= 0, name, expected="at least 0", got=value, fix=fix)
            object.__setattr__(self, name, value)
        for name in ("delta", "numerical_error"):
            value = real_number(getattr(self, name), name, fix="give a small number")
            small = 0 <= value < math.inf
            require(small, name, expected="at least 0, finite", got=value, fix="give a small number")
            object.__setattr__(self, name, value)
