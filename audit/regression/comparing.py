"""Compare a baseline with a candidate: the one entry point is :func:`compare`.

Computed numbers (epsilon, noise) are compared as they are, with a margin for rounding. Estimated ones (accuracy, an
attack's rates) are compared by intervals, and a decision follows from an interval alone: worse when it lies beyond the
margin, no worse when it lies within, else undecided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from audit.certificates.certification import Certification, RouteRow
from audit.records.evidence import Finding
from audit.records.ledger import DeclaredThreshold
from audit.records.result import AuditResult
from audit.records.verdict import Verdict
from audit.regression.comparison import (
    Absence,
    Comparison,
    Margins,
    MeanComparison,
    Outcome,
    RateComparison,
    Side,
    UtilityComparison,
    VerdictComparison,
)
from audit.regression.computed import ACCURACY, Forget, Item, Numbers, absences, compare_numbers, matched, reordered
from audit.regression.differences import compare_means
from audit.regression.frozen import FrozenCount, check_known
from audit.regression.rates import FindingKey, compare_all_rates, is_blind
from audit.statistics.multiplicity import equal_share
from mechanisms.errors import InvalidInputError


def compare(
    baseline: AuditResult | Certification,
    candidate: AuditResult | Certification,
    *,
    margins: Margins | None = None,
    frozen: Sequence[FrozenCount] = (),
) -> Comparison:
    """Say whether a candidate is worse than a baseline, and what could have been seen.

    Parameters
    ----------
    baseline, candidate
        Two results of :func:`audit.run`, or two certifications.
    margins
        How much worse is tolerated.
    frozen
        Of two results: :func:`audit.count_frozen_events`, the candidate's releases under the baseline's attacks and
        thresholds. Without it, each side's rates are those of its own event, chosen by the same design: on its fit
        split, the event that tells its worlds apart best.

    Returns
    -------
    Comparison

    Raises
    ------
    InvalidInputError
        When the two are not of one kind, or certified at different deltas; when ``frozen`` is of other forget sets.

    Notes
    -----
    All intervals hold together with probability at least 1 - ``margins.significance`` (equal shares). Those of rates
    are exact, those of accuracies approximate. Rates say how often *this attack* succeeds: lower bounds on epsilon
    cannot show that a mechanism is no worse, and are not compared.
    """
    margins = margins or Margins()
    if isinstance(baseline, Certification) and isinstance(candidate, Certification):
        return _compare_certifications(baseline, candidate, margins)
    if isinstance(baseline, AuditResult) and isinstance(candidate, AuditResult):
        _refuse_redacted(baseline, "baseline")
        _refuse_redacted(candidate, "candidate")
        return _compare_audits(baseline, candidate, margins, frozen)
    raise InvalidInputError(
        field="candidate",
        expected=f"of the same kind as the baseline, {_kind(baseline)}",
        got=_kind(candidate),
        fix="compare two results of `run`, or two files of certificates of `certify`",
    )


def _refuse_redacted(result: AuditResult, name: str) -> None:
    if result.redaction is not None:
        raise InvalidInputError(
            field=name,
            expected="a whole result",
            got="one from which the records were withheld",
            fix="compare the result itself: without their records, deletions cannot be matched",
        )


def _kind(value: object) -> str:
    return {Certification: "certificates", AuditResult: "an audit's result"}.get(type(value), type(value).__name__)


def _compare_certifications(baseline: Certification, candidate: Certification, margins: Margins) -> Comparison:
    if baseline.delta != candidate.delta:
        raise InvalidInputError(
            field="delta",
            expected=f"{baseline.delta:g} on both sides",
            got=candidate.delta,
            fix="certify both at one delta: an epsilon means nothing without it",
        )
    sides = _side(baseline, baseline.seed), _side(candidate, candidate.seed)
    if baseline.data.sha256 != candidate.data.sha256:
        return _other_data("certificates", sides, margins, [(row.record,) for row in baseline.rows])
    old, new = _certified_numbers(baseline), _certified_numbers(candidate)
    tallies, changes = compare_numbers(old, new, margins)
    old_rows, new_rows = ({(r.record, r.route): r for r in side.routes} for side in (baseline, candidate))
    same_seed = baseline.seed is not None and baseline.seed == candidate.seed
    means = _compare_accuracies([(a, b) for _, a, b in matched(old_rows, new_rows)], margins, same_seed)
    return Comparison(
        kind="certificates",
        baseline=sides[0],
        candidate=sides[1],
        margins=margins,
        tallies=tallies,
        changes=changes,
        means=means,
        rates=(),
        verdicts=(),
        absences=absences(old, new),
        notes=(),
    )


def _side(value: AuditResult | Certification, seed: int | None) -> Side:
    return Side(title=value.title, mechanism=value.mechanism, data=value.data, seed=seed)


def _other_data(kind: Any, sides: tuple[Side, Side], margins: Margins, forget: Sequence[Forget]) -> Comparison:
    return Comparison(
        kind=kind,
        baseline=sides[0],
        candidate=sides[1],
        margins=margins,
        tallies=(),
        changes=(),
        means=(),
        rates=(),
        verdicts=(),
        absences=(Absence(kind="missing", what="record", forget=tuple(dict.fromkeys(forget))),),
        notes=(
            "The two are about different data (their SHA-256 differ), so that a record's index does not name the same "
            "record. Nothing is compared; make a new baseline on the new data.",
        ),
    )


def _certified_numbers(certification: Certification) -> Numbers:
    """Return every computed number of a certification by route and quantity, then by deletion."""
    numbers: dict[Item, dict[Forget, float]] = {}
    for row in certification.rows:
        for name in ("sigma_unlearn", "epsilon_unlearned_from_retrained", "epsilon_retrained_from_unlearned"):
            numbers.setdefault(("each record", name), {})[row.record,] = getattr(row, name)
    for route in certification.routes:
        # Not the exact epsilon at a route's noise: it rises when a route becomes tighter, which is no loss.
        for name in ("sigma_unlearn", "epsilon"):
            numbers.setdefault((route.route, name), {})[route.record,] = getattr(route, name)
        if _is_computed(route) and route.accuracy is not None:
            numbers.setdefault((route.route, ACCURACY), {})[route.record,] = route.accuracy
    return numbers


def _is_computed(route: RouteRow) -> bool:
    """The downdate is one model: its accuracy is a number, not a mean over runs."""
    return route.route == "downdate"


def _compare_accuracies(
    pairs: Sequence[tuple[RouteRow, RouteRow]], margins: Margins, same_seed: bool
) -> tuple[MeanComparison, ...]:
    estimated = [(a, b) for a, b in pairs if not _is_computed(a) and a.accuracy is not None and b.accuracy is not None]
    if not estimated:
        return ()
    level = equal_share(margins.significance, len(estimated))
    return tuple(_compare_accuracy(a, b, margins, level, same_seed) for a, b in estimated)


def _compare_accuracy(old: RouteRow, new: RouteRow, margins: Margins, level: float, same_seed: bool) -> MeanComparison:
    runs = old.accuracies, new.accuracies
    paired = same_seed and len(runs[0]) == len(runs[1])
    difference, outcome = None, Outcome.UNDECIDED
    if min(map(len, runs)) >= 2:
        difference = compare_means(runs[1], runs[0], level=level, margin=margins.accuracy, paired=paired)
        if difference.high < -margins.accuracy:
            outcome = Outcome.WORSE
        elif difference.low >= -margins.accuracy:
            outcome = Outcome.BETTER if difference.low > margins.accuracy else Outcome.NO_WORSE
    return MeanComparison(
        forget=(old.record,),
        route=old.route,
        baseline=float(old.accuracy or 0.0),
        candidate=float(new.accuracy or 0.0),
        n_baseline=len(runs[0]),
        n_candidate=len(runs[1]),
        paired=paired,
        difference=difference,
        outcome=outcome,
    )


def _compare_audits(
    baseline: AuditResult, candidate: AuditResult, margins: Margins, frozen: Sequence[FrozenCount]
) -> Comparison:
    sides = _side(baseline, baseline.plan.seed), _side(candidate, candidate.plan.seed)
    if baseline.data.sha256 != candidate.data.sha256 and not (baseline.data.is_given and candidate.data.is_given):
        return _other_data("audits", sides, margins, baseline.plan.forget)
    old, new = _keyed(baseline.findings), _keyed(candidate.findings)
    check_known(frozen, [forget for forget, _ in old])
    numbers = _found_numbers(old, baseline.plan.delta), _found_numbers(new, baseline.plan.delta)
    tallies, changes = compare_numbers(*numbers, margins)
    declared = all(isinstance(side.plan.counting, DeclaredThreshold) for side in (baseline, candidate))
    rates, undecidable = compare_all_rates(old, new, margins, frozen, declared=declared)
    return Comparison(
        kind="audits",
        baseline=sides[0],
        candidate=sides[1],
        margins=margins,
        tallies=tallies,
        changes=changes,
        means=(),
        rates=rates,
        verdicts=tuple(_compare_verdicts(key, a, b) for key, a, b in matched(old, new)),
        absences=(*absences(*numbers), *undecidable),
        notes=_audit_notes(baseline, candidate, rates, margins),
        utilities=_utilities(baseline, candidate),
    )


def _utilities(baseline: AuditResult, candidate: AuditResult) -> tuple[UtilityComparison, ...]:
    """Return what both sides' models are good for, wherever one of them says it."""
    old, new = ({c.forget: c.worth for c in side.controls if c.worth is not None} for side in (baseline, candidate))
    return tuple(
        UtilityComparison(forget=forget, baseline=old.get(forget), candidate=new.get(forget))
        for forget in dict.fromkeys([*old, *new])
    )


