"""The case that a page is filed for, as a table: what was stated, who stated it, and what of it nobody checked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from audit.records.filing.case import Case, FiledModel
from reports.page.numbers import listed
from reports.page.parts import TableView

TITLE = "Case"
STATED = (
    "As whoever files this states it. The audit checked none of it: neither that the models that are named here are "
    "those that it looked at, nor that a deletion took place on these days."
)
NAMES = {
    "request_id": "request",
    "received": "received",
    "decided": "decided",
    "erased": "erased",
    "controller": "controller",
    "system": "system",
    "version": "its version",
    "model_before": "model before",
    "model_after": "model after",
    "code_commit": "code commit",
    "operator": "operator",
    "auditor": "auditor",
    "reviewer": "reviewer",
    "retain_until": "retain until",
}


def table(case: Case | None, started: Sequence[str] = ()) -> TableView | None:
    """Return what a case states; None where there is none.

    Parameters
    ----------
    case
        What is withheld of it is named.
    started
        When the audits of the page began.
    """
    if case is None:
        return None
    stated = ((label, getattr(case, name)) for name, label in NAMES.items())
    rows = [(label, _text(value)) for label, value in stated if value is not None]
    if case.withheld:
        rows.append(("withheld", listed(NAMES.get(name, name) for name in case.withheld)))
    notes = _notes(case, _first_day(started))
    caption = " ".join([*notes, STATED]) if rows else f"Nothing is stated. {STATED}"
    return TableView(title=TITLE, caption=caption, columns=("", ""), rows=tuple(rows), numeric=(False, False))


def _text(value: str | date | FiledModel) -> str:
    if isinstance(value, FiledModel):
        digest = None if value.sha256 is None else f"SHA-256 {value.sha256}"
        return ", ".join(filter(None, (value.name, digest))) or "named, no more"
    return value.isoformat() if isinstance(value, date) else value


def _notes(case: Case, audited: date | None) -> list[str]:
    """Return what a reader of these dates must not pass over."""
    notes = []
    if case.erased is not None and case.decided is not None and case.erased < case.decided:
        notes.append(f"Erased on {case.erased}, before it was decided on {case.decided}.")
    if case.erased is not None and audited is not None and audited < case.erased:
        notes.append(f"The audit ran on {audited}, before what is stated as the day of the deletion.")
    models = (case.model_before, case.model_after)
    digests = [model.sha256 for model in models if model is not None and model.sha256 is not None]
    if len(digests) == 2 and digests[0] == digests[1]:
        notes.append("The models before and after have the same digest: by it nothing was changed.")
    return notes


def _first_day(started: Sequence[str]) -> date | None:
    days = []
    for text in started:
        try:
            days.append(datetime.fromisoformat(text).date())
        except ValueError:
            return None
    return min(days, default=None)
