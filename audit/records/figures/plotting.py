"""Draw a result by what is installed to draw results: a record holds numbers and knows no picture.

In the flow: ``result.plot`` of the records comes here, and :func:`reports.plot` answers, by its entry point.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from mechanisms.errors import UnlearnAuditError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GROUP = "unlearn_audit.plots"


def plotted(result: object, kind: str, *, finding: int) -> Figure:
    """Return a picture of a result as a figure.

    Raises
    ------
    UnlearnAuditError
        Where nothing is installed that draws.
    """
    for entry in entry_points(group=GROUP):
        draw: Any = entry.load()
        figure: Figure = draw(result, kind, finding=finding)
        return figure
    raise UnlearnAuditError(
        f"Expected something installed that draws results (an entry point of the group {GROUP!r}), got nothing; "
        "install unlearn-audit anew (pip install path/to/unlearn-audit), or call reports.plot(result, kind)."
    )
