"""The page of published mechanisms: every string final, for HTML and Markdown; all numbers come from the result."""

from __future__ import annotations

import math
from dataclasses import dataclass

from audit.records.words.phrases import spoken
from audit.records.words.rounding import INFINITE, counted, down, nearest, up
from audit.selftest.wild.result import SharedNoise, WildAudit, WildResult, WildRow, WildVariant
from reports.page.parts import NONE, CodeText, Passage, TableView

TITLE = "Audits in the wild"
CATEGORIES = {
    "theorem": "the theorem is false as stated in the version that was read",
    "code": "the code differs from its theorem",
    "assumption": "an assumption is not enforced, or a constant is guessed",
    "nothing": "nothing random is released, or no claim is computed",
    "checked": "checked, not refuted",
}
REFERENCES = {
    "retrain_only": "retraining without the record",
    "retrain_then_unlearn": "retraining without the record, then the same unlearning steps",
}
CHOSEN = (
    "Mechanisms of certified unlearning were chosen whose equations are published, whose claim is a number, and which "
    "a few lines can sample. Each was written anew from its equations; nothing of anybody's code is in this project. "
    "Personal programs and those of third parties are described without a name: of such a row a reader can check the "
    "equations, not that the program has them. Where no commit is named it was not noted which "
    "version was read, and it was not read again for this page.",
    "Rows were not chosen by their outcome: every mechanism that was written is here. Of Hessian-free online "
    "unlearning and of unlearning without source data the authors' code was read and not the theorem: what their rows "
    "say is of the noise that the code computes.",
    "A canary is a small data set inside the stated assumptions, built so that what is claimed is hard to keep and so "
    "that the law is known or nearly so. A claim about every data set is false where it fails on one; that it holds on "
    "one says nothing of others. A canary does not say how much a trained network leaks. Sizes, steps and data are "
    "ours, unless a section says that they are the code's.",
    "A row judges its claim at one epsilon, and several rows may be about one paper. The classical factor of Gaussian "
    "noise is counted as checked where it is asked for an epsilon of 1, although it fails at 9 or 10, which the "
    "sections say, and so is Hessian-free unlearning at the settings of its code, which fails without their penalty; "
    "the theorem that is counted as false was not seen to fail at a small epsilon either, and "
    "counting reaches it at a delta of 0.3 only.",
    "Categories are never mixed. A theorem that is false, code that differs from its theorem, an assumption that "
    "nobody enforces, and a release without noise are different things; a row belongs to one of them.",
)
CORRECT = (
    "Status of every row: not yet reported to the authors. If a row is wrong, open an issue that names the row and the "
    "equation, constant or line that we misread; a row that is shown to be wrong is corrected or withdrawn here, and "
    "the change log says so."
)


@dataclass(frozen=True, kw_only=True)
class SectionView:
    """One mechanism."""

    title: str
    name: str
    facts: TableView
    audits: TableView
    passages: tuple[Passage, ...]
    command: CodeText


@dataclass(frozen=True, kw_only=True)
class WildPage:
    """What the page consists of."""

    title: str
    headline: str
    chosen: tuple[str, ...]
    reading: tuple[str, ...]
    tables: tuple[TableView, ...]
    correct: str
    sections: tuple[SectionView, ...]
    command: CodeText


def page(result: WildResult) -> WildPage:
    """Return the page of a result."""
    return WildPage(
        title=TITLE,
        headline=headline(result),
        chosen=CHOSEN,
        reading=reading(result),
        tables=tuple(table for category in CATEGORIES if (table := overview(result, category)).rows),
        correct=CORRECT,
        sections=tuple(section(row, result.level) for row in result.rows),
        command=CodeText(text=result.command),
    )


def headline(result: WildResult) -> str:
    """Return how many rows there are of each kind."""
    asked = [row for row in result.rows if row.category != "nothing"]
    false = [row for row in asked if row.is_false]
    refuted = sum(row.shown == "refuted" for row in false)
    rest = len(result.rows) - len(asked)
    apart = f" {counted(rest, 'more row')} of a release without noise, counted apart." if rest else ""
    how = f"{refuted} refuted by counting, {len(false) - refuted} by closed form"
    if refuted == len(false):
        how = "refuted by counting"
    return (
        f"{counted(len(asked), 'row')} with a claim: {len(false)} false on the canary ({how}), "
        f"{len(asked) - len(false)} checked and not refuted.{apart}"
    )


def reading(result: WildResult) -> tuple[str, ...]:
    """Return how to read the numbers."""
    repeats = max((len(row.audited.statements(result.level)) for row in result.rows), default=0)
    return (
        f"A row is refuted where {'each of ' if repeats > 1 else ''}{counted(repeats, 'audit')} at level "
        f"{up(result.level)} refuted it; each refutes a true claim with at most that probability. Screening is at "
        f"{up(result.screening)}. Seeds are computed from the version ({result.version}), not chosen.",
        "Not refuting proves nothing. Detectable: from this epsilon on a Gaussian shift would have been refuted with "
        "probability 0.8.",
        "The corrected twin differs in the named setting only, and was audited with the same trials and seeds.",
        "Exact values are rounded up, lower bounds down.",
    )


def overview(result: WildResult, category: str) -> TableView:
    """Return the rows of one category."""
    rows = tuple(_overview(row, result.level) for row in result.rows if row.category == category)
    columns = ("row", "claimed ε", "δ", "exact ε", "lower bound", "audits", "corrected twin", "its exact ε")
    return TableView(
        title=CATEGORIES[category].capitalize(),
        caption="",
        columns=columns,
        rows=rows,
        numeric=(False, True, True, True, True, False, False, True),
    )


