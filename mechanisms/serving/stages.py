"""Run a bound mechanism's stages as its sampler does, and check what pools and streams are bound to.

In the flow: whoever needs more than releases of three worlds (models that are learned once for several deletions,
deletions drawn by lot, requests one after the other) runs the stages; the contract tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mechanisms.claim import Reference
from mechanisms.dataset import validate_forget
from mechanisms.errors import require
from mechanisms.protocol import HasStages, World
from mechanisms.reading.records import RecordSet

Array = NDArray[np.float64]
T = TypeVar("T")
R = TypeVar("R", bound=RecordSet)


def sample_by_stages(
    bound: HasStages, world: World, n: int, *, data: RecordSet, forget: Sequence[int], rng: np.random.Generator
) -> Array:
    """Return n independent releases of a world, shape (n, *release.shape), made stage by stage.

    Parameters
    ----------
    bound
        What ``bind``, ``bind_pool`` or ``bind_stream`` returned.
    world, n
        Which world, and how many releases, at least 1.
    data, forget
        All records, and which of them are deleted.
    rng
        The only source of randomness; what ``bound.sample`` would draw from it is what is returned.
    """
    retained, deleted, nothing = data.without(forget), data.take(forget), data.take(())
    learned_on = retained if world is World.RETRAINED else data
    kept = data if world is World.NEGLECTED else retained
    stops = world is World.RETRAINED and bound.reference is Reference.RETRAIN_ONLY
    releases = []
    for start in range(0, n, bound.at_once):
        models = bound.learn(learned_on, min(bound.at_once, n - start), rng)
        if not stops:
            models = bound.unlearn(models, kept, deleted if world is World.UNLEARNED else nothing, rng)
        releases.append(bound.released(models))
    return np.concatenate(releases)


def known_or(made: Mapping[str, T], records: R, make: Callable[[R], T]) -> T:
    """Return what was made of the records when they were bound, found by their digest, or make it now.

    So that a stage computes with the very numbers of the sampler, in a process with other threads too.
    """
    found = made.get(records.sha256())
    return make(records) if found is None else found


def validate_requests(
    requests: Sequence[Sequence[int]], n_records: int, *, field: str = "requests"
) -> tuple[tuple[int, ...], ...]:
    """Return the requests of a stream, checked.

    Raises
    ------
    InvalidInputError
        When there is none, one is no forget set, a record is asked for twice, or no record would be left.
    """
    require(len(requests) > 0, field, expected="at least one forget set", got="()", fix="write ((17,), (3, 8))")
    checked = tuple(validate_forget(request, n_records, field=f"{field}[{i}]") for i, request in enumerate(requests))
    validate_forget([i for request in checked for i in request], n_records, field=field)
    return checked
