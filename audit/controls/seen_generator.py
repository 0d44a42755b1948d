"""A generator that says what was drawn from it, and can draw the same normal numbers again, larger, or mixed.

In the flow: :mod:`audit.controls.same_noise` hands it to a mechanism in the place of a chunk's own generator, to learn
how the random stream enters a release. Whatever is not a normal number is only named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
# All of these are linear in standard normal numbers.
_NORMAL = ("standard_normal", "normal", "multivariate_normal")
# Arrays of more numbers than a release has, or more arrays than this, are not looked for in it.
MOST_KEPT = 8


class OtherDrawError(Exception):
    """A mechanism drew other numbers than the same stream gave it before."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What one trial took from its generator.

    Parameters
    ----------
    shapes
        The shape of each draw of standard normal numbers, in order.
    others
        Names of other uses of the generator, each once.
    kept
        Standard normal numbers of the draws that are as large as a release, flat; empty where there were many.
    """

    shapes: tuple[tuple[int, ...], ...]
    others: tuple[str, ...]
    kept: tuple[Array, ...]


class SeenGenerator(np.random.Generator):
    """Draws as the generator that it is made from, and remembers what.

    Parameters
    ----------
    first
        The generator whose numbers are drawn.
    second, weights
        Each standard normal number is ``weights[0]`` times one of ``first`` plus ``weights[1]`` times one of
        ``second``. (0, 0) draws zeros.
    keep
        Numbers in a release: draws of that size are kept.
    expected
        What the trial drew before; another draw raises, so that a search for a suitable number ends.
    """

    def __init__(
        self,
        first: np.random.Generator,
        *,
        second: np.random.Generator | None = None,
        weights: tuple[float, float] = (1.0, 0.0),
        keep: int = 0,
        expected: Sequence[tuple[int, ...]] | None = None,
    ) -> None:
        super().__init__(first.bit_generator)
        self._second, self._weights, self._keep, self._expected = second, weights, keep, expected
        self._shapes: list[tuple[int, ...]] = []
        self._others: dict[str, None] = {}
        self._kept: list[Array] = []

    def drawn(self) -> Drawn:
        """Return what was drawn until now."""
        kept = tuple(self._kept) if len(self._kept) <= MOST_KEPT else ()
        return Drawn(shapes=tuple(self._shapes), others=tuple(self._others), kept=kept)

    def standard_normal(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:
        """Draw standard normal numbers, and remember them."""
        z = super().standard_normal(size, dtype=dtype, out=out)
        if self._weights != (1.0, 0.0):
            z = self._mixed(z, out)
        self._remember(np.asarray(z))
        return z

    def normal(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None) -> Any:
        """Draw normal numbers from standard ones."""
        if np.any(np.asarray(scale) < 0):
            raise ValueError("scale < 0")
        shape = np.broadcast(np.asarray(loc), np.asarray(scale)).shape if size is None else size
        return loc + scale * self.standard_normal(None if shape == () else shape)

    def multivariate_normal(self, *arguments: Any, **options: Any) -> Any:
        """Draw normal vectors; numpy makes them from :meth:`standard_normal`."""
        return super().multivariate_normal(*arguments, **options)

    @property
    def bit_generator(self) -> Any:
        """The source of bits, from which numbers could be drawn unseen."""
        self._others["bit_generator"] = None
        return super().bit_generator

    def spawn(self, n_children: int) -> list[np.random.Generator]:
        """Return generators that draw unseen."""
        self._others["spawn"] = None
        return np.random.Generator(super().bit_generator).spawn(n_children)

    def __reduce__(self) -> Any:
        # A copy draws unseen.
        self._others["a copy of the generator"] = None
        return super().__reduce__()

    def _mixed(self, z: Any, out: Any) -> Any:
        a, b = self._weights
        mixed = a * z
        if self._second is not None and b:
            values = np.asarray(z)
            mixed = mixed + b * self._second.standard_normal(values.shape or None, dtype=values.dtype.type)
        if out is None:
            return mixed if np.ndim(z) == 0 else np.asarray(mixed, dtype=z.dtype)
        out[...] = mixed
        return out

    def _remember(self, values: NDArray[Any]) -> None:
        if self._expected is not None:
            i = len(self._shapes)
            if i >= len(self._expected) or self._expected[i] != values.shape:
                raise OtherDrawError("other random numbers were drawn than before")
        self._shapes.append(values.shape)
        if values.size == self._keep and len(self._kept) <= MOST_KEPT:
            self._kept.append(np.array(values, dtype=np.float64).ravel())


def _named(name: str) -> Any:
    """Return a method that remembers its own name, and draws as numpy's."""
    usual = getattr(np.random.Generator, name)

    @wraps(usual)
    def method(self: Any, *arguments: Any, **options: Any) -> Any:
        self._others[name] = None
        return usual(self, *arguments, **options)

    return method


for _name in dir(np.random.Generator):
    if not _name.startswith("_") and _name not in (*_NORMAL, "bit_generator", "spawn"):
        setattr(SeenGenerator, _name, _named(_name))
