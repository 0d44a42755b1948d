"""A hand-made page of audits, rendered once for every test that reads it: its pictures take seconds."""

from __future__ import annotations

import pytest

from audit.records.result import AuditCollection
from reports.audits import html, markdown, terminal
from tests.unit.page_checks import html_text, unescaped
from tests.unit.report_cases import make_collection


@pytest.fixture(scope="session")
def collection() -> AuditCollection:
    return make_collection()


@pytest.fixture(scope="session")
def document(collection: AuditCollection) -> str:
    return html.render(collection)


@pytest.fixture(scope="session")
def texts(collection: AuditCollection, document: str) -> dict[str, str]:
    return {
        "html": unescaped(html_text(document)),
        "md": unescaped(markdown.render(collection)),
        "terminal": terminal.summary(collection),
    }
