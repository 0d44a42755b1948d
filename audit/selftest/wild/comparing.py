"""What differs from a table that was committed: categories and verdicts, never digits."""

from __future__ import annotations

from audit.records.verdict import Verdict
from audit.selftest.wild.result import WildResult, WildRow


def differences(found: WildResult, committed: WildResult, *, whole: bool = False) -> tuple[str, ...]:
    """Return one sentence for every row that is missing, or whose category or verdicts differ.

    Parameters
    ----------
    found
        What was run, whole or some rows of it.
    committed
        What it is held against.
    whole
        True where every row was run, so that one of the committed table that is missing is a difference.
    """
    known = {row.name: row for row in committed.rows}
    said: list[str] = []
    for row in found.rows:
        if row.name not in known:
            said.append(f"{row.name}: the committed table has no such row")
            continue
        before, now = _facts(known[row.name]), _facts(row)
        said += [
            f"{row.name}: {what} was {before[what]} and is {now[what]}" for what in now if now[what] != before[what]
        ]
    if whole:
        run = {row.name for row in found.rows}
        said += [f"{name}: no longer in the table" for name in known if name not in run]
    return tuple(said)


def _facts(row: WildRow) -> dict[str, str]:
    return {
        "the category": row.category,
        "what was shown": row.shown.replace("_", " "),
        "the verdict of the twin": _verdicts(row),
    }


def _verdicts(row: WildRow) -> str:
    """Return the one verdict of the twin's statements, or "mixed": how many there are depends on how it was run."""
    if row.twin is None:
        return "none"
    level = min(audit.level for audit in row.twin.audits)
    verdicts = {audit.verdict for audit in row.twin.statements(level)}
    return _word(next(iter(verdicts))) if len(verdicts) == 1 else "mixed"


def _word(verdict: Verdict) -> str:
    return verdict.value.replace("_", " ")
