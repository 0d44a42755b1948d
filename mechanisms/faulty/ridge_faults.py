"""Faults of a ridge Langevin service, one function each: the service without the fault in, the faulty service out."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from mechanisms.faulty.ridge_service import RidgeService
from mechanisms.faulty.training import Phase, Run
from mechanisms.protocol import World

LAPSE = 0.05


def lost_request(service: RidgeService) -> RidgeService:
    """The deletion request is lost: the noisy steps run on all of the data."""
    return replace(service, unlearned=service.neglected)


def tenth_of_the_steps(service: RidgeService) -> RidgeService:
    """A tenth of the unlearning steps is run."""
    return service.deleting(n_steps=max(1, service.steps.n_steps // 10))


def one_step_short(service: RidgeService) -> RidgeService:
    """An off-by-one loop runs K - 1 unlearning steps."""
    return service.deleting(n_steps=service.steps.n_steps - 1)


def one_step(service: RidgeService) -> RidgeService:
    """One unlearning step with the noise of all K replaces the K steps."""
    steps = service.steps
    return service.deleting(n_steps=1, scale=steps.scale * math.sqrt(steps.n_steps))


def third_of_the_learning_rate(service: RidgeService) -> RidgeService:
    """Unlearning takes a third of the step size that the certificate assumes."""
    return service.deleting(step_size=service.steps.step_size / 3)


def averaged_twice(service: RidgeService) -> RidgeService:
    """The mean gradient is divided by n once more, so that unlearning hardly moves."""
    return service.deleting(step_size=service.steps.step_size / len(service.steps.features))


def wrong_record(service: RidgeService) -> RidgeService:
    """The record after the requested one is deleted."""
    data, retained = service.process.data, service.process.retained
    missing = [i for i, x in enumerate(data.features) if not (retained.features == x).all(axis=1).any()]
    wrong = data.without([(i + 1) % data.n_records for i in missing])
    return service.deleting(features=wrong.features, targets=wrong.targets)


def added_again(service: RidgeService) -> RidgeService:
    """A wrong sign adds the deleted record's gradient a second time and does not subtract it."""
    data, deleted = service.process.data, service.process.deleted
    return service.deleting(
        features=np.vstack([data.features, deleted.features]), targets=np.vstack([data.targets, deleted.targets])
    )


def stale_preprocessing(service: RidgeService) -> RidgeService:
    """Features are centred by a mean that still includes the deleted record."""
    stale, fresh = (part.features.mean(axis=0) for part in (service.process.data, service.process.retained))
    means = {World.UNLEARNED: stale, World.RETRAINED: fresh, World.NEGLECTED: stale}

    def centred(phase: Phase, world: World) -> Phase:
        return replace(phase, features=phase.features - means[world])

    return service.with_runs(
        {world: Run(phases=tuple(centred(phase, world) for phase in service.run(world).phases)) for world in World}
    )


def record_dependent_steps(service: RidgeService) -> RidgeService:
    """K is chosen from the deleted record's gradient: half of the steps, and fewer where it is small."""
    data, deleted = service.process.data, service.process.deleted
    sizes, mine = (np.linalg.norm(p.features, axis=1) * np.linalg.norm(p.targets, axis=1) for p in (data, deleted))
    share = 0.5 * float(mine.max() / sizes.max())
    return service.deleting(n_steps=max(1, int(share * service.steps.n_steps)))


def carried_momentum(service: RidgeService) -> RidgeService:
    """The optimiser keeps its momentum, and what it carries over from learning, while it unlearns."""
    return service.deleting(momentum=0.5)


def early_stopping(service: RidgeService) -> RidgeService:
    """Unlearning keeps the iterate with the smallest loss on a set that contains the deleted record."""
    deleted = service.process.deleted
    return service.deleting(watched=(deleted.features, deleted.targets))


def skipped_sometimes(service: RidgeService) -> RidgeService:
    """One request in twenty is answered with steps on all of the data."""
    return replace(service, lapse=(LAPSE, service.neglected))


def no_noise(service: RidgeService) -> RidgeService:
    """The unlearning steps add no noise."""
    return service.deleting(scale=np.zeros_like(service.steps.scale))


def less_noise(service: RidgeService) -> RidgeService:
    """The unlearning steps add nine tenths of the noise."""
    return service.deleting(scale=0.9 * service.steps.scale)


def variance_for_deviation(service: RidgeService) -> RidgeService:
    """The variance of the noise is used as its standard deviation."""
    return service.deleting(scale=service.steps.scale**2)


def half_the_coordinates(service: RidgeService) -> RidgeService:
    """Noise is added to half of the coordinates."""
    kept = np.arange(len(service.steps.scale)) % 2 == 0
    return service.deleting(scale=np.where(kept, service.steps.scale, 0.0))


def fixed_seed(service: RidgeService) -> RidgeService:
    """The unlearning noise comes from a generator that is seeded anew, with the same seed, for every request."""
    return service.deleting(noise="fixed")


def repeated_noise(service: RidgeService) -> RidgeService:
    """The same noise vector is added at every unlearning step."""
    return service.deleting(noise="repeated")


def clipped_noise(service: RidgeService) -> RidgeService:
    """Noise beyond one standard deviation is cut off, for utility."""
    return service.deleting(clip=1.0)


def unlearning_noise_of_learning(service: RidgeService) -> RidgeService:
    """The unlearning steps add the learning noise, in every world."""
    return service.throughout(scale=np.full_like(service.steps.scale, service.process.sigma_learn))


def forgotten_penalty(service: RidgeService) -> RidgeService:
    """The gradient of the unlearning steps lacks the penalty's term."""
    return service.deleting(penalty=0.0)


def dataset_size_leak(service: RidgeService) -> RidgeService:
    """The noise is scaled by 1/n with the n before the deletion, and by 1/(n - 1) in a retrained service."""
    n, retained = service.process.data.n_records, service.process.retained.n_records
    return service.deleting(scale=service.steps.scale * retained / n)


def no_fault(service: RidgeService) -> RidgeService:
    """Nothing is edited: the service that the certificate describes."""
    return service


def longer_unlearning(service: RidgeService) -> RidgeService:
    """Every world runs half as many unlearning steps again."""
    return service.throughout(n_steps=service.steps.n_steps * 3 // 2)


def more_noise(service: RidgeService) -> RidgeService:
    """Every world adds a tenth more noise than stated."""
    return service.throughout(scale=1.1 * service.steps.scale)


def small_ascent_first(service: RidgeService) -> RidgeService:
    """A small step up the deleted record's loss comes before the unlearning steps."""
    deleted = service.process.deleted
    up = Phase(
        features=deleted.features,
        targets=deleted.targets,
        penalty=0.0,
        step_size=-0.1 * service.steps.step_size,
        n_steps=1,
        scale=np.zeros_like(service.steps.scale),
    )
    learn, *rest = service.unlearned.phases
    return replace(service, unlearned=Run(phases=(learn, up, *rest)))


def shuffled_records(service: RidgeService) -> RidgeService:
    """The retained records are read in another order when a deletion is served."""
    return service.deleting(features=service.steps.features[::-1], targets=service.steps.targets[::-1])
