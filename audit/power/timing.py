"""How long drawing a plan's trials will take: one small timed chunk a world, and how much memory they hold.

In the flow: only a forecast that is asked for times anything. The timed chunks have a random stream of their own, so
that the run that may follow draws exactly what it would have drawn.
"""

from __future__ import annotations

import math
import time

from audit.controls.reference import n_drawn
from audit.plan.audit_plan import AuditPlan
from audit.power.forecasts import CostEstimate
from audit.trials.chunks import ChunkTask, Source, Stream, draw_chunk
from mechanisms.protocol import Deletion, World

# A chunk is large enough when it took this long; until then it grows.
ENOUGH_SECONDS = 0.03
# The first trial is timed only where it takes longer than loading a library does.
LOADING = 5.0
GROWTH = 8
BYTES = 8


def estimate_cost(deletion: Deletion, plan: AuditPlan, *, n_jobs: int) -> CostEstimate:
    """Return an estimate of the time and memory that drawing a plan's trials takes.

    Parameters
    ----------
    deletion
        Of the first forget set; the others are taken to cost the same.
    plan
        Trials, controls and chunks.
    n_jobs
        Worker processes, each as fast as this one is alone.

    Raises
    ------
    TrialError
        When the mechanism fails.
    """
    # A mechanism may load a library with its first trial: that is not part of the price of the others.
    first = _seconds_of(deletion, _timed(plan, World.UNLEARNED, chunk=0, n=1))
    rates = {World.UNLEARNED: (first, 1)} if first > LOADING else {}
    rates |= {world: _seconds_per_trial(deletion, plan, world) for world in World if world not in rates}
    # The null control is a second stream of the retrained world.
    controls = plan.n_control_trials
    counts = {World.UNLEARNED: plan.trials, World.RETRAINED: plan.trials + controls, World.NEGLECTED: controls}
    counts = {world: n + n_drawn(deletion, plan)[world] for world, n in counts.items()}
    seconds = len(plan.forget) * sum(rates[world][0] * counts[world] for world in World) / n_jobs
    release = BYTES * math.prod(deletion.release.shape)
    sizes = plan.chunk_sizes(controls)
    control_fit = sum(sizes[: plan.counting.n_fit_chunks(sizes)])
    return CostEstimate(
        seconds=seconds,
        seconds_per_trial={world.value: rates[world][0] for world in World},
        n_timed={world.value: rates[world][1] for world in World},
        n_jobs=n_jobs,
        fit_bytes=release * (2 * plan.n_fit + 2 * control_fit),
        chunk_bytes=release * max(plan.chunk_sizes(plan.trials)),
    )


def _seconds_per_trial(deletion: Deletion, plan: AuditPlan, world: World) -> tuple[float, int]:
    """Return seconds a trial and the size of the chunk that they were measured on."""
    largest = max(plan.chunk_sizes(plan.trials))
    n, chunk = 1, 0
    while True:
        seconds = _seconds_of(deletion, _timed(plan, world, chunk=chunk, n=n))
        if seconds >= ENOUGH_SECONDS or n >= largest:
            return seconds / n, n
        n, chunk = min(GROWTH * n, largest), chunk + 1


def _seconds_of(deletion: Deletion, task: ChunkTask) -> float:
    started = time.perf_counter()
    draw_chunk(deletion, task)
    return time.perf_counter() - started


def _timed(plan: AuditPlan, world: World, *, chunk: int, n: int) -> ChunkTask:
    return ChunkTask(seed=plan.seed, source=Source(stream=Stream.TIMING, world=world, record=0), chunk=chunk, n=n)
