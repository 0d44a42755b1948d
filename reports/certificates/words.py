"""The sentences of a page of certificates: what holds for every record, and what each word on the page means."""

from __future__ import annotations

import math
from collections.abc import Sequence

from audit.certificates.certification import Certification, RecordRow, RouteRow
from audit.certificates.shares import CertificationShares
from reports.page.facts import HARDLY_BELOW
from reports.page.numbers import DIGITS, INFINITE, counted, listed, nearest, up
from reports.page.parts import Passage

# Relative slack before a route's epsilon counts as below the exact one: both carry rounding of their own.
BELOW_EXACT = 1e-6
# Routes that bound: an exact value above theirs contradicts them.
BOUNDS = ("repaired", "published", "uniform", "pool")

WARNING = (
    "Keep this page as safe as the data. The ε and the noise of a record are functions of that record, so publishing "
    "either leaks something about it, and some records are shown here. The coarser the published noise, the less it "
    "leaks: round it up to a few values."
)
ROUNDING = (
    "ε and noise are rounded up, so a printed number never promises more than the stored one. Difficulty, δ, ratios, "
    "scores and parameters are rounded to nearest. ε is in nats. certificates.csv, routes.csv and certificates.json "
    "carry every number in full."
)
LIMITS = (
    Passage(
        heading="Nothing was audited.",
        text="These numbers follow from the mechanism's laws and formulas. An audit draws unlearned and retrained "
        "models and looks for evidence against such numbers.",
    ),
    Passage(
        heading="One record at a time.",
        text="Each number is for deleting that record alone from these data, with these parameters. Deletions "
        "of several records, and other data, need certificates of their own.",
    ),
    Passage(
        heading="The last model only.",
        text="The certificates cover the final unlearned model. For whoever saw the model before the deletion too, "
        "against a world in which the record was never there, the ε without unlearning holds: unlearning is one "
        "random map of that model in both worlds. Whoever saw the models between, or asks which of two records was "
        "deleted, may learn more.",
    ),
)
_GENERAL = (
    Passage(
        heading="ε and δ",
        text="How far the unlearned model can be told from one retrained without the record and put through the same "
        "unlearning steps: ε = 0 means that nobody can tell, and the larger ε, the easier it may be, except with a "
        "small probability δ. The larger of both directions is shown.",
    ),
    Passage(
        heading="noise σᵤ",
        text="Standard deviation of the noise in each unlearning step. More noise gives a smaller ε and a worse model.",
    ),
    Passage(
        heading="without unlearning",
        text="What the noise of learning alone gives, had no unlearning step been taken. A certificate hardly below it "
        "says nothing about unlearning. It is also the ε of whoever sees both models, before and after.",
    ),
)
_EXACT = Passage(
    heading="exact",
    text="Computed from the laws of both models: there is no bound to be loose and no failure probability. ε is "
    "rounded up by more than its numerical error.",
)
_NETWORK = (
    Passage(
        heading="individual",
        text="An upper bound for one record: what it adds to learning keeps to a budget that was frozen before, and "
        "the noise of learning hides so much. Nothing is certified of the unlearning steps: ε without unlearning is "
        "the same.",
    ),
    Passage(
        heading="learning_noise",
        text="The same for a record that may add as much as clipping allows in every step: one number for all records, "
        "in the parameters below as epsilon of any record.",
    ),
)
_LOGISTIC = (
    Passage(
        heading="probable",
        text="An upper bound from the record's residuals near the path that learning takes without noise. That noise "
        "carries the weights further has a probability, which is part of δ.",
    ),
    Passage(
        heading="sure",
        text="An upper bound from the record's own features alone, with its largest residual in every step. No event "
        "can fail.",
    ),
    Passage(
        heading="uniform",
        text="An upper bound from the largest features of all records: one number for everyone.",
    ),
)
_ROUTES = (
    Passage(
        heading="repaired",
        text="A rigorous version of the published bound. It holds, but asks for more noise than the exact value does.",
    ),
    Passage(
        heading="published (proof gap)",
        text="The bound as published. Its proof conditions on an event that depends on the very noise it then uses, "
        "which is not justified as written: take it as a comparison, not as a guarantee.",
    ),
    Passage(
        heading="uniform",
        text="One sensitivity for all records, the largest, in the published accounting. This is the baseline that "
        "takes no account of which record is deleted.",
    ),
    Passage(
        heading="pool",
        text="The largest exact certificate over a public pool of records, with the retained records fixed: one noise "
        "for whoever was deleted, which says nothing of who it was to those who know the others.",
    ),
)
_DIFFICULTY = Passage(
    heading="difficulty",
    text="|residual| √(h / (1 − h)) of the ridge fit, with h the leverage of the record: how much the record pulls "
    "the model.",
)
_RIDGE = (
    _DIFFICULTY,
    Passage(
        heading="downdate",
        text="Ridge regression can delete a record exactly in closed form, without noise and with ε = 0. Where only "
        "the fitted model counts, use that; noisy unlearning of ridge is studied because all of its numbers are known.",
    ),
)


