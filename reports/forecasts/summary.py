"""A forecast as a short table of plain text, for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from audit.lots.power import fewest_candidates, fewest_in_two_worlds
from audit.plan.audit_plan import FixedSequence
from audit.power.cautions import rounded_up
from audit.power.forecasts import ClaimForecast, CostEstimate, Forecast, PowerStatement
from audit.records.words.phrases import claim_text, subject, upper_first
from reports.audits.plan_words import trainings
from reports.page.numbers import INFINITE, counted, listed, nearest, up
from reports.page.parts import NONE, TableView
from reports.page.terminal import printed

LEGEND = (
    "Ceiling: the largest ε that the counted trials could ever show. Detectable: the smallest true ε, of a Gaussian "
    "shift at the same δ, that the best threshold refutes with probability 0.8. Power: of an attack that loses "
    "nothing, its threshold chosen on the fitting trials (rehearsed, ± 0.1). Trials: what a plan needs for that power "
    "to be 0.8."
)
SEQUENTIAL = (
    "This plan counts until it is decided. All numbers above are for a test of all planned trials at once; a test that "
    "may stop at any time has less power at the same number of trials, and a somewhat lower ceiling."
)
# What audit.power.claim_forecast.stated_at does.
PURE = "At δ = 0 no Gaussian shift has a finite ε: detectable, power and trials of such a claim are at δ = "
NO_CAUTION = "No warnings. A forecast is no verdict: it says what this audit could see, not what is there."


def forecast_summary(forecast: Forecast, *, width: int = 110) -> str:
    """Return what an audit can show, one line a claim and record, then warnings, costs and the ledger.

    Parameters
    ----------
    forecast
        Of a plan, or of numbers alone.
    width
        Columns of the terminal.
    """
    parts: list[str | TableView] = [forecast.title] if forecast.title else []
    parts.append(_table(forecast.claims))
    if any(claim.neglected for claim in forecast.claims):
        parts.append(_neglected(forecast.claims))
    parts += caution_lines(forecast) or [NO_CAUTION]
    parts.append(_family(forecast))
    parts += training_lines(forecast)
    if forecast.plan and forecast.plan.counting.kind == "sequential":
        parts.append(SEQUENTIAL)
    if forecast.cost:
        parts.append(cost_line(forecast.cost))
    parts.append(LEGEND)
    parts += by_lot(forecast)
    pure = [claim for claim in forecast.claims if getattr(claim.claim.guarantee, "delta", None) == 0]
    if pure:
        parts.append(f"{PURE}{nearest(pure[0].delta)}.")
    return printed(parts, width)


def by_lot(forecast: Forecast) -> list[str]:
    """Return how many models two worlds need at least for the strictest claim, and how many drawing by lot does."""
    strictest = min(forecast.claims, key=lambda claim: claim.claimed_epsilon)
    about = (strictest.claimed_epsilon, strictest.delta)
    worlds = fewest_in_two_worlds(*about, strictest.level)
    candidates = fewest_candidates(*about, forecast.significance)
    if not worlds or not candidates:
        return []
    return [
        f"Fewest trained models that could refute ε ≤ {up(about[0])}: in two worlds {worlds:,}, besides those that "
        f"fit; by lot 1, where the coins of {candidates} candidates are all guessed and deleting them together is "
        f"claimed. unlearn-audit power --lots 200 --epsilon {nearest(about[0])} says what weaker guesses show."
    ]


def caution_lines(forecast: Forecast) -> list[str]:
    """Return one line a warning; the same warning about several records is said once."""
    about: dict[str, list[str]] = {}
    for claim in forecast.claims:
        for caution in claim.cautions:
            about.setdefault(caution.message, []).append(_subject(claim))
    return [f"Warning, {listed(dict.fromkeys(subjects))}: {message}" for message, subjects in about.items()]


def _subject(claim: ClaimForecast) -> str:
    return subject(claim.forget, claim.label) if claim.forget else "this claim"


def _table(claims: Sequence[ClaimForecast]) -> TableView:
    columns = ("record", "claimed", "ceiling", "detectable", "if the true ε were", "power", "trials")
    return TableView(
        title="",
        caption="",
        columns=columns,
        rows=tuple(row for claim in claims for row in _rows(claim)),
        numeric=(False, False, True, True, True, True, True),
    )


def _rows(claim: ClaimForecast) -> Iterator[tuple[str, ...]]:
    detectable = NONE if claim.detectable_epsilon is None else up(claim.detectable_epsilon)
    first = (upper_first(_subject(claim)), claim_text(claim.claim, claim.delta), up(claim.ceiling), detectable)
    if not claim.margins:
        yield (*first, NONE, NONE, _trials(claim.trials_to_refute, NONE))
    for i, margin in enumerate(claim.margins):
        yield (
            *(("",) * 4 if i else first),
            f"{nearest(margin.alternative.epsilon, 3)} ({margin.ratio:g} ×)",
            *_power(margin),
        )


def _power(statement: PowerStatement) -> tuple[str, str]:
    return f"{statement.power:.2f}", _trials(statement.trials_needed, INFINITE)


def _trials(n: int | None, otherwise: str) -> str:
    return otherwise if n is None else f"{rounded_up(n):,}"


def _neglected(claims: Sequence[ClaimForecast]) -> TableView:
    """Return the power against deletions that were ignored."""
    kinds = {"neglected_laws": "the mechanism's own laws", "neglected_gaussian": "ε without unlearning, as a Gaussian"}
    rows = [
        (
            upper_first(_subject(claim)),
            nearest(claim.neglected.alternative.epsilon, 3),
            nearest(claim.neglected.ratio, 2) + " ×" if math.isfinite(claim.neglected.ratio) else INFINITE,
            *_power(claim.neglected),
            kinds[claim.neglected.alternative.kind],
        )
        for claim in claims
        if claim.neglected
    ]
    columns = ("record", "ε if the deletion is ignored", "over claimed", "power", "trials", "according to")
    return TableView(
        title="", caption="", columns=columns, rows=tuple(rows), numeric=(False, True, True, True, True, False)
    )


def _family(forecast: Forecast) -> str:
    """Return the split of the trials and the ledger in words."""
    first = forecast.claims[0]
    levels = sorted({claim.level for claim in forecast.claims})
    each = f"{up(levels[0])} each" if len(levels) == 1 else f"{up(levels[0])} to {up(levels[-1])} each"
    members = forecast.family.members if forecast.family else ()
    # Older forecasts have equal shares.
    if len({m.level for m in members if m.role == "plan_delta"} - {m.level for m in members if m.role == "claim_row"}):
        each += ", less at the plan's δ"
    text = (
        f"{forecast.trials:,} trials a world and record: {first.n_fit:,} fit attacks and choose events, "
        f"{first.n_counted:,} are counted. {counted(forecast.n_tests, 'test')}, {up(forecast.significance)} together: "
        f"{each}"
    )
    if forecast.plan and forecast.family:
        plan = forecast.plan
        sizes = (
            counted(len(plan.forget), "forget set"),
            counted(len(plan.claims), "claim"),
            counted(len(plan.attacks), "attack"),
            counted(len({member.role for member in members}), "row"),
        )
        text += f" ({' × '.join(sizes)}; {forecast.family.correction.kind.replace('_', ' ')})"
        if isinstance(forecast.family.correction, FixedSequence):
            text += ", where every claim before it in the sequence is refuted"
    return f"{text}."


def training_lines(forecast: Forecast) -> list[str]:
    """Return how many models the plan trains, where that is known."""
    said = "" if forecast.plan is None else trainings(forecast.plan)
    if not said:
        return []
    hint = ""
    if forecast.plan and not forecast.plan.share_learned and len(forecast.plan.forget) > 1:
        hint = " With share_learned = true all forget sets share those on all records."
    return [f"Trainings: {said}; checks before the first trial train a few more.{hint}"]


def cost_line(cost: CostEstimate) -> str:
    """Return how long drawing takes, and what it holds in memory."""
    timed = listed(f"{n:,} {world}" for world, n in cost.n_timed.items())
    return (
        f"Drawing takes about {duration(cost.seconds)} on {counted(cost.n_jobs, 'worker')} (timed on {timed} trials); "
        f"fitting, scoring and testing come on top. Releases in memory: about {_bytes(cost.fit_bytes)} while attacks "
        f"are fitted, {_bytes(cost.chunk_bytes)} a worker while counting."
    )


def duration(seconds: float) -> str:
    """Return "40 seconds", "12 minutes" or "3.5 hours"."""
    for unit, size, limit in (("second", 1, 100), ("minute", 60, 100), ("hour", 3600, 48)):
        if seconds < limit * size:
            return f"{nearest(max(seconds, 0.1) / size, 2)} {unit}s"
    return f"{nearest(seconds / 86400, 2)} days"


def _bytes(n: int) -> str:
    size = float(n)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{nearest(size, 2)} {unit}"
        size /= 1000
    return f"{nearest(size, 2)} GB"
