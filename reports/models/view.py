"""From a result to the parts of its page: every number rounded, every sentence written, nothing computed anew."""

from __future__ import annotations

import math
from dataclasses import dataclass

from audit.records.models import ModelsResult, RecordColumns, RecordDetail
from audit.records.verdict import Verdict
from audit.records.words.phrases import CONTROLS, MORE_FREQUENT, REMINDER, claim_text, spoken
from mechanisms.claim import Reference
from reports.page import case, facts
from reports.page.numbers import counted, down, nearest, up
from reports.page.parts import NONE, CodeText, Passage, TableView, VerdictView, map_text, plain

TOLD_AT = 1e-5
WITHHELD = "Which records these are, and every number of a single record, is withheld."
# Records in the table where none has a lower bound.
_FOREMOST = 20
# Larger e-values are printed as more than this.
_LARGEST_LOG = 30 * math.log(10)


@dataclass(frozen=True, kw_only=True)
class ModelsView:
    """A whole page."""

    title: str
    verdict: VerdictView
    headline: str
    case: TableView | None
    points: tuple[str, ...]
    glossary: tuple[Passage, ...]
    records: TableView
    rank_caption: str
    controls: TableView
    facts: TableView
    data: TableView
    environment: TableView
    command: CodeText | None
    joint: str
    limits: tuple[Passage, ...]
    rounding: str


def page(result: ModelsResult) -> ModelsView:
    """Return everything that the page prints, in order."""
    symbol, text = spoken(result.verdict).split(" ", 1)
    view = ModelsView(
        title=result.title,
        verdict=VerdictView(key=result.verdict.value, text=text, symbol=symbol),
        headline=result.sentence(),
        case=case.table(result.case, [result.environment.started]),
        points=tuple(_points(result)),
        glossary=tuple(_glossary(result)),
        records=records_table(result),
        rank_caption=_rank_caption(result),
        controls=_controls(result),
        facts=_facts(result),
        data=facts.data(result.data),
        environment=facts.environment(result.environment, result.schema),
        command=None if result.environment.command is None else CodeText(text=result.environment.command),
        joint="joint/report.html" if result.joint is not None else "",
        limits=tuple(_limits(result)),
        rounding=(
            "Lower bounds are rounded down; claims, p-values and levels up; estimates to nearest. The JSON file holds "
            "every number in full."
        ),
    )
    return map_text(view, plain)


def records_table(result: ModelsResult, most: int | None = None) -> TableView:
    """Return the records in detail, those with the most evidence first."""
    per_record = result.design == "claim_per_record"
    columns: tuple[str, ...] = ("record", "AUC", "lower bound", "δ", "event", "counts", "p-value", "e-value")
    columns += ("claim", "list") if per_record else ()
    return TableView(
        title="Records with the most evidence",
        caption=_table_caption(result),
        columns=columns,
        rows=tuple(_cells(result, detail, per_record) for detail in result.details[:most])
        or tuple(_short_cells(result, i, per_record) for i in result.foremost(_FOREMOST)[:most]),
        numeric=(False, True, True, True, False, True, True, True, *((False, False) if per_record else ())),
    )


def _cells(result: ModelsResult, detail: RecordDetail, per_record: bool) -> tuple[str, ...]:
    bound = detail.bound
    counts = bound.counts
    cells = (
        result.name_of(detail.record),
        _area(result.records, detail.record),
        down(bound.value),
        nearest(bound.delta),
        f"{'above' if bound.tail == 'upper' else 'up to'} {nearest(bound.threshold)}, {MORE_FREQUENT[bound.direction]}",
        f"{counts.k_unlearned}/{counts.n_unlearned} and {counts.k_retrained}/{counts.n_retrained}",
        up(detail.p_value),
        _e_value(detail.log_e_value),
    )
    if not per_record:
        return cells
    return (*cells, spoken(Verdict.REFUTED) if detail.refuted else NONE, "listed" if detail.listed else NONE)


def _short_cells(result: ModelsResult, record: int, per_record: bool) -> tuple[str, ...]:
    """Return a record without a lower bound: p-value and e-value are all that there is."""
    columns = result.records
    if columns is None:
        return ()
    cells = (
        result.name_of(record),
        _area(columns, record),
        *(NONE,) * 4,
        up(columns.p_values[record]),
        _e_value(columns.log_e_values[record]),
    )
    if not per_record:
        return cells
    refuted = spoken(Verdict.REFUTED) if record in result.refuted else NONE
    return (*cells, refuted, "listed" if record in result.listed else NONE)


def _area(columns: RecordColumns | None, record: int) -> str:
    if columns is None:
        return NONE
    auc, se = columns.auc[record], columns.auc_se[record]
    # Where the two kinds of models do not overlap the error is not known, and 0 would say that it is.
    return f"{nearest(auc, 3)}{f' ± {nearest(1.96 * se, 2)}' if se > 0 else ''}" if math.isfinite(se) else NONE