def has_gap(certification: Certification | CertificationShares, route: str) -> bool:
    """Return whether a route rests on an argument with a gap, as the published one does whatever is stated."""
    stated = certification.assumptions.get(route, ())
    return route == "published" or any(text.lower().startswith("proof gap") for text in stated)


def route_name(certification: Certification | CertificationShares, route: str) -> str:
    """Return a route's name; a route never goes without its proof gap."""
    return f"{route} (proof gap)" if has_gap(certification, route) else route


def is_exact(certification: Certification | CertificationShares) -> bool:
    """Return whether the records' certificates are exact; those of networks and of logistic regression are bounds."""
    return not (_of_network(certification) or _of_logistic(certification))


def _of_network(certification: Certification | CertificationShares) -> bool:
    return "learning_noise" in certification.assumptions


def _of_logistic(certification: Certification | CertificationShares) -> bool:
    return certification.mechanism == "logistic_langevin"


def headline(certification: Certification) -> str:
    """Return how many records there are, and the range of epsilon with and without unlearning."""
    rows = certification.rows
    at = f"at δ = {nearest(certification.delta)}"
    with_unlearning = _range([row.epsilon for row in rows], "ε")
    without = _range([row.epsilon_without_unlearning for row in rows], "")
    exact = "exact " if is_exact(certification) else ""
    if len(rows) == 1:
        return (
            f"Record {rows[0].record}, deleted alone: {at} the {exact}certificate gives {with_unlearning}. "
            f"The noise of learning alone, without unlearning, gives {without}."
        )
    return (
        f"{counted(len(rows), 'record')}, each deleted alone: {at} the {exact}certificates give {with_unlearning}. "
        f"The noise of learning alone, without unlearning, gives {without}."
    )


def points(certification: Certification) -> tuple[str, ...]:
    """Return what the page says in a few sentences: noise, what unlearning adds, and the routes."""
    found = [
        *_no_steps(certification),
        _noise(certification),
        _both(certification.rows),
        _hardly(certification.rows),
        *_compared(certification),
    ]
    return tuple(text for text in found if text)


def meets_without_noise(certification: Certification) -> int | None:
    """Return how many records meet the target by the learning noise alone; ``None`` without a target."""
    target = certification.target_epsilon
    if target is None:
        return None
    return sum(row.epsilon_without_unlearning <= target for row in certification.rows)


def infinity(certification: Certification) -> str:
    """Return what an infinity in a table of records means, where there is one."""
    texts = []
    if any(math.isinf(row.epsilon) or math.isinf(row.epsilon_without_unlearning) for row in certification.rows):
        texts.append("no finite ε")
    if any(math.isinf(row.sigma_unlearn) for row in certification.rows):
        texts.append("as noise, that no noise suffices")
    return f"{INFINITE}: {'; '.join(texts)}." if texts else ""


