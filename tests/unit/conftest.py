"""What takes long and is shared: a hand-made page of audits, rendered once and without its pictures."""

from __future__ import annotations

import pytest

from audit.records.result import AuditCollection
from reports.audits import html, markdown, terminal
from tests.conftest import without_pictures
from tests.unit.page_checks import html_text, unescaped
from tests.unit.report_cases import make_collection


@pytest.fixture(scope="session")
def collection() -> AuditCollection:
    return make_collection()


@pytest.fixture(scope="session")
def texts(collection: AuditCollection) -> dict[str, str]:
    with without_pictures():
        page = html.render(collection)
    return {
        "html": unescaped(html_text(page)),
        "md": unescaped(markdown.render(collection)),
        "terminal": terminal.summary(collection),
    }
