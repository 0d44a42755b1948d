"""What people and machines read. Every page is rendered from a result alone, that is, from its JSON.

``reports.write`` makes the pages of an audit, ``reports.summary`` the text for a terminal. Names are loaded on first
use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechanisms.lazy import lend

if TYPE_CHECKING:
    from reports.audits.terminal import summary
    from reports.certificates.writing import certification_summary, write_certification
    from reports.comparisons.summary import comparison_markdown, comparison_summary
    from reports.forecasts.summary import forecast_summary
    from reports.lots.writing import lots_summary, redact_lots, write_lots
    from reports.measures.writing import measures_summary, write_measures
    from reports.models.writing import models_summary, redact_models, write_models
    from reports.plotting import plot
    from reports.randomness.summary import randomness_summary
    from reports.selftests.summary import selftest_markdown, selftest_summary, write_selftest
    from reports.writing import joined, redact, without_values, write, write_junit
else:
    __getattr__, __dir__ = lend(
        __name__,
        {
            "reports.audits.terminal": "summary",
            "reports.certificates.writing": "certification_summary write_certification",
            "reports.comparisons.summary": "comparison_markdown comparison_summary",
            "reports.forecasts.summary": "forecast_summary",
            "reports.lots.writing": "lots_summary redact_lots write_lots",
            "reports.measures.writing": "measures_summary write_measures",
            "reports.models.writing": "models_summary redact_models write_models",
            "reports.plotting": "plot",
            "reports.randomness.summary": "randomness_summary",
            "reports.selftests.summary": "selftest_markdown selftest_summary write_selftest",
            "reports.writing": "joined redact without_values write write_junit",
        },
    )

__all__ = [
    "certification_summary",
    "comparison_markdown",
    "comparison_summary",
    "forecast_summary",
    "joined",
    "lots_summary",
    "measures_summary",
    "models_summary",
    "plot",
    "randomness_summary",
    "redact",
    "redact_lots",
    "redact_models",
    "selftest_markdown",
    "selftest_summary",
    "summary",
    "without_values",
    "write",
    "write_certification",
    "write_junit",
    "write_lots",
    "write_measures",
    "write_models",
    "write_selftest",
]
