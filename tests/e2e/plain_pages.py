"""The command line without the pictures of its pages, which take half of the time of a short command.

For processes of their own of which tests look at something else; ``tests/conftest.py`` leaves out the same pictures.
"""

from __future__ import annotations

from audit.cli import entry_point
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


def nothing(*_: object) -> str:
    return ""


def main() -> None:
    for module, name in DRAWN:
        setattr(module, name, nothing)
    entry_point()
