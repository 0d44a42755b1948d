"""Certificates of every record of a network's data: one pilot run says what each may spend in learning.

In the flow: :mod:`audit.certificates.certifying` asks here for a mechanism that is a network. It takes a second, so
that nothing is stored on the way.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from attacks.canary import difficulty
from audit.certificates.certification import Certification, RecordRow
from audit.records.provenance import data_record, environment_of
from audit.running.previews import make_previews
from audit.trials.engines import Engine, Progress
from mechanisms.dataset import Dataset
from mechanisms.errors import InvalidInputError
from mechanisms.networks.individual import IndividualFilter
from mechanisms.networks.langevin import NetworkLangevin
from mechanisms.networks.mapping import record_map

# Of the ridge fit that ranks records by difficulty: a network has no leverages.
PENALTY = 1.0
_N_SHOWN = 10


def network_with(mechanism: NetworkLangevin, target: tuple[float, float] | None) -> NetworkLangevin:
    """Return the network with no budget beyond a target (epsilon, delta).

    Raises
    ------
    InvalidInputError
        When it learns without noise.
    """
    if mechanism.sigma_learn == 0:
        raise InvalidInputError(
            field="mechanism.sigma_learn",
            expected="above 0",
            got=0,
            fix="the noise of learning is what certifies a network; audit one without it by `run`",
        )
    if target is None:
        return mechanism
    epsilon, delta = target
    individual = mechanism.individual or IndividualFilter()
    return replace(mechanism, delta=delta, individual=replace(individual, target=epsilon))


def certify_network(
    mechanism: NetworkLangevin,
    data: Dataset,
    records: Sequence[int],
    *,
    progress: Progress | None,
    title: str,
    command: str | None,
) -> Certification:
    """Return the certificate of deleting each record alone: of its own budget, or the same for all."""
    started, clock = datetime.now(UTC), time.monotonic()
    found = record_map(mechanism, data)
    hardness = difficulty(data, penalty=PENALTY)
    rows = tuple(
        RecordRow(
            record=int(record),
            difficulty=float(hardness[record]),
            sigma_unlearn=float(mechanism.sigma_unlearn),
            epsilon_unlearned_from_retrained=float(found.epsilons[record]),
            epsilon_retrained_from_unlearned=float(found.epsilons[record]),
            epsilon_without_unlearning=float(found.epsilons[record]),
        )
        for record in records
    )
    if progress is not None:
        progress("records", len(rows), len(rows))
    order = [row.record for row in sorted(rows, key=lambda row: row.epsilon)]
    shown = tuple(dict.fromkeys([*order[:_N_SHOWN], *order[-_N_SHOWN:]]))
    return Certification(
        title=title,
        mechanism=mechanism.name,
        parameters={**found.parameters, "reference": mechanism.reference.value, "epsilon_of_any_record": found.worst},
        data=data_record(data, mechanism),
        delta=mechanism.delta,
        target_epsilon=None,
        rows=rows,
        routes=(),
        previews=make_previews(data, shown),
        assumptions=found.assumptions,
        environment=environment_of(started, time.monotonic() - clock, Engine(n_jobs=1), command),
    )
