"""What a page consists of: plain frozen data, every string final. HTML and Markdown print the same parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Literal, TypeVar

from reports.page.numbers import Number

VerdictKey = Literal["refuted", "not_refuted", "inconclusive"]
T = TypeVar("T")
NONE = "–"


@dataclass(frozen=True, kw_only=True)
class VerdictView:
    """A verdict as a word and a symbol; ``key`` selects the colour, which never stands alone."""

    key: VerdictKey
    text: str
    symbol: str


@dataclass(frozen=True, kw_only=True)
class TableView:
    """A table. ``numeric`` marks the columns that are set flush right."""

    title: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A heading and a paragraph; ``lines`` are its sentences, where each stands in a line of its own."""

    heading: str
    text: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CodeText:
    """Text that is shown letter by letter, for example a command."""

    text: str


@dataclass(frozen=True, kw_only=True)
class SandwichView:
    """lower bound <= exact <= claimed, with the ceiling and the detectable epsilon, at one delta."""

    title: str
    delta: str
    bound: Number
    exact: Number | None
    claimed: Number
    detectable: Number
    ceiling: Number
    level: str
    shown_by: str


@dataclass(frozen=True, kw_only=True)
class RecordView:
    """A deleted record: an image (``shape`` and ``values``) or a table of its leading features."""

    caption: str
    alt: str
    shape: tuple[int, int] | None
    values: tuple[float, ...]
    features: TableView | None


@dataclass(frozen=True, kw_only=True)
class HistoryView:
    """How the evidence grew in an audit that stops when decided; ``stopping`` is the one line of a short table."""

    title: str
    stopping: str
    text: str
    caption: str
    table: TableView


@dataclass(frozen=True, kw_only=True)
class HistogramView:
    """How scores lie in both worlds: what the picture shows, and the strongest attack's as a table."""

    title: str
    caption: str
    table: TableView


@dataclass(frozen=True, kw_only=True)
class FindingDetails:
    """All numbers of one finding, and how its pictures are read."""

    records: tuple[RecordView, ...]
    parameters: TableView
    sandwiches: tuple[SandwichView, ...]
    sandwich_table: TableView
    sandwich_caption: str
    trade_off_caption: str
    rare_caption: str
    history: HistoryView | None
    histograms: HistogramView | None
    tests_summary: str
    tests: TableView
    estimates: TableView
    certificates: TableView


@dataclass(frozen=True, kw_only=True)
class FindingView:
    """One verdict in words, with what is quoted of its numbers; ``details`` are withheld, or left out of long pages.

    ``made`` is the row at the delta where the claim was made, where another one is quoted.
    """

    anchor: str
    heading: str
    claim: str
    verdict: VerdictView
    sentence: str
    strength: str
    remarks: tuple[str, ...]
    fired: str
    notes: tuple[str, ...]
    quoted: SandwichView | None
    made: SandwichView | None
    details: FindingDetails | None


@dataclass(frozen=True, kw_only=True)
class AuditView:
    """One audit: a family of findings, its controls, and how to run it again."""

    anchor: str
    title: str
    headline: str
    verdict: VerdictView
    case: TableView | None
    compliance: tuple[Passage, ...]
    method: tuple[Passage, ...]
    annex: TableView | None
    forest_caption: str
    findings: tuple[FindingView, ...]
    averages: TableView | None
    controls: TableView
    ledger: TableView
    plan: TableView
    data: TableView
    notes: tuple[str, ...]
    environment: TableView
    command: CodeText | None


@dataclass(frozen=True, kw_only=True)
class IndexRow:
    """One audit in the index that a page of several starts with."""

    audit: str
    verdict: VerdictView
    found: str
    data: str
    significance: str
    seed: str
    anchor: str


@dataclass(frozen=True, kw_only=True)
class SummaryRow:
    """A row of the table that a collection starts with; a finding's second one has no verdict of its own."""

    audit: str
    record: str
    claimed: str
    bound: str
    exact: str
    detectable: str
    ceiling: str
    delta: str
    verdict: VerdictView | None
    anchor: str


@dataclass(frozen=True, kw_only=True)
class PageView:
    """A whole report."""

    title: str
    introduction: tuple[str, ...]
    headline: str
    lead: str
    is_collection: bool
    case: TableView | None
    folded: str
    index: tuple[IndexRow, ...]
    index_caption: str
    summary: tuple[SummaryRow, ...]
    summary_caption: str
    limits: tuple[Passage, ...]
    audits: tuple[AuditView, ...]
    tables: tuple[TableView, ...]
    rounding: str


def map_text(value: T, change: Callable[[str], str]) -> T:
    """Return a copy of a part with every string in it changed, :class:`CodeText` excepted.

    One pass over the whole tree cannot forget a field, which is how escaping usually fails.
    """
    changed: Any = value
    if isinstance(value, CodeText):
        return value
    if isinstance(value, str):
        changed = change(value)
    elif isinstance(value, tuple):
        changed = tuple(map_text(item, change) for item in value)
    elif is_dataclass(value) and not isinstance(value, type):
        changed = replace(value, **{f.name: map_text(getattr(value, f.name), change) for f in fields(value)})
    return changed  # type: ignore[no-any-return]


def plain(text: str) -> str:
    """Return text without control characters, which neither HTML nor a terminal can show."""
    return "".join(c if c.isprintable() or c in "\n\t\N{NO-BREAK SPACE}" else "\N{REPLACEMENT CHARACTER}" for c in text)
