"""A claim a record: models in which a record was forgotten against reference models that never retained it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audit.gathering.contrast import Kind
from audit.gathering.selection import claim_rows
from audit.given.auditing import Started
from audit.given.controls import given_controls
from audit.given.precision import precision_control
from audit.given.rows import GivenRows, gather_rows, n_fit, split_rows
from audit.models.assigning import Status
from audit.models.band import null_band
from audit.models.checks import check_enough, check_seeds, names_of, sampled_columns, seeds_of
from audit.models.examining import Rows, Sides, Tests, examine, few_points
from audit.models.options import options_of
from audit.models.outputs import Outputs, OutputsKind
from audit.models.stacks import Stack
from audit.models.status import checked_kinds, checked_status, note_on_coins
from audit.models.telling import N_DETAILS, checked_details, columns_of, details_of
from audit.plan.audit_plan import AuditPlan
from audit.plan.split import Split
from audit.power.ceilings import refutable
from audit.records.ledger import Control
from audit.records.models import ModelsResult, SomeRecord
from audit.records.verdict import Reason, Verdict, decide
from audit.records.words.rounding import counted
from audit.statistics.bets import log_sum
from audit.statistics.e_values import e_bh
from audit.statistics.multiplicity import equal_share, holm_rejects
from audit.trials.chunks import Stream, make_generator
from mechanisms.claim import Claim

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
# Records in one block: enough for the arithmetic, few enough for the memory.
_BLOCK = 2_000
# So many records show whether models are independent.
_MOST_CHECKED = 2_000
NAMES = ("deletion models", "reference models")
# Larger e-values are told as this one: its logarithm still has a finite exponential.
LARGEST_LOG = 700.0


def from_status(
    outputs: ArrayLike | Stack,
    status: ArrayLike,
    kinds: ArrayLike,
    *,
    claim: Claim,
    kind: OutputsKind = "logits",
    labels: ArrayLike | None = None,
    records: Sequence[object] | ArrayLike | None = None,
    seeds: Sequence[object] = (),
    conditional_on_seed: bool = False,
    drawn_by_coins: bool = True,
    significance: float = 0.05,
    seed: int = 0,
    counting: Split | None = None,
    details: int = N_DETAILS,
    continuous: bool = True,
    title: str | None = None,
    command: str | None = None,
) -> ModelsResult:
    """Audit a claim a record with the same few models: any true claim is refuted with at most ``significance``.

    For each record, deletion models in which it was forgotten are compared with REFERENCE models that did not retain
    it. Deletion models in which a record is absent are never the reference: between two unlearned models a claim of
    epsilon implies 2 epsilon only.

    Parameters
    ----------
    outputs
        Shape (models, records) or (models, records, columns); a memory map is read in blocks.
    status
        What each model did with each record, shape (models, records): 0 absent (never learned), 1 forgotten (learned,
        then unlearned), 2 retained; whole numbers, or these words. It must have been drawn by coins that are
        independent over models and records, as by :func:`audit.assign_status`.
    kinds
        For each model, "deletion" (something was unlearned) or "reference" (learned on what is retained, and unlearned
        nothing); or 1 and 0.
    claim
        About deleting the set that holds a record, on average over the retained and the deleted sets.
    kind, labels, records, seeds, conditional_on_seed
        As for :func:`audit.from_models`.
    drawn_by_coins
        False when each record is in a fixed number of models, as LiRA draws them: the exact test then does not hold,
        which is refused.
    significance, seed, counting, details, continuous, title, command
        As for :func:`audit.from_models`.

    Returns
    -------
    ModelsResult

    Raises
    ------
    InvalidInputError
        For outputs, a status or options that are out of range or contradict each other, before anything is computed.

    Notes
    -----
    Records share their models, so their p-values depend on each other. Half of the significance goes to Holm's
    procedure over the records' claims, half to the mean of their e-values, which tests "the claim holds for every
    record"; both hold under every dependence. The list by e-BH has its own guarantee: the expected share of true claims
    in it is at most the significance.

    References
    ----------
    Holm 1979; Wang, Ramdas 2022 (arXiv:2009.02824); :mod:`audit.statistics.e_values`.
    """
    started, n_details = Started.now(), checked_details(details)
    given = Outputs.of(outputs, kind, labels, "outputs")
    is_deletion = checked_kinds(kinds, given.n_models)
    known = checked_status(status, is_deletion, given.n_records, drawn_by_coins=drawn_by_coins)
    shown = names_of(records, given.n_records)
    few = min(int(is_deletion.sum()), int((~is_deletion).sum()))
    options = options_of(
        few,
        claim=claim,
        significance=significance,
        seed=seed,
        delta=None,
        counting=counting,
        names=NAMES,
        continuous=continuous,
    )
    notes = [*note_on_coins(known, is_deletion)]
    sides = zip((is_deletion, ~is_deletion), seeds_of(seeds, is_deletion), NAMES, strict=True)
    for which, mine, name in sides:
        check_enough(int(which.sum()), name, significance=options.significance, delta=0.0)
        notes += filter(None, [check_seeds(mine, name, conditional=conditional_on_seed)])
    sample, precision = sample_of(given, is_deletion)
    plan = options.plan(sample)
    controls = (*controls_of(sample, plan, continuous=options.continuous), precision)
    shares = shares_of(plan.significance)
    tests = Tests(equal_share(shares[0], given.n_records))
    rows = _rows_of(given, known, is_deletion, plan, tests)
    found = _decided(rows, tests, claim, shares, controls)
    points = few_points(claim_rows(claim))
    return ModelsResult(
        title=title or f"Models: a claim for each of {counted(given.n_records, 'record')}",
        claim=claim,
        design="claim_per_record",
        n_unlearned=int(is_deletion.sum()),
        n_retrained=int((~is_deletion).sum()),
        n_records=given.n_records,
        outputs=kind,
        significance=plan.significance,
        seed=plan.seed,
        verdict=found.verdict,
        reason=found.reason,
        joint=None,
        planned_power=None,
        records=columns_of(rows, shown),
        refuted=found.refuted,
        listed=found.listed,
        details=details_of(rows, points, tests, n=n_details, refuted=set(found.refuted), listed=set(found.listed)),
        some=found.some,
        band=null_band(sample.retrained, given.per_record, n=_typical(rows), seed=plan.seed),
        before=None,
        controls=controls,
        notes=tuple(notes),
        data=sample.data_record(),
        environment=started.environment(command),
    )


@dataclass(frozen=True, kw_only=True)
class Decided:
    """The verdict on all claims, the records that are refuted and listed, and the test of "some record"."""

    verdict: Verdict
    reason: Reason | None
    refuted: tuple[int, ...]
    listed: tuple[int, ...]
    some: SomeRecord


def shares_of(significance: float) -> tuple[float, float]:
    """Return what Holm's procedure over the records gets, and what the mean of the e-values gets."""
    share = equal_share(significance, 2)
    return share, share


