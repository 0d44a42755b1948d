"""Services that are audited together: what each of them is told is true of itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import audit
from audit import load_json
from audit.plan.audit_plan import AuditPlan
from audit.records.verdict import Reason
from audit.running.runner import run_services
from mechanisms.adapters.functions import from_functions
from mechanisms.claim import Claim, EpsilonDelta
from mechanisms.dataset import Dataset, from_arrays

Array = NDArray[np.float64]


def train(data: Dataset, rng: np.random.Generator) -> Array:
    return rng.standard_normal(3)


def keep(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
    return model


def secretly_noisy(model: Array, retained: Dataset, forget: Dataset, rng: np.random.Generator) -> Array:
    """Deletes with noise from elsewhere, and retrains by its stream alone."""
    return model + (np.random.default_rng().standard_normal(3) if len(forget) else 0.0)


def test_that_nothing_more_was_drawn_is_said_where_it_is_true() -> None:
    """Beside a service that can be replayed, trials of the other are drawn all the same."""
    rng = np.random.default_rng(0)
    data = from_arrays(rng.normal(size=(30, 3)), rng.normal(size=30), kind="regression")
    good, bad = (from_functions(learn=train, unlearn=unlearn, release=(3,)) for unlearn in (keep, secretly_noisy))
    claim = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5))
    plan = AuditPlan(claims=(claim,), forget=((3,),), attacks=("lda",), trials=60, seed=1)
    alone = audit.run(bad, data, plan)
    beside = run_services({"good": good, "bad": bad}, data, plan)[1]
    for result in (alone, beside):
        assert result.findings[0].reason is Reason.NOT_REPRODUCIBLE
        assert load_json(result.to_json()) == result
    said = [next(c.message for c in result.controls if c.name == "replay") for result in (alone, beside)]
    assert "Nothing more was drawn for this forget set." in said[0]
    assert "more was drawn" not in said[1]
    assert beside.findings[0].tests
