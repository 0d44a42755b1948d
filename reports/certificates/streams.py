"""Certificates of a stream for readers: a table of releases for a terminal, as a page, as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from audit.records.words.phrases import plain
from reports.certificates.plain_page import PlainView, plain_html
from reports.page import facts
from reports.page.markdown import escape
from reports.page.numbers import nearest, up
from reports.page.parts import CodeText, TableView
from reports.page.parts import plain as plain_text
from reports.writing import write_texts

if TYPE_CHECKING:
    from audit.certificates.stream_rows import ReleaseRow, StreamCertification

WIDTH = 110
COLUMNS = ("after request", "records", "deleted in all", "noise of a step", "ε", "meets the target")
ALONE = (
    "Each ε covers the release after that request alone: whoever keeps several releases may learn more. Requests were "
    "fixed beforehand. Epsilon and noise are functions of the deleted records: keep this table as safe as the data."
)
WITHHELD = "Which records were deleted, and the noise and ε of each request, are withheld."


def stream_page(certification: StreamCertification) -> str:
    """Return one HTML document."""
    command = certification.environment.command
    view = PlainView(
        title=certification.title,
        headline=f"ε after each request, at δ = {nearest(certification.delta)}.",
        points=tuple(_notes(certification)),
        tables=(
            TableView(
                title="Releases",
                caption="",
                columns=COLUMNS,
                rows=tuple(_cells(row, certification) for row in certification.rows),
                numeric=(True, False, True, True, True, False),
            ),
        ),
        assumptions=tuple(facts.as_sentence(text) for text in certification.assumptions),
        parameters=facts.facts("Parameters", facts.parameter_rows(certification.parameters)),
        data=facts.data(certification.data),
        environment=facts.environment(certification.environment, certification.schema),
        command=CodeText(text=plain_text(command)) if command else None,
    )
    return plain_html(view)


def stream_summary(certification: StreamCertification) -> str:
    """Return the table of releases as plain text."""
    rows = [COLUMNS, *(_cells(row, certification) for row in certification.rows)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    notes = [textwrap.fill(note, WIDTH) for note in _notes(certification)]
    return "\n".join([plain(certification.title), "", f"At δ = {nearest(certification.delta)}.", *lines, "", *notes])


def stream_markdown(certification: StreamCertification) -> str:
    """Return a page of Markdown."""
    rows = ["| " + " | ".join(_cells(row, certification)) + " |" for row in certification.rows]
    parts = [
        f"# {escape(certification.title)}",
        f"At δ = {nearest(certification.delta)}.",
        "\n".join(["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS), *rows]),
        *_notes(certification),
        "\n".join(f"* {escape(sentence)}" for sentence in certification.assumptions),
        "\n".join(f"* {escape(f'{name}: {value}')}" for name, value in certification.parameters.items()),
    ]
    return "\n\n".join(parts) + "\n"


def write_stream_certification(certification: StreamCertification, directory: str | Path) -> tuple[Path, ...]:
    """Write ``stream.json``, ``stream.html``, ``stream.md`` and ``stream.csv``; return their paths.

    Parameters
    ----------
    certification
        What is written.
    directory
        Created when it is missing; files of these names that lie there are replaced.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["request", "records", "n_records", "n_deleted", "sigma_unlearn", "epsilon", "meets_target"])
    for row in certification.rows:
        shown = " ".join(map(str, row.records))
        writer.writerow(
            [row.request, shown, row.n_records, row.n_deleted, row.sigma_unlearn, row.epsilon, row.meets_target]
        )
    texts = {
        "stream.json": certification.to_json(),
        "stream.html": stream_page(certification),
        "stream.md": stream_markdown(certification),
        "stream.csv": buffer.getvalue(),
    }
    return write_texts(directory, texts)


def _cells(row: ReleaseRow, certification: StreamCertification) -> tuple[str, ...]:
    withheld = "withheld" if certification.redacted else "–"
    names = ", ".join(map(str, row.records)) or (f"{row.n_records}, {withheld}" if row.n_records else "none")
    return (
        str(row.request),
        names,
        str(row.n_deleted),
        withheld if row.sigma_unlearn is None else up(row.sigma_unlearn),
        withheld if row.epsilon is None else up(row.epsilon),
        {True: "yes", False: "NO", None: "–"}[row.meets_target],
    )


def _notes(certification: StreamCertification) -> list[str]:
    target = certification.target_epsilon
    said = [] if target is None else [f"Target: ε = {up(target)}, for every release; noise is calibrated in order."]
    return [*said, ALONE, *([WITHHELD] if certification.redacted else [])]
