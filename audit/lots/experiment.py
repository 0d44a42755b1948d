"""The experiment itself: a mechanism bound once, and runs that are each given a draw of the pool and delete it.

In the flow: :mod:`audit.lots.running` decides what is drawn and what scores; here models are made, in workers, each
from a random stream of its own. The other candidates are never given: no other experiment can be expressed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.errors import TrialError
from audit.lots.freezing import check_frozen, public
from audit.trials.chunks import Stream, make_generator
from audit.trials.engines import Progress, Streams, results, worker_limits
from mechanisms.claim import Claim, Reference
from mechanisms.errors import UnlearnAuditError, require
from mechanisms.protocol import HasStages
from mechanisms.reading.records import RecordSet

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

# Third keys of the streams of runs: audited, rehearsed, without the pool.
AUDITED, REHEARSED, WITHOUT = 0, 1, 2
PHASES = {AUDITED: "runs", REHEARSED: "rehearsals", WITHOUT: "models without the pool"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Experiment:
    """A mechanism bound to the data with the whole pool, what it published then, and what a run needs besides coins."""

    bound: HasStages
    data: RecordSet
    pool: tuple[int, ...]
    seed: int
    parameters: Mapping[str, Any]


def bound_to_pool(
    mechanism: Any, data: RecordSet, pool: tuple[int, ...], *, seed: int, claims: Sequence[Claim]
) -> Experiment:
    """Bind a mechanism to a pool.

    Raises
    ------
    InvalidInputError
        When the claims are about another reference world than the mechanism's.
    TrialError
        When it raises.
    """
    try:
        with worker_limits():
            bound = mechanism.bind_pool(data, pool)
    except UnlearnAuditError:
        raise
    except Exception as error:
        raise TrialError(f"The mechanism raised {type(error).__name__} while binding the pool: {error}") from error
    for claim in claims:
        require(
            claim.reference in (bound.reference, Reference.CERTIFYING),
            "claim.reference",
            expected=f"{bound.reference.value}, the reference world of the mechanism, or certifying",
            got=claim.reference.value,
            fix="make the two agree",
        )
    return Experiment(bound=bound, data=data, pool=pool, seed=seed, parameters=public(bound))


def made_run(experiment: Experiment, coins: Flags, stream: int, run: int) -> tuple[Array, Array | None]:
    """Return what one run releases after the deletion and before it, from the run's own random stream.

    Raises
    ------
    TrialError
        When the mechanism raises; names the run.
    InvalidInputError
        When a parameter changed that should be frozen.
    """
    bound, data = experiment.bound, experiment.data
    left_out = [record for record, coin in zip(experiment.pool, coins, strict=True) if not coin]
    drawn = sorted(record for record, coin in zip(experiment.pool, coins, strict=True) if coin)
    given = data.without(left_out)
    gone = np.sort(np.asarray(left_out, dtype=int))
    places = [int(record - np.searchsorted(gone, record)) for record in drawn]
    rng = make_generator(experiment.seed, Stream.LOTS_RUNS, stream, run)
    try:
        with worker_limits():
            models = bound.learn(given, 1, rng)
            before = _seen(bound, models)
            models = bound.unlearn(models, given.without(places), given.take(places), rng)
            release = np.asarray(bound.released(models), dtype=np.float64)[0]
    except UnlearnAuditError:
        raise
    except Exception as error:
        raise TrialError(f"The mechanism raised {type(error).__name__} in run {run + 1}: {error}") from error
    check_frozen(experiment.parameters, bound, run)
    return release, before


def _seen(bound: HasStages, models: Any) -> Array | None:
    """Return the release of models before the deletion; ``None`` where they have no such form."""
    try:
        shown: Array = np.asarray(bound.released(models), dtype=np.float64)[0]
    except Exception:
        return None
    return shown


def releases_of(
    experiment: Experiment, coins: Flags, stream: int, *, engine: Streams, progress: Progress | None
) -> tuple[Array, Array | None]:
    """Return what runs with these coins release, shape (n, *release.shape), and what they would have before.

    Raises
    ------
    TrialError, InvalidInputError
        As :func:`made_run`.
    """
    calls = [(experiment, row, stream, j) for j, row in enumerate(coins)]
    made: dict[int, tuple[Array, Array | None]] = {}
    phase = PHASES[stream]
    for i, release in results(engine.stream(made_run, calls), doing=phase):
        made[i] = release
        if progress is not None:
            progress(phase, len(made), len(calls))
    if not calls:
        return np.empty((0, *experiment.bound.release.shape)), None
    after = np.stack([made[i][0] for i in range(len(calls))])
    before = [made[i][1] for i in range(len(calls))]
    shown = [each for each in before if each is not None]
    return after, np.stack(shown) if len(shown) == len(calls) else None


def check_independent(without: Array, experiment: Experiment, runs: int) -> None:
    """Refuse several runs of a mechanism whose models without the pool are equal, from different streams.

    Raises
    ------
    InvalidInputError
        When they are.
    """
    if runs == 1 or len(without) < 2 or not experiment.bound.release.continuous:
        return
    require(
        not np.array_equal(without[0], without[1]),
        "runs",
        expected="independent: two models from different random streams differ",
        got="two equal ones",
        fix="draw every random number from rng: with one seed for all runs, runs that each meet a claim refute it "
        "together (or declare ReleaseSpec(continuous=False) for a service without any randomness)",
    )
