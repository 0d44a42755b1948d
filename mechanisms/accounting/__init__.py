"""How a certificate is derived: exact Gaussian pairs, Gaussian DP, shifted interpolation, clipping, and calibration.

Names are loaded on first use. The functions of Gaussian DP go by their module, as in ``gdp.delta(mu, epsilon)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechanisms.lazy import lend

if TYPE_CHECKING:
    from mechanisms.accounting.calibration import Calibration, round_up_to_grid, smallest_noise
    from mechanisms.accounting.clipped_learning import budget_within, filtered_mu, learning_noise_mu
    from mechanisms.accounting.fine_tuning import best_n_steps, gradient_clipping_mu, model_clipping_log_delta
    from mechanisms.accounting.gaussian_pair import GaussianPair
    from mechanisms.accounting.many_pairs import epsilons
    from mechanisms.accounting.renyi import (
        RenyiCurve,
        best_curve,
        compose,
        improved_epsilon,
        mironov_epsilon,
        renyi_certificate,
    )
    from mechanisms.accounting.shifted_interpolation import gaussian_dp_mu
else:
    __getattr__, __dir__ = lend(
        __name__,
        {
            "mechanisms.accounting.calibration": "Calibration round_up_to_grid smallest_noise",
            "mechanisms.accounting.clipped_learning": "budget_within filtered_mu learning_noise_mu",
            "mechanisms.accounting.fine_tuning": "best_n_steps gradient_clipping_mu model_clipping_log_delta",
            "mechanisms.accounting.gaussian_pair": "GaussianPair",
            "mechanisms.accounting.many_pairs": "epsilons",
            "mechanisms.accounting.renyi": (
                "RenyiCurve best_curve compose improved_epsilon mironov_epsilon renyi_certificate"
            ),
            "mechanisms.accounting.shifted_interpolation": "gaussian_dp_mu",
        },
    )

__all__ = [
    "Calibration",
    "GaussianPair",
    "RenyiCurve",
    "best_curve",
    "best_n_steps",
    "budget_within",
    "compose",
    "epsilons",
    "filtered_mu",
    "gaussian_dp_mu",
    "gradient_clipping_mu",
    "improved_epsilon",
    "learning_noise_mu",
    "mironov_epsilon",
    "model_clipping_log_delta",
    "renyi_certificate",
    "round_up_to_grid",
    "smallest_noise",
]
