"""What is asked of the experiment, checked before anything is trained, as plain data.

In the flow: :func:`audit.lots.running.run_lots` reads its arguments here; two equal requests with one mechanism and one
data set have one result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.lots.protocol import LotAttack
from audit.lots.averaging import AveragedClaim, claim_of_draws
from audit.lots.coins import read_pairs
from audit.lots.inputs import check_claim, check_named_claims, checked_seed, checked_significance, is_one_of
from audit.lots.noise import certified_singles
from audit.lots.result import DrawKind
from audit.lots.statistics.subsets import Draw, Statistic
from audit.plan.audit_plan import CertifiedClaim
from audit.trials.engines import Streams
from mechanisms.claim import Claim
from mechanisms.dataset import validate_forget
from mechanisms.errors import InvalidInputError, require
from mechanisms.protocol import HasPools
from mechanisms.reading.records import RecordSet, require_records
from mechanisms.reading.scalars import whole_number


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """Everything that is decided before the coins are drawn.

    Parameters
    ----------
    pool
        Candidates, as positions of the data.
    claims
        One, or one a candidate.
    draw, k, pairs
        How the coins are drawn.
    runs, references
        Models that are audited, and models without the pool.
    attack
        ``None`` for the usual one.
    statistic, guesses, runs_threshold, significance, delta
        As for :func:`audit.from_lots`.
    seed
        The only source of randomness.
    """

    pool: tuple[int, ...]
    claims: tuple[Claim, ...]
    draw: DrawKind
    k: int | None
    pairs: NDArray[np.int64] | None
    runs: int
    references: int
    attack: LotAttack | None
    statistic: Statistic
    guesses: int | None
    runs_threshold: float | None
    significance: float
    delta: float | None
    seed: int

    @property
    def kind(self) -> Draw:
        """How sets are drawn: one candidate is a set of exactly one."""
        return "exactly_k" if self.draw == "one" else self.draw

    @property
    def rehearsals(self) -> int:
        """Runs with coins of their own that the attack is fitted on."""
        return 0 if self.attack is None else int(self.attack.rehearsals)


def asked_for(
    mechanism: Any,
    data: RecordSet,
    claim: Claim | CertifiedClaim | AveragedClaim | Sequence[Claim],
    *,
    engine: Streams,
    pool: Sequence[int],
    draw: DrawKind,
    k: int | None,
    pairs: ArrayLike | None,
    runs: int,
    references: int,
    attack: LotAttack | None,
    seed: int,
    **judging: Any,
) -> tuple[Any, Asked]:
    """Return the mechanism, with one noise for all candidates where its own certificates are claimed, and the request.

    Raises
    ------
    InvalidInputError
        For input out of range, a mechanism that cannot be bound to a pool, and claims that do not cover the draw.
    """
    records, kind, paired = _checked_pool(mechanism, data, pool, draw, pairs)
    n_runs = whole_number(runs, "runs", fix="one model is enough where candidates are told apart")
    require(n_runs >= 1, "runs", expected="at least 1", got=n_runs, fix="1 is usual")
    n_references = whole_number(references, "references", fix="2 is usual, 0 for none")
    require(n_references >= 0, "references", expected="at least 0", got=n_references, fix="2 is usual, 0 for none")
    _check_attack(attack)
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
    seed = checked_seed(seed)
    if isinstance(claim, AveragedClaim):
        alpha = checked_significance(judging["significance"])
        fix = 'state the mean for draw="fair", "paired" or "exactly_k"; single deletions have claims of their own'
        require(draw != "one", "claim", expected="a Claim about single records", got="an AveragedClaim", fix=fix)
        level = claim.share * alpha
        mechanism, claim = claim_of_draws(
            mechanism, data, records, claim, draw=kind, pairs=paired, k=k, level=level, seed=seed, engine=engine
        )
        judging["significance"] = alpha - level
    asked = Asked(
        pool=records,
        claims=_check_claims(claim, draw, kind, m, k),
        draw=draw,
        k=k,
        pairs=paired,
        runs=n_runs,
        references=n_references,
        attack=attack,
        seed=seed,
        **judging,
    )
    return mechanism, asked


def _checked_pool(
    mechanism: Any, data: RecordSet, pool: Sequence[int], draw: DrawKind, pairs: ArrayLike | None
) -> tuple[tuple[int, ...], Draw, NDArray[np.int64] | None]:
    require_records(data)
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


def _check_attack(attack: object) -> None:
    if attack is None:
        return
    for name in ("name", "rehearsals", "prepare"):
        fix = "choose one of attacks.lots, or see attacks.lots.LotAttack"
        require(hasattr(attack, name), "attack", expected="an attack by lot", got=type(attack).__name__, fix=fix)
    n = whole_number(attack.rehearsals, "attack.rehearsals", fix="0 for none")  # type: ignore[attr-defined]
    require(n >= 0, "attack.rehearsals", expected="at least 0", got=n, fix="0 for none")


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
