"""What most tests can do without, and commands in processes of their own do: it takes most of an audit's time.

All rehearsals of a forecast are made where tests say ``@pytest.mark.all_rehearsals``, pages are drawn where they say
``@pytest.mark.pictures``, and controls ask a fresh process where they say ``@pytest.mark.fresh_process``: elsewhere a
copy of the deletion within this one.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from audit.controls import learning, replay
from audit.power import trials_planned
from audit.trials.workers.fresh import Unasked, copy_of
from reports.certificates import figures as of_certificates
from reports.models import figures as of_models
from tests.e2e.plain_pages import DRAWN, nothing

OF_OTHER_PAGES = ((of_certificates, "distribution"), (of_certificates, "difficulty"), (of_models, "ranks"))


def pytest_collection_finish() -> None:
    """Let the garbage collector pass by what every test shares: it took three seconds of a hundred."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def few_rehearsals(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if request.node.get_closest_marker("all_rehearsals") is None:
            patch.setattr(trials_planned, "_PILOTS", 3)
            patch.setattr(trials_planned, "_FINAL", 6)
        yield


@contextmanager
def without_pictures() -> Iterator[None]:
    """Leave out what takes most of a page's time."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in (*DRAWN, *OF_OTHER_PAGES):
            patch.setattr(module, name, nothing)
        yield


@pytest.fixture(autouse=True)
def no_pictures(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.node.get_closest_marker("pictures") is None:
        with without_pictures():
            yield
    else:
        yield


def _in_a_copy(function: Callable[..., Any], deletion: Any, *arguments: Any) -> Any:
    copied = copy_of(deletion)
    return copied if isinstance(copied, Unasked) else function(copied, *arguments)


@pytest.fixture(autouse=True)
def quick_replay(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("fresh_process") is None:
        for module in (replay, learning):
            monkeypatch.setattr(module, "in_fresh_process", _in_a_copy)
