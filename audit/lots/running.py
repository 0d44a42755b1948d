"""Run the experiment on a mechanism: draw coins, train, delete, score, judge. The entry point is :func:`run_lots`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.lots.filters import JointFilter
from attacks.lots.outputs import OutputScores
from attacks.lots.protocol import LotAttack, LotScorer, Rehearsal
from attacks.protocol import AttackContext
from audit.lots.asking import Asked, asked_for
from audit.lots.auditing import from_lots, which_record
from audit.lots.averaging import AveragedClaim
from audit.lots.coins import commitment, draw_coins
from audit.lots.experiment import AUDITED, REHEARSED, WITHOUT, Experiment, bound_to_pool, check_independent, releases_of
from audit.lots.freezing import check_calibrate
from audit.lots.keeping import Keeping
from audit.lots.result import DrawKind, LotsResult
from audit.lots.statistics.subsets import Statistic
from audit.plan.audit_plan import CertifiedClaim
from audit.records.provenance import data_record
from audit.running.binding import make_context
from audit.trials.chunks import Stream, make_generator
from audit.trials.engines import Engine, Progress, Streams
from audit.trials.identity.described import described
from audit.trials.identity.of_runs import Identity, identity_with
from audit.trials.store import Storage
from audit.trials.storing.opening import opened
from mechanisms.claim import Claim
from mechanisms.errors import NotApplicableError
from mechanisms.reading.records import RecordSet, records_for

Array = NDArray[np.float64]

MADE_HERE = (
    "Runs were made here, each from a random stream of its own; everything that the mechanism freezes was computed "
    "once, from the data with the whole pool."
)


def run_lots(
    mechanism: Any,
    data: RecordSet,
    *,
    pool: Sequence[int],
    claim: Claim | CertifiedClaim | AveragedClaim | Sequence[Claim],
    runs: int = 1,
    draw: DrawKind = "fair",
    k: int | None = None,
    pairs: ArrayLike | None = None,
    attack: LotAttack | None = None,
    statistic: Statistic = "count",
    guesses: int | None = None,
    runs_threshold: float | None = None,
    significance: float = 0.05,
    delta: float | None = None,
    references: int = 2,
    seed: int = 0,
    engine: Streams | None = None,
    store: str | Path | Storage | None = None,
    progress: Progress | None = None,
    title: str | None = None,
    command: str | None = None,
) -> LotsResult:
    """Audit a mechanism by lot: train ``runs`` models, each given a secret draw from the pool that it then deletes.

    A claim that holds is REFUTED with probability at most ``significance``. Nothing is retrained for comparison.

    Parameters
    ----------
    mechanism
        One that can be bound to a pool (:class:`mechanisms.HasPools`): ``from_functions``, ``from_estimator``,
        ``RidgeLangevin``, ``OutputPerturbation``, ``NetworkLangevin``, or your own.
    data, pool
        All records, and which of them are candidates, m of them. A run learns the others and those that it drew.
    claim
        Of every set that the coins can give (``covers=UpTo(k=m)`` for fair coins); for ``draw="one"`` about single
        records, one for all or one for each candidate, or ``CertifiedClaim(method="exact")``: then the mechanism's own
        certificates, with one noise for all candidates. ``AveragedClaim(epsilon=1.0)``: the mean over draws of what the
        mechanism certifies of each drawn set, at one noise; it takes a tenth of the significance.
    runs
        How many models.
    draw, k, pairs
        "fair", "paired" (positions within the pool), "exactly_k" with k, or "one": a single candidate a run.
    attack
        Of ``attacks.lots``; by default the joint filter for weights of linear models, else what a release shows of the
        candidates.
    statistic, guesses, runs_threshold, significance, delta
        As for :func:`audit.from_lots`; for "one" ``guesses`` candidates are named.
    references
        Models that are trained without the pool, from streams of their own: attacks may look at them, and two that are
        equal show that runs are not independent.
    seed
        The only source of randomness: of coins, runs and ties.
    engine, progress
        Worker processes, or a Dask cluster, which share the runs; called with (phase, done, in all).
    store
        A folder in which finished runs are kept, or :class:`audit.Storage` with more to say about it. The same audit,
        stopped, goes on there with the result that it would have had; a finished one gives its result again and trains
        nothing. By default nothing is kept.
    title, command
        For the result.

    Returns
    -------
    LotsResult

    Raises
    ------
    InvalidInputError
        For input out of range, a mechanism that cannot be bound to a pool, claims that do not cover the draw, and
        anything that was found to depend on the draw though it should be frozen; also when the store is of another
        audit, is written to by another process, or is damaged.
    NotApplicableError
        When the attack cannot work on such releases.
    TrialError
        When the mechanism fails.

    Notes
    -----
    The other candidates are never given: no other experiment can be expressed. Attacks are prepared before the first
    audited run, and are shown releases alone.

    References
    ----------
    :func:`audit.from_lots`.
    """
    started = time.monotonic()
    data = records_for(mechanism, data)
    # Before any code of the user has run.
    sha256 = data.sha256()
    given = mechanism
    storage = store if isinstance(store, Storage) else Storage(folder=None if store is None else Path(store))
    engine = engine or Engine()
    mechanism, asked = asked_for(
        mechanism,
        data,
        claim,
        engine=engine,
        pool=pool,
        draw=draw,
        k=k,
        pairs=pairs,
        runs=runs,
        references=references,
        attack=attack,
        seed=seed,
        statistic=statistic,
        guesses=guesses,
        runs_threshold=runs_threshold,
        significance=significance,
        delta=delta,
    )
    title = title or f"Deletions by lot: {mechanism.name} on {data.name}"
    n_runs = asked.runs + asked.references + asked.rehearsals
    with opened(storage, lambda: _identity(given, data, asked, claim, sha256), n_chunks=n_runs) as kept:
        if (finished := kept.result) is not None:
            kept.say(f"This audit is finished: its result is read from {storage.folder}, and nothing is trained.")
            return replace(LotsResult.from_json(finished), title=title)
        if kept.n_stored:
            kept.say(f"Going on: {kept.n_stored:,} of {n_runs:,} runs are stored in {storage.folder}.")
        keeping = Keeping(engine=engine, store=kept)
        result = _audited(mechanism, data, asked, keeping, progress, title=title, command=command)
        result = replace(result, seconds=round(time.monotonic() - started, 3))
        if storage.folder is not None:
            kept.finish(result.to_json())
    return result


def _identity(mechanism: Any, data: RecordSet, asked: Asked, claim: Any, sha256: str) -> Identity:
    """Return what the runs depend on; ``trials`` and ``seed`` are shown by ``unlearn-audit store ls``."""
    plan = {"trials": asked.runs, **described(asked), "claim": described(claim)}
    # Computed from the mechanism where it is not as given, and then not to the last digit the same on every machine.
    del plan["claims"]
    return identity_with(mechanism, data, data_sha256=sha256, plan=plan)


def _audited(
    mechanism: Any,
    data: RecordSet,
    asked: Asked,
    engine: Streams,
    progress: Progress | None,
    *,
    title: str,
    command: str | None,
) -> LotsResult:
    """Return the verdict of an audit that no store holds."""
    m, draw = len(asked.pool), asked.draw
    coins_rng = make_generator(asked.seed, Stream.LOTS_COINS)
    coins = draw_coins(asked.kind, candidates=m, runs=asked.runs, rng=coins_rng, pairs=asked.pairs, k=asked.k)
    salt = coins_rng.bytes(32)
    experiment = bound_to_pool(mechanism, data, asked.pool, seed=asked.seed, claims=asked.claims)
    mixed = next((row for row in coins if 0 < row.sum() < m), np.arange(m) % 2 == 0)
    calibrated = check_calibrate(mechanism, data, asked.pool, mixed)
    nobody = np.zeros((asked.references, m), dtype=bool)
    without = releases_of(experiment, nobody, WITHOUT, engine=engine, progress=progress)[0]
    check_independent(without, experiment, asked.runs)
    context = make_context(experiment.bound, data, asked.pool)  # type: ignore[arg-type]
    scorer = _prepared(asked, context, experiment, without, engine, progress)
    releases, before = releases_of(experiment, coins, AUDITED, engine=engine, progress=progress)
    check_calibrate(mechanism, data, asked.pool, mixed, before=calibrated)
    told: dict[str, Any] = {
        "significance": asked.significance,
        "delta": asked.delta,
        "seed": asked.seed,
        "title": title,
        "command": command,
        "commitment": commitment(coins, salt),
    }

    def judged(shown: Array) -> LotsResult:
        scores = np.stack([scorer.scores(release) for release in shown])
        if draw == "one":
            one = asked.claims if len(asked.claims) > 1 else asked.claims[0]
            return which_record(scores, coins.argmax(axis=1), claim=one, names=asked.guesses or 1, **told)
        options = {"draw": asked.kind, "pairs": asked.pairs, "statistic": asked.statistic, "guesses": asked.guesses}
        return from_lots(
            scores,
            coins,
            claim=asked.claims[0],
            runs_threshold=asked.runs_threshold,
            **options,  # type: ignore[arg-type]
            **told,
        )

    result = judged(releases)
    # Runs that were made here need no condition on independence.
    conditions = tuple(text for text in result.conditions if not text.startswith("Conditional on independent runs"))
    return replace(
        result,
        conditions=(*conditions, MADE_HERE),
        mechanism=mechanism.name,
        data=data_record(data, mechanism),
        before=() if before is None else judged(before).runs,
    )


def _prepared(
    asked: Asked,
    context: AttackContext,
    experiment: Experiment,
    without: Array,
    engine: Streams,
    progress: Progress | None,
) -> LotScorer:
    """Return the attack, fitted on rehearsals with coins of their own where it asks for them."""
    alone, attack = asked.draw == "one", asked.attack
    if attack is None:
        return _usual(context, without, alone)
    m, n = len(asked.pool), asked.rehearsals
    rehearsed: tuple[Rehearsal, ...] = ()
    if n:
        rng = make_generator(asked.seed, Stream.LOTS_COINS, 1)
        # Fair coins, whatever the draw: an attack learns directions from them.
        coins = draw_coins("fair", candidates=m, runs=n, rng=rng)
        releases = releases_of(experiment, coins, REHEARSED, engine=engine, progress=progress)[0]
        rehearsed = tuple(Rehearsal(release=r, coins=c) for r, c in zip(releases, coins, strict=True))
    return attack.prepare(context, without, rehearsed, alone=alone)


def _usual(context: AttackContext, without: Array, alone: bool) -> LotScorer:
    said = []
    for attack in (JointFilter(), OutputScores()):
        try:
            return attack.prepare(context, without, (), alone=alone)
        except NotApplicableError as error:
            said.append(str(error))
    raise NotApplicableError(f"No attack by lot works on these releases: {'; '.join(said)}; pass attack=Learned()")
