"""What a release shows of the deleted records: one or more numbers for each, from outputs or from linear weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit, logsumexp

from attacks.linear.geometry import linear_model, n_outputs
from attacks.protocol import AttackContext, labels_of, matrices
from mechanisms.errors import NotApplicableError
from mechanisms.protocol import Access, OutputKind

Array = NDArray[np.float64]
# Probabilities nearer to 0 or 1 than this are rounded by the model that states them.
_CLIP = 1e-12


def output_kind(context: AttackContext, attack: str) -> OutputKind:
    """Return what kind of output :func:`target_statistics` reads.

    Raises
    ------
    NotApplicableError
        When the release shows no output of the deleted records.
    """
    if context.probe is not None:
        return context.probe.kind
    if context.release.access is Access.BLACK_BOX:
        raise NotApplicableError(
            f"{attack} needs to know which outputs are the deleted record's; declare ReleaseSpec(outputs=Outputs(...)) "
            "with the deleted record in the probe set, or use lda instead"
        )
    linear_model(context, attack)
    return "logits" if context.parameters.get("loss") == "logistic" else "values"


def target_statistics(releases: Array, context: AttackContext, attack: str) -> Array:
    """Return the statistics of the deleted records in each release, shape (n, c).

    Returns
    -------
    array
        For values the residual, a column for each target; for logits and probabilities the log odds of the record's
        own class (Carlini et al. 2022, arXiv:2112.03570, section V); for labels 1 where the class is right, else 0.

    Raises
    ------
    NotApplicableError
        When the release shows no output of the deleted records, its shape is not that of such outputs, or the records
        are no matrices and know no classes, so that their targets are not known.
    """
    kind, n = output_kind(context, attack), len(releases)
    known = None if kind == "values" else labels_of(context.deleted)
    if known is not None:
        return _of_classes(_outputs(releases, context, attack), known, kind, attack)
    targets = matrices(context, attack)[1].targets
    outputs = _outputs(releases, context, attack)
    if kind == "values":
        if outputs.shape[2] != targets.shape[1]:
            raise NotApplicableError(
                f"{attack} needs {targets.shape[1]} values a probe record, one a target, got {outputs.shape[2]}"
            )
        return np.asarray((outputs - targets).reshape(n, -1))
    own = targets.argmax(axis=1) if targets.shape[1] > 1 else (targets[:, 0] > 0).astype(np.int64)
    return _of_classes(outputs, own, kind, attack)


def _of_classes(outputs: Array, own: NDArray[np.int64], kind: OutputKind, attack: str) -> Array:
    """Return the log odds of each record's own class, or whether its label is right, shape (n, records)."""
    if kind == "labels":
        return np.asarray((outputs[:, :, 0] == own).astype(np.float64))
    if kind == "probabilities":
        outputs = np.clip(outputs, _CLIP, 1 - _CLIP)
    if outputs.shape[2] == 1:
        odds = outputs[:, :, 0] if kind == "logits" else logit(outputs[:, :, 0])
        return np.asarray(np.where(own == 1, odds, -odds))
    if own.min() < 0 or own.max() >= outputs.shape[2]:
        raise NotApplicableError(f"{attack} needs an output for every class, got {outputs.shape[2]}")
    of_own = np.take_along_axis(outputs, own[None, :, None], axis=2)[:, :, 0]
    if kind == "probabilities":
        return np.asarray(logit(of_own))
    others = np.where(np.arange(outputs.shape[2]) == own[:, None], -np.inf, outputs)
    return np.asarray(of_own - logsumexp(others, axis=2))


def _outputs(releases: Array, context: AttackContext, attack: str) -> Array:
    """Return the outputs at the deleted records, shape (n, records, columns)."""
    n = len(releases)
    if context.probe is None:
        x = matrices(context, attack)[1].features
        weights = releases.reshape(n, x.shape[1], n_outputs(context, attack))
        return np.asarray(np.einsum("rp,npq->nrq", x, weights, optimize=True))
    rows = np.asarray(context.probe.rows)
    if releases.ndim not in (2, 3) or rows.max() >= releases.shape[1]:
        raise NotApplicableError(
            f"{attack} needs outputs of shape (probe records, columns) with a row {rows.max()}, "
            f"got shape {releases.shape[1:]}"
        )
    return releases[:, rows].reshape(n, len(rows), -1)
