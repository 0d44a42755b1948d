"""The tables of a report: tests, certificates, controls, the ledger of levels, plan, data, environment."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from audit.certification import Certification
from audit.counts import Counts
from audit.result import AuditResult, EventTest, Finding, Member
from mechanisms.claim import Direction
from reports import words
from reports.numbers import INFINITE, as_float, counted, down, enough_digits, listed, nearest, up
from reports.parts import SandwichView, TableView

NONE = "–"
MAX_CLAIM = 120
TESTED_AT = {"claim_row": "row with power", "plan_delta": "plan's δ"}
MORE_OFTEN = {
    Direction.UNLEARNED_FROM_RETRAINED: "unlearned",
    Direction.RETRAINED_FROM_UNLEARNED: "retrained",
}


def sandwiches(views: Iterable[SandwichView]) -> TableView:
    """Return the numbers of the sandwich, one row a delta."""
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
    columns = ("at", "lower bound", "exact ε", "claimed ε", "detectable ε", "ceiling", "level", "lower bound shown by")
    return TableView(
        title="Lower bound ≤ exact ≤ claimed",
        caption=f"{NONE}: not stated by any certificate; {INFINITE}: no finite ε.",
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
    return TableView(
        title="Parameters of this deletion",
        caption="",
        columns=("parameter", "value"),
        rows=tuple(rows),
        numeric=(False, True),
    )


def parameter_rows(parameters: Mapping[str, int | float | str]) -> list[tuple[str, str]]:
    """Return each parameter with its meaning, and its value."""
    return [(_glossed(name), _cell(value)) for name, value in parameters.items()]


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
        f"Method of the bounds: {methods}.",
        columns=columns,
        rows=tuple(_test_row(test) for test in ordered),
        numeric=(False, False, False, False, True, True, True, True, False, True, True, True),
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


def controls(result: AuditResult) -> TableView:
    """Return what the audit found when it checked itself."""
    rows = tuple(
        (
            words.CONTROLS[c.name],
            words.subject(c.forget, c.label),
            _outcome(c.name, c.as_expected),
            c.message,
            NONE if c.p_value is None else up(c.p_value),
            NONE if c.level is None else up(c.level),
            NONE if c.n_trials is None else f"{c.n_trials:,}",
            NONE if c.bound is None else f"{down(c.bound.value)} (δ = {nearest(c.bound.delta)})",
        )
        for c in result.controls
    )
    return TableView(
        title="Controls",
        caption="The audit checks itself: two retrained worlds must look alike, a deletion that is ignored should be "
        "seen (it may be out of any audit's reach), and the same random stream must give the same releases.",
        columns=("control", "record", "outcome", "what it found", "p-value", "level", "trials a world", "lower bound"),
        rows=rows,
        numeric=(False, False, False, False, True, True, True, True),
    )


def ledger(result: AuditResult) -> TableView:
    """Return how the significance was spent, members of one kind and level together."""
    groups: dict[tuple[int, str, float], list[Member]] = {}
    for member in result.family.members:
        groups.setdefault((member.claim, member.role, member.level), []).append(member)
    rows = tuple(
        (
            _planned_claim(result, claim),
            words.ROLES[role],
            listed(sorted({m.attack for m in members})),
            str(len({m.forget for m in members})),
            str(len(members)),
            up(level),
            up(math.fsum(m.level for m in members)),
        )
        for (claim, role, level), members in groups.items()
    )
    size, kind = counted(len(result.family.members), "test"), result.family.correction.kind.capitalize()
    spent = up(math.fsum(m.level for m in result.family.members))
    return TableView(
        title="Ledger of levels",
        caption=f"Family of {size}, corrected after {kind}: their levels add up to {spent}, of a significance of "
        f"{up(result.family.significance)}.",
        columns=("claim", "tested", "attacks", "deletions", "tests", "level of each", "together"),
        rows=rows,
        numeric=(False, False, False, True, True, True, True),
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
        ("attacks", listed(record.attacks)),
        ("trials a world and deletion", f"{record.trials:,} ({record.n_fit:,} fit, {record.n_counted:,} counted)"),
        ("control trials a world and deletion", f"{record.control_trials:,}"),
        ("counting", f"{record.counting.kind}, fit fraction {nearest(record.counting.fit_fraction)}"),
        ("significance", up(record.significance)),
        ("δ", nearest(record.delta)),
        ("seed", str(record.seed)),
        ("chunk size", f"{record.chunk_size:,}"),
    )
    return facts("Plan", rows)


def data(result: AuditResult | Certification) -> TableView:
    """Return which data were audited or certified."""
    record = result.data
    rows = (
        ("name", record.name),
        ("kind", record.kind),
        ("records", f"{record.n_records:,}"),
        ("features", f"{record.n_features:,}"),
        ("targets", f"{record.n_targets:,}"),
        ("SHA-256", record.sha256),
    )
    return facts("Data", rows)


def environment(result: AuditResult | Certification) -> TableView:
    """Return where it ran."""
    record = result.environment
    rows = (
        ("started", record.started),
        ("duration", f"{up(record.seconds)} s"),
        ("workers", str(record.n_jobs)),
        ("Python", record.python),
        ("platform", record.platform),
        *((name, version) for name, version in sorted(record.libraries.items())),
        ("result schema", result.schema),
    )
    return facts("Environment", rows)


def facts(title: str, rows: Iterable[tuple[str, str]]) -> TableView:
    """Return a table of names and values, without a heading."""
    return TableView(title=title, caption="", columns=("", ""), rows=tuple(rows), numeric=(False, False))


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


def _glossed(name: str) -> str:
    return f"{name} ({words.GLOSSARY[name]})" if name in words.GLOSSARY else name


def _cell(value: float | str) -> str:
    if isinstance(value, str):
        return value
    text = nearest(value)
    # A count of steps is printed in full; as_float tells whether rounding to nearest lost anything.
    return f"{int(value):,}" if float(value).is_integer() and as_float(text) != value else text


def as_sentence(text: str) -> str:
    """Return the text with a full stop at its end."""
    stripped = text.strip()
    return stripped if stripped.endswith((".", "!", "?")) else f"{stripped}."


def _outcome(name: str, as_expected: bool) -> str:
    if name == "neglected":
        return "seen" if as_expected else "not seen"
    return "as expected" if as_expected else "NOT as expected"


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
    return listed(words.subject(f, label) for f, label in zip(result.plan.forget, labels, strict=False))
