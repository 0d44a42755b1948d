"""The page of an audit by lot: every string final, for HTML and Markdown."""

from __future__ import annotations

from dataclasses import dataclass

from audit.lots.result import LotsResult, LotsRun
from audit.records.words.phrases import SYMBOLS, name
from audit.records.words.rounding import down, nearest, up
from reports.lots.words import LIMITS, chance, claims_text, sentences
from reports.page import case
from reports.page.facts import facts
from reports.page.parts import NONE, CodeText, Passage, TableView, VerdictView

ROUNDING = "Lower bounds are rounded down; claims, probabilities and ceilings up."
_MOST_RUNS = 100


@dataclass(frozen=True, kw_only=True)
class LotsPage:
    """What the page of one audit by lot consists of."""

    title: str
    verdict: VerdictView
    headline: str
    case: TableView | None
    points: tuple[str, ...]
    conditions: tuple[str, ...]
    limits: tuple[Passage, ...]
    numbers: TableView
    runs: TableView
    command: CodeText | None
    rounding: str


def page(result: LotsResult) -> LotsPage:
    """Return the page of a result."""
    *points, judged = sentences(result)
    return LotsPage(
        title=result.title,
        verdict=VerdictView(key=result.verdict.value, text=name(result.verdict), symbol=SYMBOLS[result.verdict]),
        headline=judged,
        case=case.table(result.case),
        points=tuple(points),
        conditions=(*result.conditions, *(result.claim.assumptions if len(result.claims) == 1 else ())),
        limits=LIMITS,
        numbers=numbers(result),
        runs=runs(result),
        command=None if result.command is None else CodeText(text=result.command),
        rounding=ROUNDING,
    )


def numbers(result: LotsResult) -> TableView:
    """Return the numbers of the verdict."""
    threshold = () if result.log_threshold is None else (("a hit has probability", chance(result.log_threshold)),)
    rows = (
        ("claimed", claims_text(result)),
        ("lower bound on ε", f"{down(result.lower_bound)} at δ = {nearest(result.delta)}"),
        ("ceiling", up(result.ceiling)),
        ("p-value of the claim", up(result.p_value)),
        ("significance", up(result.significance)),
        ("candidates", f"{result.candidates:,}"),
        ("draw", result.draw.replace("_", " ")),
        ("statistic", result.statistic),
        ("models", f"{len(result.runs):,}"),
        *((("models that chose the threshold", f"{result.n_fit:,}"),) if result.n_fit else ()),
        *threshold,
        *((("mechanism", result.mechanism),) if result.mechanism else ()),
        *((("data", result.data.name), ("SHA-256", result.data.sha256)) if result.data else ()),
        *(("commitment to the coins", text) for text in result.commitments),
        ("seed", str(result.seed)),
        ("duration", f"{up(result.seconds)} s"),
        ("result schema", result.schema),
    )
    return facts("Numbers", rows)


def runs(result: LotsResult) -> TableView:
    """Return a row a run, the first hundred of them."""
    columns = ("model", "given and deleted", "guessed", "right", "probability by chance")
    shown = result.runs[:_MOST_RUNS]
    rows = tuple((str(i + 1), *_cells(run, result)) for i, run in enumerate(shown))
    left = len(result.runs) - len(shown)
    caption = f"{left} more are in the JSON." if left else ""
    return TableView(title="Models", caption=caption, columns=columns, rows=rows, numeric=(True,) * len(columns))


def _cells(run: LotsRun, result: LotsResult) -> tuple[str, ...]:
    by_chance = NONE if result.draw == "one" else chance(run.log_p)
    return str(run.inserted), str(run.guesses), str(run.right), by_chance
