"""Run the experiment on a mechanism: draw coins, train, delete, score, judge. The entry point is :func:`run_lots`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.lots.filters import JointFilter
from attacks.lots.outputs import OutputScores
from attacks.lots.protocol import LotAttack, LotScorer, Rehearsal
from attacks.protocol import AttackContext
from audit.errors import TrialError
from audit.lots.auditing import from_lots, which_record
from audit.lots.coins import commitment, draw_coins, read_pairs
from audit.lots.freezing import check_calibrate, check_frozen, public
from audit.lots.inputs import check_claim, check_named_claims, checked_seed, is_one_of
from audit.lots.noise import certified_singles
from audit.lots.result import DrawKind, LotsResult, LotsRun
from audit.lots.subsets import Draw, Statistic
from audit.plan.audit_plan import CertifiedClaim
from audit.records.provenance import data_record
from audit.running.binding import make_context
from audit.trials.chunks import Stream, make_generator
from audit.trials.engines import Engine, Progress, Streams, results, worker_limits
from mechanisms.claim import Claim, Reference
from mechanisms.dataset import validate_forget
from mechanisms.errors import InvalidInputError, NotApplicableError, UnlearnAuditError, require
from mechanisms.protocol import HasPools, HasStages
from mechanisms.reading.records import RecordSet, records_for
from mechanisms.reading.scalars import whole_number

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

MADE_HERE = (
    "Runs were made here, each from a random stream of its own; everything that the mechanism freezes was computed "
    "once, from the data with the whole pool."
)
# Third keys of the streams of runs: audited, rehearsed, without the pool.
_AUDITED, _REHEARSED, _WITHOUT = 0, 1, 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Experiment:
    """A mechanism bound to the data with the whole pool, what it published then, and what a run needs besides coins."""

    bound: HasStages
    data: RecordSet
    pool: tuple[int, ...]
    seed: int
    parameters: Mapping[str, Any]


def run_lots(
    mechanism: Any,
    data: RecordSet,
    *,
    pool: Sequence[int],
    claim: Claim | CertifiedClaim | Sequence[Claim],
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
        certificates, with one noise for all candidates.
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
        Worker processes, which share the runs; called with (phase, done, in all).
    title, command
        For the result.

    Returns
    -------
    LotsResult

    Raises
    ------
    InvalidInputError
        For input out of range, a mechanism that cannot be bound to a pool, claims that do not cover the draw, and
        anything that was found to depend on the draw though it should be frozen.
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
    started, seed = time.monotonic(), checked_seed(seed)
    engine = engine or Engine()
    data = records_for(mechanism, data)
    records, kind, paired = _checked_pool(mechanism, data, pool, draw, pairs)
    n_runs = whole_number(runs, "runs", fix="one model is enough where candidates are told apart")
    require(n_runs >= 1, "runs", expected="at least 1", got=n_runs, fix="1 is usual")
    m, k = len(records), 1 if draw == "one" else k
    _check_k(draw, m, k)
    if isinstance(claim, CertifiedClaim):
        if draw != "one":
            raise InvalidInputError(
                field="claim",
                expected="a Claim of yours, about every set that can be drawn",
                got=f"the {claim.method} certificates, which are of one set each",
                fix="what is certified of the whole pool says nothing of its parts: two records may cancel each other; "
                'state the claim, or audit single deletions with draw="one"',
            )
        mechanism, claim = certified_singles(mechanism, data, records, claim.method)
    claims = _check_claims(claim, draw, kind, m, k)
    coins_rng = make_generator(seed, Stream.LOTS_COINS)
    coins = draw_coins(kind, candidates=m, runs=n_runs, rng=coins_rng, pairs=paired, k=k)
    salt = coins_rng.bytes(32)
    experiment = _bound(mechanism, data, records, seed, claims)
    mixed = next((row for row in coins if 0 < row.sum() < m), np.arange(m) % 2 == 0)
    calibrated = check_calibrate(mechanism, data, records, mixed)
    without = _releases(experiment, np.zeros((references, m), dtype=bool), _WITHOUT, engine, progress)[0]
    _check_independent(without, experiment, n_runs)
    context = make_context(experiment.bound, data, records)  # type: ignore[arg-type]
    scorer = _prepared(attack, context, experiment, without, draw, k, engine, progress)
    releases, before = _releases(experiment, coins, _AUDITED, engine, progress)
    check_calibrate(mechanism, data, records, mixed, before=calibrated)
    scores = np.stack([scorer.scores(release) for release in releases])
    told: dict[str, Any] = {
        "significance": significance,
        "delta": delta,
        "seed": seed,
        "title": title or f"Deletions by lot: {mechanism.name} on {data.name}",
        "command": command,
        "commitment": commitment(coins, salt),
    }

    def judged(values: Array) -> LotsResult:
        if draw == "one":
            one = claims if len(claims) > 1 else claims[0]
            return which_record(values, coins.argmax(axis=1), claim=one, names=guesses or 1, **told)
        options = {"draw": kind, "pairs": paired, "statistic": statistic, "guesses": guesses}
        return from_lots(values, coins, claim=claims[0], runs_threshold=runs_threshold, **options, **told)  # type: ignore[arg-type]

    seen = () if before is None else judged(np.stack([scorer.scores(release) for release in before])).runs
    return _told(judged(scores), mechanism, data, seen, started)


def _told(
    result: LotsResult, mechanism: Any, data: RecordSet, before: tuple[LotsRun, ...], started: float
) -> LotsResult:
    """Return the result with where it comes from: runs that were made here need no condition on independence."""
    conditions = tuple(text for text in result.conditions if not text.startswith("Conditional on independent runs"))
    return replace(
        result,
        conditions=(*conditions, MADE_HERE),
        mechanism=mechanism.name,
        data=data_record(data, mechanism),
        before=before,
        seconds=round(time.monotonic() - started, 3),
    )


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


def _releases(
    experiment: Experiment, coins: Flags, stream: int, engine: Streams, progress: Progress | None
) -> tuple[Array, Array | None]:
    """Return what runs with these coins release, shape (n, *release.shape), and what they would have before."""
    calls = [(experiment, row, stream, j) for j, row in enumerate(coins)]
    made: dict[int, tuple[Array, Array | None]] = {}
    phase = {_AUDITED: "runs", _REHEARSED: "rehearsals", _WITHOUT: "models without the pool"}[stream]
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


def _checked_pool(
    mechanism: Any, data: RecordSet, pool: Sequence[int], draw: DrawKind, pairs: ArrayLike | None
) -> tuple[tuple[int, ...], Draw, NDArray[np.int64] | None]:
    is_one_of("draw", draw, ("fair", "paired", "exactly_k", "one"))
    records = validate_forget(pool, len(data), field="pool")
    require(len(records) >= 2, "pool", expected="at least 2 candidates", got=len(records), fix="200 is usual")
    if not isinstance(mechanism, HasPools):
        raise InvalidInputError(
            field="mechanism",
            expected="one with bind_pool(data, pool), which freezes everything for every draw",
            got=f"a {type(mechanism).__name__}",
            fix="what bind freezes for one deletion follows the draw: build the mechanism with from_functions, or "
            "score its models yourself (audit.from_lots)",
        )
    kind: Draw = "exactly_k" if draw == "one" else draw
    return records, kind, read_pairs(pairs, kind, len(records))


def _check_k(draw: DrawKind, m: int, k: int | None) -> None:
    if draw == "exactly_k":
        fix = "say how many candidates a run draws"
        found = None if k is None else whole_number(k, "k", fix=fix)
        require(found is not None and 1 <= found < m, "k", expected=f"in [1, {m - 1}]", got=k, fix=fix)
    elif draw != "one":
        require(k is None, "k", expected='given for draw="exactly_k" alone', got=k, fix="leave it out")


def _check_claims(
    claim: Claim | Sequence[Claim], draw: DrawKind, kind: Draw, m: int, k: int | None
) -> tuple[Claim, ...]:
    if draw == "one":
        return check_named_claims(claim, m)
    check_claim(claim, kind, candidates=m, k=k or 0)  # type: ignore[arg-type]
    return (claim,)  # type: ignore[return-value]


def _bound(mechanism: Any, data: RecordSet, pool: tuple[int, ...], seed: int, claims: Sequence[Claim]) -> Experiment:
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


def _check_independent(without: Array, experiment: Experiment, runs: int) -> None:
    """Refuse several runs of a mechanism whose models without the pool are equal, from different streams."""
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


def _prepared(
    attack: LotAttack | None,
    context: AttackContext,
    experiment: Experiment,
    without: Array,
    draw: DrawKind,
    k: int | None,
    engine: Streams,
    progress: Progress | None,
) -> LotScorer:
    """Return the attack, fitted on rehearsals with coins of their own where it asks for them."""
    alone = draw == "one"
    if attack is None:
        return _usual(context, without, alone)
    for name in ("name", "rehearsals", "prepare"):
        fix = "choose one of attacks.lots, or see attacks.lots.LotAttack"
        require(hasattr(attack, name), "attack", expected="an attack by lot", got=type(attack).__name__, fix=fix)
    m, n = len(experiment.pool), whole_number(attack.rehearsals, "attack.rehearsals", fix="0 for none")
    rehearsed: tuple[Rehearsal, ...] = ()
    if n:
        rng = make_generator(experiment.seed, Stream.LOTS_COINS, 1)
        # Fair coins, whatever the draw: an attack learns directions from them.
        coins = draw_coins("fair", candidates=m, runs=n, rng=rng)
        releases = _releases(experiment, coins, _REHEARSED, engine, progress)[0]
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