def glossary(certification: Certification) -> tuple[Passage, ...]:
    """Return what the words on the page mean."""
    if _of_network(certification):
        return (*_GENERAL, *_NETWORK, _DIFFICULTY)
    if _of_logistic(certification):
        stated = tuple(passage for passage in _LOGISTIC if passage.heading in certification.assumptions)
        return (*_GENERAL, *stated, _DIFFICULTY)
    return (*_GENERAL, _EXACT, *(_ROUTES if certification.routes else ()), *_RIDGE)


def ratio(certification: Certification, row: RouteRow) -> float | None:
    """Return a route's noise over that of the exact route (its epsilon, without a target); ``None`` when undefined."""
    if certification.target_epsilon is None:
        ours, exact = row.epsilon, row.exact_epsilon
    else:
        stored = [r.sigma_unlearn for r in certification.routes if r.record == row.record and r.route == "exact"]
        stored += [r.sigma_unlearn for r in certification.rows if r.record == row.record]
        ours, exact = row.sigma_unlearn, stored[0] if stored else 0.0
    return ours / exact if 0 < exact < math.inf else None


def distribution_caption(certification: Certification) -> str:
    """Return how to read the distribution of epsilon."""
    target = certification.target_epsilon
    text = (
        "Height: the share of records whose ε is at most the value below. The distance between the curves is what the "
        "unlearning steps add to the noise of learning."
    )
    if target is not None:
        text += f" Dotted line: the target, ε = {up(target)}."
    missing = sum(math.isinf(row.epsilon) for row in certification.rows)
    missing_without = sum(math.isinf(row.epsilon_without_unlearning) for row in certification.rows)
    if missing or missing_without:
        text += (
            f" Not drawn, because they have no finite ε: {counted(missing, 'record')} with unlearning and "
            f"{counted(missing_without, 'record')} without."
        )
    return text


def difficulty_caption(certification: Certification) -> str:
    """Return how to read the picture over difficulty."""
    what = "The noise that the exact certificate asks for" if certification.target_epsilon else "The exact ε"
    what = what if is_exact(certification) else "The certified ε"
    text = f"Grey: {what[:1].lower()}{what[1:]}, {counted(len(certification.rows), 'record')}. Both axes logarithmic."
    if certification.routes:
        n_compared = len({row.record for row in certification.routes})
        text += f" Large markers: {counted(n_compared, 'record')} by each route (table below)."
    if certification.target_epsilon and any(row.sigma_unlearn == 0 for row in certification.rows):
        text += " On the line 0: no unlearning noise is needed."
    return text


def route_notes(certification: Certification) -> tuple[str, ...]:
    """Return what a reader must know of the routes' numbers before using them."""
    below = [
        row
        for row in certification.routes
        if row.route in BOUNDS and row.epsilon < row.exact_epsilon * (1 - BELOW_EXACT)
    ]
    if not below:
        return ()
    names = listed(f"{row.route} for record {row.record}" for row in below[:5])
    more = f" and {len(below) - 5} more" if len(below) > 5 else ""
    return (f"Below the exact ε, hence wrong there: {names}{more}.",)


def routes_caption(certification: Certification, has_accuracy: bool) -> str:
    """Return how to read the table of routes."""
    if certification.target_epsilon is None:
        text = "Every route at the noise of the plan. ε over exact: how much larger the route's ε is."
    else:
        text = (
            f"Noise: the smallest whose ε by the route meets the target ε = {up(certification.target_epsilon)}; the "
            "exact ε at that noise shows how much of it is wasted."
        )
    if has_accuracy:
        score = "R²" if certification.data.kind == "regression" else "Accuracy"
        text += f" {score}: mean over unlearned models, on held-out records."
    numbers = [n for row in certification.routes for n in (row.epsilon, row.exact_epsilon, row.sigma_unlearn)]
    if any(map(math.isinf, numbers)):
        text += f" {INFINITE}: no finite ε, or that no noise suffices."
    return f"{text} –: not known or not defined."


