"""Learned attacks on many outputs at once: one number a record and model, each column a record's.

Few models know little of how columns depend on each other, so each column gets two Gaussians of its own, and the
columns are put together by the best of them, the sum of their log ratios, or a count of their votes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.protocol import AttackContext, FittedAttack, Needs, require_trials
from mechanisms.errors import NotApplicableError
from mechanisms.protocol import Access

Array = NDArray[np.float64]
ANY = Needs(access=(Access.BLACK_BOX, Access.WHITE_BOX, Access.TRANSCRIPT), trials=2)
# A world's own variance counts as so many trials less: with ten models a world it says next to nothing.
_PRIOR = 20.0
# Numbers of releases in one block of columns.
_BLOCK = 2**20


@dataclass(frozen=True, kw_only=True, eq=False)
class ColumnLaws:
    """Two Gaussians a column, one for each world, each shape (d,); columns that do not vary are left out by weight 0.

    Parameters
    ----------
    means, variances
        Of the unlearned and the retrained world.
    used
        1 for columns that vary, else 0.
    """

    means: tuple[Array, Array]
    variances: tuple[Array, Array]
    used: Array

    @staticmethod
    def of(unlearned: Array, retrained: Array) -> ColumnLaws:
        """Return the laws of trials, shapes (m, d); variances lean on what both worlds share."""
        sides = [trials.reshape(len(trials), -1) for trials in (unlearned, retrained)]
        means = sides[0].mean(axis=0), sides[1].mean(axis=0)
        own = sides[0].var(axis=0), sides[1].var(axis=0)
        n = len(unlearned), len(retrained)
        shared = (n[0] * own[0] + n[1] * own[1]) / max(n[0] + n[1] - 2, 1)
        used = shared > 1e-24 * np.maximum(np.square(means[0]), np.square(means[1]))
        first, second = ((m * v + _PRIOR * shared) / (m + _PRIOR) for m, v in zip(n, own, strict=True))
        return ColumnLaws(
            means=means,
            variances=(np.where(used, first, 1.0), np.where(used, second, 1.0)),
            used=used.astype(np.float64),
        )

    def log_ratios(self, rows: Array, columns: slice) -> Array:
        """Return the log ratio of every release and column of a block, shape (n, block)."""
        (m1, m0), (v1, v0) = ([part[columns] for part in pair] for pair in (self.means, self.variances))
        block = rows[:, columns]
        ratios = (block - m0) ** 2 / v0
        ratios -= (block - m1) ** 2 / v1
        ratios += np.log(v0 / v1)
        ratios *= self.used[columns] / 2
        return np.asarray(ratios)

    def gaps(self) -> Array:
        """Return how many standard deviations the means of the two worlds are apart, shape (d,)."""
        shared = (self.variances[0] + self.variances[1]) / 2
        return np.asarray(self.used * np.abs(self.means[0] - self.means[1]) / np.sqrt(shared))


@dataclass(frozen=True, kw_only=True)
class BestColumn:
    """Score the log ratio of two Gaussians at the one column whose means differ most; higher means unlearned.

    The attack of U-LiRA on the record that leaks most, where it is not known which that is. Needs releases of several
    numbers, one a record, of any kind, and two trials a world; no law. Learned.

    Notes
    -----
    With ever more trials the most powerful attack on one column if its laws are Gaussian and one column leaks. The
    column is chosen on the trials that it is fitted on; who judges the attack uses others.

    References
    ----------
    Hayes, Shumailov, Triantafillou, Khalifa, Papernot 2024 (arXiv:2403.01218), U-LiRA.
    """

    name: str = "best_column"
    needs: Needs = ANY

    def fit(
        self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator
    ) -> FittedAttack:
        """Fit on trials of both worlds, shape (m, *release) each; m may differ.

        Raises
        ------
        NotApplicableError
            With fewer than two trials in a world.
        """
        require_trials(self.name, unlearned, retrained, least=2)
        laws = ColumnLaws.of(unlearned, retrained)
        chosen = int(np.argmax(laws.gaps()))
        return OneColumn(column=chosen, laws=laws)


@dataclass(frozen=True, kw_only=True)
class ColumnSum:
    """Score the sum of the columns' log ratios, as if columns were independent; higher means the unlearned world.

    Naive Bayes over records: many that leak a little each show together. Needs releases of any kind and two trials a
    world; no law. Learned.

    Notes
    -----
    With ever more trials the most powerful attack on independent Gaussian columns. Where all share a factor, such as a
    model's general confidence, ``lda`` sees more, given the trials.

    References
    ----------
    Carlini et al. 2022, "Membership inference attacks from first principles" (arXiv:2112.03570), for the Gaussian
    model of one output.
    """

    name: str = "column_sum"
    needs: Needs = ANY

    def fit(
        self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator
    ) -> FittedAttack:
        """Fit on trials of both worlds, shape (m, *release) each; m may differ.

        Raises
        ------
        NotApplicableError
            With fewer than two trials in a world.
        """
        require_trials(self.name, unlearned, retrained, least=2)
        return AllColumns(laws=ColumnLaws.of(unlearned, retrained), votes=False)


@dataclass(frozen=True, kw_only=True)
class ColumnHits:
    """Score how many columns' log ratios point to the unlearned world; higher means the unlearned world.

    A vote a record: no column outweighs the others, whatever its tails. Needs releases of at least two numbers, of any
    kind, and two trials a world; no law. Learned.

    Notes
    -----
    Asymptotically below :class:`ColumnSum` where columns are Gaussian, above it where a few columns are wild.

    References
    ----------
    As :class:`ColumnSum`.
    """

    name: str = "column_hits"
    needs: Needs = ANY

    def fit(
        self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator
    ) -> FittedAttack:
        """Fit on trials of both worlds, shape (m, *release) each; m may differ.

        Raises
        ------
        NotApplicableError
            With fewer than two trials in a world, or releases of one number.
        """
        require_trials(self.name, unlearned, retrained, least=2)
        if (said := self.trouble(context, n_fit=2)) is not None:
            raise NotApplicableError(said)
        return AllColumns(laws=ColumnLaws.of(unlearned, retrained), votes=True)

    def trouble(self, context: AttackContext, *, n_fit: int) -> str | None:
        """Return that a release is one number."""
        single = int(np.prod(context.release.shape)) < 2
        return f"{self.name} needs releases of at least two numbers; use column_sum" if single else None


@dataclass(frozen=True, kw_only=True, eq=False)
class OneColumn:
    """A fitted :class:`BestColumn`: the laws of all columns, and which one it scores."""

    column: int
    laws: ColumnLaws

    def score(self, releases: Array) -> Array:
        """Return the log ratio at the chosen column, shape (n,)."""
        rows = releases.reshape(len(releases), -1)
        return np.asarray(self.laws.log_ratios(rows, slice(self.column, self.column + 1))[:, 0])


@dataclass(frozen=True, kw_only=True, eq=False)
class AllColumns:
    """A fitted :class:`ColumnSum`, or with votes a :class:`ColumnHits`."""

    laws: ColumnLaws
    votes: bool

    def score(self, releases: Array) -> Array:
        """Return the sum of the log ratios, or of the votes, shape (n,)."""
        rows = releases.reshape(len(releases), -1)
        total, step = np.zeros(len(rows)), max(1, _BLOCK // max(len(rows), 1))
        for start in range(0, rows.shape[1], step):
            ratios = self.laws.log_ratios(rows, slice(start, start + step))
            total += np.count_nonzero(ratios > 0, axis=1) if self.votes else ratios.sum(axis=1)
        return total
