"""What the certificates of a network on digits cost: accuracy by epsilon, and each record its own epsilon.

    python benchmarks/network_certificates.py            # three to four minutes of one core
    python benchmarks/network_certificates.py --quick    # without the audits
    python benchmarks/network_certificates.py --out benchmarks/results/network_certificates.md

Prints the tables of benchmarks/results/network_certificates.md, and with --out puts them in their places there. A line
of a table that is done is kept in a folder (--parts), so that a run that was stopped goes on where it was; remove the
folder to measure anew. Accuracies are of held-out digits, each a mean of 20 networks with its lower 95 % limit
(Student's t); networks compared with each other have the same random numbers.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from scipy.stats import t

import audit
from attacks.registry import ATTACKS
from mechanisms.accounting import best_n_steps, gdp, gradient_clipping_mu
from mechanisms.dataset import Dataset
from mechanisms.networks import IndividualFilter, NetworkLangevin, NoisyFineTuning, record_map
from mechanisms.protocol import World
from mechanisms.sources import load_named

N_RECORDS, N_NETWORKS = 1500, 20
N_TRIALS, SEED = 60, 7
LONG = NetworkLangevin(n_learn=200, step_size=2.0, clip_norm=1.0, sigma_learn=0.01132, n_unlearn=0, sigma_unlearn=0.0)
# Fewer, larger steps lose less where the noise is strong.
SHORT = NetworkLangevin(
    hidden=24, n_learn=40, step_size=6.0, clip_norm=0.5, sigma_learn=0.0472, n_unlearn=0, sigma_unlearn=0.0
)
FILTERED = replace(LONG, individual=IndividualFilter(margin=1.2))
CASES = (
    ("no noise", replace(LONG, sigma_learn=0.0), 1),
    ("epsilon 8", LONG, 1),
    ("epsilon 8, 20 clean steps", replace(LONG, n_unlearn=20), 1),
    ("epsilon 1", SHORT, 1),
    ("epsilon 1, 20 clean steps", replace(SHORT, n_unlearn=20), 1),
    ("10 records, epsilon 8", replace(SHORT, sigma_learn=0.0761), 10),
    ("10 records, epsilon 8, 20 clean steps", replace(SHORT, sigma_learn=0.0761, n_unlearn=20), 10),
)


# By the promise that networks on digits are held to.
WANTED = {
    "epsilon 8": ".86",
    "epsilon 1": ".79",
    "epsilon 1, 20 clean steps": ".83",
}


def accuracies(mechanism: NetworkLangevin, data: Dataset, forget: tuple[int, ...]) -> np.ndarray:
    """Return the accuracy of unlearned networks on all held-out records, one each."""
    held_out = data.held_out
    if held_out is None:
        raise ValueError("nothing is held out")
    deletion = replace(mechanism, n_probe=held_out.n_records).bind(data, forget)
    logits = deletion.sample(World.UNLEARNED, N_NETWORKS, rng=np.random.default_rng(SEED))[:, len(forget) :]
    return np.asarray((logits.argmax(2) == held_out.targets.argmax(1)).mean(axis=1))


def limit(values: np.ndarray) -> float:
    """Return the lower 95 % limit of the mean."""
    return float(values.mean() - t.ppf(0.95, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Lines of tables that were measured already, a file each; what they were measured with is in the name."""

    folder: Path

    def line(self, name: str, settings: object, measured: Callable[[], str]) -> str:
        """Return a line, measured now or before."""
        digest = hashlib.sha256(repr((settings, N_RECORDS, N_NETWORKS, N_TRIALS, SEED)).encode()).hexdigest()[:12]
        path = self.folder / f"{name}-{digest}.txt"
        if not path.is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            aside = path.with_suffix(".new")
            aside.write_text(measured(), encoding="utf-8")
            aside.replace(path)
        return path.read_text(encoding="utf-8")


def of_all(data: Dataset, kept: Kept) -> Iterator[str]:
    """Yield accuracy by epsilon where one number holds for all records."""
    yield "| | epsilon | accuracy, mean of 20 | lower 95 % limit | wanted |"
    yield "|---|---:|---:|---:|---:|"
    for name, mechanism, n_deleted in CASES:
        forget = tuple(range(n_deleted))

        def measured(mechanism: NetworkLangevin = mechanism, forget: tuple[int, ...] = forget) -> str:
            stated = mechanism.bind(data, forget).certificates()
            epsilon = f"{stated[0].epsilon:.3f}" if stated else "–"
            found = accuracies(mechanism, data, forget)
            return f"{epsilon} | {found.mean():.3f} | {limit(found):.3f}"

        wanted = f" {WANTED[name]} |" if name in WANTED else " |"
        yield f"| {name} | {kept.line('all', (mechanism, forget), measured)} |{wanted}"


def of_each(data: Dataset, kept: Kept) -> Iterator[str]:
    """Yield the epsilons of all records, and what their budgets cost."""
    yield "| margin | smallest | 10 % | median | 90 % | largest | accuracy | less than unfiltered | still active |"
    yield "|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    plain = cache(lambda: accuracies(LONG, data, (0,)))
    for margin in (1.1, 1.2, 1.3):
        mechanism = replace(FILTERED, individual=IndividualFilter(margin=margin))

        def measured(mechanism: NetworkLangevin = mechanism) -> str:
            found = record_map(mechanism, data).epsilons
            quantiles = np.quantile(found, [0, 0.1, 0.5, 0.9, 1], method="higher")
            own = accuracies(mechanism, data, (0,))
            less = plain() - own
            error = less.std(ddof=1) / len(less) ** 0.5
            cells = " | ".join(f"{value:.2f}" for value in quantiles)
            active = np.mean([still_active(mechanism, data, seed) for seed in range(3)])
            return f"{cells} | {own.mean():.3f} | {less.mean():+.4f} ± {error:.4f} | {active:.0%}"

        yield f"| {margin} | {kept.line('each', mechanism, measured)} |"


