"""Compute the certificates of a stream, release by release, and keep each as it is found."""

from __future__ import annotations

import functools
import json
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from audit.certificates.stream_rows import ReleaseRow, StreamCertification
from audit.records.provenance import data_record, environment_of
from audit.trials.engines import Engine, Progress, worker_limits
from audit.trials.identity.of_runs import identity_with
from audit.trials.rows import Row, RowKey
from audit.trials.store import Storage, Store
from audit.trials.storing.opening import opened
from mechanisms.claim import Reference
from mechanisms.dataset import Dataset, matrices
from mechanisms.errors import InvalidInputError, require
from mechanisms.ridge.langevin import CalibratedNoise, RidgeLangevin
from mechanisms.ridge.reduced.krylov import KrylovSetup
from mechanisms.ridge.streams.phases import Phase
from mechanisms.ridge.streams.reduced import reduce_stream
from mechanisms.ridge.streams.service import ASSUMPTIONS, calibrated_phases, setup_of
from mechanisms.serving.streams import RequestStream


def certify_stream(
    stream: RequestStream,
    data: Dataset,
    *,
    target: tuple[float, float] | None = None,
    store: Storage | None = None,
    progress: Progress | None = None,
    title: str | None = None,
    command: str | None = None,
) -> StreamCertification:
    """Return the exact certificate of the release after each request.

    Parameters
    ----------
    stream, data
        What is certified: ridge regression against retraining and the same phases.
    target
        Calibrate, request by request, to this (epsilon, delta); ``None`` takes the plan's noise or calibration.
    store
        Where each release is kept once it is certified; by default nowhere.
    progress, title, command
        As for :func:`audit.running.runner.run`.

    Raises
    ------
    InvalidInputError
        For another mechanism or reference, or requests that are none; also when the store is of other certificates.
    UnreachableTargetError
        When no noise meets the target.
    """
    ridge = _ridge(stream, target)
    data = matrices(data, ridge.name)
    asked = tuple(request for request in stream.requests if request)
    # Refuses what is no stream before anything is computed.
    replace(ridge, sigma_unlearn=0.0).serve(data, asked)
    storage, n = store or Storage(), len(stream.requests)
    identity = functools.partial(identity_with, ridge, data, data_sha256=data.sha256(), request=stream.requests, seed=0)
    started, clock = datetime.now(UTC), time.monotonic()
    with opened(storage, identity, n_chunks=n, command=command) as kept:
        if (finished := kept.result) is not None:
            kept.say("These certificates are finished: they are read from their store, and nothing is computed.")
            return replace(StreamCertification.from_json(finished), title=title or _title(ridge, data))
        if kept.n_stored:
            kept.say(f"Going on: {kept.n_stored:,} of {n:,} releases are stored in {storage.folder}.")
        with worker_limits():
            rows = _rows(ridge, data, stream, kept, progress)
        noise = ridge.sigma_unlearn
        found = StreamCertification(
            title=title or _title(ridge, data),
            mechanism=ridge.name,
            parameters=_parameters(ridge, data),
            data=data_record(data, ridge),
            delta=_delta(ridge),
            target_epsilon=noise.epsilon if isinstance(noise, CalibratedNoise) else None,
            rows=rows,
            assumptions=ASSUMPTIONS,
            environment=environment_of(started, time.monotonic() - clock, Engine(), command),
        )
        if storage.folder is not None:
            kept.finish(found.to_json())
    return found


def _ridge(stream: RequestStream, target: tuple[float, float] | None) -> RidgeLangevin:
    ridge = stream.mechanism
    if not isinstance(ridge, RidgeLangevin):
        raise InvalidInputError(
            field="mechanism.name",
            expected='"ridge_langevin"',
            got=repr(stream.name),
            fix="exact certificates of streams are computed for ridge regression's laws; audit any other by `run`",
        )
    require(
        ridge.reference is Reference.RETRAIN_THEN_UNLEARN,
        "mechanism.reference",
        expected='"retrain_then_unlearn"',
        got=ridge.reference.value,
        fix="against plain retraining a stream has no certificate",
    )
    if target is None:
        return ridge
    return replace(ridge, sigma_unlearn=CalibratedNoise(route="exact", epsilon=target[0], delta=target[1]))


def _rows(
    ridge: RidgeLangevin, data: Dataset, stream: RequestStream, kept: Store, progress: Progress | None
) -> tuple[ReleaseRow, ...]:
    setup = setup_of(ridge.process(data, tuple(i for request in stream.requests for i in request)))
    rows: list[ReleaseRow] = []
    phases: list[Phase] = []
    for j, request in enumerate(stream.requests):
        key = RowKey(step="stream", stream="certificates", world="records", record=0, chunk=j)
        stored = kept.read(key)
        if stored is not None:
            row = _restored(json.loads(stored.opaque))
        else:
            row = _row(ridge, setup, rows, phases, j, request)
            kept.put(Row(**asdict(key), n=0, opaque=json.dumps(asdict(row)))).result()
        if request and row.sigma_unlearn is not None:
            phases.append(Phase(request=request, n_steps=ridge.n_unlearn, sigma=row.sigma_unlearn))
        rows.append(row)
        if progress:
            progress("releases", j + 1, len(stream.requests))
    return tuple(rows)


def _restored(fields: dict[str, Any]) -> ReleaseRow:
    return ReleaseRow(**{**fields, "records": tuple(fields["records"])})


def _row(
    ridge: RidgeLangevin,
    setup: KrylovSetup,
    rows: list[ReleaseRow],
    phases: list[Phase],
    j: int,
    request: tuple[int, ...],
) -> ReleaseRow:
    """Return the next release: after an empty request nothing has changed."""
    noise, sigma = ridge.sigma_unlearn, None
    gone = rows[-1].n_deleted if rows else 0
    epsilon = (rows[-1].epsilon or 0.0) if rows else 0.0
    if request:
        if isinstance(noise, CalibratedNoise):
            phase = calibrated_phases(
                setup,
                [request],
                n_steps=ridge.n_unlearn,
                epsilon=noise.epsilon,
                delta=noise.delta,
                grid_ratio=noise.grid_ratio,
                before=phases,
            )[-1]
        else:
            phase = Phase(request=request, n_steps=ridge.n_unlearn, sigma=float(noise))
        sigma = phase.sigma
        epsilon = reduce_stream(setup, [*phases, phase]).epsilon(_delta(ridge), sigma)
    target = noise.epsilon if isinstance(noise, CalibratedNoise) else None
    return ReleaseRow(
        request=j + 1,
        records=tuple(request),
        n_records=len(request),
        n_deleted=gone + len(request),
        sigma_unlearn=sigma,
        epsilon=epsilon,
        meets_target=None if target is None else epsilon <= target,
    )


def _delta(ridge: RidgeLangevin) -> float:
    return ridge.sigma_unlearn.delta if isinstance(ridge.sigma_unlearn, CalibratedNoise) else ridge.delta


def _title(ridge: RidgeLangevin, data: Dataset) -> str:
    return f"Certificates of a stream by {ridge.name} on {data.name}"


def _parameters(ridge: RidgeLangevin, data: Dataset) -> dict[str, int | float | str]:
    noise = ridge.sigma_unlearn
    return {
        "penalty": ridge.penalty,
        "step_size": ridge.process(data, (0,)).step_size,
        "n_learn": ridge.n_learn,
        "n_unlearn": ridge.n_unlearn,
        "sigma_learn": ridge.sigma_learn,
        "sigma_unlearn": "calibrated request by request (exact)" if isinstance(noise, CalibratedNoise) else noise,
        "reference": ridge.reference.value,
    }
