"""Speed and memory of sampling and scoring, as ratios measured side by side in one run.

    python benchmarks/sampling.py            # a minute
    python benchmarks/sampling.py --memory   # one million releases end to end, a few minutes

Targets: stepwise at most 1.5 times the time of drawing its random numbers and at least 1.3 times faster than a plain
loop; closed_form at least 100,000 scored releases a second on two cores and at least 150 times stepwise; one million
releases audited in under 1.5 GB, driver and workers together.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from memory import PeakMemory
from threadpoolctl import threadpool_limits

from attacks.canary import choose_records
from attacks.registry import ATTACKS
from audit.plan.audit_plan import AuditPlan, CertifiedClaim
from audit.running.binding import make_context
from audit.running.runner import run
from audit.trials.chunks import ChunkTask, Source, Stream, make_generator, score_chunk
from audit.trials.engines import Engine
from mechanisms.dataset import Dataset
from mechanisms.protocol import World
from mechanisms.ridge.langevin import RidgeDeletion, RidgeLangevin
from mechanisms.sources import load_named

REPEATS = 5
BENCHED = {name: ATTACKS[name] for name in ("likelihood_ratio", "target_loss", "influence", "lda")}


def median_seconds(function: Callable[[], object]) -> float:
    """Return the median wall time over repeats, after one warm-up."""
    function()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def plain_loop(mechanism: RidgeLangevin, deletion: RidgeDeletion, n: int, rng: np.random.Generator) -> None:
    """One trial at a time, with the Gram matrix computed once: how one would first write it."""
    forget_free = deletion.stepwise.retained
    full = deletion.stepwise.full
    for _ in range(n):
        weights = np.zeros((65, 10))
        for steps, objective, sigma in (
            (mechanism.n_learn, full, mechanism.sigma_learn),
            (mechanism.n_unlearn, forget_free, deletion.laws.sigma_unlearn),
        ):
            for _ in range(steps):
                gradient = objective.curvature @ weights - objective.moment
                weights = weights - deletion.stepwise.step_size * gradient + sigma * rng.standard_normal((65, 10))


def sampling(mechanism: RidgeLangevin, deletion: RidgeDeletion) -> None:
    """Print the ratios of the samplers on one core."""
    n, world = 64, World.UNLEARNED
    rng = make_generator(1, Stream.RELEASES)
    steps = mechanism.n_learn + mechanism.n_unlearn
    buffer = np.empty((160, 65))

    def draw_only() -> None:
        for _ in range(steps * n * 650 // buffer.size):
            rng.standard_normal(out=buffer)

    with threadpool_limits(1):
        draws = median_seconds(draw_only)
        stepwise = median_seconds(lambda: deletion.stepwise.sample(world, n, rng=rng))
        loop = median_seconds(lambda: plain_loop(mechanism, deletion, n // 4, rng)) * 4
        closed = median_seconds(lambda: deletion.closed_form.sample(world, 100 * n, rng=rng)) / 100
    print(f"stepwise, one core                {stepwise / n * 1e3:8.2f} ms a release ({steps} steps of 65 x 10)")
    print(f"stepwise / drawing its numbers    {stepwise / draws:8.2f}   (target at most 1.5)")
    print(f"plain loop / stepwise             {loop / stepwise:8.2f}   (target at least 1.3)")
    print(f"stepwise / closed_form            {stepwise / closed:8.0f}   (target at least 150)")


def scoring(data: Dataset, deletion: RidgeDeletion, forget: tuple[int, ...]) -> None:
    """Print closed-form releases per second, drawn and scored with every attack on two workers."""
    context = make_context(deletion, data, forget)
    rng = make_generator(1, Stream.FITTING)
    fit = {world: deletion.closed_form.sample(world, 2000, rng=rng) for world in (World.UNLEARNED, World.RETRAINED)}
    fitted = {
        name: attack.fit(fit[World.UNLEARNED], fit[World.RETRAINED], context, rng=rng)
        for name, attack in BENCHED.items()
    }
    source = Source(stream=Stream.RELEASES, world=World.UNLEARNED, record=0)
    calls = [(deletion, fitted, ChunkTask(seed=1, source=source, chunk=i, n=1000)) for i in range(200)]
    engine = Engine(n_jobs=2)
    seconds = median_seconds(lambda: [None for _ in engine.stream(score_chunk, calls)])
    print(f"closed_form, scored, two workers  {len(calls) * 1000 / seconds:8.0f} releases a second (target 100000)")


def memory(data: Dataset, mechanism: RidgeLangevin, forget: tuple[int, ...]) -> None:
    """Print the peak memory of audits with 100,000 and 1,000,000 releases in all."""
    for trials in (50_000, 500_000):
        plan = AuditPlan(
            claims=(CertifiedClaim(method="exact"),), forget=(forget,), attacks=tuple(BENCHED.values()), trials=trials
        )
        with PeakMemory(every=0.2) as watched:
            start = time.perf_counter()
            run(mechanism, data, plan, engine=Engine(n_jobs=2))
            seconds = time.perf_counter() - start
        print(
            f"audit of 2 x {trials} releases      {watched.peak:8.2f} GB peak, driver and workers, in {seconds:.0f} s "
            "(target 1.5 GB)",
            flush=True,
        )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", action="store_true", help="measure the memory of a long audit instead")
    arguments = parser.parse_args()
    data = load_named("digits")
    forget = choose_records(data, ["hardest"], penalty=1.0)
    mechanism = RidgeLangevin(sigma_unlearn=0.0121, sampler="closed_form")
    deletion = mechanism.bind(data, forget)
    if arguments.memory:
        memory(data, mechanism, forget)
    else:
        sampling(mechanism, deletion)
        scoring(data, deletion, forget)


if __name__ == "__main__":
    main()
