"""Few models and many records: what the joint test keeps, whose intervals keep their level, and how long it takes.

    python benchmarks/models.py                                    # a quarter of an hour on two cores, half of it level
    python benchmarks/models.py --out benchmarks/results/models.md

*Thirty records*: 128 + 128 softmax regressions on 500 digits; the unlearned ones climb the loss of 30 of them and are
repaired on the others. A test of each record at a thirtieth of the level, the family that chooses among joint members,
and each joint member as if it had been known to be the best in advance, all at the full level and on the same models.

*Level*: worlds at the boundary of a true claim (tests/statistical/many_models.py), and how often each way of counting
refutes it. "Pooled" takes every record of every model for a trial of its own, with the Clopper-Pearson pair at the best
threshold known in advance; "PrivacyGuard" is its bootstrap over pooled scores (lower 2.5 % of log(TPR / FPR)
at TPR = 1 %, 10 % and 50 %, the largest of the three; 200 resamplings, where it takes 1,000; at most 50 replicates),
re-implemented from its analysis node. ML Privacy
Meter prints AUC and TPR at a fixed FPR of pooled scores, without an interval: it has no level to keep.

*Time*: 512 models x 50,000 records x 10 logits of 16 bits, memory-mapped, with the bounds of the 100 worst records; and
releases of up to a million numbers.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

import audit
from attacks.linear.discriminant import LinearDiscriminant
from attacks.outputs.columns import BestColumn, ColumnHits, ColumnSum
from attacks.portfolio import OUTPUTS, Family
from attacks.protocol import Attack
from audit.models.outputs import Outputs

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.statistical import many_models as worlds

Array = NDArray[np.float64]
CLAIM = worlds.CLAIM
N_RECORDS, N_MODELS, N_DATA = 30, 128, 500
N_RESAMPLED = 200


# Thirty records


def train(
    x: Array, y: Array, weights: Array, rng: np.random.Generator, *, steps: int, rate: float, ascend: bool = False
) -> Array:
    """Return softmax regressions after minibatch steps, many at once: shape (models, features, classes)."""
    classes = np.eye(10)
    for _ in range(steps):
        rows = rng.integers(0, len(x), (len(weights), 32))
        batch = x[rows]
        scores = batch @ weights
        p = np.exp(scores - scores.max(axis=2, keepdims=True))
        p /= p.sum(axis=2, keepdims=True)
        gradient = batch.transpose(0, 2, 1) @ (p - classes[y[rows]]) / 32
        weights = weights + (rate if ascend else -rate) * gradient
    return weights


def gradient_ascent(seed: int) -> tuple[Array, Array]:
    """Return log odds of the 30 records under unlearned and under retrained models."""
    rng = np.random.default_rng(seed)
    images, digits = load_digits(return_X_y=True)
    rows = rng.permutation(len(images))[:N_DATA]
    x, y = np.c_[images[rows] / 16, np.ones(N_DATA)], digits[rows]
    forget, retain = np.arange(N_RECORDS), np.arange(N_RECORDS, N_DATA)
    start = 0.3 * rng.standard_normal((2 * N_MODELS, x.shape[1], 10))
    learned = train(x, y, start[:N_MODELS], rng, steps=200, rate=0.5)
    unlearned = train(x[forget], y[forget], learned, rng, steps=5, rate=0.1, ascend=True)
    unlearned = train(x[retain], y[retain], unlearned, rng, steps=10, rate=0.1)
    retrained = train(x[retain], y[retain], start[N_MODELS:], rng, steps=210, rate=0.5)
    sides = (np.einsum("rd,mdc->mrc", x[forget], w) for w in (unlearned, retrained))
    first, second = (Outputs.of(z, "logits", y[forget], "outputs").matrix() for z in sides)
    return first, second


@dataclass(frozen=True, kw_only=True)
class Draw:
    bounds: dict[str, float]
    refuted: dict[str, bool]
    power: float
    alone: int


MEMBERS: dict[str, Attack] = {
    "the family": OUTPUTS,
    **{
        member.name: Family(name=member.name, members=(member,))
        for member in (ColumnSum(), ColumnHits(), LinearDiscriminant(), BestColumn())
    },
}


def one_draw(seed: int) -> Draw:
    from audit.gathering.contrast import Kind
    from audit.gathering.selection import claim_rows
    from audit.gathering.testing import run_tests
    from audit.given.options import Options
    from audit.given.rows import GivenRows, gather_rows
    from audit.models.checks import counting_of
    from audit.models.one_deletion import power_of_test

    sides = gradient_ascent(seed)
    given = GivenRows(unlearned=sides[0], retrained=sides[1], names=("u", "r"), dtypes=(sides[0].dtype,) * 2)
    bounds, refuted, power = {}, {}, 0.0
    for name, attack in MEMBERS.items():
        options = Options(
            claim=CLAIM, significance=0.05, seed=seed, delta=None, attacks=(attack,), threshold=None,
            counting=counting_of(N_MODELS, None), releases=True, names=("u", "r"), continuous=True,
        )  # fmt: skip
        plan = options.plan(given)
        evidence = gather_rows(*sides, plan.attackers, plan, Kind.CLAIMS)
        (test,) = run_tests(evidence, {attack.name: (("claim_row", claim_rows(CLAIM)),)}, levels={"claim_row": 0.05})
        bounds[name], refuted[name] = test.bound.value, test.rejected
        power = power_of_test(test, evidence) if name == "the family" else power
    study = worlds.Study(records=N_RECORDS)
    fitting = worlds.fitted(np.arange(2 * N_MODELS) < N_MODELS, np.random.default_rng(seed))
    is_unlearned = (np.arange(2 * N_MODELS) < N_MODELS)[:, None]
    rows = study.rows(np.concatenate(sides), is_unlearned, ~is_unlearned, fitting, np.random.default_rng(seed))
    return Draw(bounds=bounds, refuted=refuted, power=power, alone=int(np.sum(rows.p_value <= 0.05 / N_RECORDS)))


def thirty_records(draws: int) -> Iterator[str]:
    found = [one_draw(seed) for seed in range(draws)]
    means = {name: float(np.mean([d.bounds[name] for d in found])) for name in MEMBERS}
    joint = {name: mean for name, mean in means.items() if name not in ("the family", "best_column")}
    best = max(joint, key=lambda name: joint[name])
    yield f"## Thirty records, {N_MODELS} + {N_MODELS} models, {draws} draws"
    yield ""
    yield "| what is tested | mean lower bound on epsilon | refuted at epsilon = 1 |"
    yield "|---|---|---|"
    for name, mean in means.items():
        yield f"| {name} | {mean:.3f} | {np.mean([d.refuted[name] for d in found]):.2f} |"
    alone = sum(d.alone for d in found)
    yield f"| each record at 0.05 / {N_RECORDS} | | {alone} of {draws * N_RECORDS} records |"
    yield ""
    yield f"The family keeps {means['the family'] / joint[best]:.2f} of {best}, the best joint member in advance."
    sure = [d for d in found if d.power >= 0.8]
    yield (
        f"Planned power of at least 0.8 in {len(sure)} of {draws} draws: refuted in "
        f"{sum(d.refuted['the family'] for d in sure)} of these."
    )


# Level


def privacy_guard_rejects(law: str, models: int, rng: np.random.Generator) -> bool:
    status, deletion = worlds.status_of(models, worlds.RECORDS, rng)
    outputs = worlds.numbers(worlds.chances(status, deletion, law), law, rng)
    members = outputs[deletion[:, None] & (status == 1)]
    others = outputs[~deletion[:, None] & (status != 2)]
    n = min(len(members), len(others))
    found = []
    for _ in range(N_RESAMPLED):
        one, other = (np.sort(rng.choice(scores, n)) for scores in (members, others))
        at = one[[int(0.99 * n), int(0.9 * n), int(0.5 * n)]]
        tpr, fpr = (1 - np.searchsorted(scores, at) / n for scores in (one, other))
        found.append(np.log(tpr / np.maximum(fpr, 1e-12)))
    return bool(np.sort(found, axis=0)[N_RESAMPLED // 40].max() > 1.0)


def level(replicates: int) -> Iterator[str]:
    yield f"## Level: true claims that were refuted, of {replicates} replicates at a nominal 5 %"
    yield ""
    yield "100 records; the claim holds with equality. A share above the limit in the last row is no chance."
    yield ""
    yield "e-BH: the share of true claims in its lists."
    yield ""
    yield "| law | models | one deletion | Holm | mean e-value | e-BH | pooled | PrivacyGuard |"
    yield "|---|---|---|---|---|---|---|---|"
    for law in worlds.LAWS:
        for models in worlds.SIZES:
            yield "| " + " | ".join([law, str(models), *_levels(law, models, replicates)]) + " |"
    most = worlds_limit(replicates)
    yield f"| largest by chance (1e-6) | | {most} | {most} | {most} | {most} | {most} | {most} |"


def worlds_limit(n: int) -> str:
    from scipy.stats import binom

    return f"{binom.isf(1e-6, n, 0.05) / n:.3f}"


def _levels(law: str, models: int, n: int) -> list[str]:
    key = (models, worlds.LAWS.index(law))
    joint = worlds.count(
        n,
        lambda rng: worlds.joint_test_rejects(*worlds.one_deletion(law, models, rng), seed=int(rng.integers(2**31))),
        11,
        *key,
    )
    study, true = worlds.Study(), np.ones(worlds.RECORDS, dtype=bool)
    true[17] = law != "one outlier"
    outcomes = [worlds.replicate(study, law, models, np.random.default_rng([12, *key, i])) for i in range(n)]
    holm = sum(bool(np.any(o.holm & true)) for o in outcomes)
    mean_e = sum(o.mean_e >= 20 for o in outcomes)
    listed = sum(float(np.sum(o.listed & true)) / max(1, int(np.sum(o.listed))) for o in outcomes)
    few = min(n, 50)
    pooled = worlds.count(n, lambda rng: worlds.pooled_rejects(law, models, rng), 13, *key)
    guard = worlds.count(few, lambda rng: privacy_guard_rejects(law, models, rng), 14, *key)
    said = [joint / n, holm / n, mean_e / n if true.all() else None, listed / n, pooled / n, guard / few]
    return ["–" if share is None else f"{share:.3f}" for share in said]


# Time

WIDE = """
import re, sys, time
from pathlib import Path
import numpy as np
import audit
from mechanisms import Claim, EpsilonDelta
d = int(sys.argv[1])
rng = np.random.default_rng(0)
first, second = rng.standard_normal((64, d)), rng.standard_normal((64, d))
first += 0.3
started = time.monotonic()
audit.from_scores(first, second, claim=Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5)), releases=True)
peak = int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])
print(time.monotonic() - started, time.process_time(), peak / 2**20)
"""

LARGE = """
import re, sys, time
from pathlib import Path
import numpy as np
import audit
from mechanisms import Claim, EpsilonDelta
folder, design = sys.argv[1:]
claim = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5))
outputs, labels = np.load(f"{folder}/outputs.npy", mmap_mode="r"), np.load(f"{folder}/labels.npy")
started = time.monotonic()
if design == "one deletion":
    audit.from_models(outputs[:256], outputs[256:], claim=claim, labels=labels, details=100)
