"""The attack of an audit of given scores: somebody else's attack has been run already."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.protocol import AttackContext, FittedAttack, Needs
from mechanisms.errors import NotApplicableError
from mechanisms.protocol import Access

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class GivenScore:
    """A release of one number is its own score; nothing is fitted."""

    name: str = "scores"
    needs: Needs = Needs(access=(Access.WHITE_BOX, Access.BLACK_BOX, Access.TRANSCRIPT))

    def fit(
        self, unlearned: Array, retrained: Array, context: AttackContext, *, rng: np.random.Generator
    ) -> FittedAttack:
        """Return the attack.

        Raises
        ------
        NotApplicableError
            When a release is not one number.
        """
        if unlearned[:1].size > 1:
            raise NotApplicableError(self._sentence)
        return AsGiven()

    def trouble(self, context: AttackContext, *, n_fit: int) -> str | None:
        """Return that a release is more than one number."""
        return self._sentence if math.prod(context.release.shape) > 1 else None

    @property
    def _sentence(self) -> str:
        return f"{self.name} needs releases of one number; use lda for others"


@dataclass(frozen=True)
class AsGiven:
    """A fitted :class:`GivenScore`, which has nothing to keep."""

    def score(self, releases: Array) -> Array:
        """Return the releases, shape (n,)."""
        return releases.reshape(len(releases))
