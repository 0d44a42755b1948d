"""Logistic regression by noisy gradient descent: accuracy against epsilon, audits of its certificates, seeded faults.

    python benchmarks/logistic.py [--part accuracy|audits|faults]... [--trials 20000] [--jobs 1] [--out FILE.md]

Accuracy: mean of 20 models on the 169 held-out records of breast_cancer and its lower 95 % limit (t interval), noise
calibrated for each record at delta = 1e-5. Audits: 20,000 releases a world, every step simulated. Faults: one feature,
noise or claim from a certificate with one error, and before each audit its power, from the releases' own laws.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar
from scipy.special import expit, ndtr
from scipy.stats import t as student

import audit
from audit import AuditPlan, CertifiedClaim, Engine
from audit.power.rehearsal import rehearsed_power
from mechanisms import (
    CalibratedLogisticNoise,
    Claim,
    Dataset,
    GaussianDP,
    LogisticLangevin,
    World,
    from_arrays,
    load_named,
)
from mechanisms.accounting import gaussian_dp_mu
from mechanisms.logistic.gaps import ProbableGaps, SureGaps, noiseless_path
from mechanisms.logistic.process import LogisticProcess, labels_of, smoothness_of
from mechanisms.logistic.stepwise import Objective

Array = NDArray[np.float64]
DELTA = 1e-5
DRAWS = 20
MECHANISM = LogisticLangevin(penalty=10.0, n_learn=100, n_unlearn=100, sigma_learn=0.003)


# ---------------------------------------------------------------------------------------------------------- accuracy


def accuracies(data: Dataset, weights: Array) -> Array:
    """Return the held-out accuracy of weights of shape (n, p, 1)."""
    held_out = data.held_out or data
    return np.asarray(np.mean((weights[:, :, 0] @ held_out.features.T > 0) == (held_out.targets[:, 1] > 0), axis=1))


def summary(values: Array) -> str:
    mean, spread = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values))
    return f"{mean:.3f} ({mean - student.ppf(0.95, len(values) - 1) * spread:.3f})"


def chosen_records(data: Dataset) -> dict[str, int]:
    """Return an easy, a median and a hard record by the norm of their gradient at the end of noiseless learning."""
    process = MECHANISM.process(data, (0,))
    path = noiseless_path(replace(process, n_learn=2000))
    residual = expit(data.features @ path[-1, 0]) - labels_of(data, process.loss)[:, 0]
    order = np.argsort(np.abs(residual) * np.linalg.norm(data.features, axis=1))
    return {"easy": int(order[10]), "median": int(order[200]), "hard": int(order[-3])}


def descent_to_delete(data: Dataset, epsilon: float, n_steps: int) -> float:
    """Return the output noise of Neel et al. 2021 for a mean loss: Lipschitz constant of a record's gradient 5."""
    n, process = data.n_records, MECHANISM.process(data, (0,))
    strong, smooth = MECHANISM.penalty / n, smoothness_of(data.features, process.loss, MECHANISM.penalty) / n
    ratio = (smooth - strong) / (smooth + strong)
    root = math.sqrt(math.log(1 / DELTA) + epsilon) - math.sqrt(math.log(1 / DELTA))
    return 4 * math.sqrt(2) * 5.0 * ratio**n_steps / (strong * n * (1 - ratio**n_steps) * root)


def langevin_unlearning(data: Dataset, epsilon: float, n_steps: int) -> float:
    """Return the noise of a step of Chien et al. 2024 (uniform Renyi bound, mean loss) that meets epsilon."""
    n, process = data.n_records, MECHANISM.process(data, (0,))
    strong = MECHANISM.penalty / n
    step = process.step_size * n

    def bound(sigma: float) -> float:
        def at(alpha: float) -> float:
            decay = math.exp(-n_steps * strong * step / alpha)
            return decay * 4 * alpha * 25.0 / (strong * sigma**2 * n**2) + math.log(1 / DELTA) / (alpha - 1)

        return float(minimize_scalar(lambda log: at(1 + math.exp(log)), bounds=(-5, 12), method="bounded").fun)

    sigma = float(brentq(lambda log: bound(math.exp(log)) - epsilon, -10, 10))
    return math.sqrt(2 * step) * math.exp(sigma)


