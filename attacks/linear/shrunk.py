"""A Ledoit-Wolf covariance of few rows and many columns, held by its rows: no matrix of columns by columns is made.

With rows W (n of d numbers) the covariance ``S = a W'W + b I`` acts and is inverted through the n by n products of the
rows, by Woodbury's identity. In the flow: ``lda`` and ``radius`` use it where a release has more numbers than there
are fitting trials.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
# Below this the identity's share would drown in rounding: 0 divides by zero, and 1e-8 keeps seven digits.
SMALLEST_SHRINKAGE = 1e-8


@dataclass(frozen=True, kw_only=True, eq=False)
class ShrunkRows:
    """The covariance ``a W'W + b I`` of rows W.

    Parameters
    ----------
    rows
        W, centred, shape (n, d).
    products
        Eigenvalues and eigenvectors of W W', shapes (n,) and (n, n).
    a, b
        Positive.
    """

    rows: Array
    products: tuple[Array, Array]
    a: float
    b: float

    @staticmethod
    def of(rows: Array) -> ShrunkRows:
        """Return the covariance of centred rows, shape (n, d), shrunk towards the identity as by Ledoit and Wolf.

        Notes
        -----
        The shrinkage is that of scikit-learn's ``ledoit_wolf(rows, assume_centered=True)``, from W W' alone: it needs
        the trace of W'W, the sum of its squared entries, and the sum of the squared lengths of the rows. It is raised
        to 1e-8 where it is smaller.

        References
        ----------
        Ledoit, Wolf 2004, "A well-conditioned estimator for large-dimensional covariance matrices", J. Multivariate
        Anal. 88, lemma 3.3 to theorem 3.2.
        """
        n, d = rows.shape
        gram = rows @ rows.T
        mean = float(np.trace(gram)) / (n * d)
        squared = float(np.sum(gram * gram)) / n**2
        beta = (float(np.sum(np.diag(gram) ** 2)) / n - squared) / (n * d)
        delta = (squared - d * mean**2) / d
        beta = min(beta, delta)
        shrinkage = max(beta / delta if beta > 0 else 0.0, SMALLEST_SHRINKAGE)
        values, vectors = np.linalg.eigh(gram)
        products = (np.maximum(values, 0.0), vectors)
        return ShrunkRows(rows=rows, products=products, a=(1 - shrinkage) / n, b=shrinkage * mean)

    def solve(self, vector: Array) -> Array:
        """Return the inverse covariance times a vector, shape (d,)."""
        values, vectors = self.products
        inner = vectors @ (self.a / (self.b + self.a * values) * (vectors.T @ (self.rows @ vector)))
        solved: Array = (vector - inner @ self.rows) / self.b
        return solved

    def distances(self, points: Array) -> Array:
        """Return x' C^-1 x for each row x of points, shape (m,)."""
        values, vectors = self.products
        inside = (points @ self.rows.T) @ vectors
        lengths = np.einsum("ij,ij->i", points, points)
        squares: Array = (lengths - (inside * inside) @ (self.a / (self.b + self.a * values))) / self.b
        return squares
