"""One record by every route: what each needs or promises, and what its noise leaves of accuracy.

In the flow: :mod:`audit.certificates.certifying` asks, for the records whose routes are compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from audit.certificates.certification import RouteRow
from audit.trials.chunks import Stream, make_generator
from audit.trials.engines import worker_limits
from mechanisms.dataset import Dataset
from mechanisms.protocol import World
from mechanisms.ridge.downdate import RidgeSolution
from mechanisms.ridge.langevin import CalibratedNoise, RidgeLangevin, smallest_unlearning_noise
from mechanisms.ridge.laws import ClosedFormSampler, RidgeLaws
from mechanisms.ridge.retained import pool_noise
from mechanisms.ridge.routes import RidgeRoutes

RouteChoice = Literal["exact", "repaired", "published", "uniform", "pool"]
ALL_ROUTES: tuple[RouteChoice, ...] = get_args(RouteChoice)
POOL = (
    "Pool: noise and step size are functions of the retained records and of the pool (every record, those held out "
    "too), which is taken to be public; the largest exact certificate over the pool holds for whoever was deleted."
)
N_ACCURACY = 20


@dataclass(frozen=True, kw_only=True)
class Priced:
    """What a route needs, or promises, for one record."""

    sigma: float
    epsilon: float
    note: str
    assumptions: tuple[str, ...]


def price(ridge: RidgeLangevin, routes: RidgeRoutes, name: RouteChoice) -> Priced:
    """Return the noise that a route needs for the target, or what it promises at the given noise."""
    epsilon_fn = getattr(routes, name).epsilon
    noise, note = ridge.sigma_unlearn, ""
    if isinstance(noise, CalibratedNoise):
        sigma = smallest_unlearning_noise(epsilon_fn, noise.epsilon, ridge.sigma_learn).noise
        if sigma == 0:
            note = f"The learning noise alone gives {_rounded_up(epsilon_fn(0.0)):.3g}."
    else:
        sigma = float(noise)
    if name == "exact":
        certificate = routes.exact.certificate(sigma)
    else:
        certificate = getattr(routes, name).certificate(sigma, epsilon_without_unlearning=0.0)
    return Priced(sigma=sigma, epsilon=float(certificate.epsilon), note=note, assumptions=certificate.claim.assumptions)


def routes_of(ridge: RidgeLangevin, data: Dataset, record: int, delta: float) -> RidgeRoutes:
    """Return the routes of one record, with the laws that they share."""
    process = ridge.process(data, (record,))
    return RidgeRoutes(process=process, laws=RidgeLaws.of(process), delta=delta)


def compare_routes(
    ridge: RidgeLangevin,
    data: Dataset,
    record: int,
    names: Sequence[RouteChoice],
    shared: Mapping[RouteChoice, Priced],
    delta: float,
    seed: int,
) -> tuple[list[RouteRow], dict[str, tuple[str, ...]]]:
    """Return one record by every route, with the exact downdate beside them; ``shared`` routes are priced already."""
    with worker_limits():
        routes = routes_of(ridge, data, record, delta)
        rows: list[RouteRow] = []
        assumptions: dict[str, tuple[str, ...]] = {}
        for name in names:
            if name == "pool":
                row, assumptions[name] = _pool_row(ridge, data, record, delta, seed)
                rows.append(row)
                continue
            priced = shared[name] if name in shared else price(ridge, routes, name)
            laws = routes.laws.with_noise(priced.sigma)
            assumptions[name] = priced.assumptions
            accuracies = _accuracies(laws, data, seed)
            rows.append(
                RouteRow(
                    record=record,
                    label="",
                    route=name,
                    sigma_unlearn=priced.sigma,
                    epsilon=priced.epsilon,
                    exact_epsilon=routes.exact.epsilon(priced.sigma),
                    accuracy=float(np.mean(accuracies)) if accuracies else None,
                    note=priced.note,
                    accuracies=accuracies,
                )
            )
        return [*rows, _downdate_row(ridge, data, record)], assumptions


def _pool_row(
    ridge: RidgeLangevin, data: Dataset, record: int, delta: float, seed: int
) -> tuple[RouteRow, tuple[str, ...]]:
    """Return one record by the noise that whoever was deleted would get, of all records and those held out."""
    noise, pool = ridge.sigma_unlearn, data
    if isinstance(noise, CalibratedNoise):
        noise = replace(noise, route="exact")
    if data.held_out is not None:
        features = np.vstack([data.features, data.held_out.features])
        pool = replace(data, features=features, targets=np.vstack([data.targets, data.held_out.targets]), held_out=None)
    # With the deleted record left out, the search sees nothing that it may not depend on.
    found = pool_noise(data.without((record,)), pool, replace(ridge, sigma_unlearn=noise, delta=delta))
    routes = routes_of(replace(ridge, step_size=found.step_size), data, record, delta)
    accuracies = _accuracies(routes.laws.with_noise(found.sigma_unlearn), data, seed)
    row = RouteRow(
        record=record,
        label="",
        route="pool",
        sigma_unlearn=found.sigma_unlearn,
        epsilon=found.epsilon,
        exact_epsilon=routes.exact.epsilon(found.sigma_unlearn),
        accuracy=float(np.mean(accuracies)) if accuracies else None,
        note="" if found.sigma_unlearn > 0 else f"The learning noise alone gives {_rounded_up(found.epsilon):.3g}.",
        accuracies=accuracies,
    )
    return row, (POOL,)


def _downdate_row(ridge: RidgeLangevin, data: Dataset, record: int) -> RouteRow:
    solution = RidgeSolution.of(data, ridge.penalty).without(data.take((record,)))
    return RouteRow(
        record=record,
        label="",
        route="downdate",
        sigma_unlearn=0.0,
        epsilon=0.0,
        exact_epsilon=0.0,
        accuracy=None if (held_out := data.scoring_set) is None else held_out.score(solution.weights),
        note="Exact deletion in closed form, without noise.",
    )


def _accuracies(laws: RidgeLaws, data: Dataset, seed: int) -> tuple[float, ...]:
    """Return the scores of unlearned models on held-out records; none where nothing is held out."""
    held_out = data.scoring_set
    if held_out is None:
        return ()
    sampler = ClosedFormSampler.of(laws)
    releases = sampler.sample(World.UNLEARNED, N_ACCURACY, rng=make_generator(seed, Stream.ACCURACY))
    return tuple(held_out.score(weights) for weights in releases)


def _rounded_up(epsilon: float) -> float:
    """Return epsilon rounded up to three significant digits."""
    if epsilon == 0 or not math.isfinite(epsilon):
        return epsilon
    unit = 10.0 ** (math.floor(math.log10(epsilon)) - 2)
    return math.ceil(epsilon / unit) * unit
