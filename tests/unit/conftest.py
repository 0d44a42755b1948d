"""What takes long and is shared: a hand-made page of audits, rendered once, and replays that need no process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from audit.controls import learning, replay
from audit.records.result import AuditCollection
from audit.trials.workers.fresh import Unasked, copy_of
from reports.audits import html, markdown, terminal
from tests.unit.page_checks import html_text, unescaped
from tests.unit.report_cases import make_collection


def _in_a_copy(function: Callable[..., Any], deletion: Any, *arguments: Any) -> Any:
    copied = copy_of(deletion)
    return copied if isinstance(copied, Unasked) else function(copied, *arguments)


@pytest.fixture(autouse=True)
def quick_replay(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replay in a copy within this process: hundreds of tests audit something, and few are about what it keeps."""
    if request.node.get_closest_marker("fresh_process") is None:
        for module in (replay, learning):
            monkeypatch.setattr(module, "in_fresh_process", _in_a_copy)


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
