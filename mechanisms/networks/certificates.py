"""What is certified of networks that learn by clipped, noisy gradient descent, in words that reports print."""

from __future__ import annotations

from typing import Protocol

from mechanisms.accounting import gdp
from mechanisms.accounting.clipped_learning import ROUNDING
from mechanisms.claim import Certificate, Claim, Covers, GaussianDP, Reference, ThisSet, UpTo

FROZEN = (
    "Deletion removes records; replacing them by others doubles mu.",
    "The number that gradients are divided by, steps, step size, clipping, noise and preprocessing were frozen before "
    "the deletion, and are the same in both worlds.",
    "Steps do not sample records, and starting weights are public or drawn by one law whatever the data are.",
    "The noise is Gaussian and fresh at each step, and weights are real numbers: they are rounded to 32 bits.",
    "All that comes after learning is the same random map in both worlds, so this says nothing about the unlearning.",
)


INDIVIDUAL = (
    "A record takes part in a step of learning only while the squared lengths of its clipped gradients, this step's "
    "included, add up to at most its budget. Its gradient depends on no other record.",
    "Budgets were frozen before the deletion, by one pilot run on all records with random numbers of its own, and the "
    "reference world keeps to the same ones.",
    "All noisy steps are run, even when nobody takes part. The budget and this number say something of the record.",
)


CARRIED = (
    "Requests were written down before the first release. Unlearning steps keep to what is left of each record's "
    "budget, which they charge in units of their own noise, and the reference world runs as many.",
)


class Certified(Protocol):
    """What a certificate takes from a mechanism."""

    @property
    def reference(self) -> Reference:
        """The reference world."""
        ...

    @property
    def delta(self) -> float:
        """Where epsilon is stated."""
        ...


def learning_noise_certificate(mu: float, *, n_deleted: int, of: Certified) -> Certificate:
    """Return the certificate of the learning noise alone for deleting up to so many records."""
    return gaussian_certificate(mu, of=of, method="learning_noise", assumptions=FROZEN, covers=UpTo(k=n_deleted))


def individual_certificate(mu: float, *, of: Certified) -> Certificate:
    """Return the certificate of the deleted records' own budgets."""
    return gaussian_certificate(mu, of=of, method="individual", assumptions=(*INDIVIDUAL, *FROZEN))


def carried_certificate(mu: float, *, of: Certified) -> Certificate:
    """Return the certificate of the budgets of all records that several requests asked for."""
    return gaussian_certificate(mu, of=of, method="individual", assumptions=(*INDIVIDUAL, *CARRIED, *FROZEN[:-1]))


def gaussian_certificate(
    mu: float,
    *,
    of: Certified,
    method: str,
    assumptions: tuple[str, ...],
    covers: Covers | None = None,
    without_unlearning: float | None = None,
) -> Certificate:
    """Return the certificate of a mu that was rounded up, in both directions.

    ``without_unlearning`` is the mu of doing nothing at all; by default the same, for what learning gives needs no
    unlearning.
    """
    epsilon = gdp.epsilon(mu, of.delta)
    return Certificate(
        claim=Claim(
            guarantee=GaussianDP(mu=mu),
            reference=of.reference,
            provenance="published",
            assumptions=assumptions,
            covers=covers or ThisSet(),
        ),
        method=method,
        epsilon=epsilon,
        delta=of.delta,
        # Epsilon grows at most as the square of mu.
        numerical_error=2.1 * ROUNDING,
        epsilon_without_unlearning=(
            epsilon if without_unlearning is None else gdp.epsilon(without_unlearning, of.delta)
        ),
    )
