"""What approximate unlearning of a small convolutional network leaves of a hard record, of 20 records, and of a class.

    python benchmarks/approximate_unlearning.py --out benchmarks/results/approximate_unlearning.md [--quick]
    python benchmarks/approximate_unlearning.py --data cifar10.npz --out cifar10.md

Digits, or the first images of a file with X_train (n, side, side[, channels]), y_train, X_test, y_test in uint8. Every
method of ``mechanisms.approximate`` is compared with retraining (``retrain_only``) by the logits of the deleted
records, in two worlds and by lot. Nothing here is claimed: bounds are lower bounds on epsilon at delta = 1e-5.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import beta, norm, spearmanr
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import Subset, TensorDataset

import audit
from audit.records.estimates import auc, gaussian_mu
from mechanisms import Claim, EpsilonDelta, OneRecord, Reference, UpTo
from mechanisms.approximate import (
    DoesNothing,
    FineTuning,
    LastLayer,
    NegGradPlus,
    RandomLabels,
    Retraining,
    SalUn,
    Scrub,
    Sisa,
)
from mechanisms.networks import NetworkTraining, small_cnn

Array = NDArray[np.float64]
Method = Any
DELTA, LEVEL, CHUNK = 1e-5, 0.05, 32
POINT = EpsilonDelta(epsilon=0.5, delta=DELTA)
CLAIM = Claim(guarantee=POINT, reference=Reference.RETRAIN_ONLY)
N_HARD, N_POOL, DELETED_CLASS = 200, 40, 3


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is trained."""

    core: int = 400
    models: int = 64
    ensembles: int = 32
    runs: int = 16
    references: int = 16
    picture: int = 100
    epochs: int = 10


QUICK = Sizes(core=120, models=20, ensembles=16, runs=2, references=3, picture=16, epochs=1)


# What is in force, first.
SIZES = [Sizes()]


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """Images: ``core`` is learned, ``others`` are candidates of lots, ``test`` measures what a network is good for."""

    name: str
    data: TensorDataset
    core: NDArray[np.intp]
    others: NDArray[np.intp]
    test: NDArray[np.intp]
    width: int

    @staticmethod
    def of(path: Path | None) -> Problem:
        """Digits, or the file."""
        if path is None:
            x, y = load_digits(return_X_y=True)
            images, name, width = x.reshape(-1, 1, 8, 8) / 16, "digits", 4
        else:
            with np.load(path) as file:
                parts = [
                    (file[f"X_{part}"][:n], file[f"y_{part}"][:n]) for part, n in (("train", 2600), ("test", 1000))
                ]
            x, y = (np.concatenate([part[i] for part in parts]) for i in range(2))
            shaped = x[..., None] if x.ndim == 3 else x
            images, name, width = np.moveaxis(shaped, -1, 1) / 255, path.stem, 8
        images = (images - images.mean()) / images.std()
        order = np.random.default_rng(0).permutation(len(images)) if path is None else np.arange(len(images))
        n_core, n_others = (SIZES[0].core, 400) if path is None else (4 * SIZES[0].core, 600)
        data = TensorDataset(torch.tensor(images, dtype=torch.float32), torch.tensor(np.ravel(y), dtype=torch.long))
        cut = np.split(order, [n_core, n_core + n_others])
        return Problem(name=name, data=data, core=cut[0], others=cut[1], test=cut[2], width=width)

    @property
    def labels(self) -> NDArray[np.intp]:
        """The class of each image."""
        return self.data.tensors[1].numpy()

    def part(self, rows: Sequence[int] | NDArray[np.intp]) -> Subset:
        """Images by their number, as a mechanism's functions get them."""
        return Subset(self.data, [int(i) for i in rows])

    def network(self) -> nn.Module:
        """A network with fresh weights."""
        shape = self.data.tensors[0].shape
        classes = int(self.labels.max()) + 1
        return small_cnn(channels=shape[1], side=shape[2], classes=classes, width=self.width)


