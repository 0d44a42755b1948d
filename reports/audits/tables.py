"""The tables of a report: tests, certificates, the ledger of levels, plan."""

from __future__ import annotations

import math
from collections.abc import Iterable

from audit.records.counts import Counts
from audit.records.evidence import EventTest, Finding
from audit.records.ledger import Member
from audit.records.result import AuditResult
from audit.records.words import phrases
from mechanisms.claim import Direction
from reports.audits import histories, plan_words, words
from reports.page.facts import as_sentence, facts, parameter_rows
from reports.page.numbers import INFINITE, counted, down, enough_digits, listed, nearest, up
from reports.page.parts import NONE, SandwichView, TableView

MAX_CLAIM = 120
# More deletions than this are counted in the plan's table.
MAX_LISTED = 6
TESTED_AT = {"claim_row": "row with power", "plan_delta": "plan's δ"}
MORE_OFTEN = {
    Direction.UNLEARNED_FROM_RETRAINED: "unlearned",
    Direction.RETRAINED_FROM_UNLEARNED: "retrained",
}


def sandwiches(views: Iterable[SandwichView], *, is_elsewhere: bool) -> TableView:
    """Return the numbers of the sandwich, one row a delta; say why one was counted elsewhere than it was claimed."""
    rows = tuple(
        (
            view.title,
            view.bound.text,
            view.exact.text if view.exact else NONE,
            view.claimed.text,
            view.detectable.text,
            view.ceiling.text,
            view.level,
            view.shown_by,
        )
        for view in views
    )
    columns = (
        "at",
        "lower bound",
        "exact ε of the claim",
        "claimed ε",
        "detectable ε",
        "ceiling",
        "level",
        "lower bound shown by",
    )
    return TableView(
        title="Lower bound ≤ exact ≤ claimed",
        caption=f"{NONE}: not stated by any certificate; {INFINITE}: no finite ε. {words.EXACT}"
        + (f" {words.WHY_ELSEWHERE}" if is_elsewhere else ""),
        columns=columns,
        rows=rows,
        numeric=(False, True, True, True, True, True, True, False),
    )


def parameters(finding: Finding) -> TableView:
    """Return the parameters of a deletion, and what its learning noise gives without unlearning."""
    rows = parameter_rows(finding.parameters)
    alone = {
        (c.epsilon_without_unlearning, c.delta)
        for c in finding.certificates
        if c.epsilon_without_unlearning is not None
    }
    rows += [(f"ε without unlearning, at δ = {nearest(delta)}", up(epsilon)) for epsilon, delta in sorted(alone)]
    both = {(c.epsilon_of_both_models, c.delta) for c in finding.certificates if c.epsilon_of_both_models is not None}
    rows += [
        (f"ε of whoever sees both models, before and after, at δ = {nearest(delta)}", up(epsilon))
        for epsilon, delta in sorted(both)
    ]
    return TableView(
        title="Parameters of this deletion",
        caption="",
        columns=("parameter", "value"),
        rows=tuple(rows),
        numeric=(False, True),
    )


def tests(finding: Finding) -> TableView:
    """Return every test about a finding, the smallest p-value first."""
    ordered = sorted(finding.tests, key=lambda test: test.p_value)
    columns = (
        "attack",
        "event",
        "more often if",
        "tested at",
        "unlearned",
        "retrained",
        "p-value",
        "level",
        "rejected",
        "lower bound",
        "claimed ε",
        "δ",
    )
    methods = listed(sorted({test.bound.method.replace("_", " ") for test in ordered}))
    return TableView(
        title="Tests",
        caption="Each row is one event, chosen on trials that are not counted here, and one point of the claim. "
        "Unlearned and retrained: how often the event occurred among the counted trials of each world. "
        f"Method of the bounds: {methods}.{histories.tests_note(finding)}",
        columns=columns,
        rows=tuple(_test_row(test) for test in ordered),
        numeric=(False, False, False, False, True, True, True, True, False, True, True, True),
    )


def estimates(finding: Finding) -> TableView:
    """Return the estimates of a finding, one row an attack, strongest evidence first."""
    smallest: dict[str, float] = {}
    for test in finding.tests:
        smallest[test.bound.attack] = min(test.p_value, smallest.get(test.bound.attack, math.inf))
    ordered = sorted(finding.estimates, key=lambda e: smallest.get(e.attack, math.inf))
    has_limit = any(e.advantage_high is not None for e in ordered)
    limit = ("advantage of this attack",) if has_limit else ()
    rows = tuple(
        (
            e.attack,
            f"{e.n_unlearned:,} / {e.n_retrained:,}",
            NONE if e.mu is None or e.mu_se is None else f"{nearest(e.mu, 3)} ± {nearest(e.mu_se, 2)}",
            f"{nearest(e.auc, 3)} ± {nearest(e.auc_se, 2)}",
            nearest(e.challenge_epsilon, 3),
            f"{nearest(e.challenge_floor, 3)} (up to {nearest(e.challenge_floor_high, 3)})",
            f"{e.challenge_models:,}",
            *((NONE if e.advantage_high is None else f"≤ {up(e.advantage_high)}",) if has_limit else ()),
        )
        for e in ordered
    )
    return TableView(
        title=words.ESTIMATES,
        caption=words.ESTIMATES_CAPTION + (words.ADVANTAGE if has_limit else ""),
        columns=("attack", "scores", "Gaussian μ", "AUC", "challenge ε", "its floor", "models a side", *limit),
        rows=rows,
        numeric=(False, *(True,) * (6 + len(limit))),
    )


