"""Learned attack on the model's outputs at the deleted records: a likelihood ratio of one number a record."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.linear.score import LinearScore
from attacks.outputs.statistics import output_kind, target_statistics
from attacks.protocol import AttackContext, FittedAttack, Needs, failure, require_trials
from mechanisms.protocol import Access

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ULira:
    """Score the log ratio of one Gaussian a world at the deleted records' outputs; higher means the unlearned world.

    For releases of which only outputs are seen: log odds of the record's class, residuals, or labels, which take
    Bernoulli laws. Needs to know where a black-box release shows the deleted records, or white-box weights of a linear
    model, whose outputs it computes. It learns two numbers a world and output, so a hundred trials are enough, and two
    a world the least. No law.

    Notes
    -----
    With ever more trials the most powerful attack on one such output if its laws are Gaussian. Several outputs count
    as independent (naive Bayes). Where all models give one output, every score is 0.

    References
    ----------
    Hayes, Shumailov, Triantafillou, Khalifa, Papernot 2024, "Inexact unlearning needs more careful evaluations to
    avoid a false sense of privacy" (arXiv:2403.01218), U-LiRA; Kurmanji, Triantafillou, Hayes, Triantafillou 2023,
    "Towards unbounded machine unlearning" (arXiv:2302.09880); Carlini et al. 2022, "Membership inference attacks from
    first principles" (arXiv:2112.03570), for the Gaussian model of log odds.
    """

    name: str = "u_lira"
    needs: Needs = Needs(access=(Access.BLACK_BOX, Access.WHITE_BOX), trials=2, matrices=True, labels=True)

    def fit(
        self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator
    ) -> FittedAttack:
        """Fit on trials of both worlds, shape (m, *release) each; m may differ.

        Raises
        ------
        NotApplicableError
            With fewer than two trials in a world, or when the release shows no output of the deleted records, or none
            of the declared shape.
        """
        from sklearn.naive_bayes import BernoulliNB, GaussianNB

        kind = output_kind(context, self.name)
        require_trials(self.name, unlearned, retrained, least=2)
        seen = np.concatenate([target_statistics(t, context, self.name) for t in (unlearned, retrained)])
        if np.all(seen == seen[0]):
            # One output for every model: nothing to tell them apart by.
            return LinearScore(weights=np.zeros(unlearned.shape[1:]))
        worlds = np.repeat([1, 0], [len(unlearned), len(retrained)])
        if kind == "labels":
            return BinaryOutputs(
                context=context, right=BernoulliNB(fit_prior=False).fit(seen, worlds).feature_log_prob_
            )
        model = GaussianNB(priors=(0.5, 0.5)).fit(seen, worlds)
        return GaussianOutputs(context=context, means=model.theta_, variances=model.var_)

    def trouble(self, context: AttackContext, *, n_fit: int) -> str | None:
        """Return why the release shows no output of the deleted records."""
        return failure(lambda: target_statistics(np.zeros((1, *context.release.shape)), context, self.name))


@dataclass(frozen=True, kw_only=True, eq=False)
class GaussianOutputs:
    """A fitted :class:`ULira` on numbers: a Gaussian a world and output, each shape (2, c), the retrained world first.

    Parameters
    ----------
    context
        Says where a release shows the deleted records.
    means, variances
        Of the outputs.
    """

    context: AttackContext
    means: Array
    variances: Array

    def score(self, releases: Array) -> Array:
        """Return the log ratio, shape (n,)."""
        seen = target_statistics(releases, self.context, "u_lira")
        logs = [
            -0.5 * np.sum(np.log(2.0 * np.pi * variance)) - 0.5 * np.sum((seen - mean) ** 2 / variance, axis=1)
            for mean, variance in zip(self.means, self.variances, strict=True)
        ]
        return np.asarray(logs[1] - logs[0])


@dataclass(frozen=True, kw_only=True, eq=False)
class BinaryOutputs:
    """A fitted :class:`ULira` on labels: the log probability that an output is right, shape (2, c).

    Parameters
    ----------
    context
        Says where a release shows the deleted records.
    right
        Of the retrained world first, smoothed, so that every entry is negative.
    """

    context: AttackContext
    right: Array

    def score(self, releases: Array) -> Array:
        """Return the log ratio, shape (n,)."""
        seen = (target_statistics(releases, self.context, "u_lira") > 0).astype(np.float64)
        wrong = np.log(1 - np.exp(self.right))
        logs = seen @ (self.right - wrong).T + wrong.sum(axis=1)
        return np.asarray(logs[:, 1] - logs[:, 0])
