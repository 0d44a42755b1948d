"""How well scores separate two worlds, as an audit of events will see it: no claim and no epsilon needed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtri

Array = NDArray[np.float64]

# Candidate thresholds: quantiles of the pooled scores, dense in both tails.
_TAIL = np.geomspace(1e-3, 0.02, 10)
_LEVELS = np.unique(np.concatenate([np.linspace(0.02, 0.98, 49), _TAIL, 1 - _TAIL]))
# Each event's two limits hold at this level; a smaller one asks more of rare events.
_LEVEL = 0.05


def separation(unlearned: Array, retrained: Array) -> float:
    """Return the largest mu for which one event of these scores speaks against mu-GDP; no bound, a figure of merit.

    Parameters
    ----------
    unlearned, retrained
        Scores of trials that the attack was not fitted on, at least one of each.

    Returns
    -------
    float
        The largest ``Phi^-1(low(P(E))) - Phi^-1(high(Q(E)))`` over events E (above or below a threshold), with
        Clopper-Pearson limits at 5 % each.

    Notes
    -----
    An audit refutes a claim by one event, on its rates in both worlds and its number of trials, so that is what attacks
    are compared by. Which event is best depends on the claim, which an attack never sees; mu puts events of all rates
    on one scale (Dong, Roth, Su 2022, arXiv:1905.02383, equation 5), and confidence limits make a rare event count
    only where enough trials show it. The area under the curve is an average over events, and hides the one that
    refutes. The best of many events is biased upwards, alike for the attacks that are compared.
    """
    thresholds = np.unique(np.quantile(np.concatenate([unlearned, retrained]), _LEVELS))
    above = [np.count_nonzero(s[:, None] > thresholds, axis=0) for s in (unlearned, retrained)]
    n1, n0 = len(unlearned), len(retrained)
    k1, k0 = (np.concatenate([k, n - k]) for k, n in zip(above, (n1, n0), strict=True))
    low = betaincinv(np.maximum(k1, 1), n1 - k1 + 1, _LEVEL)
    high = betaincinv(k0 + 1, np.maximum(n0 - k0, 1), 1 - _LEVEL)
    mu = np.where((k1 > 0) & (k0 < n0), ndtri(low) - ndtri(high), -np.inf)
    return float(mu.max())
