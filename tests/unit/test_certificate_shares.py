"""Certificates without records: no number of a single one is left, in any format, and what is left is true of many."""

from __future__ import annotations

import csv
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.certificates.certification import Certification, RecordRow, RouteRow
from audit.certificates.shares import FEWEST, CertificationShares, without_records
from audit.records.evidence import Preview
from audit.records.ledger import DataRecord, Environment
from mechanisms.errors import InvalidInputError
from reports.certificates.shares import shares_summary, write_shares

FORMATS = ("json", "html", "md", "csv")
NUMBERS = ("difficulty", "sigma_unlearn", "epsilon_unlearned_from_retrained", "epsilon_retrained_from_unlearned",
           "epsilon_without_unlearning")  # fmt: skip


def row(record: int, sigma: float, epsilon: float, without: float) -> RecordRow:
    return RecordRow(
        record=record,
        difficulty=1.7 * without + 0.0123,
        sigma_unlearn=sigma,
        epsilon_unlearned_from_retrained=epsilon,
        epsilon_retrained_from_unlearned=0.93 * epsilon,
        epsilon_without_unlearning=without,
    )


def certification(rows: tuple[RecordRow, ...], *, target: float | None = None, compared: int = 0) -> Certification:
    routes = tuple(
        RouteRow(
            record=one.record,
            label="hardest",
            route=route,
            sigma_unlearn=factor * one.sigma_unlearn,
            epsilon=one.epsilon,
            exact_epsilon=one.epsilon / (1 + factor),
            accuracy=0.8125 + one.record / 997,
            note=f"of record {one.record}",
            accuracies=(0.8125 + one.record / 991,),
        )
        for one in rows[:compared]
        for route, factor in {"exact": 1.0, "published": 4.9, "uniform": 20.4, "pool": 3.1, "downdate": 0.0}.items()
    )
    return Certification(
        title="of 90017",
        mechanism="ridge_langevin",
        parameters={"penalty": 1.0, "n_learn": 60},
        data=DataRecord(name="made", sha256="5f", n_records=len(rows), n_features=4, n_targets=1, kind="regression"),
        delta=1e-5,
        target_epsilon=target,
        rows=rows,
        routes=routes,
        previews=tuple(
            Preview(record=one.record, target="tabby", image_shape=None, values=(0.4711,)) for one in rows[:5]
        ),
        assumptions={
            "exact": ("The noise is Gaussian.", "There is far too little noise: epsilon = 131 promises nothing."),
            "published": ("Proof gap: an event (arXiv:2602.15602).", "On it the chains are 0.4217-GDP."),
        },
        environment=Environment(
            started="2026-01-02T03:04:05+00:00",
            seconds=1.0,
            python="3",
            platform="Linux",
            libraries={},
            n_jobs=1,
            command="unlearn-audit certify plan.toml --records 90017",
        ),
    )


def sixty() -> tuple[RecordRow, ...]:
    rng = np.random.default_rng(3)
    return tuple(row(90_000 + i, *rng.lognormal(-1, 0.5, 3).tolist()) for i in range(60))


def written(shares: CertificationShares, folder: Path) -> str:
    return shares_summary(shares) + "".join(path.read_text("utf-8") for path in write_shares(shares, folder))


def test_no_name_and_no_number_of_a_record_is_written(tmp_path: Path) -> None:
    whole = certification(sixty(), target=0.3, compared=60)
    text = written(without_records(whole), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        f"certificates.{kind}" for kind in ("json", "html", "md", "csv")
    }
    single = Counter(repr(getattr(one, name)) for one in whole.rows for name in NUMBERS)
    single += Counter(
        repr(getattr(one, n)) for one in whole.routes for n in ("sigma_unlearn", "exact_epsilon", "accuracy")
    )
    many = [number for number, n in single.items() if n < FEWEST and float(number) != 0]
    assert len(many) > 400
    assert [number for number in many if number in text] == []
    assert [one.record for one in whole.rows if str(one.record) in text] == []
    for word in ("tabby", "0.4711", "hardest", "131", "0.4217", "90017"):
        assert word not in text
    assert "The noise is Gaussian." in text
    assert "Proof gap: an event" in text


