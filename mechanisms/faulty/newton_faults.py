"""Faults of a Newton removal service, one function each: the service without the fault in, the faulty one out."""

from __future__ import annotations

from dataclasses import replace

from mechanisms.faulty.newton_service import NewtonService
from mechanisms.perturbation.newton_removal import Objective


def no_step(service: NewtonService) -> NewtonService:
    """The Newton step is computed and never applied."""
    return replace(service, factor=0.0)


def wrong_sign(service: NewtonService) -> NewtonService:
    """The Newton step is taken in the wrong direction."""
    return replace(service, factor=-1.0)


def averaged_twice(service: NewtonService) -> NewtonService:
    """The deleted record's gradient is divided by n although the Hessian is a sum."""
    return replace(service, factor=1 / len(service.claimed.full.features))


def subsampled_hessian(service: NewtonService) -> NewtonService:
    """The Hessian is the sum over a tenth of the records, without scaling it up."""
    whole = service.claimed.retained
    part = Objective(features=whole.features[::10], labels=whole.labels[::10], penalty=whole.penalty / 10)
    return replace(service, hessian=part, checked=False)


def wrong_record(service: NewtonService) -> NewtonService:
    """The gradient of a retained record is taken out, and the deleted one stays."""
    claimed = service.claimed
    other = Objective(
        features=claimed.retained.features[:1], labels=claimed.retained.labels[:1], penalty=claimed.deleted.penalty
    )
    return replace(service, removed=other)


def unchecked_residual(service: NewtonService) -> NewtonService:
    """The bound on the residual is never compared with the budget, so that nothing is ever trained anew."""
    return replace(service, checked=False)


def stopped_early(service: NewtonService) -> NewtonService:
    """Training stops at a gradient of norm 40, and the certificate assumes the optimum."""
    return replace(service, tolerance=40.0)


def two_steps(service: NewtonService) -> NewtonService:
    """A second Newton step on the retained data follows the first."""
    return replace(service, n_steps=2)


def stale_hessian(service: NewtonService) -> NewtonService:
    """The Hessian still includes the deleted record, which has little leverage."""
    return replace(service, hessian=service.claimed.full)
