"""Audit scores that were made elsewhere: a few hundred models' outputs in two files from a cluster.

Each number is one model's score at the deleted record, the higher the more it looks like an unlearned model. Here the
files are written by this script: 360 unlearned models against 300 retrained ones (a job of 60 failed), as if by a
service whose scores are N(1.5, 1) against N(0, 1). It claims epsilon <= 1 at delta = 1e-5.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import audit
from mechanisms import Claim, EpsilonDelta, Reference


def write_scores(folder: Path) -> tuple[Path, Path]:
    """What the cluster leaves behind."""
    rng = np.random.default_rng(8)
    paths = folder / "unlearned.npy", folder / "retrained.csv"
    np.save(paths[0], rng.normal(1.5, 1, 360).astype(np.float32))
    np.savetxt(paths[1], rng.normal(0, 1, 300), fmt="%.6f")
    return paths


def main() -> None:
    claim = Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5), reference=Reference.RETRAIN_ONLY)
    with tempfile.TemporaryDirectory() as folder:
        unlearned, retrained = map(audit.read_scores, write_scores(Path(folder)))
    # A threshold from an earlier study, chosen before these scores existed, is counted on every model.
    for name, threshold in (("chosen on a split", None), ("declared", 2.0)):
        result = audit.from_scores(unlearned, retrained, claim=claim, seed=1, threshold=threshold)
        finding = result.findings[0]
        bound, estimate = finding.sandwiches[0].bound, finding.estimates[0]
        print(
            f"{name:17s}  {finding.verdict.value.replace('_', ' ').upper():8s} epsilon >= {bound.value:.2f} "
            f"({bound.counts.n_unlearned} and {bound.counts.n_retrained} models counted)"
        )
    print(
        f"estimates, not bounds: mu {estimate.mu:.2f} +- {estimate.mu_se:.2f}, AUC {estimate.auc:.3f}, challenge ",
        end="",
    )
    print(f"epsilon {estimate.challenge_epsilon:.1f} (retrained against retrained: {estimate.challenge_floor:.1f})")
    for control in result.controls:
        print(f"{control.name}: {control.message}")


if __name__ == "__main__":
    main()
