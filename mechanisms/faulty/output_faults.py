"""Faults of an output-perturbation service, one function each: the service without the fault in, the faulty one out."""

from __future__ import annotations

import math

import numpy as np

from mechanisms.claim import EpsilonDelta
from mechanisms.errors import InvalidInputError
from mechanisms.faulty.output_service import OutputService
from mechanisms.protocol import World


def average_record(service: OutputService) -> OutputService:
    """The noise is calibrated on the average record and not on the one that is deleted."""
    shifts = [service.shift_of(i) for i in range(service.data.n_records)]
    return service.with_noise(service.sigma * float(np.mean(shifts)) / service.claimed.shift)


def variance_for_deviation(service: OutputService) -> OutputService:
    """The variance of the noise is used as its standard deviation."""
    return service.with_noise(service.sigma**2)


def half_the_coordinates(service: OutputService) -> OutputService:
    """Noise is added to half of the coefficients."""
    p = len(service.centres[World.UNLEARNED])
    return service.with_noise(np.where(np.arange(p)[:, None] % 2 == 0, service.sigma, 0.0))


def one_cell_of_the_table(service: OutputService) -> OutputService:
    """A table of noise by coefficient has one cell that is 100 times too small."""
    p = len(service.centres[World.UNLEARNED])
    return service.with_noise(np.where(np.arange(p)[:, None] == p // 2, service.sigma / 100, service.sigma))


def classical_formula(service: OutputService) -> OutputService:
    """The classical Gaussian formula, proved for epsilon below 1, is used above it."""
    target = _point(service)
    return service.with_noise(service.claimed.shift * math.sqrt(2 * math.log(1.25 / target.delta)) / target.epsilon)


def order_free_renyi(service: OutputService) -> OutputService:
    """The Renyi value of order 1, epsilon = mu^2 / 2, is converted as if it held for every order."""
    return service.with_noise(service.claimed.shift / math.sqrt(2 * _point(service).epsilon))


def one_of_several_deletions(service: OutputService) -> OutputService:
    """Several records are deleted one after the other, and the noise is that of one deletion."""
    return service.with_noise(service.sigma * service.shift_of(service.forget[0]) / service.claimed.shift)


def smoothness_for_lipschitz(service: OutputService) -> OutputService:
    """The smoothness constant |x|^2 stands where the gradient's norm |x| |residual| is due."""
    x, y = service.deleted.features, service.deleted.targets
    residual = y - x @ service.centres[World.RETRAINED]
    ratio = float(np.square(x).sum() / (np.linalg.norm(x) * np.linalg.norm(residual)))
    return service.with_noise(ratio * service.sigma)


def wrong_sign(service: OutputService) -> OutputService:
    """A correction that should take the record's influence out of the model adds it once more."""
    full, without = service.fit(service.data), service.fit(service.retained)
    return service.deleting(centre=2 * full - without)


def clipped_noise(service: OutputService) -> OutputService:
    """Noise beyond three quarters of a standard deviation is cut off, for utility."""
    return service.deleting(clip=0.75)


def fixed_seed(service: OutputService) -> OutputService:
    """The noise comes from a generator that is seeded anew, with the same seed, for every request."""
    return service.deleting(noise="fixed")


def doubled_noise(service: OutputService) -> OutputService:
    """Every world adds twice the noise."""
    return service.with_noise(2 * service.sigma)


def corrected_model(service: OutputService) -> OutputService:
    """The exact downdate comes before the noise: nothing is left to hide."""
    return service.deleting(centre=service.fit(service.retained))


def _point(service: OutputService) -> EpsilonDelta:
    if not isinstance(service.target, EpsilonDelta):
        raise InvalidInputError(
            field="target", expected="an (epsilon, delta)", got=repr(service.target), fix="take another problem"
        )
    return service.target
