"""Audit a claim a record while the models are still being made: valid whenever one looks, each model counted once.

In the flow: :mod:`audit.models.following.deletion` for models of one deletion, :mod:`audit.models.per_record` for a
finished table. The bets, and what may be said of them at any moment, are in :mod:`audit.models.following.betting`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audit.gathering.selection import claim_rows
from audit.given.auditing import Started
from audit.given.options import Options
from audit.models.band import null_band
from audit.models.checks import check_enough, check_seeds, names_of, seeds_of
from audit.models.examining import few_points
from audit.models.following.betting import Bets, SoFar, bets_of
from audit.models.following.deletion import GROWN, ModelsStream, going_on, remember
from audit.models.options import options_of
from audit.models.outputs import Outputs, OutputsKind
from audit.models.per_record import LARGEST_LOG, NAMES, Decided, controls_of, sample_of, shares_of
from audit.models.stacks import Stack
from audit.models.status import checked_kinds, checked_status, note_on_coins
from audit.records.ledger import Control
from audit.records.models import ModelsResult, SomeRecord
from audit.records.verdict import decide
from audit.records.words.rounding import counted
from audit.statistics.e_values import e_bh, log_final_capital
from audit.statistics.multiplicity import holm_rejects
from mechanisms.claim import Claim
from mechanisms.errors import require
from mechanisms.reading.scalars import real_number, whole_number

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
# Models that only choose events, and models that are counted at a time.
FIRST_FIT, BATCH = 64, 32
# Fewest models of a kind among those that choose events.
_LEAST_FIT = 8


def follow_status(
    outputs: ArrayLike | Stack,
    status: ArrayLike,
    kinds: ArrayLike,
    *,
    claim: Claim,
    state: str | Path,
    kind: OutputsKind = "logits",
    labels: ArrayLike | None = None,
    records: Sequence[object] | ArrayLike | None = None,
    seeds: Sequence[object] = (),
    conditional_on_seed: bool = False,
    first_fit: int = FIRST_FIT,
    batch: int = BATCH,
    significance: float = 0.05,
    seed: int = 0,
    continuous: bool = True,
    title: str | None = None,
    command: str | None = None,
) -> ModelsResult:
    """Audit a claim a record with models that are still being made: any true claim is EVER refuted with probability at
    most ``significance``, however often one looks.

    Call it again, with all models so far, whenever some were added.

    Parameters
    ----------
    outputs, status, kinds
        As for :func:`audit.from_status`, in the order in which the models were made, with deletion and reference models
        mixed; new ones at the end.
    claim, kind, labels, records, seeds, conditional_on_seed, continuous, title, command
        As for :func:`audit.from_status`.
    state
        A file that remembers what was counted; made by the first call.
    first_fit
        Leading models that only choose events, at least 32.
    batch
        Models that are counted at a time, at least 8; those that do not fill a batch wait.
    significance, seed
        Of the first call; later ones must agree.

    Returns
    -------
    ModelsResult
        With a claim a record. Its p-values are one over the largest capital that a record's bets ever had, its e-values
        what follows from these; both may be looked at at any moment. No lower bounds: a table that is finished and was
        not looked at before has them, by :func:`audit.from_status`.

    Raises
    ------
    InvalidInputError
        As :func:`audit.from_status`; and for models that were counted and are now changed, missing or in another order,
        and for a batch with hardly any model of one kind.
    SchemaError
        When the file of the state is none.

    Notes
    -----
    The proof is in :mod:`audit.models.following.betting`. Half of the significance goes to Holm's procedure over the
    records, half to the mean of their capitals. Events and stakes are chosen again whenever the number of models has
    doubled. Everything is a function of the models in their order: a call that was killed is made again without loss.

    References
    ----------
    Ville 1939; Vovk, Wang 2021 (arXiv:1912.06116); Wang, Ramdas 2022 (arXiv:2009.02824); Choe, Ramdas 2024, "Combining
    evidence across filtrations" (arXiv:2402.09698), for why capitals of several records need one filtration.
    """
    started, path = Started.now(), Path(state)
    inside = 0 < real_number(significance, "significance", fix="0.05 is usual") < 1
    require(inside, "significance", expected="in (0, 1)", got=significance, fix="0.05 is usual")
    given = Outputs.of(outputs, kind, labels, "outputs")
    is_deletion = checked_kinds(kinds, given.n_models)
    known = checked_status(status, is_deletion, given.n_records, drawn_by_coins=True)
    stream = going_on(
        path,
        ModelsStream(
            claim=claim,
            kind=kind,
            significance=significance,
            seed=seed,
            first_fit=whole_number(first_fit, "first_fit", fix="64 is usual"),
            most=0,
            batch=whole_number(batch, "batch", fix="32 is usual"),
        ),
    )
    used = _used(is_deletion, stream)
    models = SoFar.of(given, known, is_deletion, used)
    digests = models.digests(stream.used)
    same = not stream.used or (used >= stream.used and digests == stream.sha256)
    require(
        same,
        "outputs, labels, status or kinds",
        expected=f"the {stream.used:,} models that {path.name} says were counted, unchanged and in their order",
        got="others, or fewer",
        fix=GROWN,
    )
    notes = [*note_on_coins(models.status, models.is_deletion), _note(given.n_models, used, stream)]
    sides = zip((is_deletion, ~is_deletion), seeds_of(seeds, is_deletion), NAMES, strict=True)
    for which, mine, name in sides:
        check_enough(int(which[:used].sum()), name, significance=significance, delta=0.0)
        notes += filter(None, [check_seeds(mine, name, conditional=conditional_on_seed)])
    sample, precision = sample_of(models.outputs, models.is_deletion)
    plan = _options(stream, models.is_deletion, continuous=continuous).plan(sample)
    controls = (*controls_of(sample, plan, continuous=continuous), precision)
    found = bets_of(models, stream)
    remember(path, replace(stream, looks=(*stream.looks, given.n_models), used=used, sha256=models.digests(used)))
    decided = _decided(found, stream, controls)
    return ModelsResult(
        title=title or f"Models so far: a claim for each of {counted(given.n_records, 'record')}",
        claim=claim,
        design="claim_per_record",
        n_unlearned=int(models.is_deletion.sum()),
        n_retrained=int((~models.is_deletion).sum()),
        n_records=given.n_records,
        outputs=kind,
        significance=significance,
        seed=seed,
        verdict=decided.verdict,
        reason=decided.reason,
        joint=None,
        planned_power=None,
        records=found.columns(names_of(records, given.n_records)),
        refuted=decided.refuted,
        listed=decided.listed,
        details=(),
        some=decided.some,
        band=null_band(sample.retrained, given.per_record, n=found.typical, seed=seed),
        before=None,
        controls=controls,
        notes=tuple(notes),
        data=sample.data_record(),
        environment=started.environment(command),
    )


def _used(is_deletion: Flags, stream: ModelsStream) -> int:
    """Return how many models fill the fit and whole batches; refuse sizes and orders that could show nothing."""
    n, first, batch = len(is_deletion), stream.first_fit, stream.batch
    require(first >= 32, "first_fit", expected="at least 32", got=first, fix="64 is usual")
    require(batch >= 8, "batch", expected="at least 8", got=batch, fix="32 is usual")
    require(
        n >= first + batch,
        "the number of models",
        expected=f"at least {first + batch}: {first} that fit and a batch of {batch}",
        got=n,
        fix="call again when more are made, or fit on fewer",
    )
    used = first + (n - first) // batch * batch
    for start, stop, least in ((0, first, _LEAST_FIT), *((i, i + batch, 1) for i in range(first, used, batch))):
        few = min(int(is_deletion[start:stop].sum()), int((~is_deletion[start:stop]).sum()))
        require(
            few >= least,
            "kinds",
            expected=f"both kinds mixed, at least {least} of each among models {start} to {stop - 1}",
            got=few,
            fix="make models of both kinds in turn, in the order that unlearn-audit models assign draws",
        )
    return used


def _note(n: int, used: int, stream: ModelsStream) -> str:
    waiting = f" {n - used:,} models wait for their batch." if n > used else ""
    return (
        f"Models are still being made: the first {stream.first_fit:,} chose events, and {used - stream.first_fit:,} "
        f"were counted, {stream.batch:,} at a time. The verdict, the p-values and the list hold at every look. A "
        "p-value is one over the largest capital that bets on a record ever had, an e-value follows from it by "
        f"calibration, and the mean is the largest one of the capitals. There are no lower bounds on epsilon.{waiting}"
    )


def _options(stream: ModelsStream, is_deletion: Flags, *, continuous: bool) -> Options:
    few = min(int(is_deletion.sum()), int((~is_deletion).sum()))
    return options_of(
        few,
        claim=stream.claim,
        significance=stream.significance,
        seed=stream.seed,
        delta=None,
        counting=None,
        names=NAMES,
        continuous=continuous,
    )


def _decided(found: Bets, stream: ModelsStream, controls: Sequence[Control]) -> Decided:
    """Return the verdict on all claims, which of them are refuted, and which are listed."""
    shares = shares_of(stream.significance)
    reproducible = not any(control.spoils_verdicts for control in controls)
    refuted = holm_rejects(found.p_values, level=shares[0])
    some = SomeRecord(mean_e_value=float(np.exp(min(found.log_best_mean, LARGEST_LOG))), level=shares[1])
    listed = e_bh(np.exp(np.minimum(found.log_e, LARGEST_LOG)), level=sum(shares))
    verdict, reason = decide(
        rejected=bool(refuted.any()) or some.refutes,
        reproducible=reproducible,
        attack_failed=False,
        refutable=_refutable(found, stream.claim, shares[1]),
    )
    return Decided(
        verdict=verdict,
        reason=reason,
        refuted=tuple(map(int, np.flatnonzero(refuted & reproducible))),
        listed=tuple(map(int, np.flatnonzero(listed & reproducible))),
        some=some,
    )


def _refutable(found: Bets, claim: Claim, level: float) -> bool:
    """Return whether the mean of the capitals could have refuted the claim, had every pair shown the event once."""
    pairs = float(np.minimum(*found.n).max(initial=0))
    won = np.array([pairs, 0.0, 0.0, 0.0])
    return any(
        float(log_final_capital(won, won, epsilon=point.epsilon, delta=point.delta)) >= -math.log(level)
        for _, point in few_points(claim_rows(claim))
    )