def of_unlearning(data: Dataset, kept: Kept) -> Iterator[str]:
    """Yield what noisy fine-tuning certifies of networks learned without noise, beside retraining anew."""
    yield "| epsilon | steps | noise | accuracy, mean of 20 | after 50 clean steps |"
    yield "|---:|---:|---:|---:|---:|"
    plain = replace(LONG, sigma_learn=0.0)
    for target, start in ((8.0, 0.1), (1.0, 0.02)):
        tuning = NoisyFineTuning(start_norm=start, gradient_norm=start / 5, step_size=0.5)
        lengths = {"start_norm": start, "clip_norm": start / 5, "step_size": tuning.step_size}
        n_steps = best_n_steps(**lengths)
        sigma = 1.0001 * gradient_clipping_mu(**lengths, n_steps=n_steps, sigma=1.0) / gdp.mu(target, LONG.delta)
        service = replace(plain, n_unlearn=n_steps, sigma_unlearn=sigma, fine_tuning=tuning)

        def measured(service: NetworkLangevin = service, tuning: NoisyFineTuning = tuning) -> str:
            cleaned = replace(service, fine_tuning=replace(tuning, n_clean=50))
            epsilon = service.bind(data, (0,)).certificates()[0].epsilon
            before, after = (accuracies(mechanism, data, (0,)).mean() for mechanism in (service, cleaned))
            noise = service.sigma_unlearn
            return f"{epsilon:.3f} | {service.n_unlearn} | {noise:.4f} | {before:.3f} | {after:.3f}"

        yield f"| {kept.line('unlearning', service, measured)} |"
    anew = replace(plain, n_learn=50)
    found = kept.line("anew", anew, lambda: f"{accuracies(anew, data, (0,)).mean():.3f}")
    yield ""
    yield f"Retraining from random weights, 50 steps: {found}."


def still_active(mechanism: NetworkLangevin, data: Dataset, seed: int) -> float:
    """Return the share of records that still take part in the last step, by a pilot of another seed."""
    deletion = mechanism.bind(data, (0,))
    if deletion.budgets is None:
        return 1.0
    spent = deletion.pilot(data, np.random.default_rng([SEED, seed]))
    return float(np.mean(spent <= deletion.budgets.of(data)))


def audits(data: Dataset, kept: Kept) -> Iterator[str]:
    """Yield an audit at its own claim of the records at 10 %, the median and 90 %."""
    yield f"| record | its epsilon | verdict | lower bound, {N_TRIALS} networks a world | detectable from |"
    yield "|---:|---:|---|---:|---:|"
    epsilons = record_map(FILTERED, data).epsilons
    order = np.argsort(epsilons, kind="stable")
    for share in (0.1, 0.5, 0.9):
        record = int(order[int(share * (len(order) - 1))])

        def measured(record: int = record) -> str:
            claim = FILTERED.bind(data, (record,)).certificates()[0].claim
            attacks = [ATTACKS[name] for name in ("u_lira", "lda")]
            result = audit.run(FILTERED, data, forget=record, claim=claim, trials=N_TRIALS, attacks=attacks, seed=SEED)
            (finding,) = result.findings
            shown = max(finding.sandwiches, key=lambda sandwich: sandwich.bound.value)
            return (
                f"{epsilons[record]:.2f} | {finding.verdict.value} | {shown.bound.value:.2f} at delta "
                f"{shown.bound.delta:.2g}, where {shown.claimed:.2f} is claimed | {shown.detectable_epsilon:.2f}"
            )

        yield f"| {record} | {kept.line('audit', (FILTERED, record), measured)} |"


def placed(page: str, name: str, lines: list[str]) -> str:
    """Return a page with a table between its two marks."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    if page.count(begin) != 1 or page.count(end) != 1:
        raise SystemExit(f"Expected the marks {begin} and {end} once each; put them around the table.")
    before, rest = page.split(begin)
    return "".join([before, begin, "\n", "\n".join(lines), "\n", end, rest.split(end)[1]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="leave the audits out")
    parser.add_argument("--out", type=Path, help="a page with marks around its tables")
    parser.add_argument("--parts", type=Path, default=Path("out/network_certificates"), help="lines that are done")
    options = parser.parse_args()
    clock, kept = time.process_time(), Kept(folder=options.parts)
    data = load_named("digits", rows=N_RECORDS)
    tables = {"of_all": of_all, "of_each": of_each, "of_unlearning": of_unlearning, "audits": audits}
    if options.quick:
        del tables["audits"]
    for name, table in tables.items():
        lines = []
        for line in table(data, kept):
            print(line, flush=True)
            lines.append(line)
        print(flush=True)
        if options.out:
            page = options.out.read_text(encoding="utf-8")
            options.out.write_text(placed(page, name, lines), encoding="utf-8")
    print(f"{time.process_time() - clock:.0f} seconds of processor time.")


if __name__ == "__main__":
    main()