def _overview(row: WildRow, level: float) -> tuple[str, ...]:
    statements = row.audited.statements(level)
    bounds = [audit.lower_bound for audit in statements if audit.lower_bound is not None]
    return (
        row.name,
        *((NONE,) * 3 if row.category == "nothing" else _claimed(row)),
        down(min(bounds)) if bounds else NONE,
        verdicts(statements) + (" (false by closed form)" if row.shown == "false_exactly" else ""),
        NONE if row.twin is None else verdicts(row.twin.statements(level)),
        NONE if row.twin is None else exact(row.twin.exact),
    )


def _claimed(row: WildRow) -> tuple[str, str, str]:
    return nearest(row.epsilon), nearest(row.delta, 3), exact(row.audited.exact)


def exact(value: float | None) -> str:
    """Return an exact epsilon, rounded up."""
    if value is None:
        return NONE
    return INFINITE if math.isinf(value) else up(value)


def verdicts(audits: tuple[WildAudit, ...]) -> str:
    """Return how many of the audits said what, as "refuted 3 of 3"."""
    words = [spoken(audit.verdict).lower() for audit in audits]
    return ", ".join(f"{word} {words.count(word)} of {len(words)}" for word in dict.fromkeys(words))


def section(row: WildRow, level: float) -> SectionView:
    """Return the section of one mechanism."""
    return SectionView(
        title=row.title,
        name=row.name,
        facts=_facts(row),
        audits=_audits(row, level),
        passages=tuple(
            Passage(heading=heading, text=text)
            for heading, text in (
                ("Cause.", row.cause),
                ("Repair.", row.repair),
                ("A cheap test.", row.caught_by),
                ("What this does not say.", row.not_said),
            )
            if text
        ),
        command=CodeText(text=f"unlearn-audit wild --row {row.name}"),
    )


def _facts(row: WildRow) -> TableView:
    reference = REFERENCES.get(row.reference, row.reference)
    rows = [
        ("category", CATEGORIES[row.category]),
        ("paper", row.paper),
        ("read", row.source),
        (
            "claim, ours" if row.category == "nothing" else "claim",
            f"ε = {nearest(row.epsilon)}, δ = {nearest(row.delta, 3)}, against {reference}",
        ),
        ("equations", row.statement),
        ("canary", f"{row.canary} {row.reason}"),
    ]
    if row.assumptions:
        rows.append(
            ("assumptions", "; ".join(map(_assumption, [(a.statement, a.value, a.limit) for a in row.assumptions])))
        )
    for variant in (row.audited, row.twin):
        if variant is not None:
            rows.append((variant.name.replace("_", " "), _settings(variant)))
    if row.shared_noise is not None:
        rows.append(("same randomness", shared_randomness(row.shared_noise)))
    rows += [
        (what, exact(value) if what.startswith("exact") else nearest(value)) for what, value in row.figures.items()
    ]
    rows.append(("status", row.status))
    return TableView(title=row.name, caption="", columns=("", ""), rows=tuple(rows), numeric=(False, False))


def shared_randomness(shared: SharedNoise) -> str:
    """Return what the same random numbers in both worlds showed, over all records."""
    said = "within" if not shared.exceeded else f"with {counted(shared.beyond, 'record')} beyond"
    each = f"each of {counted(shared.records, 'record')} deleted alone ({shared.distinct} of them different)"
    return (
        f"{each}: the worlds are at most {nearest(shared.shift)} apart, {said} the declared {nearest(shared.declared)}"
    )


def _assumption(parts: tuple[str, float, float]) -> str:
    statement, value, limit = parts
    return f"{statement}: {nearest(value)}, at most {nearest(limit)}"


def _settings(variant: WildVariant) -> str:
    settings = ", ".join(
        f"{name.replace('_', ' ')} {value if isinstance(value, str) else nearest(value)}"
        for name, value in variant.settings.items()
    )
    return f"{settings}; exact ε {exact(variant.exact)}" if variant.exact is not None else settings


def _audits(row: WildRow, level: float) -> TableView:
    columns = (
        "audit",
        "level",
        "seed",
        "counted a world",
        "unlearned",
        "retrained",
        "lower bound",
        "detectable",
        "seconds",
        "verdict",
    )
    rows = [
        _audit(variant, audit) for variant in (row.audited, row.twin) if variant is not None for audit in variant.audits
    ]
    return TableView(
        title=f"Audits of {row.name}",
        caption="",
        columns=columns,
        rows=tuple(rows),
        numeric=(False, *(True,) * 8, False),
    )


def _audit(variant: WildVariant, audit: WildAudit) -> tuple[str, ...]:
    counts = audit.counts
    return (
        variant.name.replace("_", " "),
        up(audit.level),
        str(audit.seed),
        f"{audit.counted:,}",
        NONE if counts is None else f"{counts.k_unlearned:,}",
        NONE if counts is None else f"{counts.k_retrained:,}",
        NONE if audit.lower_bound is None else down(audit.lower_bound),
        NONE if audit.detectable is None else up(audit.detectable),
        up(audit.seconds),
        spoken(audit.verdict).lower() + (f" ({audit.reason.value.replace('_', ' ')})" if audit.reason else ""),
    )
