"""Measure one deletion by the outputs of models that exist already, where nothing is claimed of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.portfolio import OUTPUTS
from audit.gathering.contrast import Evidence, Kind
from audit.gathering.measuring import measures_of
from audit.gathering.selection import PreparedAttack
from audit.given.auditing import Started
from audit.given.controls import given_controls
from audit.given.precision import LARGEST, precision_control
from audit.given.rows import GivenRows, gather_rows, n_fit, split_rows
from audit.models.checks import LEAST, alike, check_enough, names_of, sampled_columns
from audit.models.options import options_of
from audit.models.outputs import Outputs, OutputsKind
from audit.models.stacks import Stack
from audit.models.telling import N_DETAILS, checked_details
from audit.plan.audit_plan import AuditPlan
from audit.plan.split import Split
from audit.records.ledger import Control
from audit.records.measures import AttackMeasures, MeasureResult, Measures, SetMeasures
from audit.statistics.multiplicity import equal_share
from audit.trials.chunks import Stream, make_generator
from mechanisms.claim import Claim, EpsilonDelta

Array = NDArray[np.float64]
WHOLE = "the whole set"
COLUMN = "u_lira"


def measure_models(
    unlearned: ArrayLike | Stack,
    retrained: ArrayLike | Stack,
    *,
    kind: OutputsKind = "logits",
    labels: ArrayLike | None = None,
    records: Sequence[object] | ArrayLike | None = None,
    before: ArrayLike | Stack | None = None,
    delta: float = 1e-5,
    significance: float = 0.05,
    seed: int = 0,
    counting: Split | None = None,
    details: int = N_DETAILS,
    continuous: bool = True,
    title: str | None = None,
    names: tuple[str, str] = ("unlearned", "retrained"),
    command: str | None = None,
) -> MeasureResult:
    """Measure one deletion by outputs of models, where nothing is claimed: bounds on epsilon, AUC, rates, no verdict.

    Parameters
    ----------
    unlearned, retrained, kind, labels, records
        As for :func:`audit.from_models`.
    before
        Outputs of the models before unlearning: the same numbers of them stand beside. They lack the noise of the
        unlearning steps.
    delta
        Of the bounds on epsilon.
    significance, seed, counting, continuous, title, names, command
        As for :func:`audit.from_models`. Half of the significance is for all records at once, half for single ones.
    details
        How many single records are measured, besides all of them at once: those that differ most between the models
        that fit, which are not counted.

    Returns
    -------
    MeasureResult

    Raises
    ------
    InvalidInputError
        For outputs or options out of range, before anything is computed.

    Examples
    --------
    >>> import numpy as np
    >>> outputs = np.random.default_rng(0).normal(size=(200, 10))
    >>> found = measure_models(outputs[:100] + 0.8, outputs[100:], kind="scores", details=2)
    >>> [each.name for each in found.sets][0], len(found.sets)
    ('the whole set', 3)
    """
    started, n_details = Started.now(), checked_details(details)
    sides = [Outputs.of(values, kind, labels, name) for values, name in zip((unlearned, retrained), names, strict=True)]
    alike(sides[0], sides[1])
    shown = names_of(records, sides[0].n_records)
    options = options_of(
        min(side.n_models for side in sides),
        # Asked of nobody: options have one.
        claim=Claim(guarantee=EpsilonDelta(epsilon=0.0, delta=delta)),
        significance=significance,
        seed=seed,
        delta=delta,
        counting=counting,
        names=names,
        continuous=continuous,
    )
    for side in sides:
        check_enough(side.n_models, f"{side.name} models", significance=options.significance, delta=delta)
    earlier = None if before is None else Outputs.of(before, kind, labels, "before")
    if earlier is not None:
        alike(sides[1], earlier)
        check_enough(earlier.n_models, "models before unlearning", significance=options.significance, delta=delta)
    given = GivenRows(
        unlearned=sides[0].matrix(),
        retrained=sides[1].matrix(),
        names=options.names,
        dtypes=(sides[0].array.dtype, sides[1].array.dtype),
    ).clipped(LARGEST)
    plan = options.plan(given)
    worlds = _Worlds(
        plan=plan,
        unlearned=given.unlearned,
        retrained=given.retrained,
        before=None if earlier is None else np.clip(earlier.matrix(), -LARGEST, LARGEST),
    )
    shown_by = {kind: gather_rows(*rows, plan.attackers, plan, kind) for kind, rows in worlds.all().items()}
    controls = _controls(given, plan, sides, shown_by[Kind.CLAIMS], continuous=options.continuous)
    sets = _sets(worlds, shown_by, shown, sides[0].per_record, n_details, controls)
    fits = tuple(n_fit(len(rows), plan) for rows in (given.unlearned, given.retrained))
    return MeasureResult(
        title=title or f"Measures of models: {options.names[0]} against {options.names[1]}",
        mechanism="not run: its output was given",
        delta=plan.delta,
        significance=plan.significance,
        seed=plan.seed,
        n_fit=(fits[0], fits[1]),
        n_counted=(len(given.unlearned) - fits[0], len(given.retrained) - fits[1]),
        ignored="none" if before is None else "before",
        sets=sets,
        trainings=None,
        controls=controls,
        notes=_notes(worlds, len(shown), n_details),
        data=given.data_record(),
        environment=started.environment(command),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Worlds:
    """What is compared: each kind of comparison has its own rows of either side, and its own split."""

    plan: AuditPlan
    unlearned: Array
    retrained: Array
    before: Array | None

    def all(self) -> dict[Kind, tuple[Array, Array]]:
        """Return the rows of every comparison that there is."""
        found = {kind: self.of(kind) for kind in Kind}
        return {kind: rows for kind, rows in found.items() if rows is not None}

    def of(self, kind: Kind) -> tuple[Array, Array] | None:
        """Return the rows of a comparison; ``None`` where there are none, or too few."""
        if kind is Kind.CLAIMS:
            return self.unlearned, self.retrained
        if kind is Kind.NEGLECTED:
            return None if self.before is None else (self.before, self.retrained)
        half = len(self.retrained) // 2
        if half < LEAST:
            return None
        # By a shuffle: whether the order tells halves apart is what a control asks.
        order = make_generator(self.plan.seed, Stream.PAIRING, 1).permutation(len(self.retrained))
        return self.retrained[order[:half]], self.retrained[order[half:]]


def _controls(
    given: GivenRows, plan: AuditPlan, sides: Sequence[Outputs], evidence: Evidence, *, continuous: bool
) -> tuple[Control, ...]:
    stored = [np.asarray(sampled_columns(side)) for side in sides]
    rows = GivenRows(
        unlearned=np.asarray(stored[0], np.float64),
        retrained=np.asarray(stored[1], np.float64),
        names=given.names,
        dtypes=(stored[0].dtype, stored[1].dtype),
    )
    ordered = evidence.unlearned, evidence.retrained
    return (*given_controls(given, ordered, plan, continuous=continuous), precision_control(rows))


def _sets(
    worlds: _Worlds,
    found: Mapping[Kind, Evidence],
    names: Sequence[str],
    per_record: int,
    n_details: int,
    controls: Sequence[Control],
) -> tuple[SetMeasures, ...]:
    spoiled = next((control.message for control in controls if control.spoils_verdicts), "")
    if spoiled:
        return (SetMeasures(name=WHOLE, forget=(), attacks=(), failures={"": spoiled}),)
    plan, name = worlds.plan, OUTPUTS.name
    joint = {
        kind: (each.prepared[name], each.unlearned[name], each.retrained[name])
        for kind, each in found.items()
        if name in each.prepared
    }
    whole = _measured(WHOLE, joint, plan, plan.significance / 2, found[Kind.CLAIMS].failures)
    level = equal_share(plan.significance / 2, len(names))
    columns = _columns(worlds, per_record)
    return (
        whole,
        *(
            _measured(names[i], {kind: _column(*split, i) for kind, split in columns.items()}, plan, level, {})
            for i in _chosen(columns[Kind.CLAIMS], n_details)
        ),
    )


Split4 = tuple[Array, Array, Array, Array]
_Counted = tuple[PreparedAttack, Array, Array]


def _columns(worlds: _Worlds, per_record: int) -> dict[Kind, Split4]:
    """Return for each comparison the records' numbers, (models, records), of both sides' fitting and counted models."""
    found = {}
    for kind, rows in worlds.all().items():
        parts = []
        for side, matrix in enumerate(rows):
            numbers = matrix.reshape(len(matrix), -1, per_record).mean(axis=2)
            fitting, counted = split_rows(len(matrix), worlds.plan, kind, side)
            parts.append((numbers[fitting], numbers[counted]))
        found[kind] = (parts[0][0], parts[1][0], parts[0][1], parts[1][1])
    return found


def _column(fit_first: Array, fit_second: Array, first: Array, second: Array, i: int) -> _Counted:
    """Return a record's numbers as an attack that is higher where the first side was when it was fitted."""
    sign = 1.0 if fit_first[:, i].mean() >= fit_second[:, i].mean() else -1.0
    prepared = PreparedAttack(
        name=COLUMN, fitted=None, unlearned=sign * fit_first[:, i], retrained=sign * fit_second[:, i]
    )
    return prepared, sign * first[:, i], sign * second[:, i]


