"""The seeded faults again, by deletions drawn by lot: one trained model, and several, none of them retrained.

As for audits of two worlds nothing about the outcome is typed in. Rehearsals of each faulty service say how often a
guess is right, by an attack that knows on which axis each candidate lies; from that rate, and with three quarters of
the candidates, a planner of its own says how likely an audit is to refute. A claim that is true must never be refuted.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from attacks.lots.filters import MatchedFilter
from audit.lots.result import LotsResult
from audit.lots.running import run_lots
from audit.records.verdict import Verdict
from audit.selftest.result import Expectation, LotsRow
from audit.selftest.truth import holds_exactly
from audit.trials.chunks import Stream, make_generator
from audit.trials.engines import worker_limits
from mechanisms.accounting.gaussian_pair import GaussianPair
from mechanisms.claim import Claim, Direction
from mechanisms.errors import InvalidInputError
from mechanisms.faulty.catalogue import CATALOGUE, Fault
from mechanisms.faulty.pools import DELTA, FaultyPool, has_pool, pool_of

Floats = NDArray[np.float64]
DIRECTION = Direction.UNLEARNED_FROM_RETRAINED
# Models of one audit.
ONE, SEVERAL = 1, 16
# Chance that a true claim of this table is refuted, whichever number of models is looked at.
SIGNIFICANCE = 0.05
LEVEL = SIGNIFICANCE / (2 * sum(has_pool(fault.problem) for fault in CATALOGUE))
# Of several models, one is a hit where guesses of this chance are right.
THRESHOLD = 0.02
SURE = 0.95
PLANNED_SHARE = 0.75
_REHEARSALS = 12
# Models without the pool: where what is learned has no closed form, their mean is what guesses are compared with.
_REFERENCES = 8


def audit_by_lot(fault: Fault, seed: int) -> LotsRow:
    """Plan one fault, audit it by one model and by several, and compare; a worker's unit of work."""
    with worker_limits():
        made = pool_of(fault.problem)
        key = zlib.crc32(fault.name.encode())
        own = int(np.random.SeedSequence(seed, spawn_key=(key, 1)).generate_state(1)[0])
        rehearsed = rehearsal_of(made, make_generator(own, Stream.REHEARSAL))
        true, holds = _truth(made)
        one, several = (audited(made, runs, own) for runs in (ONE, SEVERAL))
    if one is None:
        raise InvalidInputError(
            field="runs",
            expected="one model that can be judged",
            got="a refusal",
            fix="one run assumes no independence",
        )
    m = len(made.pool)
    powers = (power_of_one(made.claim, m, rehearsed.rate), power_of_several(made.claim, m, rehearsed.rate))
    usual = tuple(expectation_of(fault, holds, power) for power in powers)
    # Models that are always equal are no independent runs, and are refused.
    expected = (usual[0], Expectation.INCONCLUSIVE if rehearsed.constant else usual[1])
    verdicts = (one.verdict, Verdict.INCONCLUSIVE if several is None else several.verdict)
    return LotsRow(
        name=fault.name,
        harmless=fault.harmless,
        candidates=m,
        delta=DELTA,
        true_epsilon=true,
        claimed=made.claim.epsilon_at(DELTA, DIRECTION),
        guesses=one.runs[0].guesses,
        right=one.runs[0].right,
        hits=None if several is None else several.hits,
        bounds=(one.lower_bound, 0.0 if several is None else several.lower_bound),
        planned_powers=powers,
        expected=expected,
        verdicts=verdicts,
        as_expected=all(e.met_by(v) for e, v in zip(expected, verdicts, strict=True)),
    )


def audited(made: FaultyPool, runs: int, seed: int) -> LotsResult | None:
    """Return the audit of one faulty service by so many models; ``None`` where they are refused, for they are equal."""
    options: dict[str, Any] = {} if runs == 1 else {"runs_threshold": THRESHOLD}
    try:
        return _run(made, runs, seed, options)
    except InvalidInputError as error:
        if error.field != "runs":
            raise
        return None


