"""Controls of a mechanism's randomness: equal releases, trials that depend on their neighbours, noise used twice.

In the flow: the runner asks after scoring. Equal releases or correlated trials make the findings of their forget set
inconclusive: a count of trials that are not independent has no level. Noise used twice within a trial is only said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from audit.errors import TrialError
from audit.gathering.contrast import Evidence
from audit.plan.audit_plan import AuditPlan
from audit.records.ledger import Control
from audit.statistics.multiplicity import equal_share
from audit.trials.chunks import Stream, make_generator
from audit.trials.engines import worker_limits
from audit.trials.independence import FALSE_ALARM, SMALLEST_SHARE, common_step_noise, strongest_lag
from audit.trials.watching import Seen
from mechanisms.protocol import Deletion, HasTrajectory, World
from mechanisms.reading.arrays import real_numbers

Array = NDArray[np.float64]
WORLDS = (World.UNLEARNED, World.RETRAINED)


def duplicates_control(
    seen: tuple[Seen, Seen], n: tuple[int, int], *, continuous: bool, forget: tuple[int, ...], label: str
) -> Control:
    """Look for equal releases among the counted trials of each world, across chunks as well.

    Parameters
    ----------
    seen, n
        What was seen of the counted releases, and how many there are, of the unlearned and the retrained world.
    continuous
        What the mechanism declares of its releases: that two of them are equal with probability 0.

    Notes
    -----
    False alarm at most about n^2 2^-59 for two worlds of n releases, from equal fingerprints of unequal releases.
    """
    found = [
        f"{s.repeated:,} of {m:,} {w.value}" + (" (all of them are one release)" if s.repeated == m - 1 else "")
        for s, m, w in zip(seen, n, WORLDS, strict=True)
        if s.repeated
    ]
    if not continuous:
        message = "Not applicable: the mechanism declares that its releases may be equal (continuous=False)."
    elif found:
        message = (
            f"Releases equal to an earlier one: {' and '.join(found)}. Two draws from a density are never equal, so "
            "these are not independent trials: look for a fixed seed, or for noise that is smaller than the rounding "
            "of the numbers that it is added to. If releases are rounded, or drawn without any noise, declare "
            "continuous=False where their shape is declared, and the releases are audited as they are."
        )
    else:
        message = f"No two of the {n[0]:,} unlearned or of the {n[1]:,} retrained counted releases are equal."
    return Control(
        name="duplicates",
        forget=forget,
        label=label,
        as_expected=not (continuous and found),
        applicable=continuous,
        message=message,
        n_trials=max(n),
    )


def lag_one_control(
    unlearned: Mapping[str, Array],
    retrained: Mapping[str, Array],
    *,
    n_controls: int,
    forget: tuple[int, ...],
    label: str,
    rng: np.random.Generator,
    n_lags: int = 1,
    cause: str = "Draw every random number of a trial anew from rng.",
) -> Control:
    """Test whether the scores of neighbouring trials are correlated.

    Parameters
    ----------
    unlearned, retrained
        Scores by attack, in the order in which the trials were drawn.
    n_controls
        Forget sets of the audit, which share the level.
    rng
        Breaks ties among scores.
    n_lags
        How far apart trials are compared; of several, all share the level.
    cause
        What is to be done about a correlation.
    """
    sides = [
        (world, name, scores)
        for world, side in zip(WORLDS, (unlearned, retrained), strict=True)
        for name, scores in side.items()
    ]
    if not sides:
        message = "Not run: no attack could be scored."
        return Control(name="lag_one", forget=forget, label=label, as_expected=True, applicable=False, message=message)
    level = equal_share(FALSE_ALARM, len(sides) * n_controls)
    found = [(*strongest_lag(scores, n_lags, rng=rng), world, name) for world, name, scores in sides]
    lag, correlation, p_value, world, name = min(found, key=lambda item: item[2])
    rejected = p_value <= level
    which = f"neighbouring {world.value} trials" if lag == 1 else f"{world.value} trials {lag:,} apart"
    message = (
        f"Scores of {which} are correlated ({name}: {correlation:+.3f}), so the trials are not independent and "
        f"counting them says less than it seems. {cause}"
        if rejected
        else "Scores of neighbouring trials are not correlated beyond chance, in either world."
    )
    return Control(
        name="lag_one",
        forget=forget,
        label=label,
        as_expected=not rejected,
        message=message,
        p_value=p_value,
        level=level,
        n_trials=max(len(scores) for _, _, scores in sides),
    )


def step_noise_control(
    deletion: Deletion, *, seed: int, record: int, n_controls: int, forget: tuple[int, ...], label: str
) -> tuple[Control, ...]:
    """Draw a few short trajectories and look for noise that is used at two steps; nothing where none are offered.

    Raises
    ------
    TrialError
        When the mechanism fails to draw them, or returns another shape.

    Notes
    -----
    With noise drawn afresh each pair of trials shows a positive cosine with probability at most one half (see
    :func:`audit.trials.independence.common_step_noise`), so that m pairs all do with probability at most 2^-m.
    """
    shape = deletion.release.shape
    if not isinstance(deletion, HasTrajectory):
        return ()
    pairs = math.ceil(math.log2(len(WORLDS) * n_controls / FALSE_ALARM))
    shared: dict[World, float] = {}
    for i, world in enumerate(WORLDS):
        cosines = _cosines(deletion, shape, world, 2 * pairs, make_generator(seed, Stream.TRAJECTORY, record, i))
        if cosines is not None:
            shared[world] = float(np.median(cosines)) if np.all(cosines > 0) else 0.0
    guilty = [world.value for world, share in shared.items() if share > SMALLEST_SHARE]
    if not shared:
        message = "Not applicable: the sampler shows no two noisy steps."
    elif guilty:
        message = (
            f"Consecutive steps of the {' and '.join(guilty)} world add nearly the same noise in all of {pairs} pairs "
            "of trials: the noise is drawn once and used again. Certificates assume fresh noise at every step."
        )
    else:
        message = f"The noise of the first two steps is drawn afresh ({2 * pairs} short trajectories a world)."
    return (
        Control(
            name="step_noise",
            forget=forget,
            label=label,
            as_expected=not guilty,
            applicable=bool(shared),
            message=message,
            n_trials=2 * pairs,
        ),
    )


def randomness_controls(
    deletion: Deletion, evidence: Evidence, plan: AuditPlan, record: int, forget: tuple[int, ...], label: str
) -> tuple[Control, ...]:
    """Return every control of one deletion's randomness, about the trials that its claims rest on."""
    n_controls = len(plan.forget)
    followed = evidence.followed
    n = plan.n_counted if followed is None else followed.n_drawn - followed.n_fit
    return (
        duplicates_control(
            evidence.seen,
            (n, n),
            continuous=deletion.release.continuous,
            forget=forget,
            label=label,
        ),
        lag_one_control(
            evidence.unlearned,
            evidence.retrained,
            n_controls=n_controls,
            forget=forget,
            label=label,
            rng=make_generator(plan.seed, Stream.TIES, record),
        ),
        *step_noise_control(deletion, seed=plan.seed, record=record, n_controls=n_controls, forget=forget, label=label),
    )


def _cosines(
    deletion: HasTrajectory, shape: tuple[int, ...], world: World, n: int, rng: np.random.Generator
) -> Array | None:
    where = f"world {world.value}, {n} trajectories"
    with worker_limits():
        try:
            drawn = deletion.trajectory(world, n, rng=rng)
            paths = None if drawn is None else real_numbers(drawn, "trajectory")
        except Exception as error:
            raise TrialError(f"trajectory() raised {type(error).__name__} ({where}): {error}") from error
    if paths is None:
        return None
    if paths.ndim != 2 + len(shape) or paths.shape[0] != n or paths.shape[2:] != shape:
        expected = f"({n}, steps, {', '.join(map(str, shape))})"
        raise TrialError(f"Expected trajectories of shape {expected}, got {paths.shape} ({where}); mend trajectory().")
    if not np.all(np.isfinite(paths)):
        raise TrialError(f"Expected finite trajectories, got NaN or infinity ({where}); does the training diverge?")
    return common_step_noise(paths)
