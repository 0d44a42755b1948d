"""Tables of pandas: what is in them reaches the user's pipeline as it is, and tells them from other tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import audit
from mechanisms import (
    Claim,
    EpsilonDelta,
    InvalidInputError,
    Predictions,
    TableRecords,
    World,
    from_estimator,
    from_functions,
    from_table,
)

pd = pytest.importorskip("pandas")
CLAIM = Claim(guarantee=EpsilonDelta(epsilon=0.5, delta=1e-5))


def people(n: int = 24) -> Any:
    rng = np.random.default_rng(0)
    towns = pd.Categorical(rng.choice(["Bonn", "Ulm"], n), categories=["Bonn", "Kiel", "Ulm"])
    job = [None if i % 7 == 3 else f"job {i % 5}" for i in range(n)]
    income = np.where(np.arange(n) % 6 == 1, np.nan, rng.normal(size=n))
    moved = [["no", "yes", "twice"][i % 3] for i in range(n)]
    return pd.DataFrame({"town": towns, "job": job, "income": income, "moved": moved})


def pipeline() -> Any:
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["town", "job"]), (SimpleImputer(), ["income"])
    )
    return make_pipeline(columns, LogisticRegression())


def noise(model: Any, retained: Any, deleted: Any, rng: np.random.Generator) -> Any:
    last = model[-1]
    last.intercept_ = last.intercept_ + 0.1 * rng.standard_normal(last.intercept_.shape)
    return model


def test_a_table_reaches_learn_as_it_is() -> None:
    frame, seen = people(), []

    def learn(data: TableRecords, rng: np.random.Generator) -> Any:
        seen.append(data)
        return rng.standard_normal(2)

    mechanism = from_functions(learn=learn, unlearn=lambda model, *_: model, release=2)
    deletion = mechanism.bind(from_table(frame, target="moved"), (3, 1))
    deletion.sample(World.RETRAINED, 1, rng=np.random.default_rng(0))
    (retained,) = seen
    expected = frame.drop(index=[1, 3])
    pd.testing.assert_frame_equal(retained.features, expected.drop(columns=["moved"]))
    pd.testing.assert_series_equal(retained.targets, expected["moved"])
    # Categories that no record has any more are still known, and so are labels.
    assert list(retained.features["town"].cat.categories) == ["Bonn", "Kiel", "Ulm"]
    assert retained.classes == ("no", "twice", "yes")


def test_tables_are_told_apart_by_names_types_values_and_order() -> None:
    table = from_table(people(), target="moved")
    assert table.sha256() == from_table(people(), target="moved").sha256()
    others = [
        people().rename(columns={"job": "work"}),
        people().astype({"income": "float32"}),
        people().iloc[::-1],
        people().assign(job=lambda f: f["job"].fillna("none")),
        people().assign(town=lambda f: f["town"].cat.set_categories(["Bonn", "Ulm", "Kiel"])),
        people().assign(income=lambda f: f["income"] + 1e-15),
        people().assign(job=lambda f: ["job", *f["job"][1:]]),
    ]
    digests = {from_table(other, target="moved").sha256() for other in others}
    assert len(digests | {table.sha256()}) == len(others) + 1
    assert table.take([1, 2]).sha256() != table.take([2, 1]).sha256()
    assert table.without([0]).sha256() == table.take(range(1, 24)).sha256()
    assert from_table(people(), target="town").sha256() != table.sha256()
    assert "job" not in repr(table)


def test_a_trial_that_changes_the_table_is_named() -> None:
    def learn(data: TableRecords, rng: np.random.Generator) -> Any:
        data.frame.loc[0, "income"] = 9.0
        return rng.standard_normal(2)

    table = from_table(people(), target="moved")
    deletion = from_functions(learn=learn, unlearn=lambda model, *_: model, release=2).bind(table, (3,))
    assert deletion.changed_data() == ()
    deletion.sample(World.UNLEARNED, 1, rng=np.random.default_rng(0))
    assert "all records" in deletion.changed_data()


def test_a_pipeline_is_fitted_on_a_table_and_asked_about_its_rows() -> None:
    table = from_table(people(), target="moved")
    probe = people().drop(columns=["moved"]).iloc[[0, 2]]
    mechanism = from_estimator(
        pipeline(),
        unlearn=lambda model, *_: model,
        releases=Predictions(method="predict_proba", probe=probe),
        classes=table.classes,
    )
    deletion = mechanism.bind(table, (4, 3))
    assert deletion.release.shape == (4, 3)
    assert deletion.release.outputs is not None
    assert (deletion.release.outputs.kind, deletion.release.outputs.records) == ("probabilities", (4, 3, -1, -1))
    release = deletion.sample(World.RETRAINED, 1, rng=np.random.default_rng(0))[0]
    np.testing.assert_allclose(release.sum(axis=1), 1)
    fitted = pipeline().fit(table.without((4, 3)).features, table.without((4, 3)).targets)
    np.testing.assert_allclose(release[:2], fitted.predict_proba(people().iloc[[4, 3]]))
    with pytest.raises(InvalidInputError, match=r"a table with the columns \['town', 'job', 'income'\], got columns"):
        from_estimator(
            pipeline(), unlearn=noise, releases=Predictions(method="predict_proba", probe=probe[["town"]])
        ).bind(table, (4,))


def test_labels_of_a_table_are_released_by_their_positions() -> None:
    table = from_table(people(), target="moved")
    mechanism = from_estimator(pipeline(), unlearn=noise, releases=Predictions(method="predict"))
    deletion = mechanism.bind(table, (0, 1, 2))
    assert deletion.release.outputs is not None
    assert deletion.release.outputs.kind == "labels"
    assert set(deletion.sample(World.UNLEARNED, 2, rng=np.random.default_rng(0)).ravel()) <= {0.0, 1.0, 2.0}


@pytest.mark.slow
def test_gradient_boosting_on_a_table_is_audited() -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    frame = people(24).drop(columns=["job"])
    boosting = HistGradientBoostingClassifier(
        categorical_features="from_dtype", max_iter=2, max_leaf_nodes=3, min_samples_leaf=1, early_stopping=False
    )

    def forgets_nothing(model: Any, retained: Any, deleted: Any, rng: np.random.Generator) -> Any:
        model.learning_rate = 0.1
        return model

    mechanism = from_estimator(
        boosting, unlearn=forgets_nothing, releases=Predictions(method="predict_proba", continuous=False), fit_once=True
    )
    table = from_table(frame, target="moved", name="people")
    result = audit.run(mechanism, table, forget=range(4), claim=CLAIM, trials=30, attacks=["u_lira"])
    assert result.verdict.value == "refuted"
    assert (result.data.name, result.data.n_records) == ("people", 24)
    assert result.data.sha256 == table.sha256()


def test_kinds_and_classes_of_targets() -> None:
    n = 120
    numbers = pd.DataFrame({"x": range(n), "class": [i % 60 for i in range(n)], "value": np.linspace(0, 1, n)})
    assert from_table(numbers, target="value").kind == "regression"
    assert from_table(numbers, target="value").labels() is None
    assert from_table(numbers, target="class").kind == "regression"
    many = from_table(numbers, target="class", kind="classification")
    assert many.labels().tolist() == [i % 60 for i in range(n)]  # type: ignore[union-attr]
    assert many.without([7, 67]).classes == tuple(range(60))
    assert from_table(numbers.astype({"class": str}), target="class").kind == "classification"


@pytest.mark.parametrize(
    ("frame", "target", "sentence"),
    [
        (lambda: [[1, 2]], "y", "frame to be a DataFrame, got a list"),
        (people, "mooved", r"target to be one of \['town', 'job', 'income', 'moved'\], got mooved"),
        (people, "job", "known for every record, got 3 missing values; leave those records out"),
        (lambda: people().iloc[:1], "moved", "at least 2 records"),
        (lambda: pd.concat([people(), people()[["town"]]], axis=1), "moved", "distinct names"),
    ],
)
def test_what_is_no_table_to_learn_from_is_refused(frame: Any, target: str, sentence: str) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        from_table(frame(), target=target)
