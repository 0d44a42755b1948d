"""What is asked of models: one portfolio of attacks on their outputs, and a split that leaves few ones enough to fit.

In the flow: every job about models asks first; :mod:`audit.given.options` checks the values.
"""

from __future__ import annotations

from attacks.portfolio import OUTPUTS
from audit.given.options import Options
from audit.plan.split import Split
from mechanisms.claim import Claim

# With fewer models to fit on than this, chosen members are chosen by chance: small numbers fit on half of them.
_LEAST_FIT, _FIT_FRACTION = 16, 0.3


def counting_of(n: int, counting: Split | None) -> Split:
    """Return how models are split where nothing was said: 30 % fit, and half of them where there are few."""
    if counting is not None:
        return counting
    return Split(fit_fraction=min(0.5, max(_FIT_FRACTION, _LEAST_FIT / n)))


def options_of(
    n_models: int,
    *,
    claim: Claim,
    significance: float,
    seed: int,
    delta: float | None,
    counting: Split | None,
    names: tuple[str, str],
    continuous: bool,
) -> Options:
    """Return the options for so many models of the smaller kind."""
    return Options(
        claim=claim,
        significance=significance,
        seed=seed,
        delta=delta,
        attacks=(OUTPUTS,),
        threshold=None,
        counting=counting_of(n_models, counting),
        releases=True,
        names=names,
        continuous=continuous,
    )