def streams(name: str, n: int) -> list[tuple[int, torch.Generator]]:
    """Seeds of n networks: one for torch's own generator, and a generator for batches."""
    key = [int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"), n]
    words = np.random.SeedSequence(key).generate_state(2 * n, np.uint64).reshape(n, 2)
    return [(int(a), torch.Generator().manual_seed(int(b))) for a, b in words]


def learned(learn: Any, dataset: Subset, n: int, name: str) -> list[nn.Module]:
    """Return n networks of a data set."""
    made: list[nn.Module] = []
    for group in _groups(streams(name, n)):
        starts = []
        for seed, generator in group:
            torch.manual_seed(seed)
            starts.append(learn.start() if hasattr(learn, "start") else learn.learn(dataset, generator))
        made += learn.descend(starts, dataset, [g for _, g in group]) if hasattr(learn, "descend") else starts
    return made


def unlearned(method: Method, models: Sequence[nn.Module], kept: Subset, gone: Subset, name: str) -> list[nn.Module]:
    """Return the networks after unlearning; they may be changed."""
    made: list[nn.Module] = []
    for group in _groups(list(zip(models, streams(name, len(models)), strict=True))):
        many, starts = getattr(method, "together", False), []
        for model, (seed, generator) in group:
            torch.manual_seed(seed)
            forget = method.unlearn if isinstance(method, Sisa) else method
            starts.append(method.start(model) if many else forget(model, kept, gone, generator))
        made += method.descend(starts, kept, gone, [g for _, (_, g) in group]) if many else starts
    return made


def _groups(items: list[Any]) -> list[list[Any]]:
    return [items[i : i + CHUNK] for i in range(0, len(items), CHUNK)]


def logits(models: Sequence[nn.Module], problem: Problem, rows: Sequence[int] | NDArray[np.intp]) -> Array:
    """Return what networks answer about images, shape (models, images, classes)."""
    x = problem.data.tensors[0][torch.as_tensor(np.asarray(rows))]
    with torch.no_grad():
        return np.stack([model.eval()(x).double().numpy() for model in models])


def log_odds(shown: Array, labels: NDArray[np.intp]) -> Array:
    """Return the log odds of each image's own class, shape (models, images)."""
    own = np.take_along_axis(shown, labels[None, :, None], axis=2)[..., 0]
    rest = np.where(np.eye(shown.shape[2], dtype=bool)[labels][None], -np.inf, shown)
    return own - np.logaddexp.reduce(rest, axis=2)


def methods(learn: NetworkTraining, epochs: int) -> dict[str, Method]:
    """The rows of the table."""
    few = max(1, epochs // 5)
    return {
        "does nothing": DoesNothing(),
        "fine-tuning": FineTuning(epochs=few),
        "NegGrad+": NegGradPlus(epochs=few),
        "random labels": RandomLabels(epochs=few),
        "SalUn": SalUn(epochs=few),
        "SCRUB": Scrub(epochs=few + 1, max_epochs=few),
        "last layer": LastLayer(epochs=2 * few),
        "SISA, 5 shards": Sisa(member=learn),
        "retraining": Retraining(learn=learn),
    }


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is printed of one method and one request."""

    bound: str
    area: str
    tpr: str
    lots: tuple[str, str]
    utility: str
    cost: str

    def cells(self) -> str:
        return " | ".join((self.bound, self.area, self.tpr, *self.lots, self.utility, self.cost))


def told_apart(first: Array, second: Array) -> tuple[str, str]:
    """Return AUC and TPR at FPR 1 % of the mean log odds, with 95 % intervals.

    The threshold is of a Gaussian fitted to half of the retrained networks, on the side of three tenths of the others.
    """
    area, error = auc(first, second)
    n_fit, half = 3 * len(first) // 10, len(second) // 2
    above = first[:n_fit].mean() >= second[:half].mean()
    sign = 1.0 if above else -1.0
    cut = (sign * second[:half]).mean() + norm.ppf(0.99) * (sign * second[:half]).std(ddof=1)
    hits, n = int(np.sum(sign * first[n_fit:] > cut)), len(first) - n_fit
    low = beta.ppf(0.025, hits, n - hits + 1) if hits else 0.0
    high = beta.ppf(0.975, hits + 1, n - hits) if hits < n else 1.0
    span = f"{max(area - 1.96 * error, 0):.2f} to {min(area + 1.96 * error, 1):.2f}"
    return f"{area:.2f} ({span})", f"{hits / n:.2f} ({low:.2f} to {high:.2f})"


def two_worlds(shown: Array, retrained: Array, labels: NDArray[np.intp]) -> str:
    """Return the lower bound of an audit of models that exist."""
    found = audit.from_models(shown, retrained, claim=CLAIM, labels=labels, details=0)
    tests = found.joint.findings[0].tests if found.joint is not None else ()
    return f"{max((test.bound.value for test in tests), default=0.0):.2f}"


def _mean(values: Array) -> str:
    return f"{values.mean():.3f} ± {1.96 * values.std(ddof=1) / math.sqrt(len(values)):.3f}"


def accuracy(models: Sequence[nn.Module], problem: Problem) -> Array:
    """Return the share of test images that each network names."""
    return np.mean(logits(models, problem, problem.test).argmax(axis=2) == problem.labels[problem.test], axis=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Lot:
    """Runs that were each given a draw of a pool, and networks that never saw the pool.

    Parameters
    ----------
    pool, base
        Candidates, and the images that are learned always.
    coins
        Shape (runs, m).
    single
        Whether one candidate is drawn a run.
    """

    pool: NDArray[np.intp]
    base: NDArray[np.intp]
    coins: NDArray[np.bool_]
    single: bool

    def bounds(self, problem: Problem, learn: Any, method: Method, name: str, kept: dict[str, Any]) -> tuple[str, str]:
        """Return the bound of the first run alone and of all runs.

        Guessed to have been in are the candidates whose log odds are furthest from usual, above or below: what
        unlearning overdoes shows too.
        """
        key = f"{name} {type(learn).__name__}"
        if key not in kept:
            never = learned(learn, problem.part(self.base), SIZES[0].references, f"{key} never")
            usual = log_odds(logits(never, problem, self.pool), problem.labels[self.pool])
            given = [np.concatenate([self.base, self.pool[row]]) for row in self.coins]
            models = [learned(learn, problem.part(rows), 1, f"{key} {i}")[0] for i, rows in enumerate(given)]
            kept[key] = usual.mean(axis=0), usual.std(axis=0, ddof=1), models
        mean, spread, models = kept[key]
        stays, rows = problem.part(self.base), []
        for i, (model, row) in enumerate(zip(models, self.coins, strict=True)):
            gone = unlearned(method, [copy.deepcopy(model)], stays, problem.part(self.pool[row]), f"{key} gone {i}")
            found = log_odds(logits(gone, problem, self.pool), problem.labels[self.pool])[0]
            rows.append(np.abs(found - mean) / spread)
        return self._judged(rows[:1]), self._judged(rows)

    def _judged(self, rows: list[Array]) -> str:
        coins, m = self.coins[: len(rows)], len(self.pool)
        covers: Any = OneRecord() if self.single else UpTo(k=m)
        claim = Claim(guarantee=POINT, reference=Reference.RETRAIN_ONLY, covers=covers)
        if self.single:
            found = audit.which_record(np.stack(rows), coins.argmax(axis=1), claim=claim)
        else:
            found = audit.from_lots(np.stack(rows), coins, claim=claim)
        return f"{found.lower_bound:.2f} of {found.ceiling:.2f}"


def hardness(problem: Problem, learn: Any, rows: NDArray[np.intp], name: str) -> Array:
    """Return minus the mean log odds of images under networks that did not learn them, four for each quarter."""
    found = np.empty(len(rows))
    parts = np.arange(len(rows)) % 4
    for k in range(4):
        models = learned(learn, problem.part(rows[parts != k]), 4, f"{name} {k}")
        mine = rows[parts == k]
        found[parts == k] = -log_odds(logits(models, problem, mine), problem.labels[mine]).mean(axis=0)
    return found


def requests(problem: Problem, learn: Any) -> dict[str, tuple[NDArray[np.intp], Lot]]:
    """Return what is deleted, and the lots beside it."""
    rng = np.random.default_rng(1)
    hard = problem.core[int(np.argmax(hardness(problem, learn, problem.core, "core")))]
    others = problem.others[np.argsort(-hardness(problem, learn, problem.others, "others"))]
    runs = SIZES[0].runs
    single = np.arange(N_HARD) == rng.integers(0, N_HARD, (runs, 1))
    class_of = problem.labels[problem.core] == DELETED_CLASS
    one_class, rest = problem.core[class_of], problem.core[~class_of]
    pool = rng.choice(problem.others, N_POOL, replace=False)
    core = problem.core
    return {
        "one hard record": (np.array([hard]), Lot(pool=others[:N_HARD], base=core, coins=single, single=True)),
        "20 records": (
            rng.choice(core, 20, replace=False),
            Lot(pool=pool, base=core, coins=rng.random((runs, N_POOL)) < 0.5, single=False),
        ),
        "a class": (
            one_class,
            Lot(pool=one_class, base=rest, coins=rng.random((runs, len(one_class))) < 0.5, single=False),
        ),
    }


def seconds(run: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a function returns, and the processor time that it took."""
    began = time.process_time()
    found = run()
    return found, time.process_time() - began


def table(problem: Problem, learn: NetworkTraining, request: str) -> list[str]:
    """Return the rows of all methods for a request."""
    sizes, rows = SIZES[0], methods(learn, learn.epochs)
    core, lines = problem.core, []
    full = {"network": learned(learn, problem.part(core), sizes.models, "full")}
    full["shards"] = learned(rows["SISA, 5 shards"], problem.part(core), sizes.ensembles, "full shards")
    forget, lot = requests(problem, learn)[request]
    kept, gone, drawn = problem.part(np.setdiff1d(core, forget)), problem.part(forget), {}
    labels = problem.labels[forget]
    lines += ["", f"### {request}", "", *heading(lot)]
    for name, method in rows.items():
        kind = "shards" if isinstance(method, Sisa) else "network"
        teacher = method if kind == "shards" else learn
        if kind not in drawn:
            make = partial(learned, teacher, kept, len(full[kind]), f"{request} {kind} retrained")
            drawn[kind] = seconds(make)
        retrained, cost = drawn[kind]
        copies = copy.deepcopy(full[kind])
        after, spent = seconds(partial(unlearned, method, copies, kept, gone, f"{request} {name}"))
        shown, other = logits(after, problem, forget), logits(retrained, problem, forget)
        area, tpr = told_apart(*(log_odds(s, labels).mean(axis=1) for s in (shown, other)))
        row = Row(
            bound=two_worlds(shown, other, labels),
            area=area,
            tpr=tpr,
            lots=lot.bounds(problem, teacher, method, request, drawn),
            utility=_mean(accuracy(after, problem)),
            cost=f"{spent / cost:.2f}",
        )
        lines.append(f"| {name} | {row.cells()} |")
        print(lines[-1], flush=True)
    for kind, (models, _) in ((k, v) for k, v in drawn.items() if k in full):
        called = {"network": "networks", "shards": "ensembles of shards"}[kind]
        lines.append(f"\nRetrained {called}: accuracy {_mean(accuracy(models, problem))}.")
    return lines


def heading(lot: Lot) -> list[str]:
    """Return the head of a table."""
    what = f"which of {len(lot.pool)} hard records" if lot.single else f"which of {len(lot.pool)} records"
    titles = (
        "method",
        "two worlds",
        "AUC",
        "TPR at 1 %",
        f"{what}: one run",
        f"{len(lot.coins)} runs",
        "accuracy",
        "cost",
    )
    return [f"| {' | '.join(titles)} |", f"| --- |{' ---: |' * (len(titles) - 1)}"]


def picture(problem: Problem, learn: NetworkTraining, path: Path) -> tuple[list[str], list[tuple[str, float, float]]]:
    """Distinguishability against difficulty: 7 records from the easiest to the hardest, and fine-tuning."""
    n, method = SIZES[0].picture, methods(learn, learn.epochs)["fine-tuning"]
    hard = hardness(problem, learn, problem.core, "core")
    order = np.argsort(hard)
    chosen = order[np.linspace(0, len(order) - 1, 7).astype(int)]
    full = learned(learn, problem.part(problem.core), n, "full")
    lines = [
        "| difficulty | before: mu | AUC | lower bound | fine-tuned: mu | AUC | lower bound |",
        f"|{' ---: |' * 7}",
    ]
    drawn: list[tuple[float, tuple[float, float], tuple[float, float]]] = []
    for i in chosen:
        row = problem.core[[i]]
        kept, gone, labels = problem.part(np.setdiff1d(problem.core, row)), problem.part(row), problem.labels[row]
        retrained = logits(learned(learn, kept, n, f"picture {i}"), problem, row)
        cells, points = [], []
        for models in (full, unlearned(method, copy.deepcopy(full), kept, gone, f"picture {i} tuned")):
            shown = logits(models, problem, row)
            first, second = (log_odds(s, labels)[:, 0] for s in (shown, retrained))
            mu, error = gaussian_mu(first, second)
            points.append((float(mu or 0.0), float(error or 0.0)))
            area, spread = auc(first, second)
            bound = two_worlds(shown, retrained, labels)
            cells += [f"{points[-1][0]:.2f} ± {points[-1][1]:.2f}", f"{area:.2f} ± {spread:.2f}", bound]
        drawn.append((float(hard[i]), points[0], points[1]))
        lines.append(f"| {hard[i]:.2f} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    _draw(drawn, path)
    ranks = []
    for k, name in ((1, "before unlearning"), (2, "after fine-tuning")):
        rank = spearmanr([point[0] for point in drawn], [point[k][0] for point in drawn])
        ranks.append((name, float(rank.statistic), float(rank.pvalue)))
    return [f"![Distinguishability against difficulty]({path.name})", "", *lines], ranks


def _draw(points: list[tuple[float, tuple[float, float], tuple[float, float]]], path: Path) -> None:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "unlearn-audit"}):
        figure = Figure(figsize=(5, 3.2), layout="constrained")
        axes = figure.subplots()
        for k, name in ((1, "before unlearning"), (2, "after fine-tuning")):
            mu = [point[k][0] for point in points]  # type: ignore[index]
            error = [point[k][1] for point in points]  # type: ignore[index]
            axes.errorbar([point[0] for point in points], mu, yerr=error, fmt="o-", capsize=3, label=name)
        axes.axhline(0, color="grey", linewidth=0.8)
        axes.set(xlabel="difficulty: minus the mean log odds of networks that never saw it", ylabel="estimated mu ± SE")
        axes.legend()
        figure.savefig(path, metadata={"Date": None})


def beside_source(found: Sequence[tuple[str, float, float]]) -> str:
    """Return what of the source these figures can be held against, in words.

    Parameters
    ----------
    found
        Name, rank correlation of mu with difficulty, and its p-value.
    """
    lines = []
    for name, rank, p in found:
        agrees = rank > 0 and p < LEVEL
        said = (
            "agrees" if agrees else "cannot be told from no relation with 7 records" if rank > 0 else "does not agree"
        )
        lines.append(f"* {name}: rank correlation of mu with difficulty {rank:.2f} (p = {p:.3f}): {said}.")
    return f"{BESIDE}\n\n" + "\n".join(lines) + f"\n\n{NOT_COMPARED}"


BESIDE = """## Beside the source

Benarroch, Atif, Cappe 2026 (arXiv:2602.15602; v1 was read, a v2 exists and was not). What can be held against it is its
statement that records differ in how much they must be hidden, in networks too, harder ones more:"""

NOT_COMPARED = """Its networks, data and noise are others, so that no number here is a number there. Lower bounds by 100
models a world are too coarse to rank records; estimates of mu do, and bound nothing. What it certifies is ridge
regression, which `paper_ridge.md` computes; for networks it has evidence, as these tables are."""


REQUESTS = ("one hard record", "20 records", "a class")


def part_of(task: str, sizes: Sizes, data: Path | None, svg: Path) -> tuple[Any, float]:
    """Return the rows of a request, or the picture, and the processor time that they took; in a process of its own."""
    torch.set_num_threads(1)
    SIZES[0], began = sizes, time.process_time()
    problem = Problem.of(data)
    learn = NetworkTraining(network=problem.network, epochs=sizes.epochs)
    found = table(problem, learn, task) if task in REQUESTS else picture(problem, learn, svg)
    return found, time.process_time() - began


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="an npz file of images; digits by default")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/approximate_unlearning.md"))
    parser.add_argument("--jobs", type=int, default=2, help="processes, at most 4")
    parser.add_argument("--quick", action="store_true", help="few networks of few epochs: does it run?")
    options = parser.parse_args()
    SIZES[0] = sizes = QUICK if options.quick else Sizes()
    problem, clock = Problem.of(options.data), time.monotonic()
    tasks = ("picture", *REQUESTS)
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        svg = options.out.with_suffix(".svg")
        made = list(pool.map(part_of, tasks, *([x] * len(tasks) for x in (sizes, options.data, svg))))
    (drawn, found), *tables = [part for part, _ in made]
    minutes = sum(spent for _, spent in made) / 60, (time.monotonic() - clock) / 60
    n_weights = sum(p.numel() for p in problem.network().parameters())
    setting = (
        f"{problem.name}: {len(problem.core)} images are learned, {len(problem.others)} others are candidates of lots, "
        f"{len(problem.test)} test. A convolutional network of {n_weights:,} weights, {sizes.epochs} epochs at "
        f"batches of 32. {sizes.models} models a world in the two worlds ({sizes.ensembles} of SISA), the same learned "
        f"ones for every method and request; {sizes.references} models that never saw the pool for the lots. Seeds are "
        f"fixed. {minutes[0]:.1f} minutes of processor time, {minutes[1]:.0f} of the clock in {options.jobs} processes "
        "beside other work."
    )
    text = [f"# Approximate unlearning\n\n{(__doc__ or '').strip()}\n\n{setting}", READING, "## Methods and requests"]
    text += ["\n".join(rows).strip() for rows in tables]
    text += ["## Distinguishability against difficulty", "\n".join(drawn), beside_source(found)]
    options.out.write_text("\n\n".join(text) + "\n", encoding="utf-8")


READING = """Two worlds: `audit.from_models`, level .05. By lot: `audit.which_record` and `audit.from_lots`, each bound
of its ceiling. Which of the hard records belongs to requests of one record, subsets of a pool of 40 to requests of
some 20, subsets of a class to the deletion of a class: other cells are not applicable. AUC and TPR are of the mean
log odds of the deleted records (AUC above .5: fitted better than by retrained networks, below: worse), with 95 %
intervals; they are estimates. TPR at 1 % takes its threshold from a Gaussian fitted to half of the retrained
networks. Accuracy with a 95 % interval of its mean. Cost: processor time as a share of retraining's, measured in the
same way. One setting of each method, not tuned to this table. SISA is compared with ensembles that were learned
without the records."""


if __name__ == "__main__":
    main()