def _decided(
    rows: Rows, tests: Tests, claim: Claim, shares: tuple[float, float], controls: Sequence[Control]
) -> Decided:
    """Return the verdict on all claims, which of them are refuted, and which are listed."""
    reproducible = not any(control.spoils_verdicts for control in controls)
    refuted = holm_rejects(rows.p_value, level=shares[0])
    log_mean = float(log_sum(rows.log_e[None])[0]) - math.log(len(rows.log_e))
    some = SomeRecord(mean_e_value=float(np.exp(min(log_mean, LARGEST_LOG))), level=shares[1])
    listed = e_bh(np.exp(np.minimum(rows.log_e, LARGEST_LOG)), level=sum(shares))
    most = int(rows.n_unlearned.max(initial=0)), int(rows.n_retrained.max(initial=0))
    # A mean of e-values may refute what no record's own test can.
    by_test = min(most) > 0 and refutable(claim, n_unlearned=most[0], n_retrained=most[1], level=tests.level)
    by_mean = min(most) > 0 and refutable(claim, n_unlearned=most[0], n_retrained=most[1], level=shares[1])
    verdict, reason = decide(
        rejected=bool(refuted.any()) or some.refutes,
        reproducible=reproducible,
        attack_failed=False,
        refutable=by_test or by_mean,
    )
    return Decided(
        verdict=verdict,
        reason=reason,
        refuted=tuple(map(int, np.flatnonzero(refuted & reproducible))),
        listed=tuple(map(int, np.flatnonzero(listed & reproducible))),
        some=some,
    )


def sample_of(given: Outputs, is_deletion: Flags) -> tuple[GivenRows, Control]:
    """Return models as rows of at most 2,000 records, and a look at how their numbers were stored."""
    stored = sampled_columns(given)
    dtypes = (stored.dtype, stored.dtype)
    raw = np.asarray(stored, dtype=np.float64)
    precision = precision_control(
        GivenRows(unlearned=raw[is_deletion], retrained=raw[~is_deletion], names=NAMES, dtypes=dtypes)
    )
    places = np.unique(np.linspace(0, given.n_records - 1, min(given.n_records, _MOST_CHECKED)).round().astype(np.intp))
    parts = []
    for records in given.blocks():
        here = places[(places >= records.start) & (places < records.stop)]
        if len(here):
            parts.append(given.block(records)[:, here - records.start].reshape(given.n_models, -1))
    matrix = np.concatenate(parts, axis=1)
    rows = GivenRows(unlearned=matrix[is_deletion], retrained=matrix[~is_deletion], names=NAMES, dtypes=dtypes)
    return rows, precision


def controls_of(sample: GivenRows, plan: AuditPlan, *, continuous: bool) -> tuple[Control, ...]:
    """Return what the models show of being independent and of two kinds alone."""
    evidence = gather_rows(sample.unlearned, sample.retrained, plan.attackers, plan, Kind.CLAIMS)
    return given_controls(sample, (evidence.unlearned, evidence.retrained), plan, continuous=continuous)


def _rows_of(given: Outputs, status: NDArray[np.int8], is_deletion: Flags, plan: AuditPlan, tests: Tests) -> Rows:
    """Return a row a record, in blocks."""
    fitting = np.zeros(given.n_models, dtype=np.bool_)
    for side, which in enumerate((is_deletion, ~is_deletion)):
        models = np.flatnonzero(which)
        if n_fit(len(models), plan):
            fitting[models[split_rows(len(models), plan, Kind.CLAIMS, side)[0]]] = True
    rng = make_generator(plan.seed, Stream.PAIRING, 0)
    points, parts = few_points(claim_rows(plan.claims[0])), []  # type: ignore[arg-type]
    for block in given.blocks():
        statistics = given.block(block)
        for start in range(0, statistics.shape[1], _BLOCK):
            part = slice(start, start + _BLOCK)
            of_part = status[:, block][:, part]
            sides = Sides(
                unlearned=is_deletion[:, None] & (of_part == Status.FORGOTTEN),
                # Whatever else a reference model did not retain it never learned: it is of the retrained world.
                retrained=~is_deletion[:, None] & (of_part != Status.RETAINED),
                fitting=fitting,
            )
            parts.append(examine(statistics[:, part], sides, points, tests, rng=rng))
    return Rows.joined(parts)


def _typical(rows: Rows) -> tuple[int, int]:
    """Return how many models of either world a record has, counted or not, for the width of a band."""
    return max(1, int(np.median(rows.n_unlearned))), max(1, int(np.median(rows.n_retrained)))
