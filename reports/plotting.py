"""The pictures of the pages as figures of matplotlib, for notebooks and papers: the same drawings, not yet SVG."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from audit.records.models import ModelsResult
    from audit.records.result import AuditResult
    from reports.page.drawing import Drawing

Kind = Literal["forest", "trade_off", "scores", "records"]
OF_AUDITS = ("forest", "trade_off", "scores")
OF_MODELS = ("records",)


def plot(result: AuditResult | ModelsResult, kind: Kind, *, finding: int = 0) -> Figure:
    """Return a picture of the pages as a figure, to be shown, changed or saved.

    Parameters
    ----------
    result
        An audit, or an audit of models that exist already.
    kind
        Of an audit: "forest", all records with what is claimed, shown and detectable; "trade_off", the counted events
        of one finding in both worlds with the band that its claim allows; "scores", how its scores lie in both worlds.
        Of models: "records", how far each record can be told apart, by rank.
    finding
        Position of the finding that "trade_off" and "scores" are about.

    Returns
    -------
    matplotlib.figure.Figure
        Without the state of pyplot: ``figure.savefig("forest.pdf")``; a notebook shows it.

    Raises
    ------
    InvalidInputError
        For another kind, a finding that is not there, or a result that has nothing to draw, such as a redacted one.

    Examples
    --------
    >>> plot(result, "forest").savefig("forest.png")  # doctest: +SKIP
    """
    from mechanisms.errors import InvalidInputError
    from reports.page.drawing import drawn_by

    made = drawn_by(_maker(result, kind, finding))
    if made is None:
        raise InvalidInputError(
            field="result",
            expected=f"something to draw as {kind!r}",
            got="a result without these numbers",
            fix="plot a result from which nothing was withheld, and that was counted",
        )
    return made.figure


def _maker(result: AuditResult | ModelsResult, kind: str, finding: int) -> Callable[[], Drawing | None]:
    from audit.records.models import ModelsResult
    from mechanisms.errors import require

    if isinstance(result, ModelsResult):
        from reports.models.figures import draw_ranks

        require(kind in OF_MODELS, "kind", expected=" or ".join(OF_MODELS), got=kind, fix="choose it")
        return lambda: draw_ranks(result)
    from reports.audits import distributions
    from reports.audits.pictures import figures, forest
    from reports.audits.view import page

    require(kind in OF_AUDITS, "kind", expected=f"one of {', '.join(OF_AUDITS)}", got=kind, fix="choose one of them")
    if kind == "forest":
        return lambda: forest.draw_forest(page(result, details=False).audits[0].findings)
    n = len(result.findings)
    is_there = isinstance(finding, int) and 0 <= finding < n
    require(is_there, "finding", expected=f"a position below {n}", got=finding, fix="count from 0")
    chosen = result.findings[finding]
    return lambda: figures.draw_trade_off(chosen) if kind == "trade_off" else distributions.draw_scores(chosen)
