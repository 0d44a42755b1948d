"""What ``assert_holds`` raises: the counts, the bound, the claim, the level, and why nothing could be decided."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

import audit
from audit.errors import ClaimRefutedError, InconclusiveError
from audit.records.accounts.failure_text import one_line
from audit.records.result import AuditResult
from audit.records.verdict import Reason
from audit.records.words.phrases import WHY
from audit.records.words.rounding import up
from mechanisms.claim import Claim, EpsilonDelta, GaussianDP, Guarantee


def audited(guarantee: Guarantee, shift: float) -> AuditResult:
    rng = np.random.default_rng(3)
    unlearned, retrained = rng.standard_normal(400) + shift, rng.standard_normal(400)
    return audit.from_scores(unlearned, retrained, claim=Claim(guarantee=guarantee), significance=0.01)


def test_a_refuted_claim_is_told_with_its_evidence() -> None:
    result = audited(GaussianDP(mu=0.5), 3.0)
    with pytest.raises(ClaimRefutedError) as raised:
        result.assert_holds()
    lines = str(raised.value).splitlines()
    assert lines[0] == f"{result.title}: a claim is refuted"
    assert lines[1].startswith("  ✕ REFUTED  ")
    assert re.fullmatch(
        r"    claimed  Gaussian differential privacy with μ ≤ 0\.5 \(ε ≤ \S+ at δ = \S+\), against the reference "
        "retrain_then_unlearn",
        lines[2],
    )
    test = min(result.findings[0].tests, key=lambda test: test.p_value)
    counts = test.bound.counts
    assert f"for {counts.k_unlearned} of {counts.n_unlearned} unlearned and {counts.k_retrained} of " in lines[3]
    assert lines[4].startswith("    bound    ε ≥ ")
    assert lines[5].startswith("    level    p = ")
    # A tenth of the level is for the test at the plan's delta, the rest for the claim's row.
    assert sorted(test.bound.level for test in result.findings[0].tests) == pytest.approx([0.001, 0.009])
    assert lines[5].endswith(f"tested at {up(result.findings[0].level)}")
    assert lines[6].startswith(
        "  Were every claim of this audit true, it would refute any with probability at most 0.01 "
    )
    assert len(lines) == 7
    again = replace(result, environment=replace(result.environment, command="pytest a.py::b"))
    assert again.describe().splitlines()[-1] == "  Run it again: pytest a.py::b"


def test_what_could_not_be_decided_is_told_with_its_reason() -> None:
    result = audited(EpsilonDelta(epsilon=40.0, delta=0.0), 0.0)
    with pytest.raises(InconclusiveError, match="could not decide") as raised:
        result.assert_holds()
    assert "claimed  ε ≤ 40 at δ = 0" in str(raised.value)
    assert f"reason   cannot_be_refuted_at_this_n: {WHY[Reason.CANNOT_BE_REFUTED_AT_THIS_N]}" in str(raised.value)


def test_a_claim_that_is_not_refuted_raises_nothing() -> None:
    result = audited(GaussianDP(mu=0.5), 0.1)
    result.assert_holds()
    assert "○ NOT REFUTED" in result.describe()
    assert one_line(result.findings[0], 0.01).startswith("○ NOT REFUTED, weak: ε ≥ ")
    assert one_line(result.findings[0], 0.01).endswith("(level 0.01)")


def test_controls_that_failed_are_named() -> None:
    # Equal scores of a continuous release: the same models were given twice.
    rng = np.random.default_rng(3)
    scores = np.repeat(rng.standard_normal(100), 4)
    result = audit.from_scores(scores, rng.standard_normal(400), claim=Claim(guarantee=GaussianDP(mu=0.5)))
    if result.findings[0].reason is not Reason.NOT_REPRODUCIBLE:
        pytest.fail(result.describe())
    assert "duplicates: " in result.describe()


def test_every_reason_has_words() -> None:
    assert set(WHY) == set(Reason)
