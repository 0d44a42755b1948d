"""Faults that published mechanisms were found with, one function each: the published mechanism in, what is run out.

The mechanisms are those of ``mechanisms.published``; a fault is the variant that is coded, its harmless variant the
corrected twin.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mechanisms.faulty.published_service import GaussianService, PublishedService, added_noise, walking
from mechanisms.published.fine_tuning import group_privacy, model_clipping
from mechanisms.published.frame import PublishedMechanism, Variant
from mechanisms.published.langevin import Walk

Array = NDArray[np.float64]
# The request whose ten redrawn replacements are audited.
REQUEST = 10


def reused_noise(made: PublishedMechanism) -> PublishedService:
    """One noise vector serves all steps, each of which projects the model first."""
    return PublishedService(deletion=made.audited.deletion, log_ratio=_reused_log_ratio)


def order_free_renyi_step(made: PublishedMechanism) -> GaussianService:
    """The noise of a clipped step is converted from a Renyi value without its order."""
    return added_noise(made.audited.deletion)


def norm_for_squared_norm(made: PublishedMechanism) -> GaussianService:
    """The penalty is the norm and not its square, so that steps do not contract as the noise assumes."""
    return added_noise(made.audited.deletion)


def mean_residual(made: PublishedMechanism) -> PublishedService:
    """The noise is calibrated on the mean over records of the gradient that an update leaves, not on the largest."""
    return PublishedService(deletion=made.audited.deletion)


def group_delta(made: PublishedMechanism) -> PublishedService:
    """The delta of one record is as many times too large as there are records in the group."""
    return PublishedService(deletion=made.audited.deletion, log_ratio=_group_log_ratio)


def shifted_step_index(made: PublishedMechanism) -> GaussianService:
    """Each request is served with the steps of the request before it."""
    return walking(_walk(made.audited))


def redrawn_replacements(made: PublishedMechanism) -> GaussianService:
    """Replacements of all earlier requests are drawn anew with each request, and one record's change is accounted."""
    return walking(replace(_walk(made.audited), replaced=REQUEST))


def noise_never_applied(made: PublishedMechanism) -> GaussianService:
    """The noise is computed and never added."""
    return added_noise(made.audited.deletion)


def fresh_noise(made: PublishedMechanism) -> PublishedService:
    """Each projected step adds noise of its own, as is accounted."""
    return PublishedService(deletion=_twin(made).deletion)


def renyi_with_its_order(made: PublishedMechanism) -> GaussianService:
    """The noise of a clipped step is converted from a Renyi value with its order."""
    return added_noise(_twin(made).deletion)


def squared_norm(made: PublishedMechanism) -> GaussianService:
    """The penalty is the squared norm."""
    return added_noise(_twin(made).deletion)


def steps_of_its_own(made: PublishedMechanism) -> GaussianService:
    """Each request is served with the steps that it needs."""
    return walking(_walk(_twin(made)))


def kept_replacements(made: PublishedMechanism) -> GaussianService:
    """Replacements of earlier requests stay, and one record changes."""
    return walking(_walk(made.audited))


def noise_applied(made: PublishedMechanism) -> GaussianService:
    """The noise that is computed is added."""
    return added_noise(_twin(made).deletion)


def _twin(made: PublishedMechanism) -> Variant:
    return next(variant for variant in made.variants if variant.name == "corrected")


def _walk(variant: Variant) -> Walk:
    steps, sigma, replaced = (float(variant.settings[name]) for name in ("steps", "sigma", "replaced"))
    return Walk(steps=int(steps), sigma=sigma, replaced=int(replaced))


def _reused_log_density(w: Array) -> Array:
    """Return the log density of a release from the upper end, without what does not depend on it.

    For Z > 0 the release is C + sigma Z; below, K - 1 steps are taken before the last projection, which cuts at -C:
    C + K sigma Z for Z > -2 C / ((K - 1) sigma), and -C + sigma Z from there on.
    """
    clip, sigma, steps = model_clipping.CLIP, model_clipping.SIGMA, model_clipping.STEPS
    cut = -2 * clip / (sigma * (steps - 1))
    above, below = (w - clip) / sigma, (w + clip) / sigma
    between = above / steps
    z = np.where(above > 0, above, np.where(between > cut, between, below))
    wide = (above <= 0) & (between > cut)
    return np.asarray(-(z**2) / 2 - np.where(wide, math.log(steps), 0.0))


def _reused_log_ratio(w: Array) -> Array:
    # The other start is the mirror image.
    return _reused_log_density(w) - _reused_log_density(-w)


def _group_log_ratio(bit: Array) -> Array:
    # A 1 never happens in the retrained world: its ratio is infinite, shown as a number beyond all others.
    chance = float(group_privacy.chances(group_privacy.coded_delta(group_privacy.SIZE), group_privacy.SIZE)[0])
    return np.where(bit > 0, 700.0, math.log1p(-chance))
