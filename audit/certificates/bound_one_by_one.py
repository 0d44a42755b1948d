"""Certificates of records that are bound one after the other: of minibatches, and of logistic and softmax regression.

In the flow: :mod:`audit.certificates.certifying` asks here for mechanisms that have no map of all records. What is
computed is kept, a few records at a time.
"""

from __future__ import annotations

import functools
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from attacks.canary import difficulty
from audit.certificates.certification import Certification, RecordRow
from audit.records.provenance import data_record, environment_of
from audit.running.previews import make_previews
from audit.trials.engines import Engine, Progress, results, worker_limits
from audit.trials.identity.of_runs import identity_with
from audit.trials.rows import Row, RowKey
from audit.trials.store import Storage, Store
from audit.trials.storing.opening import opened
from mechanisms.claim import Certificate, Reference
from mechanisms.dataset import Dataset, matrices
from mechanisms.errors import UnreachableTargetError, require
from mechanisms.logistic.langevin import CalibratedLogisticNoise, LogisticLangevin
from mechanisms.ridge.langevin import CalibratedNoise
from mechanisms.ridge.minibatches import MinibatchDeletion, RidgeMinibatch

OneByOne = RidgeMinibatch | LogisticLangevin
# Records in one unit of work.
CHUNK = 4
_N_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class _Found:
    """The rows of some records, and the sentences that their certificates rest on, by route."""

    rows: tuple[RecordRow, ...]
    assumptions: dict[str, tuple[str, ...]]

    def text(self) -> str:
        return json.dumps({"rows": [asdict(row) for row in self.rows], "assumptions": self.assumptions})

    @staticmethod
    def of(text: str) -> _Found:
        said = json.loads(text)
        return _Found(
            rows=tuple(RecordRow(**fields) for fields in said["rows"]),
            assumptions={route: tuple(sentences) for route, sentences in said["assumptions"].items()},
        )


def with_target(mechanism: OneByOne, target: tuple[float, float] | None) -> OneByOne:
    """Return the mechanism with its noise calibrated to a target (epsilon, delta), by its own route where it has one.

    Raises
    ------
    InvalidInputError
        Where there are no certificates against its reference world.
    """
    require(
        mechanism.reference is Reference.RETRAIN_THEN_UNLEARN,
        "mechanism.reference",
        expected='"retrain_then_unlearn"',
        got=mechanism.reference.value,
        fix="there are no certificates against plain retraining",
    )
    if target is None:
        return mechanism
    epsilon, delta = target
    if isinstance(mechanism, RidgeMinibatch):
        return replace(mechanism, sigma_unlearn=CalibratedNoise(route="exact", epsilon=epsilon, delta=delta))
    given = mechanism.sigma_unlearn
    route = given.route if isinstance(given, CalibratedLogisticNoise) else "probable"
    return replace(mechanism, sigma_unlearn=CalibratedLogisticNoise(route=route, epsilon=epsilon, delta=delta))


def certify_one_by_one(
    mechanism: OneByOne,
    data: Dataset,
    records: Sequence[int],
    *,
    asked: str,
    n_jobs: int,
    store: Storage | None,
    progress: Progress | None,
    title: str,
    command: str | None,
) -> Certification:
    """Return the certificate of deleting each record alone: by its first route, the one that calibrated the noise.

    Parameters
    ----------
    mechanism, data, records
        What is certified.
    asked
        How the records were named: a part of what a store is of.
    n_jobs, store, progress, title, command
        As for :func:`audit.certificates.certifying.certify`.
    """
    data = matrices(data, mechanism.name)
    started, clock = datetime.now(UTC), time.monotonic()
    chunks = [tuple(records[i : i + CHUNK]) for i in range(0, len(records), CHUNK)]
    storage = store or Storage()
    identity = functools.partial(
        identity_with, mechanism, data, data_sha256=data.sha256(), request={"records": asked}, seed=0
    )
    with opened(storage, identity, n_chunks=len(chunks), command=command) as kept:
        if (finished := kept.result) is not None:
            kept.say("These certificates are finished: they are read from their store, and nothing is computed.")
            found = Certification.from_json(finished)
        else:
            if kept.n_stored:
                kept.say(f"Going on: {kept.n_stored:,} of {len(chunks):,} chunks are stored in {storage.folder}.")
            parts = _parts(mechanism, data, chunks, kept, n_jobs, progress)
            environment = environment_of(started, time.monotonic() - clock, Engine(n_jobs=n_jobs), command)
            found = Certification(
                title=title,
                mechanism=mechanism.name,
                parameters=_parameters(mechanism, data, records[0]),
                data=data_record(data, mechanism),
                delta=_delta(mechanism),
                target_epsilon=_target(mechanism),
                rows=tuple(row for part in parts for row in part.rows),
                routes=(),
                previews=(),
                assumptions=_common([part.assumptions for part in parts]),
                environment=environment,
            )
            if storage.folder is not None:
                kept.finish(found.to_json())
    # What records look like is not stored: the data say it.
    return replace(found, title=title, previews=make_previews(data, _shown(found.rows)))


