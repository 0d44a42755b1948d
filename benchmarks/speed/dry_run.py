"""What a dry run costs beside its run, of a small plan and a slow mechanism: ``python benchmarks/speed/dry_run.py``.

Seconds of processors, of this process and of those that it starts: the same on a busy machine. Starting Python, which
both commands do, is left out.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import audit
from audit.commands.power import warner
from audit.running.cheap_checks import check_cheaply
from mechanisms import Claim, GaussianDP, from_functions, load_named

DATA = load_named("diabetes")


def ridge(data: Any, rng: np.random.Generator) -> np.ndarray:
    x, y = data.features, data.targets[:, 0]
    return np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ y)


def hidden(model: np.ndarray, retained: Any, forget: Any, rng: np.random.Generator, sigma: float) -> np.ndarray:
    return model + sigma * rng.standard_normal(model.shape)


def slowly(data: Any, rng: np.random.Generator, seconds: float) -> np.ndarray:
    end = time.process_time() + seconds
    while time.process_time() < end:
        np.dot(data.features.T, data.features)
    return ridge(data, rng)


def plans(share: float) -> dict[str, tuple[Any, audit.AuditPlan]]:
    """Return a mechanism and a plan of each kind; ``share`` of their usual sizes."""
    claim, n = Claim(guarantee=GaussianDP(mu=0.5)), DATA.features.shape[1]
    release: dict[str, Any] = {"unlearn": partial(hidden, sigma=0.018), "release": (n,)}
    quick, slow = from_functions(learn=ridge, **release), from_functions(learn=partial(slowly, seconds=0.05), **release)
    return {
        "the README's plan": (quick, audit.AuditPlan(claims=(claim,), forget=((17,), (123,)), trials=1000)),
        "trainings of 0.05 s": (
            slow, audit.AuditPlan(claims=(claim,), forget=((17,),), trials=max(100, int(400 * share))),
        ),
    }  # fmt: skip


def seconds_of(work: Callable[[], object]) -> float:
    def spent() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + children.ru_utime + children.ru_stime

    before = spent()
    work()
    return spent() - before


def ratios(share: float = 1.0) -> dict[str, tuple[float, float]]:
    """Return the seconds of the dry run and of the run, by plan."""
    engine, found = audit.Engine(), {}
    for name, (mechanism, plan) in plans(share).items():
        # Once before, so that no library is loaded by the clock.
        check_cheaply(mechanism, DATA, plan, engine=engine)
        dry = seconds_of(partial(check_cheaply, mechanism, DATA, plan, engine=engine))
        whole = seconds_of(partial(audit.run, mechanism, DATA, plan, announce=warner(None)))
        found[name] = (dry, whole)
    return found


if __name__ == "__main__":
    for plan_name, (checked, run) in ratios().items():
        print(f"{plan_name}: {checked:.2f} s dry, {run:.2f} s run: {100 * checked / run:.1f} %")
