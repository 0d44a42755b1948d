"""Commands in the tests' own process: what they foresee of an audit takes most of their time, and is rehearsed less.

How many trials a plan needs is tested with all rehearsals in ``tests/unit/test_forecast.py`` and, for commands, in
``test_power.py`` and in every command that runs in a process of its own.
"""

from __future__ import annotations

import pytest

from audit.power import trials_planned


@pytest.fixture(autouse=True)
def few_rehearsals(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.module.__name__.rpartition(".")[2] != "test_power":
        monkeypatch.setattr(trials_planned, "_PILOTS", 3)
        monkeypatch.setattr(trials_planned, "_FINAL", 6)