else:
    status, kinds = (np.load(f"{folder}/{name}.npy") for name in ("status", "kinds"))
    audit.from_status(outputs, status, kinds, claim=claim, labels=labels, details=100)
peak = int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])
print(time.monotonic() - started, time.process_time(), peak / 2**20)
"""


def timed(script: str, *words: str) -> str:
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=True)
    wall, cpu, peak = map(float, done.stdout.split())
    return f"{wall:.0f} s ({cpu:.0f} s of processor time), {peak:.2f} GiB"


def times(records: int = 50_000, models: int = 512, classes: int = 10) -> Iterator[str]:
    yield f"## Time, with a load of {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    yield ""
    for d in (100_000, 1_000_000):
        yield f"* `from_scores` on 64 + 64 releases of {d:,} numbers: {timed(WIDE, str(d))}"
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        labels = rng.integers(0, classes, records)
        drawn = audit.assign_status(records=records, models=models, seed=1)
        for name, array in (("labels", labels), ("status", drawn.status), ("kinds", drawn.kinds)):
            np.save(f"{folder}/{name}.npy", array)
        outputs = np.lib.format.open_memmap(
            f"{folder}/outputs.npy", mode="w+", dtype=np.float16, shape=(models, records, classes)
        )
        for model in range(models):
            logits = rng.standard_normal((records, classes), dtype=np.float32)
            logits[np.arange(records), labels] += 2 + 2 * (drawn.status[model] == 2)
            outputs[model] = logits
        outputs.flush()
        for design in ("one deletion", "a claim a record"):
            size = f"{models} x {records:,} x {classes} (float16)"
            yield f"* {design}, {size}, all p-values and 100 bounds: {timed(LARGE, folder, design)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--only", choices=("thirty", "level", "time"))
    arguments = parser.parse_args()
    parts = {
        "thirty": lambda: thirty_records(arguments.draws),
        "level": lambda: level(arguments.replicates),
        "time": times,
    }
    lines = [
        "# Few models, many records",
        "",
        "Made by `python benchmarks/models.py --out benchmarks/results/models.md`.",
    ]
    for name, part in parts.items():
        if arguments.only in (None, name):
            lines.append("")
            for line in part():
                print(line, flush=True)
                lines.append(line)
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