def _run(made: FaultyPool, runs: int, seed: int, options: dict[str, Any]) -> LotsResult:
    return run_lots(
        made,
        made.data,
        pool=made.pool,
        claim=made.claim,
        runs=runs,
        significance=LEVEL,
        delta=DELTA,
        # Of what is left of each candidate, much or little: the joint filter expects all of it.
        attack=MatchedFilter(),
        references=_REFERENCES,
        # Audits do not share random numbers, so that their errors are independent.
        seed=seed + runs,
        **options,
    )


@dataclass(frozen=True, kw_only=True)
class Rehearsed:
    """How often the surest half of the guesses is right, and whether models without the pool are always the same."""

    rate: float
    constant: bool


def rehearsal_of(made: FaultyPool, rng: np.random.Generator) -> Rehearsed:
    """Return what rehearsals show, with coins of their own."""
    m, right, guessed = len(made.pool), 0, 0
    stages = made.bind_pool(made.data, made.pool)
    core = made.data.without(made.pool)
    for _ in range(_REHEARSALS):
        coins = rng.random(m) < 0.5
        inside, outside = ([r for r, coin in zip(made.pool, coins, strict=True) if coin == c] for c in (True, False))
        release = stages.unlearn(made.data.without(outside), core, made.data.take(inside), rng)[0, :, 0]
        lean = (release[made.axes] - made.centre) / made.pulls
        lean = lean - np.median(lean)
        surest = np.argsort(-np.abs(lean), kind="stable")[: m // 2]
        right += int(np.sum((lean[surest] > 0) == coins[surest]))
        guessed += len(surest)
    first, second = (stages.unlearn(core, core, core.take([]), rng) for _ in range(2))
    return Rehearsed(rate=right / guessed, constant=bool(np.array_equal(first, second)))


def power_of_one(claim: Claim, candidates: int, rate: float) -> float:
    """Return the chance that one model refutes, with guesses of this rate for half of the candidates."""
    guesses = int(PLANNED_SHARE * candidates) // 2
    return float(binom.sf(_fewest(claim, guesses, LEVEL) - 1, guesses, rate))


def power_of_several(claim: Claim, candidates: int, rate: float) -> float:
    """Return the same for several models, each of which is a hit or not."""
    guesses = int(PLANNED_SHARE * candidates) // 2
    needed = int(binom.isf(THRESHOLD, guesses, 0.5)) + 1
    hit = float(binom.sf(needed - 1, guesses, rate))
    most = float(claim.max_tpr(THRESHOLD, DIRECTION))
    hits = next((h for h in range(1, SEVERAL + 1) if binom.sf(h - 1, SEVERAL, most) <= LEVEL), SEVERAL + 1)
    return float(binom.sf(hits - 1, SEVERAL, hit))


def _fewest(claim: Claim, guesses: int, level: float) -> int:
    """Return the fewest right guesses that refute; one more than all where none do."""
    chances = binom.sf(np.arange(guesses + 1) - 1, guesses, 0.5)
    refuting = np.flatnonzero(claim.max_tpr(chances, DIRECTION) <= level)
    return int(refuting[0]) if len(refuting) else guesses + 1


def _truth(made: FaultyPool) -> tuple[float | None, bool | None]:
    """Return the exact epsilon of deleting the whole pool, and whether the claim about it holds; ``None`` unknown.

    Where it holds of the whole pool it holds of every part: the law is a product over the candidates' axes.
    """
    laws = made.whole.deletion.service.laws()
    if laws is None:
        return None, None
    pair = GaussianPair.from_laws(*laws)
    return pair.epsilon(DELTA), holds_exactly(made.whole.claim, pair)


def expectation_of(fault: Fault, holds: bool | None, power: float) -> Expectation:
    """Return what an audit must say, from what is true of the claim where that is known, and the planned power."""
    if holds or (holds is None and fault.harmless):
        return Expectation.NEVER_REFUTED
    return Expectation.REFUTED if power >= SURE else Expectation.EITHER
