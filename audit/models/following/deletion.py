"""Audit one deletion while its models are still being made: valid whenever one looks, each model counted once.

In the flow: the files of outputs are read again as models are added to them. Pairs of an unlearned and a retrained
model are bet on in the order in which they came; a state remembers what was counted, so that nothing is counted anew.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.portfolio import OUTPUTS
from audit.errors import SchemaError
from audit.gathering.cases import Era
from audit.gathering.contrast import Evidence, Kind
from audit.gathering.followed import Followed
from audit.gathering.following import Hypothesis, Question, ask, choose_again, follow, without
from audit.gathering.selection import PreparedAttack, claim_rows, plan_delta_points, prepare
from audit.given.auditing import Started
from audit.given.controls import given_controls
from audit.given.judging import judge
from audit.given.precision import LARGEST, precision_control
from audit.given.rows import GivenRows, no_context
from audit.models.checks import alike, check_reference
from audit.models.outputs import Outputs, OutputsKind
from audit.models.stacks import Stack
from audit.plan.audit_plan import AuditPlan
from audit.plan.split import Sequential
from audit.records import json_text
from audit.records.ledger import Family, WorldTrials, tally
from audit.records.provenance import plan_record
from audit.records.result import AuditResult
from audit.running.findings import roles_of
from audit.statistics.multiplicity import MemberKey, ledger, role_levels
from audit.trials.chunks import Stream, make_generator, score
from mechanisms.claim import JSON_CONFIG, Claim, Reference
from mechanisms.errors import InvalidInputError, require
from mechanisms.reading.scalars import whole_number

Array = NDArray[np.float64]
STATE_SCHEMA: Literal["unlearn-audit/following/1"] = "unlearn-audit/following/1"
# Pairs that only fit and choose, and the most that are ever counted.
FIRST_FIT, MOST = 16, 4096
GROWN = "give all models so far, those that were counted first and unchanged; a new state begins a new audit"


@dataclass(frozen=True, kw_only=True)
class ModelsStream:
    """What is remembered of an audit of models that are still being made: which were counted, and by which rules.

    Parameters
    ----------
    claim, kind, significance, seed, first_fit, most
        Of the first call; later ones keep them.
    looks
        Pairs that there were at the end of each call: every one is a look. For a claim a record, models.
    used
        Pairs that were used: all of the last look, or fewer where the claim was refuted before. For a claim a record,
        models in whole batches.
    sha256
        Digests of the unlearned and of the retrained models that were used; for a claim a record, of the outputs, and
        of the status and the kinds.
    batch
        Models that are counted at a time, for a claim a record (``first_fit`` are models then too, and ``most`` is 0);
        0 for one deletion.
    """

    __pydantic_config__ = JSON_CONFIG
    claim: Claim
    kind: str
    significance: float
    seed: int
    first_fit: int
    most: int
    looks: tuple[int, ...] = ()
    used: int = 0
    sha256: tuple[str, str] = ("", "")
    batch: int = 0
    schema: Literal["unlearn-audit/following/1"] = STATE_SCHEMA

    def rules(self) -> dict[str, Any]:
        """Return what no later call may change."""
        names = ("claim", "kind", "significance", "seed", "first_fit", "most", "batch")
        return {name: getattr(self, name) for name in names}


def follow_models(
    unlearned: ArrayLike | Stack,
    retrained: ArrayLike | Stack,
    *,
    claim: Claim,
    state: str | Path,
    kind: OutputsKind = "logits",
    labels: ArrayLike | None = None,
    reference: Reference | None = None,
    first_fit: int = FIRST_FIT,
    most: int = MOST,
    significance: float = 0.05,
    seed: int = 0,
    continuous: bool = True,
    title: str | None = None,
    names: tuple[str, str] = ("unlearned", "retrained"),
    command: str | None = None,
) -> AuditResult:
    """Audit one deletion with models that are still being made: a true claim is EVER refuted with probability at most
    ``significance``, however often one looks.

    Call it again, with all models so far, whenever some were added. Pairs (the i-th unlearned and the i-th retrained
    model) are bet on in their order, by an attack and an event that were chosen on the pairs before them.

    Parameters
    ----------
    unlearned, retrained
        As for :func:`audit.from_models`, in the order in which the models were made; new ones at the end.
    claim, kind, labels, reference, continuous, title, names, command
        As for :func:`audit.from_models`.
    state
        A file that remembers what was counted; made by the first call.
    first_fit
        Pairs that only fit the attack and choose the event, at least 8.
    most
        Pairs that are ever used, at most: by these it is planned. At least four times ``first_fit``.
    significance, seed
        Of the first call; later ones must agree.

    Returns
    -------
    AuditResult
        As of an audit that stops when decided; its history says how the evidence grew.

    Raises
    ------
    InvalidInputError
        For outputs or options out of range, fewer pairs than fit, and models that were counted and are now changed,
        missing or in another order.
    SchemaError
        When the file of the state is none.

    Notes
    -----
    Attacks are fitted again whenever the number of pairs has doubled, on all pairs before. Everything is a function of
    the pairs in their order and of when one looked, so that a call that was killed is made again without loss. Valid
    where each model is independent of those before it, or at least its chance of the event, given them, obeys the
    claim.

    References
    ----------
    Ville 1939; Waudby-Smith, Ramdas 2024 (arXiv:2010.09686); :mod:`audit.statistics.e_process`.
    """
    started, path = Started.now(), Path(state)
    sides = [Outputs.of(values, kind, labels, name) for values, name in zip((unlearned, retrained), names, strict=True)]
    alike(sides[0], sides[1])
    check_reference(reference, claim)
    stream = going_on(
        path,
        ModelsStream(
            claim=claim,
            kind=kind,
            significance=significance,
            seed=seed,
            first_fit=whole_number(first_fit, "first_fit", fix="16 is usual"),
            most=whole_number(most, "most", fix="4096 is usual"),
        ),
    )
    _check_sizes(stream)
    plan = _plan(stream)
    n = min(stream.most, *(side.n_models for side in sides))
    require(
        n > stream.first_fit,
        "pairs of models",
        expected=f"more than the {stream.first_fit} that fit",
        got=n,
        fix="call again when more are made, or fit on fewer",
    )
    rows = _rows([side.matrix()[:n] for side in sides], sides, names)
    _check_unchanged(rows, [side.n_models for side in sides], stream, path)
    family = _family(plan)
    looks = tuple(dict.fromkeys((*stream.looks, n)))
    evidence = _followed(rows, plan, family, looks)
    used = stream.first_fit + _pairs(evidence)
    digests = tuple(_digest(side[:used]) for side in (rows.unlearned, rows.retrained))
    remember(path, replace(stream, looks=looks, used=used, sha256=(digests[0], digests[1])))
    return _result(
        evidence, rows, plan, family, started=started, continuous=continuous, title=title, command=command, used=used
    )


def _check_sizes(asked: ModelsStream) -> None:
    require(asked.first_fit >= 8, "first_fit", expected="at least 8", got=asked.first_fit, fix="16 is usual")
    enough = asked.most >= 4 * asked.first_fit
    require(enough, "most", expected=f"at least {4 * asked.first_fit}", got=asked.most, fix="4096 is usual")


def going_on(path: Path, asked: ModelsStream) -> ModelsStream:
    """Return the stream of a state, or the one that begins.

    Raises
    ------
    InvalidInputError
        When the rules are others than those of the first call.
    SchemaError
        When the file is no state.
    """
    if not path.exists():
        return asked
    try:
        known = json_text.load(path.read_text(encoding="utf-8"), ModelsStream, schemas=(STATE_SCHEMA,))
    except (OSError, UnicodeDecodeError) as error:
        raise SchemaError(f"Expected the state of models that are followed in {path}, got {error}.") from None
    what = {True: "a claim a record", False: "one deletion"}
    require(
        (known.batch > 0) == (asked.batch > 0),
        "state",
        expected=f"that of an audit of {what[asked.batch > 0]}",
        got=f"{path.name}, of {what[known.batch > 0]}",
        fix="begin a new state",
    )
    for name, value in known.rules().items():
        same = value == asked.rules()[name]
        require(
            same,
            name,
            expected=f"{value}, that of the first call",
            got=asked.rules()[name],
            fix="keep it, or begin a new state",
        )
    return known


def remember(path: Path, stream: ModelsStream) -> None:
    """Write the state whole, or leave the old one.

    Raises
    ------
    InvalidInputError
        When it cannot be written.
    """
    aside = path.with_name(f"{path.name}.new")
    try:
        aside.write_text(json_text.dump(stream) + "\n", encoding="utf-8")
        os.replace(aside, path)
    except OSError as error:
        raise InvalidInputError(
            field="state", expected="a file that can be written", got=f"{path}: {error.strerror}", fix="choose another"
        ) from None


def _digest(rows: Array) -> str:
    digest = hashlib.sha256(repr(rows.shape).encode())
    digest.update(np.ascontiguousarray(rows, dtype="<f8").data)
    return digest.hexdigest()


def _check_unchanged(rows: GivenRows, n_models: Sequence[int], stream: ModelsStream, path: Path) -> None:
    """Refuse models that were counted and are no longer what they were: they would be chosen by what they showed."""
    both = sorted(zip(n_models, (rows.unlearned, rows.retrained), stream.sha256, rows.names, strict=True), key=_fewest)
    for n, side, known, name in both:
        same = n >= stream.used and (not stream.used or known == _digest(side[: stream.used]))
        require(
            same,
            name,
            expected=f"the {stream.used:,} models that {path.name} says were counted, unchanged and in their order",
            got="others, or fewer",
            fix=GROWN,
        )


def _fewest(side: tuple[int, Array, str, str]) -> int:
    return side[0]


def _plan(stream: ModelsStream) -> AuditPlan:
    return AuditPlan(
        claims=(stream.claim,),
        forget=((),),
        attacks=(OUTPUTS,),
        trials=stream.most,
        counting=Sequential(first_fit=stream.first_fit, max_fit=stream.most),
        significance=stream.significance,
        seed=stream.seed,
        chunk_size=1,
    )


def _family(plan: AuditPlan) -> Family:
    (claim,) = (claim for claim in plan.claims if isinstance(claim, Claim))
    members: list[MemberKey] = [(0, (), OUTPUTS.name, role) for role in roles_of(claim, plan.delta)]
    return ledger(significance=plan.significance, correction=plan.correction, members=members)


def _rows(matrices: Sequence[Array], sides: Sequence[Outputs], names: tuple[str, str]) -> GivenRows:
    dtypes = (np.dtype(sides[0].array.dtype), np.dtype(sides[1].array.dtype))
    return GivenRows(unlearned=matrices[0], retrained=matrices[1], names=names, dtypes=dtypes).clipped(LARGEST)


def _followed(rows: GivenRows, plan: AuditPlan, family: Family, looks: Sequence[int]) -> Evidence:
    """Return the evidence of all pairs: eras end where the number of pairs doubles, batches where somebody looked."""
    (claim,) = (claim for claim in plan.claims if isinstance(claim, Claim))
    first, second, n = rows.unlearned, rows.retrained, len(rows.unlearned)
    hypotheses: tuple[Hypothesis, ...] = (
        ("claim_row", claim_rows(claim)),
        ("plan_delta", plan_delta_points(claim, plan.delta)),
    )
    begin, era, question, failure = plan.n_fit, Era(prepared={}), None, ""
    counted: list[tuple[Array, Array]] = []
    refits: list[int] = []
    while begin < n and not failure and (question is None or question.refuted_at is None):
        rng = make_generator(plan.seed, Stream.FITTING, 0, Kind.CLAIMS, 0, begin)
        fitted = prepare(OUTPUTS, first[:begin], second[:begin], no_context(first.shape[1:]), rng)
        if fitted.fitted is None and question is None:
            failure = fitted.failure or "not fitted"
            break
        era = Era(prepared={OUTPUTS.name: fitted}) if fitted.fitted is not None else Era(prepared=era.past())
        if question is None:
            levels = role_levels(family, claim=0, forget=())
            question = ask(hypotheses, era.prepared, levels=levels, combined=True, n=plan.n_counted)
        else:
            question = choose_again(question, era.prepared)
            refits.append(begin - plan.n_fit)
        counted = []
        end = min(2 * begin, n)
        for start, stop in _batches(begin, end, looks):
            scores = _scored(era.prepared[OUTPUTS.name], first[start:stop], second[start:stop])
            if isinstance(scores, str):
                failure, question = scores, without(question, OUTPUTS.name)
                break
            question, scores = _looked(question, scores)
            counted.append(scores)
            if question.refuted_at is not None:
                break
        begin = end
    return _evidence(era, counted, question, failure, plan, refits)


def _looked(question: Question, scores: tuple[Array, Array]) -> tuple[Question, tuple[Array, Array]]:
    """Return the question after more pairs, which end at the look that refutes it, and their scores."""
    first, second = ({OUTPUTS.name: side} for side in scores)
    after = follow(question, first, second)
    if after.refuted_at is None:
        return after, scores
    n = after.refuted_at - (question.pairs[-1] if question.pairs else 0)
    scores = scores[0][:n], scores[1][:n]
    return follow(question, {OUTPUTS.name: scores[0]}, {OUTPUTS.name: scores[1]}), scores


def _batches(begin: int, end: int, looks: Sequence[int]) -> Iterator[tuple[int, int]]:
    stops = sorted({end, *(look for look in looks if begin < look < end)})
    yield from zip([begin, *stops], stops, strict=False)


def _scored(attack: PreparedAttack, first: Array, second: Array) -> tuple[Array, Array] | str:
    found = [score(attack.fitted, rows) for rows in (first, second) if attack.fitted is not None]
    said = [each for each in found if isinstance(each, str)]
    return said[0] if said else (np.asarray(found[0]), np.asarray(found[1]))


def _evidence(
    era: Era,
    counted: Sequence[tuple[Array, Array]],
    question: Question | None,
    failure: str,
    plan: AuditPlan,
    refits: Sequence[int],
) -> Evidence:
    name = OUTPUTS.name
    if question is None or failure or not counted:
        return Evidence(prepared={}, unlearned={}, retrained={}, failures={name: failure})
    pairs = question.pairs[-1]
    return Evidence(
        prepared=era.prepared,
        unlearned={name: np.concatenate([first for first, _ in counted])},
        retrained={name: np.concatenate([second for _, second in counted])},
        failures={},
        followed=Followed(
            questions=(question,),
            n_fit=plan.n_fit,
            # So far; more may follow.
            budget=pairs,
            n_drawn=plan.n_fit + pairs,
            refits=tuple(refits),
        ),
    )


def _pairs(evidence: Evidence) -> int:
    return 0 if evidence.followed is None else evidence.followed.budget


def _result(
    evidence: Evidence,
    rows: GivenRows,
    plan: AuditPlan,
    family: Family,
    *,
    started: Started,
    continuous: bool,
    title: str | None,
    command: str | None,
    used: int,
) -> AuditResult:
    (claim,) = (claim for claim in plan.claims if isinstance(claim, Claim))
    pairs, names = _pairs(evidence), rows.names
    given = replace(rows, unlearned=rows.unlearned[:used], retrained=rows.retrained[:used])
    ordered = evidence.unlearned, evidence.retrained
    controls = (*given_controls(given, ordered, plan, continuous=continuous), precision_control(given))
    findings, family = judge(claim, evidence, plan, family, controls, n_counted=(pairs, pairs))
    sizes = WorldTrials(trials=plan.n_fit + pairs, n_fit=plan.n_fit, n_counted=pairs)
    record = replace(
        plan_record(plan), trials=sizes.trials, n_fit=sizes.n_fit, n_counted=sizes.n_counted, retrained=sizes
    )
    return AuditResult(
        title=title or f"Models so far: {names[0]} against {names[1]}",
        mechanism="not run: its output was given",
        sampler="given releases",
        plan=record,
        findings=findings,
        controls=controls,
        controls_made=tally(controls),
        family=family,
        data=given.data_record(),
        environment=started.environment(command),
    )