def _chosen(split: Split4, n: int) -> list[int]:
    """Return the records that differ most between the models that fit, in their own order."""
    first, second, *_ = split
    spread = np.sqrt((first.var(axis=0) + second.var(axis=0)) / 2)
    apart = np.abs(first.mean(axis=0) - second.mean(axis=0)) / np.maximum(spread, np.finfo(np.float64).tiny)
    return sorted(int(i) for i in np.argsort(-apart, kind="stable")[:n])


def _measured(
    name: str, counted: Mapping[Kind, _Counted], plan: AuditPlan, level: float, failures: Mapping[str, str]
) -> SetMeasures:
    said = dict(failures)
    if Kind.CLAIMS not in counted:
        return SetMeasures(name=name, forget=(), attacks=(), failures=said)

    def of(kind: Kind) -> Measures | None:
        return measures_of(*counted[kind], delta=plan.delta, level=level) if kind in counted else None

    unlearned = measures_of(*counted[Kind.CLAIMS], delta=plan.delta, level=level)
    attack = AttackMeasures(
        attack=counted[Kind.CLAIMS][0].name,
        unlearned=unlearned,
        ignored=of(Kind.NEGLECTED),
        retrained=of(Kind.NULL),
    )
    return SetMeasures(name=name, forget=(), attacks=(attack,), failures=said)


def _notes(worlds: _Worlds, n_records: int, n_details: int) -> tuple[str, ...]:
    notes = [f"{n_records:,} records; single ones that are shown were chosen by models that are not counted."]
    if n_details >= n_records:
        notes = []
    if worlds.of(Kind.NULL) is None:
        notes.append(
            f"Fewer than {2 * LEAST} retrained models: halves of them are too few to stand beside the unlearned ones."
        )
    else:
        notes.append("Retrained against retrained are halves: with fewer models bounds are lower too.")
    if worlds.before is not None:
        notes.append("Models before unlearning lack the noise of the unlearning steps.")
    return tuple(notes)
