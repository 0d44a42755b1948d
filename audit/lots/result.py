"""What an audit of deletions drawn by lot found, as frozen data with an exact JSON round trip."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from audit.errors import ClaimRefutedError, InconclusiveError, SchemaError
from audit.lots.settling import Settled, least_of, settle_names, settle_sets, settle_stream
from audit.lots.statistics.betting import Bet
from audit.lots.statistics.judging import log_allowed, log_allowed_apart
from audit.lots.statistics.subsets import Draw, RunEvidence, Statistic
from audit.lots.statistics.tails import log_half_tail, log_hypergeometric_tail
from audit.plan.ranges import FIX, check
from audit.records import json_text
from audit.records.filing.case import Case
from audit.records.ledger import DataRecord
from audit.records.verdict import Reason, Verdict
from audit.records.words.phrases import name as verdict_name
from audit.records.words.phrases import plain
from mechanisms.claim import JSON_CONFIG, Claim
from mechanisms.errors import InvalidInputError, require

LOTS_SCHEMA: Literal["unlearn-audit/lots/1"] = "unlearn-audit/lots/1"
DrawKind = Literal["fair", "paired", "exactly_k", "one"]
# Sums and closed forms differ between machines in their last digits only.
_CLOSE = 1e-6


@dataclass(frozen=True, kw_only=True)
class LotsRun:
    """One trained model, and what its scores told of its coins.

    Parameters
    ----------
    inserted
        Candidates that were given to training and asked to be deleted.
    guesses, right
        Coins guessed and rightly so; for the draw of one record, records named, and 1 where it was among them.
    log_counted, log_weighted
        Logarithms of the p-values of "the release tells nothing of the coins"; ``None`` where not computed.
    """

    __pydantic_config__ = JSON_CONFIG
    inserted: int
    guesses: int
    right: int
    log_counted: float | None = None
    log_weighted: float | None = None

    def __post_init__(self) -> None:
        check("inserted", self.inserted)
        check("guesses", self.guesses)
        check("right", self.right, high=self.guesses)
        for field in ("log_counted", "log_weighted"):
            check(field, getattr(self, field), low=-math.inf, high=0.0, finite=False)

    @property
    def log_p(self) -> float:
        """Logarithm of the run's p-value of "tells nothing of the coins"; 0 where it has none."""
        if self.log_counted is None and self.log_weighted is None:
            return 0.0
        return RunEvidence(
            inserted=self.inserted,
            guesses=self.guesses,
            right=self.right,
            log_counted=self.log_counted,
            log_weighted=self.log_weighted,
        ).log_p


@dataclass(frozen=True, kw_only=True)
class LotsResult:
    """What one claim is worth, seen by lots: a verdict that is wrong with probability at most ``significance``.

    Parameters
    ----------
    title
        Heading.
    claims
        The claim; for the draw of one record there may be one for each candidate, and a refutation then says that at
        least one of them is false.
    draw, statistic
        How the coins were drawn, and how guesses are counted.
    candidates
        Size of the pool, m.
    runs
        Trained models; for a stream, releases in their order.
    n_fit, log_threshold
        Of several runs: how many of the first chose which p-value of a run is a hit, and its logarithm (of k / m for
        the draw of one record). ``None`` where one run is judged by itself.
    bets
        Of a stream: what was bet on each release before it was seen. Such a result is the state that the next release
        goes on from.
    significance, delta
        Of the verdict; delta at which the lower bound is stated.
    verdict, reason
        What is decided, and why not.
    p_value, lower_bound, ceiling
        Of the claim; a lower bound on epsilon, and the highest one that so many runs could show.
    conditions
        What the verdict rests on besides the coins, in sentences.
    seed
        Of the ties, and of the runs where they were made here.
    mechanism, data
        What was run, where it was.
    before
        The same models before the deletion, where they were seen: what an ignored request would leave.
    commitments
        SHA-256 of coins and salt, published before anything was trained; one a release in a stream.
    seconds, command
        How long it took, and what runs it again.
    redacted
        Whether names were withheld.
    case
        The case that it is filed for, as a person states it.
    """

    __pydantic_config__ = JSON_CONFIG
    title: str
    claims: tuple[Claim, ...]
    draw: DrawKind
    statistic: Statistic
    candidates: int
    runs: tuple[LotsRun, ...]
    significance: float
    delta: float
    verdict: Verdict
    reason: Reason | None
    p_value: float
    lower_bound: float
    ceiling: float
    n_fit: int = 0
    log_threshold: float | None = None
    bets: tuple[Bet, ...] = ()
    conditions: tuple[str, ...] = ()
    seed: int = 0
    mechanism: str | None = None
    data: DataRecord | None = None
    before: tuple[LotsRun, ...] = ()
    commitments: tuple[str, ...] = ()
    seconds: float = 0.0
    command: str | None = None
    redacted: bool = False
    case: Case | None = None
    schema: Literal["unlearn-audit/lots/1"] = LOTS_SCHEMA

    def __post_init__(self) -> None:
        for field in ("significance", "delta", "p_value"):
            check(field, getattr(self, field), high=1.0)
        for field in ("lower_bound", "ceiling"):
            check(field, getattr(self, field), finite=False)
        check("candidates", self.candidates, low=2)
        check("n_fit", self.n_fit, high=max(0, len(self.runs) - 1))
        check("log_threshold", self.log_threshold, low=-math.inf, high=0.0, finite=False)
        check("seconds", self.seconds)
        for field in ("claims", "runs"):
            require(len(getattr(self, field)) > 0, field, expected="at least one", got="none", fix=FIX)

    def __repr__(self) -> str:
        """Return one line: title, verdict and bound."""
        return f"<LotsResult {plain(self.title)}: {verdict_name(self.verdict)}, epsilon > {self.lower_bound:.3g}>"

    @property
    def claim(self) -> Claim:
        """The claim, or the first of several."""
        return self.claims[0]

    @property
    def is_stream(self) -> bool:
        """Whether the runs are releases of one service, one after the other."""
        return bool(self.bets)

    @property
    def n_counted(self) -> int:
        """Runs that count: those that did not choose the threshold."""
        return len(self.runs) - self.n_fit

    @property
    def hits(self) -> int:
        """Of several runs that count, how many told as much of the coins as the threshold asks."""
        if self.draw == "one":
            return sum(run.right for run in self.runs)
        if self.is_stream:
            return sum(bet.hit for bet in self.bets)
        counted = self.runs[self.n_fit :]
        return sum(self.log_threshold is not None and run.log_p <= self.log_threshold for run in counted)

    def assert_holds(self) -> None:
        """Raise unless the claim was tested and not refuted.

        Raises
        ------
        ClaimRefutedError
            When it was refuted.
        InconclusiveError
            When so few runs could not have refuted it.
        """
        if self.verdict is Verdict.REFUTED:
            raise ClaimRefutedError(repr(self))
        if self.verdict is Verdict.INCONCLUSIVE:
            raise InconclusiveError(repr(self))

    def to_json(self) -> str:
        """Return the result as JSON text; :meth:`from_json` gives back an equal object."""
        return json_text.dump(self)

    @staticmethod
    def from_json(text: str) -> LotsResult:
        """Return the result that :meth:`to_json` wrote, after recomputing its verdict from its counts.

        Raises
        ------
        SchemaError
            When the text is not of this schema, or a number is not that of the counts beside it.
        """
        found = json_text.load(text, LotsResult, schemas=(LOTS_SCHEMA,))
        try:
            check_result(found)
        except InvalidInputError as error:
            raise SchemaError(f"{plain(found.title)}: {error}") from None
        return found