def _range(values: Sequence[float], symbol: str) -> str:
    """Return "ε = 0.3", "0.1 to 0.5" or "0.1 to no finite ε", every number rounded up."""
    low, high = (f"{symbol} = {up(v)}".removeprefix(" = ") if v < math.inf else "no finite ε" for v in _ends(values))
    if low == high:
        return low
    if math.inf in values:
        return f"{low} at best, and no finite ε at worst"
    return f"{low} to {up(max(values))}"


def _ends(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def _noise(certification: Certification) -> str:
    rows, target = certification.rows, certification.target_epsilon
    n_free = meets_without_noise(certification)
    if target is None or n_free is None:
        noises = [row.sigma_unlearn for row in rows]
        return f"The noise of each unlearning step was given: {_range(noises, 'σᵤ')}."
    at = f"the target ε = {up(target)}"
    possible = [r.sigma_unlearn for r in rows if r.epsilon_without_unlearning > target and r.sigma_unlearn < math.inf]
    noise = f"{_range(possible, 'σᵤ')} a step" if possible else ""
    found = []
    if len(rows) == 1 and n_free:
        found.append(f"It meets {at} without any unlearning noise.")
    elif len(rows) == 1 and noise:
        found.append(f"To meet {at} it needs {noise}.")
    elif len(rows) > 1:
        meet = "meets" if n_free == 1 else "meet"
        who = f"{n_free:,}" if n_free else "None"
        found.append(f"{who} of {counted(len(rows), 'record')} {meet} {at} without any unlearning noise.")
        others = f"{'Another' if n_free else 'Of them'} {len(possible):,} {'needs' if len(possible) == 1 else 'need'}"
        if len(possible) == len(rows):
            others = "They need"
        found += [f"{others} {noise}."] if noise else []
    n_failed = sum(row.epsilon > target for row in rows)
    if n_failed:
        do = "does" if n_failed == 1 else "do"
        found.append(f"{counted(n_failed, 'record')} {do} not meet {at} at any noise that was tried.")
    return " ".join(found)


def _no_steps(certification: Certification) -> tuple[str, ...]:
    taken = certification.parameters.get("n_unlearn")
    if taken != 0:
        return ()
    return ("No unlearning step is taken (n_unlearn = 0): every ε is what the noise of learning alone gives.",)


def _both(rows: Sequence[RecordRow]) -> str:
    without = _range([row.epsilon_without_unlearning for row in rows], "ε")
    return f"For whoever sees both models, the one before the deletion and the one after it: {without}."


def _hardly(rows: Sequence[RecordRow]) -> str:
    # A record with neither a finite epsilon before nor after is not compared.
    n = sum(
        row.epsilon >= HARDLY_BELOW * row.epsilon_without_unlearning
        for row in rows
        if math.isfinite(row.epsilon_without_unlearning) and row.epsilon_without_unlearning > 0
    )
    if not n:
        return ""
    who = "The record's" if len(rows) == 1 else f"For {n:,} of {counted(len(rows), 'record')} the"
    return (
        f"{who} ε is at least {HARDLY_BELOW * 100:.0f} % of the ε without unlearning: such a certificate says next to "
        "nothing about the unlearning."
    )


def _compared(certification: Certification) -> list[str]:
    found, records = [], set()
    for route in BOUNDS:
        ratios = {row.record: ratio(certification, row) for row in certification.routes if row.route == route}
        finite = {record: r for record, r in ratios.items() if r is not None and math.isfinite(r)}
        if finite:
            low, high = (nearest(end, DIGITS) for end in _ends(list(finite.values())))
            found.append(f"{route_name(certification, route)} {low if low == high else f'{low} to {high}'} times")
            records |= set(finite)
    if not found:
        return []
    what = "noise that exact asks for" if certification.target_epsilon is not None else "exact ε"
    return [f"Compared with the {what}, over {counted(len(records), 'record')}: {listed(found)}."]
