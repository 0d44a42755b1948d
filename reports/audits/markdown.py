"""The same report as Markdown: every sentence and number of the HTML page, without the pictures."""

from __future__ import annotations

from collections.abc import Collection

from audit.records.result import AuditCollection, AuditResult
from reports.audits.view import page
from reports.page.markdown import filled


def render(value: AuditResult | AuditCollection, *, data: Collection[str] = (), details: bool | None = None) -> str:
    """Return the report as GitHub-flavoured Markdown; ``data`` and ``details`` as for the HTML page."""
    return filled("report.md.j2", page(value, details=details), data=data)
