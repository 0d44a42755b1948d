"""The option ``--case`` and the file that it names: what an audit is filed for, in TOML."""

from __future__ import annotations

import difflib
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audit.commands.output.saying import say
from audit.errors import PlanError
from mechanisms.errors import InvalidInputError, shown

if TYPE_CHECKING:
    from audit.commands.output.filing.evidence import Evidence
    from audit.records.filing.case import Case

case_option = click.option(
    "--case",
    "case_file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="What the audit is filed for (TOML): request, dates, models, people. Printed in every format.",
)
DATES = ("received", "decided", "erased", "retain_until")
MODELS = ("model_before", "model_after")
TEXTS = ("request_id", "controller", "system", "version", "code_commit", "operator", "auditor", "reviewer")
OF_A_MODEL = ("name", "sha256")


def filed_case(path: Path | None, evidence: Evidence) -> Case | None:
    """Return the case that ``--case`` names, noted as evidence; None without the option."""
    if path is None:
        return None
    evidence.read("case", path)
    return read_case(path)


def read_case(path: Path) -> Case:
    """Return the case of a file; every field may be left out, and no other may be there.

    Raises
    ------
    PlanError
        For a file that cannot be read, or with every problem in it: unknown keys with the known one that is nearest,
        dates that are none or in no possible order.
    """
    from audit.commands.plan_file.toml_text import read_toml
    from audit.records.filing.case import Case, FiledModel

    problems: list[str] = []
    given = _known(read_toml(path, "case"), (*TEXTS, *DATES, *MODELS), "", problems)
    found: dict[str, Any] = {}
    for name, value in given.items():
        try:
            if name in DATES:
                found[name] = _date(value)
            elif name in MODELS:
                found[name] = FiledModel(**_texts(_table(name, value, problems), f"{name}.", problems))
            else:
                found |= _texts({name: value}, "", problems)
        except InvalidInputError as error:
            problems.append(f"{name if name in DATES else f'{name}.{error.field}'}: {_said(error)}")
    case = Case()
    if not problems:
        try:
            case = Case(**found)
        except InvalidInputError as error:
            problems.append(f"{error.field}: {_said(error)}")
    if problems:
        raise PlanError("\n  ".join([f"{path}: {len(problems)} problem(s) in the case", *problems]))
    if case == Case():
        say(f"Note on {path.name}: it states nothing.")
    return case


def _known(values: dict[str, Any], known: tuple[str, ...], where: str, problems: list[str]) -> dict[str, Any]:
    for name in values:
        if name not in known:
            # A spelling is near, or a name that holds a word of it: "commit", "date_received".
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            near = near or [field for field in known if set(field.split("_")) & set(name.split("_"))][:1]
            said = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            problems.append(f"{where}{shown(name)[1:-1]}: no such field; {said}")
    return {name: value for name, value in values.items() if name in known}


def _table(name: str, value: Any, problems: list[str]) -> dict[str, Any]:
    if isinstance(value, dict):
        return _known(value, OF_A_MODEL, f"{name}.", problems)
    problems.append(f'{name}: expected a table, got {shown(value)}; write {name} = {{ name = "...", sha256 = "..." }}')
    return {}


def _texts(values: dict[str, Any], where: str, problems: list[str]) -> dict[str, str]:
    for name, value in values.items():
        if not isinstance(value, str):
            problems.append(f"{where}{name}: expected text, got {shown(value)}; put it in quotes")
    return {name: value for name, value in values.items() if isinstance(value, str)}


def _date(value: Any) -> date:
    """TOML has dates of its own; text is taken where it is one."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        if isinstance(value, str) and len(value) == len("2026-11-26"):
            return date.fromisoformat(value)
    except ValueError:
        pass
    raise InvalidInputError(
        field="date", expected="a day of the calendar, as 2026-11-26", got=str(value), fix="write year-month-day"
    )


def _said(error: InvalidInputError) -> str:
    return f"expected {error.expected}, got {shown(error.got)}; {error.fix}"