def _keyed(findings: Sequence[Finding]) -> dict[FindingKey, Finding]:
    """Return findings by forget set and position of their claim among those about it."""
    keyed: dict[FindingKey, Finding] = {}
    for finding in findings:
        position = sum(forget == finding.forget for forget, _ in keyed)
        keyed[finding.forget, position] = finding
    return keyed


def _found_numbers(findings: Mapping[FindingKey, Finding], delta: float) -> Numbers:
    """Return what findings state and do not estimate: claims at one delta, certificates, and the noise."""
    numbers: dict[Item, dict[Forget, float]] = {}
    for (forget, position), finding in findings.items():
        claim = finding.claim
        claimed = max(claim.epsilon_at(delta, direction) for direction in claim.directions)
        source = "claim" if position == 0 else f"claim {position + 1}"
        numbers.setdefault((source, f"epsilon claimed at delta = {delta:g}"), {})[forget] = claimed
        noise = finding.parameters.get("sigma_unlearn")
        if isinstance(noise, int | float):
            numbers.setdefault(("mechanism", "sigma_unlearn"), {})[forget] = float(noise)
        for certificate in finding.certificates:
            name = f"epsilon at delta = {certificate.delta:g}"
            numbers.setdefault((certificate.method, name), {})[forget] = certificate.epsilon
    return numbers


