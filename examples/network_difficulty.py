"""The source's picture for a network: how well a deletion can be told from retraining, against its difficulty.

    unlearn-audit run examples/plans/network.toml --out out/network
    python examples/network_difficulty.py out/network/report.json [picture.svg]

Difficulty is that of a ridge fit to the same records, by which the plan chose them. What is drawn are estimates of mu,
the shift of an attack's scores in standard deviations: they bound nothing. The lower bound stands beside them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from attacks import difficulty
from audit import AuditResult, Estimate, Finding
from mechanisms import load_named

RIDGE_PENALTY = 1.0
Point = tuple[float, Finding, Estimate]


def points(result: AuditResult) -> list[Point]:
    """Return (difficulty, finding, estimate) for each record and attack, the easiest record first."""
    data = load_named(result.data.name, rows=result.data.n_records)
    if data.sha256() != result.data.sha256:
        sys.exit(f"{result.data.name} is not the data that was audited")
    of_record = difficulty(data, penalty=RIDGE_PENALTY)
    found = [(float(of_record[f.forget[0]]), f, estimate) for f in result.findings for estimate in f.estimates]
    return sorted(found, key=lambda point: point[0])


def table(found: list[Point]) -> str:
    """Return the table, with a bar of one mark for a tenth of a standard deviation."""
    lines = ["record             difficulty  attack    mu (estimate)   AUC    lower bound on epsilon"]
    for hard, finding, estimate in found:
        name = f"{finding.forget[0]:5d} ({finding.label})"
        if estimate.mu is None:
            continue
        bounds = [test.bound for test in finding.tests if test.bound.attack == estimate.attack]
        bound = max(bounds, key=lambda b: b.value)
        lines.append(
            f"{name:18s} {hard:10.3f}  {estimate.attack:8s} {estimate.mu:5.2f} +- {estimate.mu_se:.2f}   "
            f"{estimate.auc:.3f}  {bound.value:.2f} at delta = {bound.delta:g}  {'#' * round(10 * max(estimate.mu, 0))}"
        )
    return "\n".join(lines)


def draw(found: list[Point], path: Path) -> None:
    """Write the picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.subplots()
    for attack in dict.fromkeys(estimate.attack for _, _, estimate in found):
        mine = [(hard, e.mu, e.mu_se) for hard, _, e in found if e.attack == attack and e.mu is not None]
        hard, mu, error = zip(*mine, strict=True)
        axes.errorbar(hard, mu, yerr=error, fmt="o-", capsize=3, label=attack)
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set(xlabel="difficulty: |residual| sqrt(h / (1 - h)) of a ridge fit", ylabel="estimated mu ± standard error")
    axes.legend()
    figure.savefig(path)


def main() -> None:
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: network_difficulty.py report.json [picture.svg]")
    found = points(AuditResult.from_json(Path(sys.argv[1]).read_text(encoding="utf-8")))
    print(table(found))
    if len(sys.argv) == 3:
        draw(found, Path(sys.argv[2]))


if __name__ == "__main__":
    main()
