"""Learned linear attack: Fisher's discriminant with Ledoit-Wolf shrinkage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.linear import LinearScore
from attacks.protocol import AttackContext, FittedAttack, Needs
from mechanisms.errors import NotApplicableError
from mechanisms.protocol import Access

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LinearDiscriminant:
    """scikit-learn's LDA with Ledoit-Wolf shrinkage on the flattened release.

    Needs no law and no knowledge of the model, but trials: with d parameters and m fitting trials a side it keeps
    about ``mu / sqrt(mu^2 + 2 d / m)`` of a signal mu (Ledoit and Wolf 2004 for the shrinkage).
    """

    name: str = "lda"
    needs: Needs = Needs(access=(Access.WHITE_BOX, Access.BLACK_BOX, Access.TRANSCRIPT))

    def fit(
        self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator
    ) -> FittedAttack:
        """Fit on the trials.

        Raises
        ------
        NotApplicableError
            With fewer than two trials in a world.
        """
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        if min(len(unlearned), len(retrained)) < 2:
            raise NotApplicableError("lda needs at least 2 fitting trials a world; raise trials or fit_fraction")
        flat = np.concatenate([unlearned.reshape(len(unlearned), -1), retrained.reshape(len(retrained), -1)])
        varying = flat.max(axis=0) > flat.min(axis=0)
        weights = np.zeros(flat.shape[1])
        if not np.any(varying):
            return LinearScore(weights=weights.reshape(unlearned.shape[1:]))
        labels = np.repeat([1, 0], [len(unlearned), len(retrained)])
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(flat[:, varying], labels)
        weights[varying] = model.coef_[0]
        return LinearScore(weights=weights.reshape(unlearned.shape[1:]), offset=float(model.intercept_[0]))
