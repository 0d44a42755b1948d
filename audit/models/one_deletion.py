"""One deletion, many records: all models of a kind deleted the same set, and every output is evidence on one claim."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audit.gathering.contrast import Evidence, Kind
from audit.gathering.selection import claim_rows
from audit.given.auditing import RowsAudit, Started, audit_rows
from audit.given.models import one_row_a_model
from audit.given.options import Options
from audit.given.precision import LARGEST, precision_control
from audit.given.rows import GivenRows, n_fit, split_rows
from audit.models.band import areas, null_band
from audit.models.checks import (
    LEAST,
    alike,
    check_enough,
    check_reference,
    check_seeds,
    n_distinct_models,
    names_of,
    sampled_columns,
)
from audit.models.examining import Rows, Sides, Tests, examine, few_points
from audit.models.options import options_of
from audit.models.outputs import Outputs, OutputsKind
from audit.models.stacks import Stack
from audit.models.telling import N_DETAILS, checked_details, columns_of, details_of
from audit.plan.split import Split
from audit.power.event_power import power
from audit.records.evidence import EventTest
from audit.records.models import ModelsResult
from audit.statistics.multiplicity import equal_share
from audit.statistics.smoothing import rate_above
from audit.trials.chunks import Stream, make_generator
from mechanisms.claim import Claim, Direction, Reference

Array = NDArray[np.float64]
# Records in one block of the table.
_BLOCK = 2_000


def from_models(
    unlearned: ArrayLike | Stack,
    retrained: ArrayLike | Stack,
    *,
    claim: Claim,
    kind: OutputsKind = "logits",
    labels: ArrayLike | None = None,
    records: Sequence[object] | ArrayLike | None = None,
    before: ArrayLike | Stack | None = None,
    reference: Reference | None = None,
    model_ids: tuple[ArrayLike, ArrayLike] | None = None,
    seeds: tuple[Sequence[object], Sequence[object]] | None = None,
    conditional_on_seed: bool = False,
    significance: float = 0.05,
    seed: int = 0,
    delta: float | None = None,
    counting: Split | None = None,
    details: int = N_DETAILS,
    continuous: bool = True,
    title: str | None = None,
    names: tuple[str, str] = ("unlearned", "retrained"),
    command: str | None = None,
) -> ModelsResult:
    """Audit one deletion by the outputs of models on many records: a verdict wrong with at most ``significance``.

    All unlearned models deleted the same set. There is one claim, about that set, and one test of it at the full
    level: which record, or which function of all records, is tested is chosen on models that are not counted. The
    table of records is evidence and no claim each.

    Parameters
    ----------
    unlearned, retrained
        Outputs, shape (models, records) or (models, records, columns): at least 16 models each, which may differ in
        number, the same records. Rows in the order in which the models were made. A memory map is read in blocks.
    claim
        What is claimed of the deletion, with the reference world that the retrained models are of.
    kind
        What an output is: "logits" or "probabilities" (with ``labels`` where there are several classes), "loss",
        "values" (predictions, compared with ``labels`` where these are given) or "scores".
    labels
        The class of each record, or the target of each value.
    records
        What the records are called; their numbers by default.
    before
        Outputs of the models before unlearning, which lack its noise: shown, and never compared for a verdict.
    reference
        How the retrained models were made, where it is to be checked against the claim.
    model_ids
        Where several rows are of one model, as in :func:`audit.from_scores`.
    seeds
        Training seeds of the unlearned and of the retrained models.
    details
        How many records, those with the most evidence, are shown with a lower bound on epsilon, which takes some 30 ms.
    conditional_on_seed
        True when all models of a kind were trained with one seed on purpose.
    significance, seed, delta, counting, continuous, title, names, command
        As in :func:`audit.from_scores`. By default 30 % of the models fit, and half of them where there are few.

    Returns
    -------
    ModelsResult

    Raises
    ------
    InvalidInputError
        For outputs or options out of range, before anything is computed.

    Notes
    -----
    The attack is the family ``portfolio:outputs``: the best column, the sum of all columns' log ratios, a count of
    votes, and Fisher's discriminant. The test is exact for independent models. p-values of single records are each
    valid by themselves and not corrected; bounds of the records in detail hold together.

    Examples
    --------
    >>> import numpy as np
    >>> from mechanisms import EpsilonDelta
    >>> rng = np.random.default_rng(0)
    >>> claim = Claim(guarantee=EpsilonDelta(epsilon=0.5, delta=1e-5))
    >>> outputs = rng.normal(0, 1, (200, 10))
    >>> from_models(outputs[:100] + 0.8, outputs[100:], claim=claim, kind="scores").verdict.value
    'refuted'
    """
    started, n_details = Started.now(), checked_details(details)
    sides = [Outputs.of(values, kind, labels, name) for values, name in zip((unlearned, retrained), names, strict=True)]
    alike(sides[0], sides[1])
    check_reference(reference, claim)
    shown = names_of(records, sides[0].n_records)
    options = options_of(
        n_distinct_models(sides, model_ids),
        claim=claim,
        significance=significance,
        seed=seed,
        delta=delta,
        counting=counting,
        names=names,
        continuous=continuous,
    )
    for side in sides:
        check_enough(
            side.n_models, f"{side.name} models", significance=options.significance, delta=options.delta or 0.0
        )
    said = [
        check_seeds(some, name, conditional=conditional_on_seed)
        for some, name in zip(seeds or ((), ()), (f"{name} models" for name in options.names), strict=True)
    ]
    stored = [np.asarray(sampled_columns(side)) for side in sides]
    dtypes = (stored[0].dtype, stored[1].dtype)
    precision = precision_control(_rows([np.asarray(s, np.float64) for s in stored], options.names, dtypes))
    given = _rows([side.matrix() for side in sides], options.names, dtypes).clipped(LARGEST)
    if model_ids is not None:
        # Before anything is made of rows: the table counts models too.
        given = one_row_a_model(given, model_ids, seed=options.seed, least=LEAST)
    audited = audit_rows(
        given,
        options,
        precision,
        started=started,
        title=title or f"Models: {options.names[0]} against {options.names[1]}",
        command=command,
        model_ids=None,
    )
    rows, tests = _table(given, sides[0].per_record, audited, options)
    finding = audited.result.findings[0]
    return ModelsResult(
        title=audited.result.title,
        claim=claim,
        design="one_deletion",
        n_unlearned=len(given.unlearned),
        n_retrained=len(given.retrained),
        n_records=len(shown),
        outputs=kind,
        significance=options.significance,
        seed=options.seed,
        verdict=finding.verdict,
        reason=finding.reason,
        joint=audited.result,
        planned_power=planned_power(audited),
        records=columns_of(rows, shown),
        refuted=(),
        listed=(),
        details=details_of(rows, few_points(claim_rows(claim)), tests, n=n_details, refuted=(), listed=()),
        some=None,
        band=null_band(
            given.retrained, sides[0].per_record, n=(len(given.unlearned), len(given.retrained)), seed=options.seed
        ),
        before=None if before is None else _before(Outputs.of(before, kind, labels, "before"), given.retrained),
        controls=audited.result.controls,
        notes=tuple(sentence for sentence in said if sentence),
        data=audited.result.data,
        environment=audited.result.environment,
    )


def planned_power(audited: RowsAudit) -> float | None:
    """Return the probability with which the joint test was to refute, by the rates of the fit split; an estimate.

    ``None`` where nothing was tested.
    """
    tests = audited.result.findings[0].tests
    return power_of_test(tests[0], audited.evidence) if tests else None


def power_of_test(test: EventTest, evidence: Evidence) -> float:
    """Return the probability with which a test was to refute, by the rates of its event on the fit split."""
    rates = _fitted_rates(evidence, test.bound.attack, test.bound.threshold, test.bound.tail)
    _, n1, _, n0 = test.bound.counts.oriented(test.bound.direction)
    p1, p0 = rates if test.bound.direction is Direction.UNLEARNED_FROM_RETRAINED else rates[::-1]
    return power(p1=p1, p0=p0, n1=n1, n0=n0, point=test.point, level=test.bound.level)


def _fitted_rates(evidence: Evidence, attack: str, threshold: float, tail: str) -> tuple[float, float]:
    prepared, at = evidence.prepared[attack], np.array([threshold])
    above = [float(rate_above(scores, at)[0]) for scores in (prepared.unlearned, prepared.retrained)]
    first, second = above if tail == "upper" else [1 - rate for rate in above]
    return first, second


def _rows(sides: Sequence[Array], names: tuple[str, str], dtypes: tuple[np.dtype, np.dtype]) -> GivenRows:
    return GivenRows(unlearned=sides[0], retrained=sides[1], names=names, dtypes=dtypes)


def _table(given: GivenRows, per_record: int, audited: RowsAudit, options: Options) -> tuple[Rows, Tests]:
    """Return a row a record, by the split of the joint test."""
    plan, claim = audited.plan, options.claim
    n1, n0 = len(given.unlearned), len(given.retrained)
    fitting = np.zeros(n1 + n0, dtype=np.bool_)
    for side, (n, start) in enumerate(((n1, 0), (n0, n1))):
        chosen, _ = split_rows(n, plan, Kind.CLAIMS, side) if n_fit(n, plan) else (np.empty(0, np.intp), None)
        fitting[start + chosen] = True
    is_unlearned = (np.arange(n1 + n0) < n1)[:, None]
    sides = Sides(unlearned=is_unlearned, retrained=~is_unlearned, fitting=fitting)
    n_records = given.unlearned.shape[1] // per_record
    tests = Tests(equal_share(plan.significance, n_records))
    rng = make_generator(plan.seed, Stream.PAIRING, 0)
    points = few_points(claim_rows(claim))
    parts = []
    for start in range(0, n_records, _BLOCK):
        stop = min(start + _BLOCK, n_records)
        columns = slice(start * per_record, stop * per_record)
        block = np.concatenate([given.unlearned[:, columns], given.retrained[:, columns]])
        parts.append(examine(block.reshape(n1 + n0, stop - start, per_record), sides, points, tests, rng=rng))
    return Rows.joined(parts), tests


def _before(outputs: Outputs, retrained: Array) -> float:
    """Return the mean distance of the records' AUC from 1/2, before unlearning against retrained."""
    found = areas(outputs.matrix(), retrained, outputs.per_record)
    return float(np.mean(np.abs(found - 0.5)))
