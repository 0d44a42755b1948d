"""What people and machines read. Every page is rendered from a result alone, that is, from its JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from audit.result import AuditCollection, AuditResult

    Reportable = AuditResult | AuditCollection

FORMATS = ("html", "json", "md")

__all__ = ["FORMATS", "write"]


def write(
    result_or_results: Reportable | Sequence[Reportable],
    directory: str | Path,
    formats: Sequence[str] = FORMATS,
) -> tuple[Path, ...]:
    """Write ``report.html``, ``report.json`` and ``report.md``; return their paths in the order of ``formats``.

    Parameters
    ----------
    result_or_results
        A result, a collection, or several of them, which become one collection.
    directory
        Created when it is missing; reports that lie there are replaced.
    formats
        Some of "html", "json", "md".

    Raises
    ------
    InvalidInputError
        For an unknown format, or when there is no result.
    """
    check_formats(formats, FORMATS)
    value = _as_one(result_or_results)
    return write_texts(directory, {f"report.{name}": _render(value, name) for name in formats})


def check_formats(formats: Sequence[str], known: Sequence[str]) -> None:
    """Raise ``InvalidInputError`` unless every format is known."""
    from mechanisms.errors import InvalidInputError

    unknown = [name for name in formats if name not in known]
    if unknown:
        raise InvalidInputError(
            field="formats", expected=f"some of {', '.join(known)}", got=unknown, fix="remove the unknown format"
        )


def write_texts(directory: str | Path, texts: Mapping[str, str]) -> tuple[Path, ...]:
    """Write each text to the file of its name; a caller has rendered all, so a failure leaves the old files whole."""
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    paths = tuple(folder / name for name in texts)
    for path, text in zip(paths, texts.values(), strict=True):
        path.write_text(text, encoding="utf-8", newline="\n")
    return paths


def _as_one(value: Reportable | Sequence[Reportable]) -> Reportable:
    from audit.result import AuditCollection, AuditResult
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


def _render(value: Reportable, name: str) -> str:
    if name == "json":
        return value.to_json()
    if name == "html":
        from reports import html

        return html.render(value)
    from reports import markdown

    return markdown.render(value)
