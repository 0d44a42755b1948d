"""Certificates of logistic regression with one error are refuted where the power says so; the sound ones are not."""

from __future__ import annotations

import pytest

from benchmarks.logistic import FAULTS, Fault, fault_rows


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_wrong_certificate_is_refuted_and_the_sound_one_is_not(fault: Fault) -> None:
    ((_, claimed, sound, power, verdict, other),) = fault_rows(20_000, (fault,))
    assert claimed < sound
    assert power >= 0.95
    assert (verdict, other) == ("refuted", "not_refuted")
