"""Write the pages of audits. Each format is rendered first, so that a failure leaves the files that lie there whole."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reports.page.files import write_whole

if TYPE_CHECKING:
    from audit.records.result import AuditCollection, AuditResult

    Reportable = AuditResult | AuditCollection

FORMATS = ("html", "json", "md", "csv")
KNOWN = (*FORMATS, "junit")


def write(
    result_or_results: Reportable | Sequence[Reportable],
    directory: str | Path,
    formats: Sequence[str] = FORMATS,
    *,
    redact: bool = False,
) -> tuple[Path, ...]:
    """Write ``report.html``, ``report.json``, ``report.md`` and the figures as data; return the paths.

    Parameters
    ----------
    result_or_results
        A result, a collection, or several of them, which become one collection.
    directory
        Created when it is missing; reports that lie there are replaced.
    formats
        Some of "html", "json", "md", "csv" and "junit". "csv" is the data of the figures in ``report-data/``, which the
        pages link to; "junit" is ``report.xml``.
    redact
        Withhold which records were deleted, and every epsilon of a single record (:func:`redact`).

    Raises
    ------
    InvalidInputError
        For an unknown format, or when there is no result.

    Examples
    --------
    >>> write(result, "out", formats=("html", "json"))  # doctest: +SKIP
    (PosixPath('out/report.html'), PosixPath('out/report.json'))
    """
    check_formats(formats, KNOWN)
    value = joined(result_or_results)
    if redact:
        value = _redacted(value)
    data = _figure_data(value) if "csv" in formats else {}
    texts: dict[str, str] = {}
    for name in formats:
        texts |= data if name == "csv" else {_file(name): _render(value, name, tuple(data))}
    if redact or "csv" in formats:
        _remove_stale(Path(directory), kept=texts)
    return write_texts(directory, texts)


def write_each(
    value: Reportable, directory: str | Path, formats: Sequence[str] = FORMATS
) -> tuple[tuple[Path, ...], dict[str, Exception]]:
    """Write what can be written of a report, the JSON first; return paths, and what went wrong by file name.

    A page that cannot be rendered or written costs itself alone.

    Parameters
    ----------
    value, directory, formats
        As for :func:`write`.
    """
    check_formats(formats, KNOWN)
    folder, written, failed = Path(directory), list[Path](), dict[str, Exception]()
    data: tuple[str, ...] = ()
    for name in sorted(formats, key=lambda name: {"json": 0, "csv": 1}.get(name, 2)):
        label = "the data of the figures" if name == "csv" else _file(name)
        try:
            if name == "csv":
                # First: beside a redacted page it would tell what that withholds.
                _remove_stale(folder, kept=())
            texts = _figure_data(value) if name == "csv" else {label: _render(value, name, data)}
            written += write_texts(folder, texts)
            data = tuple(texts) if name == "csv" else data
        except Exception as error:
            failed[label] = error
    return tuple(written), failed


def redact(value: Reportable) -> Reportable:
    """Return a copy without record identifiers, labels, previews, and epsilon or noise of single records.

    Verdicts, levels, sizes, controls, seed, versions and the hash of the data stay, and averages over at least five
    deletions. Withholding is not anonymising: verdicts and averages still depend on the records.

    Parameters
    ----------
    value
        A result or a collection; what is redacted already is returned as it is.
    """
    return _redacted(value)


def write_junit(result_or_results: Reportable | Sequence[Reportable], path: str | Path) -> Path:
    """Write a JUnit XML file: a suite for each audit, a test case for each claim; return its path.

    Parameters
    ----------
    result_or_results
        As for :func:`write`.
    path
        The file; its folder is created when it is missing.

    Raises
    ------
    InvalidInputError
        When there is no result.
    """
    target = Path(path)
    return write_texts(target.parent, {target.name: _render(joined(result_or_results), "junit", ())})[0]


def check_formats(formats: Sequence[str], known: Sequence[str]) -> None:
    """Refuse a format that is not known.

    Raises
    ------
    InvalidInputError
        Naming every unknown format.
    """
    from mechanisms.errors import InvalidInputError

    unknown = [name for name in formats if name not in known]
    if unknown:
        raise InvalidInputError(
            field="formats", expected=f"some of {', '.join(known)}", got=unknown, fix="remove the unknown format"
        )


def write_texts(directory: str | Path, texts: Mapping[str, str]) -> tuple[Path, ...]:
    """Write each text to the file of its name, JSON first; the caller has rendered all, and a failure leaves old files.

    Raises
    ------
    InvalidInputError
        When a folder or file cannot be written.
    """
    from mechanisms.errors import InvalidInputError

    folder = Path(directory)
    paths = tuple(folder / name for name in texts)
    by_path = dict(zip(paths, texts.values(), strict=True))
    results = {path: text for path, text in by_path.items() if path.suffix == ".json"}
    try:
        # What every page can be rendered from comes first, also where there is no room for pages.
        write_whole(results)
        write_whole({path: text for path, text in by_path.items() if path not in results})
    except OSError as error:
        raise InvalidInputError(
            field="output",
            expected="a place that can be written",
            got=str(error.filename or folder),
            fix=f"choose another one ({error.strerror})",
        ) from None
    return paths


def joined(value: Reportable | Sequence[Reportable]) -> Reportable:
    """Return one result or collection as it is, and several as one collection, in which each is a family of its own.

    Raises
    ------
    InvalidInputError
        When there is none.
    """
    from audit.records.result import AuditCollection, AuditResult
    from mechanisms.errors import InvalidInputError

    if isinstance(value, AuditResult | AuditCollection):
        return value
    if not value:
        raise InvalidInputError(
            field="result_or_results", expected="at least one result", got="none", fix="run an audit first"
        )
    collections = [item for item in value if isinstance(item, AuditCollection)]
    results = [r for item in value for r in (item.results if isinstance(item, AuditCollection) else (item,))]
    return AuditCollection(
        title=f"{len(results)} audits" if len(results) > 1 else results[0].title,
        introduction="\n\n".join(item.introduction for item in collections if item.introduction),
        results=tuple(results),
        tables=tuple(table for item in collections for table in item.tables),
    )


def _file(name: str) -> str:
    return "report.xml" if name == "junit" else f"report.{name}"


def _render(value: Reportable, name: str, data: Collection[str]) -> str:
    if name == "json":
        return value.to_json()
    if name == "junit":
        from reports.audits import junit

        return junit.render_results(value)
    if name == "html":
        from reports.audits import html

        return html.render(value, data=data)
    from reports.audits import markdown

    return markdown.render(value, data=data)


def _redacted(value: Reportable) -> Reportable:
    from reports import redaction

    return redaction.redact(value)


def _figure_data(value: Reportable) -> dict[str, str]:
    from reports.audits.pictures.figure_data import figure_data

    return figure_data(value)


def _remove_stale(directory: Path, kept: Collection[str]) -> None:
    """Remove the data of a report that is being replaced: beside a redacted page it would tell what that withholds."""
    from reports.audits.pictures.figure_data import FOLDER, HEADS

    for name in HEADS:
        if f"{FOLDER}/{name}" not in kept:
            (directory / FOLDER / name).unlink(missing_ok=True)
