"""What models are good for, in each world: a number that the user's own function gives. It decides nothing.

In the flow: the runner asks after scoring, where a mechanism was given such a function. A service that destroys its
models leaks nothing either.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from audit.controls.replay import WORLDS
from audit.errors import TrialError
from audit.plan.audit_plan import AuditPlan
from audit.records.ledger import Control, Worth
from audit.trials.chunks import Stream, make_generator
from audit.trials.engines import Streams, results, worker_limits
from mechanisms.errors import UnlearnAuditError
from mechanisms.protocol import Deletion, HasUtility, World

Array = NDArray[np.float64]
# Models of each world, and how many of them are one call of a worker.
N_MODELS, CHUNK = 10, 5


def utility_control(
    deletion: Deletion, plan: AuditPlan, record: int, forget: tuple[int, ...], label: str, *, engine: Streams
) -> tuple[Control, ...]:
    """Return mean and spread of the utility of ten models a world; nothing where no function was given.

    Raises
    ------
    TrialError
        When the mechanism or the function fails.
    """
    if not isinstance(deletion, HasUtility) or deletion.utility(World.RETRAINED, 0, rng=_generator(plan, 0, 0)) is None:
        return ()
    calls = [(deletion, world, plan, record, chunk) for world in WORLDS for chunk in range(N_MODELS // CHUNK)]
    done = dict(results(engine.stream(utility_chunk, calls), doing="evaluating models"))
    half = len(calls) // 2
    unlearned, retrained = (_worth([done[i] for i in part]) for part in (range(half), range(half, len(calls))))
    message = (
        f"By the function that was given, {N_MODELS} models a world are worth {unlearned} when unlearned and "
        f"{retrained} when retrained (mean ± standard deviation). This decides nothing."
    )
    return (
        Control(
            name="utility",
            forget=forget,
            label=label,
            as_expected=True,
            message=message,
            n_trials=N_MODELS,
            worth=(unlearned, retrained),
        ),
    )


def utility_chunk(deletion: HasUtility, world: World, plan: AuditPlan, record: int, chunk: int) -> Array:
    """Evaluate a few models of a world, in a worker.

    Raises
    ------
    TrialError
        When the mechanism or the function fails.
    """
    where = f"world {world.value}, forget set {record}, utility, seed {plan.seed}"
    with worker_limits():
        try:
            found = deletion.utility(world, CHUNK, rng=_generator(plan, record, WORLDS.index(world), chunk))
        except UnlearnAuditError as error:
            raise TrialError(f"{error} ({where})") from error
    return np.empty(0) if found is None else found


def _generator(plan: AuditPlan, *key: int) -> np.random.Generator:
    return make_generator(plan.seed, Stream.UTILITY, *key)


def _worth(parts: Sequence[Array]) -> Worth:
    values = np.concatenate(parts)
    return Worth(mean=float(values.mean()), spread=float(values.std(ddof=1)), n=len(values))