def _e_value(log_e: float) -> str:
    return f"> {nearest(1e30)}" if log_e > _LARGEST_LOG else down(math.exp(log_e))


def _points(result: ModelsResult) -> list[str]:
    said = list(result.notes)
    if result.redacted:
        said.append(WITHHELD)
    if result.planned_power is not None:
        said.append(
            f"By what the models that fit showed, the joint test was to refute with probability "
            f"{down(result.planned_power, 2)} (an estimate, made before counting by the very models that "
            "chose what is counted, so that it is too high where they are few)."
        )
    if result.some is not None:
        some = result.some
        verb = "refuted" if some.refutes else "not refuted"
        said.append(
            f"That the claim holds for every record is {verb}: the mean of the e-values is {down(some.mean_e_value)}, "
            f"and {nearest(1 / some.level)} refutes (level {up(some.level)})."
        )
        said.append(
            f"{counted(len(result.listed), 'record')} listed by e-BH: of these the claims of at most "
            f"{up(100 * result.significance)} % hold, on average over audits like this one."
        )
    if result.before is not None:
        said.append(
            f"Before unlearning the records' AUC lay {nearest(result.before, 3)} from 1/2 on average. These models "
            "lack the noise of the unlearning steps: a picture of where unlearning began, and no control."
        )
    return said


def _glossary(result: ModelsResult) -> list[Passage]:
    claimed = claim_text(result.claim, TOLD_AT)
    if result.design == "one_deletion":
        tested = Passage(
            heading="What is tested",
            text=f"One claim, {claimed}, about the one set that all unlearned models deleted, by one test at the level "
            f"{up(result.significance)}. Which record or which function of all records is tested was chosen on models "
            "that were not counted. The table of records is evidence on that claim, and no claim each.",
        )
    else:
        tested = Passage(
            heading="What is tested",
            text=f"A claim a record, {claimed}, about deleting the set that holds it, on average over what was "
            "retained and deleted with it: deletion models in which it was forgotten against reference models that "
            "never retained it. Any claim that holds is refuted with probability at most "
            f"{up(result.significance)} over all records: half of that is Holm's procedure over the records, half the "
            "mean of their e-values, and both hold however records depend on each other through the models they share.",
        )
    return [
        tested,
        Passage(
            heading="p-value of a record",
            text="Of the claim, by one event of this record alone, chosen on models that were not counted; not "
            "corrected for the other records. Lower bounds are corrected: all that are shown hold together with "
            f"probability {nearest(1 - result.significance)}.",
        ),
        Passage(
            heading="AUC",
            text="Probability that the number of an unlearned model lies above that of a retrained one; 1/2 where they "
            "cannot be told apart. An estimate, with about 95 % of its error.",
        ),
        Passage(
            heading="e-value",
            text="What a bet against the record's claim won: a true claim gives x or more with probability at most "
            "1/x.",
        ),
    ]


def _limits(result: ModelsResult) -> list[Passage]:
    world = (
        "retrained without the deleted records and then put through the unlearning steps"
        if result.claim.reference is Reference.RETRAIN_THEN_UNLEARN
        else "retrained without the deleted records, and nothing more"
    )
    return [
        Passage(heading="No proof.", text=REMINDER),
        Passage(heading="Reference world.", text=f"Retrained models are taken to be {world}."),
        Passage(
            heading="Independence.",
            text="Models of a kind are taken to be independent. What can be seen of that in the numbers was checked; "
            "models that start from one another, or from one seed, need not show it.",
        ),
    ]


def _table_caption(result: ModelsResult) -> str:
    if result.redacted:
        return WITHHELD
    shown = len(result.details) or len(result.foremost(_FOREMOST))
    return f"{shown:,} of {counted(result.n_records, 'record')}; the CSV file has all of them."


def _rank_caption(result: ModelsResult) -> str:
    if result.band is None:
        return ""
    return (
        "Distance of each record's AUC from 1/2, largest first, with about 95 % of its error. The band is where the "
        f"same curve lay for retrained models against retrained models, in {result.band.splits} random halves, scaled "
        "to the number of models: inside it nothing is seen."
    )


def _controls(result: ModelsResult) -> TableView:
    return TableView(
        title="Controls",
        caption="What the audit found when it checked itself.",
        columns=("control", "as expected", "finding"),
        rows=tuple(
            (
                CONTROLS[control.name],
                ("yes" if control.as_expected else "no") if control.applicable else "not applicable",
                control.message,
            )
            for control in result.controls
        ),
        numeric=(False, False, False),
    )


def _facts(result: ModelsResult) -> TableView:
    rows = (
        ("claim", claim_text(result.claim, TOLD_AT)),
        ("unlearned models", f"{result.n_unlearned:,}"),
        ("retrained models", f"{result.n_retrained:,}"),
        ("records", f"{result.n_records:,}"),
        ("outputs", result.outputs),
        ("significance", up(result.significance)),
        ("seed", str(result.seed)),
    )
    return facts.facts("Audit", rows)