def _parts(
    mechanism: OneByOne,
    data: Dataset,
    chunks: Sequence[tuple[int, ...]],
    kept: Store,
    n_jobs: int,
    progress: Progress | None,
) -> list[_Found]:
    """Return what was found for each chunk; what is kept is not computed again."""
    found: dict[int, _Found] = {}
    for i in range(len(chunks)):
        stored = kept.read(_key(i))
        if stored is not None:
            found[i] = _Found.of(stored.opaque)
    missing = [i for i in range(len(chunks)) if i not in found]
    hardness = difficulty(data, penalty=mechanism.penalty)
    calls = [(mechanism, data, chunks[i], tuple(float(hardness[r]) for r in chunks[i])) for i in missing]
    for j, part in results(Engine(n_jobs=n_jobs).stream(_chunk, calls)):
        kept.put(Row(**asdict(_key(missing[j])), n=0, opaque=part.text())).result()
        found[missing[j]] = part
        if progress is not None:
            progress("records", sum(len(one.rows) for one in found.values()), sum(map(len, chunks)))
    return [found[i] for i in range(len(chunks))]


def _key(chunk: int) -> RowKey:
    return RowKey(step="map", stream="certificates", world="records", record=0, chunk=chunk)


def _chunk(mechanism: OneByOne, data: Dataset, records: tuple[int, ...], hardness: tuple[float, ...]) -> _Found:
    with worker_limits():
        each = [_row(mechanism, data, *one) for one in zip(records, hardness, strict=True)]
    return _Found(rows=tuple(row for row, _ in each), assumptions=_common([stated for _, stated in each]))


def _row(
    mechanism: OneByOne, data: Dataset, record: int, hardness: float
) -> tuple[RecordRow, dict[str, tuple[str, ...]]]:
    """Return the certificate of one record; infinite noise and what learning alone gives where no noise is enough."""
    try:
        bound, noise = mechanism.bind(data, (record,)), None
    except UnreachableTargetError:
        bound = replace(mechanism, sigma_unlearn=0.0, delta=_delta(mechanism)).bind(data, (record,))
        noise = math.inf
    certificate: Certificate = bound.certificates()[0]
    both = (float(certificate.epsilon),) * 2
    if isinstance(bound, MinibatchDeletion):
        both = bound.laws.pair(bound.sigma_unlearn).epsilons(bound.delta)
    without = certificate.epsilon_without_unlearning
    row = RecordRow(
        record=int(record),
        difficulty=hardness,
        sigma_unlearn=float(bound.parameters()["sigma_unlearn"]) if noise is None else noise,
        epsilon_unlearned_from_retrained=both[0],
        epsilon_retrained_from_unlearned=both[1],
        epsilon_without_unlearning=math.inf if without is None else float(without),
    )
    return row, {certificate.method: certificate.claim.assumptions}


def _common(stated: Sequence[dict[str, tuple[str, ...]]]) -> dict[str, tuple[str, ...]]:
    """Return the sentences that hold for every record, by route."""
    return {
        route: tuple(text for text in sentences if all(text in other.get(route, ()) for other in stated))
        for route, sentences in stated[0].items()
    }


def _delta(mechanism: OneByOne) -> float:
    noise = mechanism.sigma_unlearn
    return mechanism.delta if isinstance(noise, int | float) else noise.delta


def _target(mechanism: OneByOne) -> float | None:
    noise = mechanism.sigma_unlearn
    return None if isinstance(noise, int | float) else noise.epsilon


def _parameters(mechanism: OneByOne, data: Dataset, record: int) -> dict[str, int | float | str]:
    noise = mechanism.sigma_unlearn
    public: dict[str, Any] = dict(replace(mechanism, sigma_unlearn=0.0).bind(data, (record,)).parameters())
    shown = noise if isinstance(noise, int | float) else f"calibrated per record ({noise.route})"
    return {**public, "sigma_unlearn": shown, "reference": mechanism.reference.value}


def _shown(rows: Sequence[RecordRow]) -> tuple[int, ...]:
    order = [row.record for row in sorted(rows, key=lambda row: (row.sigma_unlearn, row.epsilon))]
    return tuple(dict.fromkeys([*order[:_N_SHOWN], *order[-_N_SHOWN:]]))