def settled_of(result: LotsResult) -> Settled:
    """Return the verdict that the counts of a result lead to."""
    level = {"significance": result.significance, "delta": result.delta}
    if result.draw == "one":
        claims = result.claim if len(result.claims) == 1 else result.claims
        chance = math.log(result.runs[0].guesses / result.candidates)
        return settle_names(claims, result.hits, len(result.runs), log_chance=chance, **level)
    if result.is_stream:
        return settle_stream(result.claim, result.bets, **level)
    least = least_of_run(result.draw, result.statistic, result.candidates, result.runs[-1])
    return settle_sets(
        result.claim,
        [run.log_p for run in result.runs],
        n_fit=result.n_fit,
        log_threshold=result.log_threshold,
        log_least_p=least,
        **level,
    )


def least_of_run(draw: Draw, statistic: Statistic, candidates: int, run: LotsRun) -> float:
    """Return the logarithm of the smallest p-value that a run could show, of its size alone."""
    return least_of(draw, statistic, candidates=candidates, inserted=run.inserted, guesses=run.guesses)


def with_verdict(result: LotsResult) -> LotsResult:
    """Return the result with the verdict that its counts lead to."""
    settled = settled_of(result)
    judged = settled.judgement
    return replace(
        result,
        verdict=settled.verdict,
        reason=settled.reason,
        p_value=judged.p_value,
        lower_bound=judged.lower_bound,
        ceiling=judged.ceiling,
    )


def log_allowed_by(claims: Sequence[Claim], log_chance: float) -> float:
    """Return the logarithm of the largest chance that one claim, or claims of candidates, allow."""
    return log_allowed(claims[0], log_chance) if len(claims) == 1 else log_allowed_apart(claims, log_chance)


def check_result(result: LotsResult) -> None:
    """Raise unless a stored result follows from its counts.

    Raises
    ------
    SchemaError
        Naming the number, as stored and as recomputed.
    """
    for i, run in enumerate(result.runs):
        known = _log_counted(result, run)
        stored = run.log_counted
        if known is not None and stored is not None and not math.isclose(stored, known, rel_tol=_CLOSE, abs_tol=_CLOSE):
            raise _differs(result, f"run {i + 1}, logarithm of its p-value", stored, known)
    if result.is_stream and [bet.log_p for bet in result.bets] != [run.log_p for run in result.runs]:
        raise _differs(result, "releases that were bet on", len(result.bets), len(result.runs))
    if result.redacted:
        if (result.verdict is Verdict.REFUTED) != (result.p_value <= result.significance):
            raise _differs(result, "verdict", result.verdict, f"of p = {result.p_value:g}")
        return
    again = with_verdict(result)
    for field in ("verdict", "reason", "p_value", "lower_bound", "ceiling"):
        was, is_now = getattr(result, field), getattr(again, field)
        close = isinstance(was, float) and math.isclose(was, is_now, rel_tol=_CLOSE, abs_tol=1e-300)
        if was != is_now and not close:
            raise _differs(result, field.replace("_", " "), was, is_now)


def _log_counted(result: LotsResult, run: LotsRun) -> float | None:
    if run.log_counted is None:
        return None
    if result.draw == "exactly_k":
        size = {"population": result.candidates, "marked": run.inserted, "guesses": run.guesses}
        return log_hypergeometric_tail(run.right, **size)
    return log_half_tail(run.right, run.guesses)


def _differs(result: LotsResult, what: str, stored: object, known: object) -> SchemaError:
    def text(value: object) -> str:
        return str(value.value if isinstance(value, Verdict | Reason) else value)

    return SchemaError(
        f"{plain(result.title)}: {what}: stored {text(stored)}, recomputed {text(known)}; the file was changed after "
        "it was written, or damaged: run the audit again."
    )
