"""What most tests can do without: all rehearsals of a forecast, and pictures, which take most of a page's time.

How many trials a plan needs is tested with all rehearsals where tests say ``@pytest.mark.all_rehearsals``, and in every
command that runs in a process of its own; pages are drawn where tests say ``@pytest.mark.pictures``, and there too.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from audit.power import trials_planned
from reports.audits import distributions
from reports.audits.pictures import figures, forest, history_figure

DRAWN = (
    (forest, "forest"),
    (figures, "sandwich"),
    (figures, "trade_off"),
    (figures, "rare_events"),
    (history_figure, "over_time"),
    (distributions, "picture"),
)


def _nothing(*_: object) -> str:
    return ""


@pytest.fixture(autouse=True)
def few_rehearsals(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if request.node.get_closest_marker("all_rehearsals") is None:
            patch.setattr(trials_planned, "_PILOTS", 3)
            patch.setattr(trials_planned, "_FINAL", 6)
        yield


@pytest.fixture(autouse=True)
def no_pictures(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if request.node.get_closest_marker("pictures") is None:
            for module, name in DRAWN:
                patch.setattr(module, name, _nothing)
        yield
