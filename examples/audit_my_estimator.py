"""Audit a scikit-learn estimator in 20 lines: a classifier that "unlearns" by one more epoch on what is retained.

Nobody calibrated anything here: the service says epsilon = 0.5 and hopes. The audit sees the decision values that it
answers with on the deleted record, and nothing else.
"""

from __future__ import annotations

from sklearn.linear_model import SGDClassifier

import audit
from attacks import choose_records
from mechanisms import Claim, EpsilonDelta, Predictions, from_estimator, load_named, targets_for
from reports import summary


def fine_tune(model, retained, deleted, rng):
    return model.partial_fit(retained.features, targets_for(model, retained))


def main():
    data = load_named("digits", rows=100)
    (hardest,) = choose_records(data, ["hardest"], penalty=1.0)
    classifier = SGDClassifier(loss="log_loss", max_iter=3, tol=None)
    mechanism = from_estimator(classifier, unlearn=fine_tune, releases=Predictions(method="decision_function"))
    claim = Claim(guarantee=EpsilonDelta(epsilon=0.5, delta=0.01))
    print(summary(audit.run(mechanism, data, forget=hardest, claim=claim, trials=400, seed=1)))


if __name__ == "__main__":
    main()
