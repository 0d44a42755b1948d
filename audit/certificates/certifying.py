"""Compute certificates of many records: the work behind the commands ``certify`` and ``calibrate``."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from attacks.canary import difficulty
from audit.certificates.bound_one_by_one import certify_one_by_one, with_target
from audit.certificates.certification import Certification, RecordRow
from audit.certificates.keeping import KeptRoutes, KeptRows
from audit.certificates.networks import PENALTY, certify_network, network_with
from audit.certificates.routes_compared import ALL_ROUTES, Priced, RouteChoice, compare_routes, price, routes_of
from audit.certificates.shares import check_enough
from audit.records.provenance import data_record, environment_of
from audit.running.previews import make_previews
from audit.trials.engines import Engine, Progress, results, worker_limits
from audit.trials.identity.of_runs import identity_with
from audit.trials.store import Storage, Store
from audit.trials.storing.opening import opened
from mechanisms.claim import Reference
from mechanisms.dataset import Dataset, validate_forget
from mechanisms.errors import InvalidInputError
from mechanisms.logistic.langevin import LogisticLangevin
from mechanisms.networks.langevin import NetworkLangevin
from mechanisms.protocol import Mechanism
from mechanisms.ridge.langevin import CalibratedNoise, RidgeLangevin
from mechanisms.ridge.minibatches import RidgeMinibatch
from mechanisms.ridge.privacy_map import CHUNK, calibrate_map, privacy_map
from mechanisms.ridge.reduced.krylov import KrylovSetup
from mechanisms.serving.streams import requests_of

# "pool" certifies every record of the pool for each record that is compared: on request only.
DEFAULT_ROUTES: tuple[RouteChoice, ...] = ALL_ROUTES[:4]
# With every record asked for, routes are compared for this many, evenly spread over the difficulty range.
N_SPREAD = 7
N_EXTREMES = 10


@dataclass(frozen=True, kw_only=True)
class Request:
    """Which records and routes to certify, and an optional target that overrides the plan's noise.

    Parameters
    ----------
    records
        "all", "hardest:N", or indices separated by commas.
    routes
        Routes to compare.
    target
        Calibrate to this (epsilon, delta); ``None`` takes the plan's noise or calibration.
    compared
        Records whose routes are compared; by default all that are named, or a few spread over all.
    """

    records: str = "all"
    routes: tuple[RouteChoice, ...] = DEFAULT_ROUTES
    target: tuple[float, float] | None = None
    compared: tuple[int, ...] | None = None


def make_request(*, records: str, routes: str, target: tuple[float, float] | None = None) -> Request:
    """Return the request of a command line.

    Raises
    ------
    InvalidInputError
        For a route that does not exist.
    """
    chosen = []
    for name in routes.split(","):
        if name not in ALL_ROUTES:
            raise InvalidInputError(
                field="--routes",
                expected=f"routes among {', '.join(ALL_ROUTES)}",
                got=repr(name),
                fix="name some of them",
            )
        chosen.append(name)
    return Request(records=records, routes=tuple(chosen), target=target)


def certify(
    mechanism: Mechanism,
    data: Dataset,
    request: Request,
    *,
    seed: int = 0,
    n_jobs: int = 1,
    store: Storage | None = None,
    progress: Progress | None = None,
    title: str | None = None,
    command: str | None = None,
    redact: bool = False,
) -> Certification:
    """Return certificates of the requested records, exact where the mechanism has them, and the comparison of routes.

    Parameters
    ----------
    mechanism, data, request, seed
        What is certified; ``seed`` is that of the models whose accuracies are averaged. Routes are compared for
        ``RidgeLangevin`` alone. Of a network a target limits the budgets of records.
    n_jobs
        Worker processes.
    store
        Where what is computed is kept: what was stopped goes on there, and gives what it would have given; what is
        finished is read again. By default nothing is kept.
    progress, title, command
        As for :func:`audit.running.runner.run`.
    redact
        Refuse fewer records than :func:`audit.certificates.shares.without_records` needs, before anything is computed.

    Raises
    ------
    InvalidInputError
        For a mechanism without these certificates, or records and routes that do not exist; also when the store is of
        other certificates, is written to by another process, or is damaged.
    """
    if isinstance(mechanism, NetworkLangevin):
        network = network_with(mechanism, request.target)
        chosen = _chosen(data, request, PENALTY, redact)
        title = title or f"Certificates of {network.name} on {data.name}"
        return certify_network(network, data, chosen, progress=progress, title=title, command=command)
    if isinstance(mechanism, RidgeMinibatch | LogisticLangevin):
        one = with_target(mechanism, request.target)
        chosen = _chosen(data, request, one.penalty, redact)
        title = title or f"Certificates of {one.name} on {data.name}"
        given = request.records
        return certify_one_by_one(
            one, data, chosen, asked=given, n_jobs=n_jobs, store=store, progress=progress, title=title, command=command
        )
    ridge = _ridge(mechanism, request)
    title = title or f"Certificates of {ridge.name} on {data.name}"
    chosen = _chosen(data, request, ridge.penalty, redact)
    storage = store or Storage()
    n_chunks = math.ceil(len(chosen) / CHUNK) + _n_compared(request, len(chosen))
    identity = functools.partial(
        identity_with, ridge, data, data_sha256=data.sha256(), request=replace(request, target=None), seed=seed
    )
    with opened(storage, identity, n_chunks=n_chunks, command=command) as kept:
        if (finished := kept.result) is not None:
            kept.say("These certificates are finished: they are read from their store, and nothing is computed.")
            found = Certification.from_json(finished)
        else:
            if kept.n_stored:
                kept.say(f"Going on: {kept.n_stored:,} of {n_chunks:,} chunks are stored in {storage.folder}.")
            found = _certified(ridge, data, request, chosen, kept, seed, n_jobs, progress, title, command)
            if storage.folder is not None:
                kept.finish(found.to_json())
    compared = dict.fromkeys(row.record for row in found.routes)
    # What records look like is not stored: the data say it.
    return replace(found, title=title, previews=make_previews(data, _shown(found.rows, tuple(compared))))


def _certified(
    ridge: RidgeLangevin,
    data: Dataset,
    request: Request,
    chosen: tuple[int, ...],
    kept: Store,
    seed: int,
    n_jobs: int,
    progress: Progress | None,
    title: str,
    command: str | None,
) -> Certification:
    """Return certificates without previews; what is kept is not computed again."""
    started, clock = datetime.now(UTC), time.monotonic()
    noise = ridge.sigma_unlearn
    delta = noise.delta if isinstance(noise, CalibratedNoise) else ridge.delta
    rows = _rows(ridge, data, chosen, delta, n_jobs, progress, KeptRows(store=kept))
    compared = _routed(request, rows, data)
    with worker_limits():
        # The same for every record: one sensitivity for all is what the route is.
        shared: dict[RouteChoice, Priced] = (
            {"uniform": price(ridge, routes_of(ridge, data, compared[0], delta), "uniform")}
            if "uniform" in request.routes
            else {}
        )
    routes = KeptRoutes(store=kept)
    found = {i: stored for i, record in enumerate(compared) if (stored := routes.get(i, record)) is not None}
    missing = [i for i in range(len(compared)) if i not in found]
    calls = [(ridge, data, compared[i], request.routes, shared, delta, seed) for i in missing]
    for j, result in results(Engine(n_jobs=n_jobs).stream(compare_routes, calls)):
        routes.put(missing[j], compared[missing[j]], *result)
        found[missing[j]] = result
        if progress:
            progress("routes", len(found), len(compared))
    return Certification(
        title=title,
        mechanism=ridge.name,
        parameters=_parameters(ridge, data),
        data=data_record(data, ridge),
        delta=delta,
        target_epsilon=noise.epsilon if isinstance(noise, CalibratedNoise) else None,
        rows=rows,
        routes=tuple(row for i in range(len(compared)) for row in found[i][0]),
        previews=(),
        assumptions=_common([found[i][1] for i in range(len(compared))]),
        environment=environment_of(started, time.monotonic() - clock, Engine(n_jobs=n_jobs), command),
        seed=seed,
    )


def _ridge(mechanism: Mechanism, request: Request) -> RidgeLangevin:
    if requests_of(mechanism):
        raise InvalidInputError(
            field="records.stream",
            expected="left out: these certificates are of each record, deleted alone",
            got="a stream of requests",
            fix="`run` audits it by its own certificates, and RequestStream(...).bind(...).certificates() gives them",
        )
    if not isinstance(mechanism, RidgeLangevin):
        raise InvalidInputError(
            field="mechanism.name",
            expected="one of ridge_langevin, ridge_minibatch, logistic_langevin and network_langevin",
            got=repr(mechanism.name),
            fix="certificates of records are computed for these; audit any other mechanism by `run`",
        )
    if mechanism.reference is Reference.RETRAIN_ONLY:
        raise InvalidInputError(
            field="mechanism.reference",
            expected='"retrain_then_unlearn"',
            got='"retrain_only"',
            fix="the routes are compared for the published reference world",
        )
    if request.target is None:
        return mechanism
    epsilon, delta = request.target
    return replace(mechanism, sigma_unlearn=CalibratedNoise(route="exact", epsilon=epsilon, delta=delta))


def _chosen(data: Dataset, request: Request, penalty: float, redact: bool) -> tuple[int, ...]:
    """Return the requested records; too few to be withheld are refused before anything is computed."""
    chosen = select_records(data, request.records, penalty=penalty)
    if redact:
        check_enough(chosen)
    return chosen


def select_records(data: Dataset, text: str, *, penalty: float) -> tuple[int, ...]:
    """Return the records that "all", "hardest:N" or "3,17" names.

    Raises
    ------
    InvalidInputError
        When the text is none of these, or names a record that does not exist.
    """
    if text == "all":
        return tuple(range(data.n_records))
    kind, _, count = text.partition(":")
    if kind == "hardest" and count.isdigit() and 1 <= int(count) <= data.n_records:
        order = np.argsort(-difficulty(data, penalty=penalty), kind="stable")
        return tuple(int(i) for i in order[: int(count)])
    try:
        indices = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InvalidInputError(
            field="--records",
            expected=f"all, hardest:N with N up to {data.n_records}, or indices such as 3,17",
            got=repr(text),
            fix="name records in one of these ways",
        ) from None
    return tuple(validate_forget((i,), data.n_records, field="--records")[0] for i in indices)


def _rows(
    ridge: RidgeLangevin,
    data: Dataset,
    records: Sequence[int],
    delta: float,
    n_jobs: int,
    progress: Progress | None,
    kept: KeptRows,
) -> tuple[RecordRow, ...]:
    setup = KrylovSetup.of(
        data,
        penalty=ridge.penalty,
        n_learn=ridge.n_learn,
        n_unlearn=ridge.n_unlearn,
        sigma_learn=ridge.sigma_learn,
        step_size=ridge.step_size,
    )
    noise = ridge.sigma_unlearn
    if not isinstance(noise, CalibratedNoise):
        found = privacy_map(
            data, ridge, delta=delta, records=records, n_jobs=n_jobs, progress=progress, setup=setup, kept=kept
        )
        sigmas = np.full(len(records), float(noise))
        epsilons, without = found.epsilon, found.two_sided_without_unlearning
        hardness = found.difficulty
    else:
        calibrated = calibrate_map(
            data,
            ridge,
            epsilon=noise.epsilon,
            delta=delta,
            records=records,
            n_jobs=n_jobs,
            progress=progress,
            setup=setup,
            kept=kept,
        )
        sigmas, epsilons = calibrated.sigma_unlearn, calibrated.epsilon
        without, hardness = calibrated.epsilon_without_unlearning, calibrated.difficulty
    return tuple(
        RecordRow(
            record=int(record),
            difficulty=float(hardness[i]),
            sigma_unlearn=float(sigmas[i]),
            epsilon_unlearned_from_retrained=float(epsilons[i][0]),
            epsilon_retrained_from_unlearned=float(epsilons[i][1]),
            epsilon_without_unlearning=float(without[i]),
        )
        for i, record in enumerate(records)
    )


def _common(stated: Sequence[Mapping[str, tuple[str, ...]]]) -> dict[str, tuple[str, ...]]:
    """Return the sentences that hold for every compared record; figures of one record are not true of another."""
    first = stated[0]
    return {
        name: tuple(sentence for sentence in sentences if all(sentence in other[name] for other in stated))
        for name, sentences in first.items()
    }


def _compared(rows: Sequence[RecordRow]) -> tuple[int, ...]:
    """Return records evenly spread over the difficulty range, hardest first."""
    order = sorted(rows, key=lambda row: -row.difficulty)
    places = np.linspace(0, len(order) - 1, min(N_SPREAD, len(order))).round().astype(int)
    return tuple(order[i].record for i in places)


def _routed(request: Request, rows: Sequence[RecordRow], data: Dataset) -> tuple[int, ...]:
    """Return the records whose routes are compared."""
    if request.compared:
        return tuple(validate_forget((i,), data.n_records, field="compared")[0] for i in request.compared)
    return _compared(rows) if request.records == "all" else tuple(row.record for row in rows)


def _n_compared(request: Request, n_records: int) -> int:
    if request.compared:
        return len(request.compared)
    return min(N_SPREAD, n_records) if request.records == "all" else n_records


def _shown(rows: Sequence[RecordRow], compared: Sequence[int]) -> tuple[int, ...]:
    """Return the records to picture: those compared, and both ends of the cost range."""
    order = [row.record for row in sorted(rows, key=lambda row: (row.sigma_unlearn, row.epsilon))]
    return tuple(dict.fromkeys([*compared, *order[:N_EXTREMES], *order[-N_EXTREMES:]]))


def _parameters(ridge: RidgeLangevin, data: Dataset) -> dict[str, int | float | str]:
    noise = ridge.sigma_unlearn
    shown: str | float = noise if not isinstance(noise, CalibratedNoise) else f"calibrated per record ({noise.route})"
    return {
        "penalty": ridge.penalty,
        "step_size": ridge.process(data, (0,)).step_size,
        "n_learn": ridge.n_learn,
        "n_unlearn": ridge.n_unlearn,
        "sigma_learn": ridge.sigma_learn,
        "sigma_unlearn": shown,
        "reference": ridge.reference.value,
    }
