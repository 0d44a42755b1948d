"""The page of what was measured: every string final, for HTML and Markdown. It has no verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from audit.records.measures import AttackMeasures, MeasureResult, Measures, SetMeasures, strongest
from audit.records.words.phrases import CONTROLS
from reports.page import facts
from reports.page.numbers import counted, down, nearest, up
from reports.page.parts import NONE, CodeText, Passage, TableView, map_text, plain

HEADLINE = "No verdict: nothing was claimed."
ROUNDING = (
    "Lower bounds on ε and lower limits are rounded down, upper limits up, estimates to nearest. The JSON file holds "
    "every number in full."
)
BESIDE = {
    "ignored": "ignored",
    "before": "before",
    "none": "ignored",
}


@dataclass(frozen=True, kw_only=True)
class MeasureView:
    """A whole page."""

    title: str
    headline: str
    points: tuple[str, ...]
    measures: TableView
    controls: TableView
    facts: TableView
    limits: tuple[Passage, ...]
    data: TableView
    environment: TableView
    command: CodeText | None
    rounding: str


def page(result: MeasureResult) -> MeasureView:
    """Return everything that the page prints, in order."""
    view = MeasureView(
        title=result.title,
        headline=HEADLINE,
        points=points(result),
        measures=table(result, [(each, each.attacks) for each in result.sets]),
        controls=_controls(result),
        facts=_facts(result),
        limits=LIMITS,
        data=facts.data(result.data),
        environment=facts.environment(result.environment, result.schema),
        command=None if result.environment.command is None else CodeText(text=result.environment.command),
        rounding=ROUNDING,
    )
    return map_text(view, plain)


def points(result: MeasureResult) -> tuple[str, ...]:
    """Return how the table is read."""
    beside = {
        "ignored": "of a deletion that was ignored on purpose, and of retrained models against retrained ones",
        "before": "of the models before unlearning, and of retrained models against retrained ones",
        "none": "of retrained models against retrained ones",
    }[result.ignored]
    failed = [
        f"{each.name}{f', {attack}' if attack else ''}: {'failed' if attack else 'not measured'}. {said}"
        for each in result.sets
        for attack, said in each.failures.items()
    ]
    return (
        f"Each number of the unlearned models stands beside the same number {beside}.",
        f"All lower bounds of a column hold together with probability {down(1 - result.significance)}; other intervals "
        "hold with probability 0.95, each by itself.",
        *result.notes,
        *failed,
    )


def strongest_table(result: MeasureResult) -> TableView:
    """Return the rows of the attack with the largest lower bound of each set, for a terminal."""
    found = [(each, best) for each in result.sets if (best := strongest(each)) is not None]
    return table(result, [(each, (best,)) for each, best in found])


def table(result: MeasureResult, chosen: Sequence[tuple[SetMeasures, Sequence[AttackMeasures]]]) -> TableView:
    """Return a row a set, attack and measure."""
    rows = [row for each, attacks in chosen for attack in attacks for row in _rows(result, each, attack)]
    return TableView(
        title="Measures",
        caption="In brackets, limits of 95 %. TPR: share of the column's models above a threshold that half of the "
        "retrained models exceed with that probability; the other half counts the FPR. Advantage: of this attack as it "
        "was frozen, and of no other.",
        columns=("deletion", "attack", "measure", "unlearned", BESIDE[result.ignored], "retrained"),
        rows=tuple(rows),
        numeric=(False, False, False, True, True, True),
    )


def _rows(result: MeasureResult, each: SetMeasures, attack: AttackMeasures) -> Iterator[tuple[str, ...]]:
    worlds = (attack.unlearned, attack.ignored, attack.retrained)
    first = (each.name, attack.attack)
    cells = [_cells(result, world) for world in worlds]
    for i, label in enumerate(_labels(result, attack.unlearned)):
        yield (*(first if i == 0 else ("", "")), label, *(mine[i] if mine else NONE for mine in cells))


def _labels(result: MeasureResult, found: Measures) -> list[str]:
    rates = [
        text
        for caught in found.caught
        for text in (f"TPR at FPR {nearest(100 * caught.nominal)} %", "FPR when counted")
    ]
    return [f"ε ≥, δ = {nearest(result.delta)}", "AUC", *rates, "advantage at most"]


def _cells(result: MeasureResult, found: Measures | None) -> list[str]:
    if found is None:
        return []
    caught = [_interval(rate.value, rate.low, rate.high) for c in found.caught for rate in (c.tpr, c.fpr)]
    area = _interval(found.auc, found.auc_low, found.auc_high)
    return [down(found.bound.value), area, *caught, up(found.advantage_high)]


def _interval(value: float, low: float, high: float) -> str:
    # Limits are probabilities: more digits than these say nothing.
    return f"{value:.3f} ({math.floor(1e3 * low) / 1e3:.3f}, {math.ceil(1e3 * high) / 1e3:.3f})"


def _controls(result: MeasureResult) -> TableView:
    rows = [
        (CONTROLS[control.name], "yes" if control.as_expected else "no", control.message) for control in result.controls
    ]
    return TableView(
        title="Controls",
        caption="",
        columns=("control", "as expected", "what was found"),
        rows=tuple(dict.fromkeys(rows)),
        numeric=(False, False, False),
    )


def _facts(result: MeasureResult) -> TableView:
    fit, count = result.n_fit, result.n_counted
    models = f"{fit[0] + count[0]:,} unlearned ({fit[0]:,} fit), {fit[1] + count[1]:,} retrained ({fit[1]:,} fit)"
    found = result.trainings
    rows = (
        ("mechanism", result.mechanism),
        ("deletions or records", counted(len(result.sets), "row")),
        ("models of each", models),
        *(() if found is None else (("trainings", f"{found.total:,}: {found.all_records:,} on all records"),)),
        ("δ", nearest(result.delta)),
        ("significance", up(result.significance)),
        ("seed", str(result.seed)),
    )
    return facts.facts("What was drawn", rows)


LIMITS = (
    Passage(
        heading="A lower bound is no proof.",
        text="ε is at least the bound, with the stated probability; it may be any larger number. Nothing here says "
        "that a deletion is safe.",
    ),
    Passage(
        heading="An advantage is one attack's.",
        text="The upper limit is on what this attack gains on models like these. Another attack may gain more.",
    ),
    Passage(
        heading="Nothing was claimed, so nothing was tested.",
        text="To test a number, state it as a claim before the models are drawn: an audit then spends its trials on "
        "that claim.",
    ),
)
