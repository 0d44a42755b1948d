"""Edits of a network that learns by clipped, noisy descent: one function a fault, named after what it does."""

from __future__ import annotations

from mechanisms.faulty.network_service import NetworkService


def tenth_of_the_noise(service: NetworkService) -> NetworkService:
    """The steps of learning add a tenth of the noise."""
    return service.learning(sigma=service.unlearned.phases[0].sigma / 10)


def no_clipping(service: NetworkService) -> NetworkService:
    """Gradients are not clipped in learning."""
    return service.learning(radius="none")


def radius_of_the_model(service: NetworkService) -> NetworkService:
    """Gradients are clipped to the length of the weights."""
    return service.learning(radius="model")


def repeated_noise(service: NetworkService) -> NetworkService:
    """All steps of learning add the same noise vector."""
    return service.learning(reused=True)


def one_step_short(service: NetworkService) -> NetworkService:
    """One unlearning step less is taken when a deletion is served."""
    return service.deleting(n_steps=service.unlearned.phases[-1].n_steps - 1)


def dropout_left_on(service: NetworkService) -> NetworkService:
    """Half of the hidden units are dropped in the unlearning steps when a deletion is served."""
    return service.deleting(dropout=0.5)


def skipped_request(service: NetworkService) -> NetworkService:
    """The request is skipped: unlearning steps run on all records."""
    return service.deleting(
        features=service.neglected.phases[-1].features, targets=service.neglected.phases[-1].targets
    )


def late_filter(service: NetworkService) -> NetworkService:
    """A record is left out one step after the one that exceeds its budget."""
    return service.learning(late=True)


def divisor_of_active_records(service: NetworkService) -> NetworkService:
    """Sums of gradients are divided by the number of records that still take part."""
    return service.learning(by_active=True)


def no_fault(service: NetworkService) -> NetworkService:
    """Nothing is edited: the network that the certificate describes."""
    return service


def budgets_kept(service: NetworkService) -> NetworkService:
    """Nothing is edited: every record keeps to its budget, and its own certificate is claimed."""
    return service