def test_shares_have_twenty_records_beyond_on_both_sides() -> None:
    rows = tuple(row(i, 0.05, (i + 1) / 8, (i + 1) / 4) for i in range(400))
    found = without_records(certification(rows))
    by_name = {one.measure: one for one in found.measures}
    told = {share.share: share.value for share in by_name["epsilon"].shares}
    # Records 40, 100, 200, 300 and 360 of 1/8 each, rounded up to two digits.
    assert told == {0.1: 5.0, 0.25: 13.0, 0.5: 25.0, 0.75: 38.0, 0.9: 45.0}
    assert by_name["epsilon"].mean == 26.0
    assert by_name["sigma_unlearn"].mean == 0.05
    for n, expected in ((40, []), (41, [0.5]), (60, [0.5]), (80, [0.5, 0.75]), (81, [0.25, 0.5, 0.75])):
        measure = without_records(certification(rows[:n])).measures[0]
        assert [share.share for share in measure.shares] == expected, n


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(st.floats(0, 1e6), st.just(math.inf)), min_size=FEWEST, max_size=130),
    st.one_of(st.none(), st.floats(1e-3, 10)),
)
def test_what_is_told_bounds_the_records_from_above(values: list[float], target: float | None) -> None:
    rows = tuple(row(i, value, value, value) for i, value in enumerate(values))
    found = without_records(certification(rows, target=target))
    for measure in found.measures:
        for share in measure.shares:
            assert sum(value <= share.value for value in values) >= share.share * len(values)
            assert sum(value >= share.value * 0.9 for value in values) > FEWEST
        finite = [value for value in values if math.isfinite(value)]
        assert measure.n_finite == len(finite)
        if measure.mean is not None:
            assert len(finite) >= FEWEST
            assert measure.mean >= min(math.fsum(finite) / len(finite), max(finite))
    assert CertificationShares.from_json(found.to_json()) == found


def test_a_mean_does_not_give_away_a_few() -> None:
    def mean(values: list[float]) -> float | None:
        rows = tuple(row(i, value, 0.5, 0.7) for i, value in enumerate(values))
        return without_records(certification(rows)).measures[2].mean

    # 60 times the mean would be the noise of the one.
    assert mean([0.0] * 59 + [0.3]) is None
    assert mean([0.0] * 41 + [0.3] * 19) is None
    assert mean([0.0] * 40 + [0.3] * 20) == 0.1
    assert mean([0.1 + i / 1000 for i in range(59)] + [100.0]) is None
    assert mean([0.1 + i / 1000 for i in range(19)] + [math.inf] * 41) is None


def test_few_records_are_refused_and_one_named_often_is_one() -> None:
    with pytest.raises(InvalidInputError, match="at least 20 records, got 19"):
        without_records(certification(sixty()[:19]))
    with pytest.raises(InvalidInputError, match="got 1: what is left of so few are numbers of single records"):
        without_records(certification(sixty()[:1] * 60))
    assert without_records(certification((*sixty()[:20], *sixty()[:20]))).n_records == 20


def test_routes_are_told_of_twenty_compared_and_never_of_the_costliest() -> None:
    assert without_records(certification(sixty(), compared=19)).routes == ()
    found = without_records(certification(sixty(), compared=20)).routes
    assert [(one.route, one.n_records) for one in found] == [("exact", 20), ("published", 20)]
    assert found[0].sigma_unlearn is not None
    assert found[0].sigma_unlearn >= np.mean([one.sigma_unlearn for one in sixty()[:20]])
    twice = certification(sixty(), compared=19)
    again = replace(twice, routes=(*twice.routes, *twice.routes))
    assert without_records(again).routes == ()


def test_counts_are_of_the_target(tmp_path: Path) -> None:
    rows = (
        *(row(i, 0.0, 0.2, 0.2) for i in range(25)),
        *(row(i, 0.01 * i, 0.123, 3.0) for i in range(25, 55)),
        *(row(i, math.inf, 3.0 + i, 3.0 + i) for i in range(55, 60)),
    )
    found = without_records(certification(rows, target=0.2345))
    assert (found.n_without_noise, found.n_not_served) == (25, 5)
    assert found.measures[2].n_finite == 55
    text = written(found, tmp_path)
    assert "25 of 60 records meet the target" in text
    assert "For 5 of them no noise suffices." in text
    # A rounded number does not say that a target is missed which is met.
    met = without_records(certification(tuple(row(i, 0.1, 0.23449, 3.0) for i in range(60)), target=0.2345))
    assert met.measures[0].shares[0].value == met.measures[0].mean == 0.2345
    rows_of = list(csv.reader((tmp_path / "certificates.csv").read_text().splitlines()))
    assert rows_of[0][:3] == ["number", "n_finite", "mean"]
    assert rows_of[3][:2] == ["sigma_unlearn", "55"]


def test_the_step_size_of_minibatches_is_coarse() -> None:
    whole = certification(sixty())
    # In batches of one it is that of the record with the largest features.
    given_size = replace(whole, mechanism="ridge_minibatch", parameters={"step_size": 0.0123456, "batch": 1})
    assert without_records(given_size).parameters == {"step_size": 0.012, "batch": 1}
