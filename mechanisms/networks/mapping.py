"""What is certified of deleting each record of a network's data, all from the pilot run that freezes the budgets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mechanisms.accounting import gdp
from mechanisms.accounting.clipped_learning import filtered_mu
from mechanisms.dataset import Dataset
from mechanisms.errors import InvalidInputError
from mechanisms.networks.langevin import NetworkLangevin

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordMap:
    """The epsilon that is certified of deleting each record alone.

    Parameters
    ----------
    epsilons
        At the mechanism's delta, in nats, both directions, rounded up, shape (n,). Each is a function of its record:
        publishing one leaks.
    worst
        Epsilon of any record whatever, which says nothing of the data.
    parameters
        The mechanism's public hyper-parameters.
    assumptions
        What each certificate rests on, by its method.
    """

    epsilons: Array
    worst: float
    parameters: Mapping[str, int | float | str]
    assumptions: Mapping[str, tuple[str, ...]]


def record_map(mechanism: NetworkLangevin, data: Dataset) -> RecordMap:
    """Return the certificate of every record: of its own budget, or of the learning noise alone without a filter.

    Raises
    ------
    InvalidInputError
        When the mechanism states no certificate; as for its ``bind``.
    """
    deletion = mechanism.bind(data, (0,))
    stated = {certificate.method: certificate for certificate in deletion.certificates()}
    if not stated:
        raise InvalidInputError(
            field="mechanism",
            expected="one that states a certificate",
            got=f"sigma_learn {mechanism.sigma_learn:g} and {mechanism.reference.value}",
            fix="it takes noise in learning, and retrain_then_unlearn",
        )
    worst = stated["learning_noise"].epsilon
    epsilons = np.full(data.n_records, worst)
    if deletion.budgets is not None:
        scale: dict[str, Any] = {
            "step_size": mechanism.step_size,
            "divisor": deletion.divisor,
            "sigma": mechanism.sigma_learn,
        }
        # Many have the largest budget there is.
        budgets, which = np.unique(deletion.budgets.of(data), return_inverse=True)
        own = [gdp.epsilon(filtered_mu([budget], **scale), mechanism.delta) for budget in budgets.tolist()]
        epsilons = np.minimum(own, worst)[which]
    return RecordMap(
        epsilons=epsilons,
        worst=worst,
        parameters=deletion.parameters(),
        assumptions={method: certificate.claim.assumptions for method, certificate in stated.items()},
    )
