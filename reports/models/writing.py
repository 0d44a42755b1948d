"""Audits of models that exist already, for readers: one page, a text for a terminal, every number as CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from reports.page.numbers import counted
from reports.writing import check_formats, write, write_texts

if TYPE_CHECKING:
    from audit.records.models import ModelsResult
    from reports.page.parts import TableView

FORMATS = ("html", "json", "csv", "md")
KNOWN = (*FORMATS, "junit")
WITHHELD = "withheld"


def write_models(
    result: ModelsResult, directory: str | Path, formats: Sequence[str] = FORMATS, *, redact: bool = False
) -> tuple[Path, ...]:
    """Write ``models.html``, ``.json``, ``.csv`` and ``.md``, and the joint test's own report in ``joint/``.

    Parameters
    ----------
    result
        What was found.
    directory
        Created when it is missing; files of these names that lie there are replaced.
    formats
        Some of "html", "json", "csv", "md" and "junit" (``models.xml``). A redacted result has no CSV.
    redact
        Withhold which records there are, and every number of a single one (:func:`redact_models`).

    Returns
    -------
    tuple of Path

    Raises
    ------
    InvalidInputError
        For an unknown format, or a place that cannot be written.
    """
    check_formats(formats, KNOWN)
    if redact:
        result = redact_models(result)
    data = {"models.csv": records_csv(result)} if "csv" in formats and result.records is not None else {}
    texts: dict[str, str] = {}
    for name in formats:
        if name == "csv":
            texts |= data
        else:
            texts[f"models.{'xml' if name == 'junit' else name}"] = _render(result, name, tuple(data))
    folder = Path(directory)
    if result.redacted:
        # Beside a redacted page it would tell what that withholds.
        (folder / "models.csv").unlink(missing_ok=True)
    paths = write_texts(folder, texts)
    if result.joint is None:
        return paths
    of_joint = tuple(name for name in formats if name != "junit")
    return (*paths, *write(result.joint, folder / "joint", of_joint, redact=result.redacted))


def write_junit_models(result: ModelsResult, path: str | Path) -> tuple[Path, ...]:
    """Write a JUnit XML file: a case for the audit, and one for each record in detail whose claim is refuted.

    Parameters
    ----------
    result
        What was found.
    path
        The file; its folder is created when it is missing.
    """
    target = Path(path)
    return write_texts(target.parent, {target.name: _junit(result)})


def models_summary(result: ModelsResult, *, width: int = 120) -> str:
    """Return the verdict, what it rests on, and the records with the most evidence, as plain text.

    Parameters
    ----------
    result
        What was found.
    width
        Columns of the terminal.
    """
    from audit.records.words.phrases import spoken
    from reports.models.view import page, records_table
    from reports.page.terminal import printed, shown_case

    view, table = page(result), records_table(result, most=10)
    keep = [i for i, name in enumerate(table.columns) if name not in ("event", "counts")]
    short = replace(
        table,
        columns=tuple(table.columns[i] for i in keep),
        rows=tuple(tuple(row[i] for i in keep) for row in table.rows),
        numeric=tuple(table.numeric[i] for i in keep),
    )
    parts: list[str | TableView] = [
        view.title,
        "",
        *shown_case(view.case),
        f"{spoken(result.verdict)}: {view.headline}",
    ]
    if short.rows:
        parts += [short, table.caption]
    parts += view.points
    parts += [f"{row[0]}: {row[2]}" for row in view.controls.rows if row[1] == "no"]
    return printed([*parts, view.limits[0].text], width)


def redact_models(result: ModelsResult) -> ModelsResult:
    """Return a copy without names of records and numbers of single ones; how many were refuted and listed stays.

    Parameters
    ----------
    result
        What is redacted already is returned as it is.
    """
    from audit.records.filing.case import withheld
    from reports.redaction import redact

    if result.redacted:
        return result
    joint = None if result.joint is None else redact(result.joint)
    data = replace(result.data, name=f"given {result.data.kind}")
    return replace(
        result,
        title=f"Models: {counted(result.n_records, 'record')}",
        joint=joint,  # type: ignore[arg-type]
        records=None,
        refuted=tuple(range(len(result.refuted))),
        listed=tuple(range(len(result.listed))),
        details=(),
        controls=tuple(replace(control, message=WITHHELD, bound=None, p_value=None) for control in result.controls),
        data=data,
        environment=replace(result.environment, command=None),
        case=None if result.case is None else withheld(result.case),
        redacted=True,
    )


def records_csv(result: ModelsResult) -> str:
    """Return one line a record with every number in full."""
    columns = result.records
    buffer = io.StringIO()
    # The csv module writes a float as its repr, which reads back as the same float.
    writer = csv.writer(buffer, lineterminator="\n")
    heads = ("record", "auc", "auc_se", "p_value", "log_e_value", "n_unlearned", "n_retrained", "refuted", "listed")
    writer.writerow(heads)
    if columns is not None:
        refuted, listed = set(result.refuted), set(result.listed)
        rows = zip(
            columns.names,
            columns.auc,
            columns.auc_se,
            columns.p_values,
            columns.log_e_values,
            columns.n_unlearned,
            columns.n_retrained,
            strict=True,
        )
        writer.writerows((*row, int(i in refuted), int(i in listed)) for i, row in enumerate(rows))
    return buffer.getvalue()


def _render(result: ModelsResult, name: str, data: Collection[str]) -> str:
    if name == "json":
        return result.to_json()
    if name == "junit":
        return _junit(result)
    from reports.models.view import page

    view = page(result)
    if name == "md":
        from reports.page import markdown

        return markdown.filled("models.md.j2", view, data=data)
    from markupsafe import Markup

    from reports.models.figures import ranks
    from reports.page.html import template, unbroken
    from reports.page.parts import map_text

    # Markup marks what this package drew itself; matplotlib escapes the names that it is given.
    picture = Markup(ranks(result, "ranks"))
    filled = template("models.html.j2").render(page=map_text(view, unbroken), picture=picture, data=data)
    return f"{filled}\n"


def _junit(result: ModelsResult) -> str:
    """Return a suite with the audit as a case, and one for each record in detail whose own claim is refuted."""
    from reports.audits.junit import Case, Suite, render_suites

    group = f"unlearn-audit.{result.title}"
    text = str(result)
    cases = [Case(group=group, name="claim", outcome=result.verdict.value, message=result.sentence(), text=text)]
    cases += [
        Case(
            group=group,
            name=f"record {result.name_of(detail.record)}",
            outcome="refuted",
            message=f"epsilon is at least {detail.bound.value:.3g} at delta = {detail.bound.delta:g}",
            text=text,
        )
        for detail in result.details
        if detail.refuted
    ]
    properties = (("seed", str(result.seed)), ("significance", repr(result.significance)))
    suite = Suite(
        name=result.title,
        cases=tuple(cases),
        properties=properties,
        seconds=result.environment.seconds,
        started=result.environment.started,
    )
    return render_suites([suite], name=result.title)
