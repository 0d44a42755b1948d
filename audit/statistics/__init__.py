"""Counts and scores in, numbers out: bounds, tests, levels. Nothing here knows where a trial came from.

Names are loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechanisms.lazy import lend

if TYPE_CHECKING:
    from audit.records.counts import Counts
    from audit.statistics.bands import band_bound, band_ends, band_p_value, band_rejects
    from audit.statistics.bounds import (
        ceiling,
        clopper_pearson,
        clopper_pearson_bound,
        exact_joint_bound,
        exact_joint_p_value,
        exact_joint_rejects,
    )
    from audit.statistics.e_process import EProcess, epsilon_grid, make_e_process
    from audit.statistics.gdp import gdp_bound, tradeoff_p_value
    from audit.statistics.multiplicity import average_e_values, decide_family, ledger
else:
    __getattr__, __dir__ = lend(
        __name__,
        {
            "audit.records.counts": "Counts",
            "audit.statistics.bands": "band_bound band_ends band_p_value band_rejects",
            "audit.statistics.bounds": (
                "ceiling clopper_pearson clopper_pearson_bound exact_joint_bound exact_joint_p_value "
                "exact_joint_rejects"
            ),
            "audit.statistics.e_process": "EProcess epsilon_grid make_e_process",
            "audit.statistics.gdp": "gdp_bound tradeoff_p_value",
            "audit.statistics.multiplicity": "average_e_values decide_family ledger",
        },
    )

__all__ = [
    "Counts",
    "EProcess",
    "average_e_values",
    "band_bound",
    "band_ends",
    "band_p_value",
    "band_rejects",
    "ceiling",
    "clopper_pearson",
    "clopper_pearson_bound",
    "decide_family",
    "epsilon_grid",
    "exact_joint_bound",
    "exact_joint_p_value",
    "exact_joint_rejects",
    "gdp_bound",
    "ledger",
    "make_e_process",
    "tradeoff_p_value",
]