def tests_summary(finding: Finding) -> str:
    """Return the line that the table of tests folds into."""
    rejected = sum(test.rejected for test in finding.tests)
    return f"{counted(len(finding.tests), 'test')}, {rejected} rejected"


def certificates(finding: Finding) -> TableView:
    """Return the certificates that the deletion states."""
    rows = tuple(
        (
            c.method,
            words.certificate_source(c),
            up(c.epsilon),
            nearest(c.delta),
            NONE if c.epsilon_without_unlearning is None else up(c.epsilon_without_unlearning),
            up(c.numerical_error),
            " ".join(as_sentence(a) for a in c.claim.assumptions) or "no assumption stated",
        )
        for c in finding.certificates
    )
    return TableView(
        title="Certificates",
        caption="Stated by the mechanism, not computed by the audit. Numerical error is relative; ε is already rounded "
        "up by more.",
        columns=("method", "source", "ε", "δ", "ε without unlearning", "numerical error", "rests on"),
        rows=rows,
        numeric=(False, False, True, True, True, True, False),
    )


def ledger(result: AuditResult) -> TableView:
    """Return how the significance was spent, members of one kind and level together."""
    groups: dict[tuple[int, str, float, float | None], list[Member]] = {}
    for member in result.family.members:
        groups.setdefault((member.claim, member.role, member.level, member.tested_at), []).append(member)
    rows = tuple(
        (
            _planned_claim(result, claim),
            words.ROLES[role],
            listed(sorted({m.attack for m in members})),
            str(len({m.forget for m in members})),
            str(len(members)),
            up(level),
            up(math.fsum(m.level for m in members)),
            NONE if tested_at is None else up(tested_at),
            str(sum(m.rejected for m in members)),
        )
        for (claim, role, level, tested_at), members in groups.items()
    )
    return TableView(
        title="Ledger of levels",
        caption=words.ledger(result.family),
        columns=(
            "claim",
            "tested",
            "attacks",
            "deletions",
            "tests",
            "level of each",
            "together",
            "in fact tested at",
            "rejected",
        ),
        rows=rows,
        numeric=(False, False, False, True, True, True, True, True, True),
    )


def plan(result: AuditResult) -> TableView:
    """Return what was fixed before the first trial."""
    record = result.plan
    rows = (
        ("mechanism", result.mechanism),
        ("sampler", result.sampler),
        ("claims", listed(_clipped(claim) for claim in record.claims)),
        ("reference world", _references(result)),
        ("deletions", _deletions(result)),
        ("attackers saw", plan_words.access(record)),
        ("attacks", listed(record.attacks)),
        ("trials a world and deletion", plan_words.trials(record)),
        ("control trials a world and deletion", plan_words.control_trials(record)),
        *((("trainings", said),) if (said := plan_words.trainings(record)) else ()),
        ("counting", plan_words.counting(record)),
        ("significance", up(record.significance)),
        ("δ", nearest(record.delta)),
        ("seed", str(record.seed)),
        *(() if result.data.is_given else (("one stream drawn twice", plan_words.replay(record)),)),
        ("chunk size", plan_words.chunk_size(record)),
    )
    return facts("Plan", rows)


def _test_row(test: EventTest) -> tuple[str, ...]:
    bound = test.bound
    digits = enough_digits(bound.value, test.point.epsilon)
    symbol = ">" if bound.tail == "upper" else "≤"
    return (
        bound.attack,
        f"score {symbol} {nearest(bound.threshold)}",
        MORE_OFTEN[bound.direction],
        TESTED_AT[test.role],
        f"{bound.counts.k_unlearned:,} / {bound.counts.n_unlearned:,}",
        f"{bound.counts.k_retrained:,} / {bound.counts.n_retrained:,}",
        up(test.p_value),
        up(bound.level),
        "yes" if test.rejected else "no",
        down(bound.value, digits),
        up(test.point.epsilon, digits),
        nearest(bound.delta),
    )


def counts_text(counts: Counts) -> str:
    """Return "120 of 700 unlearned, 20 of 700 retrained"."""
    return (
        f"{_share(counts.k_unlearned, counts.n_unlearned)} unlearned, "
        f"{_share(counts.k_retrained, counts.n_retrained)} retrained"
    )


def _share(k: int, n: int) -> str:
    return f"{k:,} of {n:,}"


def _planned_claim(result: AuditResult, index: int) -> str:
    claims = result.plan.claims
    return _clipped(claims[index]) if 0 <= index < len(claims) else f"claim {index}"


def _clipped(text: str) -> str:
    # A profile spelled out has hundreds of figures, and report.json has them all.
    return text if len(text) <= MAX_CLAIM else f"{text[:MAX_CLAIM]}…"


def _references(result: AuditResult) -> str:
    used = {finding.claim.reference for finding in result.findings}
    return "; ".join(text for reference, text in words.REFERENCES.items() if reference in used)


def _deletions(result: AuditResult) -> str:
    labels = result.plan.labels or ("",) * len(result.plan.forget)
    named = [phrases.subject(f, label) for f, label in zip(result.plan.forget, labels, strict=False)]
    shown = named[:MAX_LISTED]
    return listed([*shown, f"{len(named) - MAX_LISTED:,} more"] if len(named) > MAX_LISTED else shown)
