"""Audit scores of models whose deletions were drawn by lot: sets, single records, and release after release.

In the flow: scores of candidates and the coins come in, however the models were made; a
:class:`~audit.lots.result.LotsResult` goes out. Nothing here trains anything.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audit.lots.coins import checked_guesses, read_coins, read_pairs
from audit.lots.covariates import check_covariates
from audit.lots.inputs import (
    check_claim,
    check_named_claims,
    check_seeds,
    checked_delta,
    checked_seed,
    checked_significance,
    is_one_of,
    read_scores,
)
from audit.lots.result import DrawKind, LotsResult, LotsRun, with_verdict
from audit.lots.statistics.betting import Bet, next_bet
from audit.lots.statistics.judging import fitted_threshold, n_fit
from audit.lots.statistics.subsets import Draw, Statistic, highest, judge_run, usual_guesses
from audit.records.verdict import Verdict
from audit.trials.chunks import Stream, make_generator
from mechanisms.claim import Claim
from mechanisms.errors import require
from mechanisms.reading.arrays import real_array
from mechanisms.reading.scalars import real_number

Floats = NDArray[np.float64]

INSERTED = (
    "The drawn candidates were given to training and asked to be deleted, the others never given; coins are the "
    "auditor's and unknown to whoever attacks and scores."
)
INDEPENDENT_RUNS = (
    "Conditional on independent runs: each of fresh randomness, so that what is claimed holds of it given the coins "
    "and releases of those before."
)
STREAM_CONDITION = (
    "Each batch enters the training after every release used before, no score reads a release that was made while its "
    "batch was in training, and the claim holds for each release given those before."
)


def from_lots(
    scores: ArrayLike,
    coins: ArrayLike,
    *,
    claim: Claim,
    draw: Draw = "fair",
    pairs: ArrayLike | None = None,
    statistic: Statistic = "count",
    guesses: int | None = None,
    runs_threshold: float | None = None,
    run_seeds: ArrayLike | None = None,
    covariates: Mapping[str, ArrayLike] | None = None,
    significance: float = 0.05,
    delta: float | None = None,
    seed: int = 0,
    title: str | None = None,
    command: str | None = None,
    commitment: str | None = None,
) -> LotsResult:
    """Audit a claim by secret coins: return a verdict that is wrong with probability at most ``significance``.

    The experiment: of m candidates a secret half is given to training and asked to be deleted, the other half is never
    given. Whoever sees the released model guesses which. One model is enough. NOT_REFUTED proves nothing.

    Parameters
    ----------
    scores
        One score a candidate, shape (m,), or of several runs, shape (runs, m); the higher, the more the release looks
        as if the candidate had been in the data. Any function of the release; never of the coins.
    coins
        The same shape: 1 for candidates that were given and asked to be deleted, 0 for those that never were.
    claim
        What is claimed in the direction ``UNLEARNED_FROM_RETRAINED`` of every set that the coins can give: for fair
        coins ``covers=UpTo(k=m)``.
    draw
        "fair": a coin a candidate. "paired": one of each of m / 2 ``pairs`` that were fixed before. "exactly_k": a
        uniform set of equally many.
    pairs
        Shape (m / 2, 2), positions of candidates.
    statistic
        "count" of the surest guesses, "weighted" sum of all, or "both" at half the level each; fixed before the coins.
    guesses
        How many of the surest are counted; half of the coins by default, as many as were drawn for "exactly_k".
    runs_threshold
        Of several runs: a p-value of a run, fixed before them, at which it counts as a hit. By default the first
        quarter of the runs chooses it, and does not count.
    run_seeds
        Of several runs: the seeds that they were made from, where they are known; equal ones are refused.
    covariates
        What is known of the candidates without any score: a number each, by name, such as a column of the records or
        the score of a model that never saw the pool. Coins that follow one are refused.
    significance
        In (0, 0.5).
    delta
        At which the lower bound is stated; the claim's own, or 1e-5, by default.
    seed
        Breaks ties.
    title, command, commitment
        For the report: its title, the command that runs it again, and the SHA-256 that was published of the coins.

    Returns
    -------
    LotsResult

    Raises
    ------
    InvalidInputError
        For scores, coins, pairs or options out of range, coins that contradict the draw, and claims that say nothing of
        the sets that it gives.

    Notes
    -----
    For one run nothing is assumed of attack, model or hardware: only that the coins are the auditor's, and unknown to
    the scoring. Several runs need fresh randomness each.

    References
    ----------
    Steinke, Nasr, Jagielski 2023, "Privacy auditing with one (1) training run" (arXiv:2305.08846), for guesses of
    coins; there for each record's own privacy, here for what is claimed of the whole set.

    Examples
    --------
    >>> import numpy as np
    >>> from mechanisms import EpsilonDelta, UpTo
    >>> rng = np.random.default_rng(0)
    >>> coins = rng.random(200) < 0.5
    >>> claim = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5), covers=UpTo(k=200))
    >>> from_lots(rng.normal(size=200) + 2 * coins, coins, claim=claim).verdict.value
    'refuted'
    >>> from_lots(rng.normal(size=200), coins, claim=claim).verdict.value
    'not_refuted'
    """
    started = time.monotonic()
    rows = read_scores(scores)
    check_seeds(run_seeds, len(rows))
    runs = _runs_of(rows, coins, claim, draw, pairs, statistic, guesses, covariates, checked_seed(seed))
    alpha, at = checked_significance(significance), checked_delta(delta, claim)
    fitting, log_threshold = 0, None
    if len(runs) > 1 or runs_threshold is not None:
        log_ps = np.asarray([run.log_p for run in runs])
        fitting = n_fit(len(runs)) if runs_threshold is None else 0
        log_threshold = (
            fitted_threshold(log_ps[:fitting], len(runs) - fitting, significance=alpha, delta=at)
            if runs_threshold is None
            else _log_of(runs_threshold)
        )
    conditions = (INSERTED,) if len(runs) == 1 else (INSERTED, INDEPENDENT_RUNS)
    return _made(
        title or f"Deletions by lot: {_plural(len(runs), 'model')}",
        (claim,),
        draw,
        statistic,
        rows.shape[1],
        runs,
        started=started,
        significance=alpha,
        delta=at,
        n_fit=fitting,
        log_threshold=log_threshold,
        conditions=conditions,
        seed=seed,
        command=command,
        commitments=() if commitment is None else (commitment,),
    )


def which_record(
    scores: ArrayLike,
    drawn: ArrayLike,
    *,
    claim: Claim | Sequence[Claim],
    names: int = 1,
    among: ArrayLike | None = None,
    run_seeds: ArrayLike | None = None,
    covariates: Mapping[str, ArrayLike] | None = None,
    significance: float = 0.05,
    delta: float | None = None,
    seed: int = 0,
    title: str | None = None,
    command: str | None = None,
    commitment: str | None = None,
) -> LotsResult:
    """Audit claims about single deletions: each run was given one candidate, drawn at random, and asked to delete it.

    Wrong with probability at most ``significance``. Whoever sees the release names ``names`` of m candidates.

    Parameters
    ----------
    scores
        Shape (runs, m), or (m,) of one run; the higher, the more the release looks as if this candidate was the one.
    drawn
        Position of the candidate that was given in each run, shape (runs,).
    claim
        About deleting one record; or one claim for each candidate, points (epsilon, delta), of which a refutation says
        that at least one is false.
    names
        How many candidates are named a run, k.
    among
        Where other records of the pool are retained in every run: flags, shape (m,), of those that could be drawn. Only
        they are named, and m counts only them.
    run_seeds, covariates, significance, delta, seed, title, command, commitment
        As for :func:`from_lots`.

    Returns
    -------
    LotsResult

    Raises
    ------
    InvalidInputError
        For arrays and options out of range, and claims about other deletions than single ones.

    Notes
    -----
    A run names the drawn one with probability at most e^epsilon k / m + delta where the claim holds, so the number of
    runs that do is at most binomial. The reference law, and so the noise and everything that is frozen, must be the
    same for every candidate.

    References
    ----------
    Clopper, Pearson 1934, Biometrika 26; claims of their own: see
    :func:`audit.lots.statistics.judging.log_allowed_apart`.
    """
    started = time.monotonic()
    rows = read_scores(scores)
    check_seeds(run_seeds, len(rows))
    inside = _among(among, rows.shape[1])
    claims = check_named_claims(claim, rows.shape[1])
    places = real_array(drawn, "drawn").ravel()
    fix = "give for each run the position of the candidate that was given to training"
    whole = places.size == len(rows) and bool(np.all(places == np.floor(places)))
    require(whole, "drawn", expected=f"{len(rows)} whole numbers", got=places.tolist()[:5], fix=fix)
    known = bool(np.all((places >= 0) & (places < rows.shape[1]))) and bool(np.all(inside[places.astype(int)]))
    require(known, "drawn", expected="positions of candidates that could be drawn", got=places.tolist()[:5], fix=fix)
    m = int(inside.sum())
    given = np.zeros(rows.shape, dtype=bool)
    given[np.arange(len(rows)), places.astype(int)] = True
    known_of = {name: np.asarray(values)[inside] for name, values in (covariates or {}).items()}
    check_covariates(known_of, given[:, inside], draw="exactly_k")
    k = checked_guesses(names, 1, m - 1)
    positions = np.flatnonzero(inside)
    runs = []
    for j, row in enumerate(rows):
        rng = make_generator(checked_seed(seed), Stream.LOTS_TIES, j)
        named = positions[highest(row[positions], k, rng)]
        runs.append(LotsRun(inserted=1, guesses=k, right=int(int(places[j]) in named)))
    return _made(
        title or f"Which record was deleted: {_plural(len(runs), 'model')}",
        tuple(claims[i] for i in positions) if len(claims) > 1 else claims,
        "one",
        "count",
        m,
        runs,
        started=started,
        significance=checked_significance(significance),
        delta=checked_delta(delta, claims[0]),
        log_threshold=math.log(k / m),
        conditions=(INSERTED, INDEPENDENT_RUNS) if len(runs) > 1 else (INSERTED,),
        seed=seed,
        command=command,
        commitments=() if commitment is None else (commitment,),
    )


def follow_stream(
    scores: ArrayLike,
    coins: ArrayLike,
    *,
    claim: Claim | None = None,
    state: LotsResult | None = None,
    draw: Draw = "fair",
    pairs: ArrayLike | None = None,
    statistic: Statistic = "count",
    guesses: int | None = None,
    covariates: Mapping[str, ArrayLike] | None = None,
    significance: float = 0.05,
    delta: float | None = None,
    seed: int = 0,
    title: str | None = None,
    command: str | None = None,
    commitment: str | None = None,
) -> LotsResult:
    """Audit a service release by release: return what all releases so far say, valid after every one of them.

    A claim that holds is EVER refuted with probability at most ``significance``, however long one follows.

    Parameters
    ----------
    scores, coins
        Of the batch of this release, shape (m,); later batches may have other sizes.
    claim
        What is claimed of every release, given those before; needed for the first.
    state
        What was returned for the release before (:meth:`LotsResult.from_json` reads it from a file).
    draw, pairs, statistic, guesses, covariates, seed, title, command
        As for :func:`from_lots`; draw and statistic are those of the first release.
    significance, delta
        Of the first release; later ones keep them.
    commitment
        SHA-256 of this batch's coins; a batch that was counted already is refused.

    Returns
    -------
    LotsResult
        Also the state for the next release.

    Raises
    ------
    InvalidInputError
        As :func:`from_lots`; for a state that is no stream, another claim, or a batch that was counted before.

    Notes
    -----
    A batch must enter the training after every release that was used before: an attack that compares with an earlier
    release, made while the batch was inside, wins without any violation.

    References
    ----------
    Ville 1939; :mod:`audit.lots.statistics.betting`.
    """
    started = time.monotonic()
    claim, past, alpha, at = _going_on(claim, state, significance, delta)
    rows = read_scores(scores)
    require(len(rows) == 1, "scores", expected="of one release, shape (m,)", got=f"shape {rows.shape}", fix=_ONE_BY_ONE)
    if state is not None and commitment is not None:
        again = commitment in state.commitments
        require(
            not again, "commitment", expected="of a batch that was not counted yet", got=commitment, fix=_ONE_BY_ONE
        )
    same = state is None or (state.draw, state.statistic) == (draw, statistic)
    fix = "keep the draw and the statistic of the first release"
    require(same, "draw", expected=f"{state and (state.draw, state.statistic)}", got=(draw, statistic), fix=fix)
    tie_seed = checked_seed(seed)
    # Bets are made before the release is looked at.
    log_a, share = next_bet(past, claim, alpha)
    (run,) = _runs_of(rows, coins, claim, draw, pairs, statistic, guesses, covariates, tie_seed, first=len(past))
    bets = (*past, Bet(log_chance=log_a, share=share, log_p=run.log_p))
    return _made(
        title or (state.title if state else "Deletions by lot, release after release"),
        (claim,),
        draw,
        statistic,
        rows.shape[1],
        [*(state.runs if state else ()), run],
        started=started,
        significance=alpha,
        delta=at,
        bets=bets,
        conditions=(INSERTED, STREAM_CONDITION),
        seed=seed,
        command=command,
        commitments=(*(state.commitments if state else ()), *(() if commitment is None else (commitment,))),
    )


_ONE_BY_ONE = "give each release once, as soon as it is made"


def _going_on(
    claim: Claim | None, state: LotsResult | None, significance: float, delta: float | None
) -> tuple[Claim, tuple[Bet, ...], float, float]:
    if state is None:
        require(claim is not None, "claim", expected="given for the first release", got=None, fix="pass claim=...")
        return claim, (), checked_significance(significance), checked_delta(delta, claim)  # type: ignore[return-value,arg-type]
    is_state = isinstance(state, LotsResult) and state.is_stream
    fix = "pass what follow_stream returned for the release before"
    require(is_state, "state", expected="a stream that has begun", got=type(state).__name__, fix=fix)
    same = claim is None or claim == state.claim
    require(same, "claim", expected="that of the first release", got=claim, fix="a new claim begins a new stream")
    return state.claim, state.bets, state.significance, state.delta


def _runs_of(
    rows: Floats,
    coins: ArrayLike,
    claim: Claim,
    draw: Draw,
    pairs: ArrayLike | None,
    statistic: Statistic,
    guesses: int | None,
    covariates: Mapping[str, ArrayLike] | None,
    seed: int,
    first: int = 0,
) -> list[LotsRun]:
    """Return what each row of scores tells of its coins, all of it checked."""
    is_one_of("draw", draw, ("fair", "paired", "exactly_k"))
    is_one_of("statistic", statistic, ("count", "weighted", "both"))
    m = rows.shape[1]
    paired = read_pairs(pairs, draw, m)
    flags = read_coins(coins, draw=draw, pairs=paired, shape=(rows.shape[0], m))
    check_covariates(covariates, flags, draw=draw, pairs=paired)
    k = int(flags[0].sum())
    check_claim(claim, draw, candidates=m, k=k)
    counted = statistic == "count" or draw != "exactly_k"
    fix = 'count for draw="exactly_k", or draw pairs'
    require(counted, "statistic", expected='"count" for sets of exactly k', got=statistic, fix=fix)
    most = m // 2 if draw == "paired" else m
    n_guesses = checked_guesses(guesses, usual_guesses(draw, m, k), most - 1 if draw == "exactly_k" else most)
    return [
        LotsRun(
            **asdict(
                judge_run(
                    row,
                    tossed,
                    draw=draw,
                    pairs=paired,
                    statistic=statistic,
                    guesses=n_guesses,
                    rng=make_generator(seed, Stream.LOTS_TIES, first + j),
                )
            )
        )
        for j, (row, tossed) in enumerate(zip(rows, flags, strict=True))
    ]


def _made(
    title: str,
    claims: tuple[Claim, ...],
    draw: DrawKind,
    statistic: Statistic,
    candidates: int,
    runs: Sequence[LotsRun],
    *,
    started: float,
    **others: object,
) -> LotsResult:
    blank = LotsResult(
        title=title,
        claims=claims,
        draw=draw,
        statistic=statistic,
        candidates=candidates,
        runs=tuple(runs),
        verdict=Verdict.INCONCLUSIVE,
        reason=None,
        p_value=1.0,
        lower_bound=0.0,
        ceiling=0.0,
        **others,  # type: ignore[arg-type]
    )
    return replace(with_verdict(blank), seconds=round(time.monotonic() - started, 3))


def _among(among: ArrayLike | None, m: int) -> NDArray[np.bool_]:
    if among is None:
        return np.ones(m, dtype=bool)
    flags = real_array(among, "among")
    good = flags.shape == (m,) and bool(np.all((flags == 0) | (flags == 1))) and int(flags.sum()) >= 2
    fix = "mark the candidates that could be drawn"
    require(good, "among", expected=f"{m} flags, at least two of them true", got=flags.tolist()[:5], fix=fix)
    return flags.astype(bool)


def _log_of(threshold: float) -> float:
    fix = "fix a p-value of a run before the runs, 1e-3 for example"
    value = real_number(threshold, "runs_threshold", fix=fix)
    require(0 < value < 1, "runs_threshold", expected="in (0, 1)", got=value, fix=fix)
    return math.log(value)


def _plural(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' if n != 1 else ''}"
