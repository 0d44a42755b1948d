"""Bind a plan to a mechanism and data: deletions, their claims, and what attackers are granted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from attacks.protocol import Attack, AttackContext, Probe, refusal, trouble, unreadable
from attacks.registry import default_attacks
from audit.errors import TrialError
from audit.plan.audit_plan import AuditPlan, CertifiedClaim
from audit.plan.bound_record import BoundRecord
from audit.plan.split import Sequential
from audit.records.ledger import Family
from audit.running.findings import roles_of
from audit.statistics.multiplicity import ledger
from audit.trials.engines import SetUp, worker_limits
from audit.trials.learned_once import LearnedOnce
from mechanisms.claim import Certificate, Claim
from mechanisms.dataset import validate_forget
from mechanisms.errors import InvalidInputError, UnlearnAuditError
from mechanisms.protocol import (
    Deletion,
    HasCertificates,
    HasLaw,
    HasParameters,
    HasStages,
    Mechanism,
    ReleaseSpec,
    World,
)
from mechanisms.reading.records import RecordSet, require_records
from mechanisms.reading.scalars import flag
from mechanisms.serving.streams import check_stream_claim, requests_of


def default_plan(
    mechanism: Mechanism,
    data: RecordSet,
    forget: int | Sequence[int] | None,
    claim: Claim | CertifiedClaim | None,
    trials: int | None,
    attacks: Sequence[Attack | str] | None,
    seed: int | None,
) -> AuditPlan:
    """Return the plan of an audit that was asked for by arguments.

    Raises
    ------
    InvalidInputError
        When the forget set or the claim is missing or of another kind, or no attack has a name that was given.
    TrialError
        When the mechanism cannot be bound.
    """
    if forget is None or claim is None:
        missing = "forget" if forget is None else "claim"
        raise InvalidInputError(
            field=missing, expected="given when there is no plan", got=None, fix=f"pass {missing}=..., or an AuditPlan"
        )
    if not isinstance(claim, Claim | CertifiedClaim):
        raise InvalidInputError(
            field="claim",
            expected="a Claim",
            got=claim,
            fix="write Claim(guarantee=EpsilonDelta(epsilon=1.0, delta=1e-5)), or with GaussianDP(mu=0.5)",
        )
    given = forget if isinstance(forget, Sequence | np.ndarray) else (forget,)
    records = validate_forget(given, len(data))
    chosen = {"trials": trials, "seed": seed, "attacks": attacks}
    options: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
    plan = AuditPlan(claims=(claim,), forget=(records,), **options)
    if attacks is not None:
        return plan
    check_inputs(plan, data)
    context = make_context(_bound(mechanism, data, records), data, records)
    return replace(plan, attacks=default_attacks(context, n_fit=plan.n_smallest_fit))


def plan_of(
    mechanism: Mechanism,
    data: RecordSet,
    plan: AuditPlan | None,
    forget: int | Sequence[int] | None,
    claim: Claim | CertifiedClaim | None,
    trials: int | None,
    attacks: Sequence[Attack | str] | None,
    seed: int | None,
    stop_when_decided: bool,
) -> AuditPlan:
    """Return the plan that an audit was given, or the one that its arguments ask for.

    Raises
    ------
    InvalidInputError
        When both are given, and as :func:`default_plan`.
    TrialError
        As :func:`default_plan`.
    """
    if plan is None:
        plan = default_plan(mechanism, data, forget, claim, trials, attacks, seed)
    elif any(v is not None for v in (forget, claim, trials, attacks, seed)):
        raise InvalidInputError(
            field="plan",
            expected="given alone, without forget, claim, trials, attacks or seed",
            got="both",
            fix="put them into the plan",
        )
    if flag(stop_when_decided, "stop_when_decided") and not isinstance(plan.counting, Sequential):
        plan = replace(plan, counting=Sequential(max_fit=plan.counting.max_fit))
    return with_declared_replay(plan, [mechanism])


def with_declared_replay(plan: AuditPlan, mechanisms: Sequence[Mechanism]) -> AuditPlan:
    """Return a plan that asks for replays as alike as the mechanisms say, where it says nothing but "exact" itself.

    A mechanism may declare ``replay`` as a plan does (:func:`mechanisms.from_torch`); of several tolerances the widest
    holds, and "off" before any.
    """
    declared = [getattr(mechanism, "replay", "exact") for mechanism in mechanisms]
    tolerances = [float(said) for said in declared if not isinstance(said, str)]
    if plan.replay != "exact" or not ("off" in declared or tolerances):
        return plan
    return replace(plan, replay="off" if "off" in declared else max(tolerances))


def make_context(deletion: Deletion, data: RecordSet, forget: tuple[int, ...]) -> AttackContext:
    """Return what attackers are granted about a deletion: data, public parameters and the claimed laws."""
    laws = {world: deletion.law(world) for world in World} if isinstance(deletion, HasLaw) else {}
    return AttackContext(
        retained=data.without(forget),
        deleted=data.take(forget),
        release=deletion.release,
        parameters=dict(deletion.parameters()) if isinstance(deletion, HasParameters) else {},
        law_unlearned=laws.get(World.UNLEARNED),
        law_retrained=laws.get(World.RETRAINED),
        probe=_probe(deletion.release, forget),
    )


def _probe(release: ReleaseSpec, forget: tuple[int, ...]) -> Probe | None:
    """Return where a release shows the forgotten records; ``None`` where it does not say."""
    outputs = release.outputs
    if outputs is None:
        return None
    rows = release.shape[0] if release.shape else 0
    records = outputs.records or (*forget, *[-1] * (rows - len(forget)))
    if len(records) != rows:
        raise InvalidInputError(
            field="release",
            expected=f"{len(records)} rows, one for each of the records {records}",
            got=f"releases of shape {release.shape}",
            fix="show a row for each deleted record and then further ones, or name in outputs.records every row's "
            "record (-1 for what is not of the data)",
        )
    missing = [record for record in forget if record not in records]
    if missing:
        raise InvalidInputError(
            field="release.outputs.records",
            expected=f"the deleted records {forget} among them",
            got=f"{records}, without {', '.join(map(str, missing))}",
            fix="leave records out where the first rows are those of the deleted records; where they are not shown at "
            "all leave outputs out, so that attacks learn without knowing",
        )
    return Probe(kind=outputs.kind, rows=tuple(records.index(record) for record in forget))


def bind(mechanism: Mechanism, data: RecordSet, plan: AuditPlan, index: int) -> BoundRecord:
    """Return one forget set of the plan, bound, with its claims resolved."""
    bound = bind_unclaimed(mechanism, data, plan, SetUp(index=index))
    claims = tuple(_resolve(claim, bound.certificates, bound.deletion, bound.forget) for claim in plan.claims)
    for claim in claims:
        check_stream_claim(claim, requests_of(mechanism))
    return replace(bound, claims=claims)


def bind_unclaimed(mechanism: Mechanism, data: RecordSet, plan: AuditPlan, which: SetUp) -> BoundRecord:
    """Return one forget set of the plan, bound, whatever the plan claims of it."""
    forget = validate_forget(plan.forget[which.index], len(data), field=f"forget[{which.index}]")
    deletion = _bound(mechanism, data, forget)
    _check_access(plan, deletion.release)
    if plan.share_learned:
        _check_stages(mechanism, deletion)
    return BoundRecord(
        data=data,
        forget=forget,
        label=plan.labels[which.index] if plan.labels else "",
        deletion=deletion,
        claims=(),
        certificates=deletion.certificates() if isinstance(deletion, HasCertificates) else (),
        context=make_context(deletion, data, forget),
    )


def bind_once(mechanism: Mechanism, data: RecordSet, plan: AuditPlan, which: SetUp) -> BoundRecord:
    """Return what :func:`bind` does; an engine limits how long it may take."""
    return bind(mechanism, data, plan, which.index)


def in_place(record: BoundRecord, data: RecordSet, plan: AuditPlan) -> BoundRecord:
    """Return a forget set that a worker bound, with the data of this process, and models to share where planned."""
    placed = replace(record, data=data)
    if not plan.share_learned:
        return placed
    bound, context = _check_stages(None, record.deletion), record.context
    shared = LearnedOnce(bound=bound, data=data, retained=context.retained, deleted=context.deleted)
    return replace(placed, learned_once=shared)


def _check_stages(mechanism: Mechanism | None, deletion: Deletion) -> HasStages:
    """Return the stages of a deletion; refuse one without."""
    if isinstance(deletion, HasStages):
        return deletion
    raise InvalidInputError(
        field="share_learned",
        expected="with a mechanism that learns, unlearns and releases in stages (mechanisms.HasStages)",
        got=f"{getattr(mechanism, 'name', 'a mechanism')}, whose sampler learns no model that could be shared",
        fix='choose a sampler that learns models (sampler = "stepwise" for ridge_langevin), make the mechanism by '
        "from_functions, or leave share_learned out",
    )


def check_inputs(plan: AuditPlan, data: RecordSet) -> None:
    """Refuse what is known to be no use before any code of the user runs.

    Raises
    ------
    InvalidInputError
        For data that are no records, attacks that cannot read them (naming each), and claims that say nothing of a
        forget set.
    """
    require_records(data)
    for claim in plan.claims:
        # What a certificate covers is known when it is stated.
        if isinstance(claim, Claim):
            for forget in plan.forget:
                check_covered(claim, forget)
    said = [found for found in (unreadable(attack, data) for attack in plan.attackers) if found is not None]
    if said:
        raise InvalidInputError(
            field="attacks",
            expected=f"attacks that can work on records of {data.name}",
            got="; ".join(said),
            fix="choose attacks that need releases alone, such as portfolio, lda or qda, or leave attacks out",
        )


def check_attacks(attacks: Sequence[Attack], context: AttackContext, *, n_fit: int, on: str, counted: str) -> None:
    """Refuse attacks that will fail or be blind, as far as that is known before anything is done.

    Parameters
    ----------
    attacks
        Of the plan.
    context
        What they are granted.
    n_fit
        Trials of each world in the smallest fit.
    on, counted
        For the error: what they are to work on, and what decides how many trials a fit has.

    Raises
    ------
    InvalidInputError
        Naming every such attack with its reason.
    """
    found = [trouble(attack, context, n_fit=n_fit) for attack in attacks]
    said = [sentence for sentence in found if sentence is not None]
    if said:
        raise InvalidInputError(
            field="attacks",
            expected=f"attacks that can work on {on}",
            got="; ".join(said),
            fix="leave them out (where no attack is named, those that can work are chosen), or give what they need; "
            f"a fit has {n_fit} trials a world, half of those that fit by {counted}",
        )


def family_of(plan: AuditPlan, records: Sequence[BoundRecord]) -> Family:
    """Return the ledger of a bound plan: every hypothesis that will be tested, with its level."""
    members = [
        (i, record.forget, attack.name, role)
        for record in records
        for i, claim in enumerate(record.claims)
        for attack in plan.attackers
        for role in roles_of(claim, plan.delta)
    ]
    return ledger(significance=plan.significance, correction=plan.correction, members=members)


def check_covered(claim: Claim, forget: tuple[int, ...]) -> None:
    """Refuse a claim that says nothing of deleting so many records at once.

    Raises
    ------
    InvalidInputError
        When it does not.
    """
    if not claim.covers.includes(len(forget)):
        raise InvalidInputError(
            field="claim.covers",
            expected=f"about the deletion of {forget}, {len(forget)} record{'s' if len(forget) != 1 else ''} at once",
            got=f"a claim about {claim.covers.words}",
            fix="it says nothing of this set: state what is claimed of the set itself (covers=ThisSet()), or audit one "
            "that the claim covers",
        )


def _check_access(plan: AuditPlan, release: ReleaseSpec) -> None:
    """Refuse a plan whose access is not what the mechanism gives, and attacks that need another one."""
    if plan.access is not None and plan.access is not release.access:
        raise InvalidInputError(
            field="access",
            expected=f'"{release.access.value}", what the mechanism releases',
            got=plan.access.value,
            fix="name that, or wrap the mechanism so that it releases what the plan grants",
        )
    refused = [said for said in (refusal(attack, release.access) for attack in plan.attackers) if said is not None]
    if refused:
        raise InvalidInputError(
            field="attacks",
            expected=f"attacks on {release.access.value} releases",
            got="; ".join(refused),
            fix="choose attacks that this access grants, for example portfolio, u_lira or lda",
        )


def _bound(mechanism: Mechanism, data: RecordSet, forget: tuple[int, ...]) -> Deletion:
    try:
        with worker_limits():
            deletion = mechanism.bind(data, forget)
    except UnlearnAuditError:
        raise
    except Exception as error:
        raise TrialError(
            f"The mechanism raised {type(error).__name__} while binding forget set {forget}: {error}"
        ) from error
    if not isinstance(deletion, Deletion):
        raise InvalidInputError(
            field=f"what bind of {mechanism.name} returns",
            expected="a deletion: an object with release, reference and sample(world, n, rng=...)",
            got=f"a {type(deletion).__name__}",
            fix="see mechanisms.protocol.Deletion, or build the mechanism with from_functions",
        )
    return deletion


def _resolve(
    claim: Claim | CertifiedClaim, certificates: Sequence[Certificate], deletion: Deletion, forget: tuple[int, ...]
) -> Claim:
    """Return the claim itself, or that of the named certificate; refuse one about another world or other deletions."""
    if isinstance(claim, CertifiedClaim):
        stated = {certificate.method: certificate.claim for certificate in certificates}
        if claim.method not in stated:
            raise InvalidInputError(
                field="claim",
                expected=f"from one of the mechanism's certificates ({', '.join(stated) or 'it states none'})",
                got=repr(claim.method),
                fix="name one of them, or give the claim itself",
            )
        claim = stated[claim.method]
    if claim.reference is not deletion.reference:
        raise InvalidInputError(
            field="claim.reference",
            expected=f'"{deletion.reference.value}", the reference world that the mechanism samples',
            got=claim.reference.value,
            fix="a claim about one reference world says nothing about the other; make the two agree",
        )
    check_covered(claim, forget)
    return claim
