"""How an audit by lot is told: the experiment, what was guessed, and how likely that is where requests are served."""

from __future__ import annotations

import math
from collections.abc import Sequence

from audit.lots.result import LotsResult, LotsRun
from audit.records.verdict import Verdict
from audit.records.words.phrases import REMINDER, WHY, claim_text, promise
from audit.records.words.rounding import counted, down, enough_digits, up
from mechanisms.claim import EpsilonDelta
from reports.page.parts import Passage

_TOLD_AT = 1e-5
# Of smaller logarithms the exponential is no float.
_LEAST_LOG = -690.0

LIMITS = (
    Passage(
        heading="Not refuting is no proof.",
        text=f"{REMINDER} It is about this pool, these coins, and scores that somebody thought of.",
    ),
    Passage(
        heading="Who could cheat.",
        text="A service that recognises the candidates can serve their deletion alone, or train without them. The "
        "audit is for a provider that is honest and may be mistaken.",
    ),
    Passage(
        heading="It depends is not it was ignored.",
        text="A refuted claim says that the release tells more of who was deleted than is claimed. Whether the request "
        "was ignored is seen only next to the same number for the model before the deletion.",
    ),
)


def chance(log_p: float) -> str:
    """Return a probability from its logarithm, rounded up, also where it is too small for a float."""
    if log_p > _LEAST_LOG:
        return up(math.exp(log_p))
    decimal = log_p / math.log(10)
    exponent = math.floor(decimal)
    mantissa = up(10 ** (decimal - exponent) * (1 + 1e-9))
    return f"1e{exponent + 1}" if float(mantissa) >= 10 else f"{mantissa}e{exponent}"


def experiment(result: LotsResult) -> str:
    """Return who was given to training and asked to be deleted, in one or two sentences."""
    m = counted(result.candidates, "candidate")
    others = "the other half was never given"
    if result.draw == "one":
        each = "In each of them one" if len(result.runs) > 1 else "One"
        return (
            f"{m}, {counted(len(result.runs), 'trained model')}. {each}, drawn in secret, was put into the training "
            "data and its deletion requested; the others were never given."
        )
    if result.draw == "exactly_k":
        head = f"{m}; a secret draw of {result.runs[0].inserted} was put into the training data and its deletion"
        text = f"{head} requested, the others were never given."
    else:
        how = "one of each pair by the toss of a coin" if result.draw == "paired" else "each by the toss of a coin"
        text = f"{m}; a secret half was put into the training data and its deletion requested, {others} ({how})."
    if result.is_stream:
        n = counted(len(result.runs), "release")
        return f"{n} of one service, each with a batch of its own. In the last: {text}"
    if len(result.runs) > 1:
        return f"{counted(len(result.runs), 'trained model')}, each with coins of its own. In each: {text}"
    return text


def told(result: LotsResult) -> str:
    """Return what was guessed, and how likely that is for a service that deletes."""
    run = result.runs[-1]
    if result.draw == "one":
        chance_each = run.guesses / result.candidates
        named = "it was named" if run.guesses == 1 else f"it was among {run.guesses} that were named"
        return (
            f"In {result.hits} of {counted(result.n_counted, 'model')} {named}; a service that deletes lets that "
            f"happen with probability {up(chance_each)} each."
        )
    if result.is_stream:
        return f"The last: {guessed(run, result)} {result.hits} of {len(result.runs)} releases told as much as was bet."
    if result.log_threshold is None:
        return guessed(run, result)
    head = ""
    if result.n_fit:
        first = "The first" if result.n_fit == 1 else f"The first {result.n_fit}"
        head = f"{first} chose what is a hit, and {'does' if result.n_fit == 1 else 'do'} not count. "
    return (
        f"{head}In {result.hits} of {counted(result.n_counted, 'model')} the guesses were so good that a service that "
        f"deletes lets that happen with probability {chance(result.log_threshold)} each."
    )


def before(result: LotsResult) -> str:
    """Return what the same guesses showed before the deletion; nothing where that was not seen."""
    if not result.before:
        return ""
    if result.draw == "one":
        hits = sum(run.right for run in result.before)
        return f"Before the deletion, the same in {hits} of {len(result.before)}."
    if len(result.before) == 1:
        return f"Before the deletion, of the same model: {guessed(result.before[0], result)}"
    rights = sorted(run.right for run in result.before)
    return (
        f"Before the deletion {rights[len(rights) // 2]} of {result.before[0].guesses} guesses were right in the "
        f"median model, after it {sorted(run.right for run in result.runs)[len(result.runs) // 2]}."
    )


def guessed(run: LotsRun, result: LotsResult) -> str:
    """Return what one run showed."""
    if not run.inserted:
        return "No candidate was drawn, so that the run says nothing."
    lets = "a service that deletes lets that happen with probability"
    parts = []
    if run.log_counted is not None:
        is_set = result.draw == "exactly_k"
        what, right = ("named", "were drawn") if is_set else ("surest guesses", "are right")
        seen = f"{run.guesses} {what} {run.right} {right}"
        parts.append(f"Of the {seen}; {lets} {chance(run.log_counted)}.")
    if run.log_weighted is not None:
        parts.append(f"Weighing all guesses by how sure they are: {lets} {chance(run.log_weighted)}.")
    if len(parts) > 1:
        parts.append(f"Both were looked at, which doubles the smaller: {chance(run.log_p)}.")
    return " ".join(parts)


def judged(result: LotsResult) -> str:
    """Return what that says of the claim."""
    claimed = claims_text(result)
    if result.verdict is Verdict.INCONCLUSIVE:
        why = WHY[result.reason] if result.reason else "no verdict"
        return f"Nothing is said of {claimed}: {why}."
    if result.verdict is Verdict.NOT_REFUTED:
        return f"That does not refute {claimed} (p = {up(result.p_value)}). {REMINDER}"
    own = epsilon_of(result)
    digits = enough_digits(result.lower_bound, own)
    bound = f"ε > {down(result.lower_bound, digits)} at δ = {up(result.delta)}"
    if len(result.claims) > 1:
        return f"At least one of {claimed} is false (p = {up(result.p_value)})."
    at_level = f"wrong with probability at most {up(result.significance)}"
    return f"{bound}. Refuted is {claimed} (p = {up(result.p_value)}; {at_level})."


def claims_text(result: LotsResult) -> str:
    """Return what is claimed; of several claims only how many."""
    if len(result.claims) > 1:
        return f"the claims about the {len(result.claims)} candidates"
    return claim_text(result.claim, _TOLD_AT)


def epsilon_of(result: LotsResult) -> float:
    """Return the epsilon that is claimed at the delta of the bound."""
    return result.claim.epsilon_at(result.delta, result.claim.directions[0])


def short_claim(result: LotsResult) -> str:
    """Return "ε ≤ 1, δ = 1e-5"."""
    if len(result.claims) > 1:
        return f"{len(result.claims)} claims"
    guarantee = result.claim.guarantee
    if isinstance(guarantee, EpsilonDelta):
        return f"{promise(up(guarantee.epsilon))}, δ = {up(guarantee.delta)}"
    return f"{promise(up(epsilon_of(result)))} at δ = {up(result.delta)}"


def sentences(result: LotsResult) -> Sequence[str]:
    """Return experiment, guesses, the same before the deletion where that was seen, and last the verdict."""
    return tuple(filter(None, (experiment(result), told(result), before(result), judged(result))))