def accuracy_tables() -> Iterator[str]:
    data = load_named("breast_cancer")
    records = chosen_records(data)
    quiet = replace(MECHANISM, sigma_learn=0.0, sigma_unlearn=0.0).bind(data, (records["easy"],))
    noiseless = accuracies(data, quiet.sample(World.RETRAINED, 1, rng=np.random.default_rng(0)))
    yield f"Records easy, median, hard: {', '.join(map(str, records.values()))}. Noiseless: {noiseless[0]:.3f}.\n"
    yield "| route | epsilon | easy: sigma | accuracy | median: sigma | accuracy | hard: sigma | accuracy |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for epsilon in (1.0, 8.0):
        for route in ("probable", "sure", "uniform"):
            cells = []
            for record in records.values():
                noise = CalibratedLogisticNoise(route=route, epsilon=epsilon, delta=DELTA)  # type: ignore[arg-type]
                deletion = replace(MECHANISM, sigma_unlearn=noise).bind(data, (record,))
                found = accuracies(data, deletion.sample(World.UNLEARNED, DRAWS, rng=np.random.default_rng(1)))
                cells += [f"{float(deletion.parameters()['sigma_unlearn']):.4f}", summary(found)]
            yield f"| {route} | {epsilon:g} | {' | '.join(cells)} |"
        # Their certificates know no record: one noise for all.
        rng, steps = np.random.default_rng(1), MECHANISM.n_unlearn
        output = descent_to_delete(data, epsilon, steps)
        optimum = quiet.sample(World.UNLEARNED, 1, rng=rng)
        noisy = accuracies(data, optimum + output * rng.standard_normal((DRAWS, *optimum.shape[1:])))
        yield f"| descent-to-delete | {epsilon:g} | {output:.3g} (output) | {summary(noisy)} | | | | |"
        each = langevin_unlearning(data, epsilon, steps)
        chain = replace(MECHANISM, sigma_learn=each, sigma_unlearn=each).bind(data, (records["easy"],))
        found = accuracies(data, chain.sample(World.UNLEARNED, DRAWS, rng=rng))
        yield f"| Langevin unlearning | {epsilon:g} | {each:.3g} (a step) | {summary(found)} | | | | |"


# ------------------------------------------------------------------------------------------------------------ audits


def audit_table(trials: int, jobs: int) -> Iterator[str]:
    data = load_named("breast_cancer")
    yield "| record | sigma_unlearn | claim | epsilon | verdict | lower bound |"
    yield "| --- | ---: | --- | ---: | --- | ---: |"
    for name, record in chosen_records(data).items():
        noise = CalibratedLogisticNoise(route="probable", epsilon=1.0, delta=DELTA)
        mechanism = replace(MECHANISM, sigma_unlearn=noise)
        claims = tuple(CertifiedClaim(method=method) for method in ("probable", "sure"))
        plan = AuditPlan(claims=claims, forget=((record,),), trials=trials, seed=1, control_trials=200)
        result = audit.run(mechanism, data, plan, engine=Engine(n_jobs=jobs))
        deletion = mechanism.bind(data, (record,))
        for finding, method in zip(result.findings, ("probable", "sure"), strict=True):
            certificate = next(c for c in deletion.certificates() if c.method == method)
            sigma = float(deletion.parameters()["sigma_unlearn"])
            yield (
                f"| {name} ({record}) | {sigma:.4f} | {method} | {certificate.epsilon:.3f} "
                f"| {finding.verdict.value} | {best_bound(finding):.3f} |"
            )


def best_bound(finding: audit.Finding) -> float:
    return max((test.bound.value for test in finding.tests), default=0.0)


# ------------------------------------------------------------------------------------------------------------ faults


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One error in a certificate, on a problem with one feature; the claim is its mu at the mechanism's noise.

    Parameters
    ----------
    gaps
        Gaps with the error, of a process.
    sound
        The gaps without it.
    """

    name: str
    data: Dataset
    mechanism: LogisticLangevin
    gaps: Callable[[LogisticProcess], Array]
    sound: Callable[[LogisticProcess], Array]

    def mu(self, gaps: Callable[[LogisticProcess], Array]) -> float:
        """Return mu of some gaps, at the mechanism's noise."""
        process, own = self.mechanism.process(self.data, (0,)), self.mechanism
        return gaussian_dp_mu(
            contraction=process.contraction,
            gaps=np.concatenate([gaps(process), np.zeros(own.n_unlearn)]),
            noises=np.repeat([own.sigma_learn, float(own.sigma_unlearn)], [own.n_learn, own.n_unlearn]),  # type: ignore[arg-type]
        )

    def curve(self, n: int = 4000) -> tuple[Array, Array]:
        """Return the probabilities of "the weight is above t" in both worlds: releases before their last noise."""
        process = self.mechanism.process(self.data, (0,))
        rng, laws = np.random.default_rng(7), []
        for learned in (process.retained, process.data):
            full, kept = (Objective.of(part, process.loss, process.penalty) for part in (learned, process.retained))
            last, weights = self.mechanism.n_learn + self.mechanism.n_unlearn - 1, np.zeros((n, 1, 1))
            for k in range(last + 1):
                learning = k < self.mechanism.n_learn
                weights = weights - process.step_size * (full if learning else kept).gradient(weights)
                sigma = self.mechanism.sigma_learn if learning else float(self.mechanism.sigma_unlearn)  # type: ignore[arg-type]
                if k < last:
                    weights += sigma * rng.standard_normal(weights.shape)
            laws.append((weights[:, 0, 0], sigma))
        centres = np.concatenate([means for means, _ in laws])
        sigma = laws[0][1]
        t = np.linspace(centres.max() + 8 * sigma, centres.min() - 8 * sigma, 1500)
        fpr, tpr = (np.mean(ndtr((means[:, None] - t) / sigma), axis=0) for means, _ in laws)
        if tpr.mean() < fpr.mean():
            fpr, tpr = 1 - fpr[::-1], 1 - tpr[::-1]
        return np.r_[0.0, fpr, 1.0], np.r_[0.0, tpr, 1.0]


