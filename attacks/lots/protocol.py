"""What guesses coins: it is prepared without any run that is audited, and sees one release at a time, never a coin.

In the flow: ``audit.run_lots`` prepares an attack once, from the data, the whole pool, models that were trained without
it, and rehearsals with coins of their own; then it asks for scores of each release.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from attacks.protocol import AttackContext
from mechanisms.errors import require

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Rehearsal:
    """A run that is not audited, with the coins of its own: what attacks may be fitted on.

    Parameters
    ----------
    release
        What was released.
    coins
        Which candidates it was given, shape (m,).
    """

    release: Array
    coins: NDArray[np.bool_]


class LotScorer(Protocol):
    """An attack that is ready to score; picklable, because workers score."""

    def scores(self, release: Array) -> Array:
        """Return a score for each candidate, shape (m,); higher: it looks as if the candidate had been in the data."""
        ...


class LotAttack(Protocol):
    """A way to tell which candidates a model was given."""

    @property
    def name(self) -> str:
        """Name in reports."""
        ...

    @property
    def rehearsals(self) -> int:
        """How many runs with coins of their own it is fitted on; 0 for none."""
        ...

    def prepare(
        self, context: AttackContext, references: Array, rehearsals: Sequence[Rehearsal], *, alone: bool
    ) -> LotScorer:
        """Return what scores releases.

        Parameters
        ----------
        context
            The data without the pool (``retained``), the pool (``deleted``), what a release is, public parameters.
        references
            Releases of models that were trained without the pool, shape (n, *release.shape); n may be 0.
        rehearsals
            As many as were asked for.
        alone
            Whether exactly one candidate is drawn a run.

        Raises
        ------
        NotApplicableError
            When the release or the context does not grant what the attack needs.
        """
        ...


def check_rehearsals(name: str, rehearsals: Sequence[object], least: int) -> None:
    """Refuse to be fitted on anything but rehearsals: a run that is audited shows its coins to nobody.

    Raises
    ------
    InvalidInputError
        For objects of another kind, or too few.
    """
    are = all(isinstance(each, Rehearsal) for each in rehearsals)
    kinds = sorted({type(each).__name__ for each in rehearsals})
    fix = "fit on runs with other coins, which are not audited"
    require(are, f"{name}: rehearsals", expected="objects of the kind Rehearsal", got=kinds, fix=fix)
    enough = len(rehearsals) >= least
    require(enough, f"{name}: rehearsals", expected=f"at least {least}", got=len(rehearsals), fix=fix)
