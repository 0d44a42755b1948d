"""What the cheap checks of a plan showed, as plain text for a terminal."""

from __future__ import annotations

from audit.power.forecasts import Forecast
from audit.records.words.phrases import subject
from reports.forecasts.summary import caution_lines, cost_line, training_lines
from reports.page.numbers import counted, listed
from reports.page.terminal import printed

NOTHING = "Nothing was counted and nothing is written."


def checks_summary(found: Forecast, plan: str, *, width: int = 110) -> str:
    """Return what was checked of a plan, then warnings and costs.

    Parameters
    ----------
    found
        Of :func:`audit.running.cheap_checks.check_cheaply`.
    plan
        The plan's path, for the command that says more.
    width
        Columns of the terminal.
    """
    n = len(found.controls)
    attacks = () if found.plan is None else found.plan.attacks
    parts = [
        f"Checks of {found.title}",
        f"{counted(n, 'forget set')} bound; {counted(len(attacks), 'attack')} can run ({listed(attacks)}); a trial of "
        "each world gave a release of the declared shape.",
    ]
    said: dict[str, list[str]] = {}
    for control in found.controls:
        said.setdefault(control.message, []).append(subject(control.forget, control.label))
    parts += [f"Replay, {_about(who, n)}: {message}" for message, who in said.items()]
    failed = [control for control in found.controls if not control.as_expected]
    if failed:
        parts.append(f"{counted(len(failed), 'forget set')} cannot be replayed: INCONCLUSIVE, whatever is drawn.")
    parts += caution_lines(found)
    parts += training_lines(found)
    if found.cost is not None:
        parts.append(cost_line(found.cost))
    parts.append(f"{NOTHING} What the audit could show: unlearn-audit power {plan}")
    return printed(parts, width)


def _about(who: list[str], n: int) -> str:
    """Return which forget sets, or that it is all of them."""
    return f"all {n:,}" if len(who) == n > 1 else listed(who)
