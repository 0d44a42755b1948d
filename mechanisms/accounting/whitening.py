"""Joint diagonalisation of two Gaussian laws: variance ratios and mean shifts, singular covariances included."""

from __future__ import annotations

import numpy as np
from scipy.linalg import LinAlgError, cholesky, eigh, solve_triangular

from mechanisms.errors import InvalidInputError
from mechanisms.protocol import Array, GaussianLaw

_UNIT = float(np.finfo(np.float64).eps)


def relative_coordinates(p: GaussianLaw, q: GaussianLaw) -> tuple[Array, Array] | None:
    """Return (variance ratios c, squared mean shifts b) of P relative to Q, or None if the worlds are disjoint.

    Parameters
    ----------
    p, q
        Laws of the same shape; singular covariances are allowed.

    Returns
    -------
    tuple of arrays, or None
        Directions in which neither law varies and the means agree are dropped. ``None`` when a direction separates
        the laws with probability one: neither varies and the means differ, or only one of them varies.

    Raises
    ------
    InvalidInputError
        When shapes differ or an entry is not finite.

    Notes
    -----
    With ``Sigma_Q = L L'`` the ratios are 1 plus the eigenvalues of ``L^-1 (Sigma_P - Sigma_Q) L^-T``: forming the
    difference first keeps ratios near 1 accurate when the covariances are badly conditioned. A nearly singular
    Sigma_Q hands over to Sigma_P, and that to the eigenvectors of the sum with a relative cut-off.
    """
    shift, cov_p, cov_q = _checked(p, q)
    # Both laws rescaled to unit diagonal of the sum: conditioning that is due to units alone goes away.
    scale = np.sqrt(np.diag(cov_p) + np.diag(cov_q))
    tolerance = (
        16 * _UNIT * max(len(shift), 1) * float(max(np.abs(p.mean).max(initial=0), np.abs(q.mean).max(initial=0)))
    )
    moves = scale > 0
    if np.any(np.abs(shift[~moves]) > tolerance):
        return None
    if not moves.any():
        return np.empty(0), np.empty(0)
    scale = scale[moves]
    shift, tolerance = shift[moves] / scale[:, None], tolerance / float(scale.min())
    cov_p, cov_q = (cov[np.ix_(moves, moves)] / np.outer(scale, scale) for cov in (cov_p, cov_q))
    direct = _by_cholesky(shift, cov_q, cov_p - cov_q)
    if direct is not None:
        return direct
    swapped = _by_cholesky(shift, cov_p, cov_q - cov_p)
    if swapped is not None:
        return 1.0 / swapped[0], swapped[1] / swapped[0]
    return _by_eigenvectors(shift, cov_p, cov_q, tolerance)


def _checked(p: GaussianLaw, q: GaussianLaw) -> tuple[Array, Array, Array]:
    dimension = len(p.mean)
    if p.mean.ndim != 2 or p.mean.shape != q.mean.shape:
        raise InvalidInputError(
            field="laws",
            expected="of one shape (p, q)",
            got=f"means of shape {p.mean.shape} and {q.mean.shape}",
            fix="compare laws of the same release",
        )
    for name, law in (("p", p), ("q", q)):
        if law.covariance.shape != (dimension, dimension):
            raise InvalidInputError(
                field=f"{name}.covariance",
                expected=f"of shape {(dimension, dimension)}",
                got=f"shape {law.covariance.shape}",
                fix="give one covariance for all columns",
            )
        if not (np.isfinite(law.mean).all() and np.isfinite(law.covariance).all()):
            raise InvalidInputError(field=name, expected="finite", got="NaN or infinity", fix="check the step size")
    shift = np.asarray(p.mean - q.mean, dtype=np.float64)
    cov_p, cov_q = ((law.covariance + law.covariance.T) / 2 for law in (p, q))
    return shift, cov_p, cov_q


def _by_cholesky(shift: Array, reference: Array, difference: Array) -> tuple[Array, Array] | None:
    """Whiten by ``reference``; None where it is numerically singular, or where the other law is."""
    diagonal = np.diag(reference)
    try:
        factor = cholesky(reference, lower=True)
    except LinAlgError:
        return None
    cut = 8 * _UNIT * len(reference)
    # The squared pivots are conditional variances: the share of each coordinate that the earlier ones leave free.
    if np.any(np.diag(factor) ** 2 <= cut * diagonal):
        return None
    half = solve_triangular(factor, difference, lower=True)
    change = solve_triangular(factor, half.T, lower=True)
    values, vectors = eigh((change + change.T) / 2)
    ratios = 1.0 + values
    if ratios[0] <= cut * max(1.0, ratios[-1]):
        return None
    projected = vectors.T @ solve_triangular(factor, shift, lower=True)
    return ratios, np.sum(projected**2, axis=1)


def _by_eigenvectors(shift: Array, cov_p: Array, cov_q: Array, tolerance: float) -> tuple[Array, Array] | None:
    """Restrict to the range of the sum of both covariances; None where one law alone, or neither, varies."""
    values, vectors = eigh(cov_p + cov_q)
    cut = 8 * _UNIT * len(values)
    keep = values > cut * values[-1]
    condition = values[-1] / values[keep][0]
    # A null vector is known up to an angle of rounding error times the condition of what is kept.
    leak = tolerance * np.sqrt(len(values)) + cut * condition * np.linalg.norm(shift)
    if np.any(np.abs(vectors[:, ~keep].T @ shift) > leak):
        return None
    basis = vectors[:, keep] / np.sqrt(values[keep])
    # In these coordinates the covariances sum to the identity, and each is half of it plus or minus half of this.
    values, rotation = eigh(basis.T @ (cov_p - cov_q) @ basis)
    if np.any(np.abs(values) >= 1.0 - min(cut * condition, 1e-3)):
        return None
    # With w whitening the sum, Sigma_Q = (1 - e) / 2.
    share_q = (1.0 - values) / 2
    projected = rotation.T @ (basis.T @ shift)
    return (1.0 + values) / (1.0 - values), np.sum(projected**2, axis=1) / share_q