def one_feature(features: Sequence[float], labels: Sequence[float]) -> Dataset:
    return from_arrays(np.array(features)[:, None], np.array(labels), kind="regression")


def half_norm(process: LogisticProcess) -> Array:
    gaps = SureGaps.of(process).gaps.copy()
    gaps[1:] /= 2
    return gaps


def late(process: LogisticProcess) -> Array:
    gaps = ProbableGaps.of(process).at(DELTA / 10)
    return np.append(gaps[1:], gaps[-1])


def retained_spread(process: LogisticProcess) -> Array:
    powers = np.concatenate([[0.0], np.cumsum(process.contraction ** (2 * np.arange(process.n_learn)))[:-1]])
    return replace(ProbableGaps.of(process), spread=process.sigma_learn * np.sqrt(powers)).at(DELTA / 10)


def probable(process: LogisticProcess) -> Array:
    return ProbableGaps.of(process).at(DELTA / 10)


def sure(process: LogisticProcess) -> Array:
    return SureGaps.of(process).gaps


FAULTS = (
    Fault(
        name="half the norm for the norm",
        # The others say 0 and the deleted record 1: its residual is near 1 from the second step on.
        data=one_feature([4.0, *[0.04] * 1000], [1, *[0] * 1000]),
        mechanism=LogisticLangevin(
            penalty=20.0, n_learn=8, n_unlearn=1, sigma_learn=0.01, sigma_unlearn=0.03, step_size=0.03
        ),
        gaps=half_norm,
        sound=sure,
    ),
    Fault(
        name="the residual's bound one step late",
        # One step fits the deleted record: its residual falls from 1/2 to nearly 0.
        data=one_feature([4.0, *[0.5] * 60], [1] * 61),
        mechanism=LogisticLangevin(
            penalty=1.0, n_learn=2, n_unlearn=1, sigma_learn=0.01, sigma_unlearn=0.1, step_size=0.12
        ),
        gaps=late,
        sound=probable,
    ),
    Fault(
        name="the retained data's contraction for the spread, step_size L(D) > 2",
        # The path stays at the unstable point 0, from where noise carries the weights to either side.
        data=one_feature([4.0, *[0.004] * 1000], [1, *[0] * 1000]),
        mechanism=LogisticLangevin(
            penalty=0.9, n_learn=12, n_unlearn=1, sigma_learn=1e-4, sigma_unlearn=0.09, step_size=1.0
        ),
        gaps=retained_spread,
        sound=probable,
    ),
)


def fault_rows(trials: int, faults: Sequence[Fault] = FAULTS) -> Iterator[tuple[str, float, float, float, str, str]]:
    """Yield name, mu with the error, mu without, power, and the verdicts of the two claims."""
    for fault in faults:
        claimed, sound = fault.mu(fault.gaps), fault.mu(fault.sound)
        claims = tuple(Claim(guarantee=GaussianDP(mu=mu)) for mu in (claimed, sound))
        plan = AuditPlan(claims=claims, forget=((0,),), attacks=("lda",), trials=trials, seed=3)
        power = rehearsed_power(
            claims[0],
            *fault.curve(),
            n_fit=plan.n_fit,
            n_counted=plan.n_counted,
            # Two claims share .05, and a claim's own rows have nine tenths of its share.
            level=0.05 / 2 * 0.9,
            rng=np.random.default_rng(5),
        )
        print(f"{fault.name}: power {power:.3f} before the audit", flush=True)
        result = audit.run(fault.mechanism, fault.data, plan)
        verdicts = [finding.verdict.value for finding in result.findings]
        yield fault.name, claimed, sound, power, verdicts[0], verdicts[1]


def fault_table(trials: int) -> Iterator[str]:
    yield "| fault | mu claimed | mu without it | power | verdict | the sound claim |"
    yield "| --- | ---: | ---: | ---: | --- | --- |"
    for name, claimed, sound, power, verdict, other in fault_rows(trials):
        yield f"| {name} | {claimed:.3f} | {sound:.3f} | {power:.3f} | {verdict} | {other} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=("accuracy", "audits", "faults"))
    parser.add_argument("--trials", type=int, default=20_000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    parts: dict[str, Callable[[], Iterator[str]]] = {
        "accuracy": accuracy_tables,
        "audits": lambda: audit_table(given.trials, given.jobs),
        "faults": lambda: fault_table(given.trials),
    }
    lines = [
        "# Logistic regression by noisy gradient descent\n",
        "    python benchmarks/logistic.py --out benchmarks/results/logistic.md\n",
        f"Penalty 10, 100 learning steps (noise .003), 100 unlearning steps, step 1/L; delta 1e-5; {given.trials:,} "
        "trials a world. Accuracies: mean of 20 models (lower 95 % limit).\n",
    ]
    for name in given.part or parts:
        lines += [f"## {name.capitalize()}\n", *parts[name](), ""]
        print("\n".join(lines[-20:]), flush=True)
    if given.out:
        given.out.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