def _compare_verdicts(key: FindingKey, old: Finding, new: Finding) -> VerdictComparison:
    if new.verdict is Verdict.REFUTED:
        # A claim that was refuted before is no baseline to be no worse than.
        outcome = Outcome.UNDECIDED if old.verdict is Verdict.REFUTED else Outcome.WORSE
    elif new.verdict is Verdict.INCONCLUSIVE:
        outcome = Outcome.UNDECIDED
    else:
        outcome = Outcome.BETTER if old.verdict is Verdict.REFUTED else Outcome.NO_WORSE
    return VerdictComparison(
        forget=key[0],
        claim=key[1],
        label=old.label,
        baseline=old.verdict,
        candidate=new.verdict,
        outcome=outcome,
    )


def _audit_notes(
    baseline: AuditResult, candidate: AuditResult, rates: Sequence[RateComparison], margins: Margins
) -> tuple[str, ...]:
    notes = [
        f"Forget set {list(one)} of the baseline is {list(other)} in the candidate: the same records in another order. "
        "A mechanism is given them in that order, so these are two requests, and they are not compared; name the "
        "records in one order in both plans."
        for one, other in reordered(baseline.plan.forget, candidate.plan.forget)
    ]
    blind = dict.fromkeys(r.attack for r in rates if r.outcome is Outcome.UNDECIDED and is_blind(r.baseline, margins))
    if blind:
        notes.append(
            f"Nothing could have been seen by {', '.join(blind)}: in the baseline its event occurs hardly ever or "
            "nearly always in each of the two worlds, so that a loss may move it by less than the margin."
        )
    own = sum(not rate.frozen for rate in rates)
    if own:
        notes.append(
            "Rates of the same design: each side counted its own event, chosen on its own fit split. To count the "
            "candidate at the baseline's frozen event, give both sides as plans, or --baseline-plan with a candidate "
            "plan."
        )
        if baseline.plan.seed == candidate.plan.seed:
            notes.append(
                f"Both audits have seed {baseline.plan.seed}, so their trials may be correlated; the intervals treat "
                "them as independent. Give the candidate another seed."
            )
    return tuple(notes)
