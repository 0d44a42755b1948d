"""Run an audit: bind, draw, attack, count, decide. The one entry point is :func:`run`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attacks.protocol import Attack
from audit.controls.models import reused_models_control, unchanged_data_control
from audit.controls.randomness import randomness_controls
from audit.controls.reference import reference_control
from audit.controls.replay import Replayed, replay, replayed_of
from audit.controls.same_randomness import same_randomness_control
from audit.controls.trainings import trainings_of
from audit.controls.utility import utility_control
from audit.controls.worlds import check_same_retraining, neglected_control, null_control
from audit.errors import TrialError
from audit.gathering.at_once import gather
from audit.gathering.contrast import Evidence, Key, Kind, retrained_sample
from audit.gathering.streaming import gather_until_decided, inquiries_of
from audit.plan.audit_plan import AuditPlan, CertifiedClaim
from audit.plan.bound_record import BoundRecord
from audit.plan.split import Sequential
from audit.records.estimates import Estimate, estimates_of
from audit.records.evidence import Finding
from audit.records.ledger import Control, DataRecord, Environment, Family, tally
from audit.records.provenance import data_record, environment_of, machine, plan_record
from audit.records.result import AuditResult
from audit.running.binding import bind_once, check_inputs, family_of, in_place, plan_of, with_declared_replay
from audit.running.cheap_checks import check_fits
from audit.running.findings import make_finding, settle
from audit.running.previews import previews_of
from audit.running.requests import After, audited_sets
from audit.running.sharing import Fits, check_same_learning, contrasts_of, share, shown_progress
from audit.statistics.multiplicity import Role, role_levels
from audit.trials.chunks import Stream, make_generator
from audit.trials.engines import Engine, Progress, SetUp, Streams, results
from audit.trials.failed_chunks import FailedChunk, collected
from audit.trials.identity.of_runs import identity_of
from audit.trials.store import Storage
from audit.trials.storing.opening import opened
from audit.trials.storing.resuming import Resuming
from audit.trials.watching import Seen
from mechanisms.claim import Claim
from mechanisms.errors import InvalidInputError, require
from mechanisms.protocol import Mechanism, World
from mechanisms.reading.records import RecordSet, records_for
from mechanisms.serving.streams import RequestStream

Announce = Callable[[AuditPlan, Sequence[BoundRecord], Family], None]


def run(
    mechanism: Mechanism,
    data: RecordSet,
    plan: AuditPlan | None = None,
    *,
    forget: int | Sequence[int] | None = None,
    claim: Claim | CertifiedClaim | None = None,
    trials: int | None = None,
    attacks: Sequence[Attack | str] | None = None,
    seed: int | None = None,
    stop_when_decided: bool = False,
    requests: Any = None,
    after: After = "each",
    engine: Streams | None = None,
    store: str | Path | Storage | None = None,
    progress: Progress | None = None,
    announce: Announce | None = None,
    title: str | None = None,
    command: str | None = None,
) -> AuditResult:
    """Audit a mechanism's claims: return verdicts that are wrong with probability at most the plan's significance.

    A claim that holds is REFUTED with at most that probability, over everything in the plan together. NOT_REFUTED
    proves nothing about the claim: it says that this audit did not find evidence against it.

    Parameters
    ----------
    mechanism
        What to audit.
    data
        The data set D: matrices (:class:`mechanisms.Dataset`), or any other records that the mechanism learns
        (:class:`mechanisms.RecordSet`), or what it makes records of: a torch data set for
        :func:`mechanisms.from_torch`. Attacks that read numbers in records are refused where there are none.
    plan
        Everything that is decided before sampling. Without one, give ``forget`` and ``claim``.
    forget, claim, trials, attacks, seed
        A forget set (or one record), a claim, the releases per world, the attacks or their names and the seed, for an
        audit without a plan. By default the attacks are the portfolio, each family that can be fitted on so few
        trials, and before it ``likelihood_ratio`` where the mechanism states its laws.
    stop_when_decided
        Count trials as they come, and stop with a forget set once every claim about it is refuted; the trials are then
        the most that are drawn. As if the plan's counting were :class:`audit.plan.split.Sequential`.
    requests, after
        Requests that are served one after the other, in place of ``forget``: ``[[291], [17, 3]]``. Audited are the
        releases after each request, or after the last. They are written down before the first release.
    engine
        Worker processes; one process by default.
    store
        A folder in which finished chunks are kept, or :class:`audit.Storage` with more to say about it. A run of the
        same plan that was stopped goes on there, with the result that it would have had; a finished one gives its
        result again and draws nothing. By default nothing is kept.
    progress
        Called with (phase, trials done, trials in all).
    announce
        Called once with the bound plan and its ledger before anything is drawn, for warnings.
    title, command
        For the report.

    Returns
    -------
    AuditResult

    Raises
    ------
    InvalidInputError
        For input out of range, before anything is drawn; also when the store is of another run, is written to by
        another process, or is damaged.
    TrialError
        When the mechanism fails.
    """
    _check_mechanism(mechanism, "mechanism")
    data = records_for(mechanism, data)
    # Before any code of the user has run.
    audited_data = data_record(data)
    if requests is not None:
        require(forget is None, "forget", expected="left out beside requests", got=forget, fix="give one of the two")
        mechanism = RequestStream(mechanism=mechanism, requests=requests)
        forget = mechanism.forget_sets()[-1] if plan is None else None
    plan = plan_of(mechanism, data, plan, forget, claim, trials, attacks, seed, stop_when_decided)
    if isinstance(mechanism, RequestStream) and requests is not None and forget is not None:
        sets, labels = audited_sets(mechanism, after)
        plan = replace(plan, forget=sets, labels=labels)
    title = title or f"Audit of {mechanism.name} on {data.name}"
    storage = store if isinstance(store, Storage) else Storage(folder=None if store is None else Path(store))
    n_chunks = _n_chunks(plan)
    with opened(
        storage,
        lambda: identity_of(mechanism, data, plan, data_sha256=audited_data.sha256),
        n_chunks=n_chunks,
        command=command,
    ) as kept:
        if (finished := kept.result) is not None:
            kept.say(f"This run is finished: its result is read from {storage.folder}, and nothing is drawn.")
            return replace(_with_previews(AuditResult.from_json(finished), data), title=title)
        if kept.n_stored:
            most = "at most " if isinstance(plan.counting, Sequential) else ""
            kept.say(f"Going on: {kept.n_stored:,} of {most}{n_chunks:,} chunks are stored in {storage.folder}.")
        try:
            result = run_services(
                {title: mechanism},
                data,
                plan,
                engine=Resuming(engine=engine or Engine(), store=kept),
                progress=progress,
                announce=announce,
                command=command,
                audited_data=audited_data,
            )[0]
        except TrialError:
            # The run has no result that they are part of, and what made them fail may be mended outside of the plan.
            kept.forget_failed()
            raise
        if storage.folder is not None:
            kept.finish(_without_previews(result).to_json())
    return result


def _check_mechanism(mechanism: object, field: str) -> None:
    if not callable(getattr(mechanism, "bind", None)) or isinstance(mechanism, type):
        raise InvalidInputError(
            field=field,
            expected="an object with a name and bind(data, forget)",
            got=mechanism,
            fix="make one by mechanisms.from_functions",
        )


def _check_services(services: Mapping[str, Mechanism]) -> None:
    is_named = isinstance(services, Mapping) and bool(services) and all(isinstance(title, str) for title in services)
    require(
        is_named,
        "services",
        expected="at least one mechanism by the title of its result",
        got=services,
        fix='write {"ours": mechanism, "theirs": other}',
    )
    for title, mechanism in services.items():
        _check_mechanism(mechanism, f"services[{title!r}]")


def _without_previews(result: AuditResult) -> AuditResult:
    """Return what is stored of a result: not what deleted records look like, which the data say when it is read."""
    return replace(result, findings=tuple(replace(finding, preview=()) for finding in result.findings))


def _with_previews(result: AuditResult, data: RecordSet) -> AuditResult:
    findings = tuple(replace(finding, preview=previews_of(data, finding.forget)) for finding in result.findings)
    return replace(result, findings=findings)


def _n_chunks(plan: AuditPlan) -> int:
    """Return how many chunks an audit of the plan has, at most: of both worlds and of both controls."""
    n_trials, n_control = len(plan.chunk_sizes(plan.trials)), len(plan.chunk_sizes(plan.n_control_trials))
    if isinstance(plan.counting, Sequential):
        # A control then has leading chunks of the trials, those that fit and at least one that counts.
        sizes = plan.chunk_sizes(plan.trials)
        n_first = plan.counting.n_fit_chunks(sizes)
        n_control = min(n_trials, max(n_first + 1, plan.n_control_trials // sizes[0]))
    return 2 * (n_trials + n_control) * len(plan.forget)


def run_services(
    services: Mapping[str, Mechanism],
    data: RecordSet,
    plan: AuditPlan,
    *,
    engine: Streams | None = None,
    progress: Progress | None = None,
    announce: Announce | None = None,
    command: str | None = None,
    audited_data: DataRecord | None = None,
    fits: Fits | None = None,
) -> tuple[AuditResult, ...]:
    """Audit several unlearning services against one retrained world, whose releases are drawn once.

    Each result is a family of its own at the plan's significance, equal to that of :func:`run` alone but for the
    null control, which the first service carries for all. Nothing is stored: a run that is stopped begins anew.

    Parameters
    ----------
    services
        Mechanisms by the title of their result. All must retrain alike: for the same random stream their retrained
        worlds give the same releases.
    data, plan, engine, progress, announce, command
        As for :func:`run`; ``announce`` is called for every service.
    audited_data
        What the data were before any code of the user ran; now, by default.
    fits
        Gives the attacks that were fitted elsewhere to a forget set of one service; by default they are fitted here.

    Returns
    -------
    tuple of AuditResult
        In the order of the services.

    Raises
    ------
    InvalidInputError, TrialError
        As for :func:`run`; also when two services do not retrain alike.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    _check_services(services)
    data = records_for(next(iter(services.values())), data)
    plan = with_declared_replay(plan, list(services.values()))
    check_inputs(plan, data)
    audited_data = audited_data or data_record(data)
    engine = (engine or Engine()).limited(plan.trial_timeout)
    bound = _bound(list(services.values()), data, plan, engine)
    families = [family_of(plan, [row[s] for row in bound]) for s in range(len(services))]
    if announce is not None:
        for s, family in enumerate(families):
            announce(plan, [row[s] for row in bound], family)
    for row in bound:
        for record in row:
            check_fits(plan, record)
    # Before the first chunk of any forget set: what cannot be replayed is known in minutes, and not after hours.
    replays = [_replayed(plan, row, i, engine) for i, row in enumerate(bound)]
    gathering = engine
    if plan.share_learned:
        check_same_learning(plan, bound, engine)
        usable = {i: row for i, row in enumerate(bound) if _any_agrees(replays[i])}
        gathering, fits = share(plan, usable, engine=engine, progress=progress)
    audited = [
        _audit_forget_set(
            plan,
            families,
            row,
            i,
            replays=replays[i],
            sha256=audited_data.sha256,
            engine=gathering,
            progress=shown_progress(progress, i, len(plan.forget)),
            fits=fits,
        )
        for i, row in enumerate(bound)
    ]
    environment = environment_of(started, time.monotonic() - clock, engine, command)
    return tuple(
        _result_of(
            title,
            plan,
            [row[s] for row in bound],
            [row[s] for row in audited],
            families[s],
            data=replace(data_record(data, mechanism), sha256=audited_data.sha256),
            mechanism=mechanism.name,
            environment=environment,
        )
        for s, (title, mechanism) in enumerate(services.items())
    )


def _bound(
    mechanisms: Sequence[Mechanism], data: RecordSet, plan: AuditPlan, engine: Streams
) -> list[list[BoundRecord]]:
    """Return, for each forget set, every service bound to it."""
    # Calibration takes most of a second for each, so that binding is work for the workers too.
    sets, n = [SetUp(index=i) for i in range(len(plan.forget))], len(mechanisms)
    calls = [(mechanism, data, plan, one) for one in sets for mechanism in mechanisms]
    done = dict(results(engine.stream(bind_once, calls), doing="binding the mechanism"))
    return [[in_place(done[n * i + s], data, plan) for s in range(n)] for i in range(len(sets))]


Audited = tuple[list[Finding], list[Control]]


def _result_of(
    title: str,
    plan: AuditPlan,
    bound: Sequence[BoundRecord],
    audited: Sequence[Audited],
    family: Family,
    *,
    mechanism: str,
    data: DataRecord,
    environment: Environment,
) -> AuditResult:
    """Return the result of one service; verdicts need the p-values of its whole family."""
    findings = [finding for found, _ in audited for finding in found]
    judged, members = settle(findings, family, n_counted=(plan.n_counted, plan.n_counted))
    controls = tuple(control for _, found in audited for control in found)
    trainings = trainings_of(plan, [record.deletion for record in bound])
    return AuditResult(
        title=title,
        mechanism=mechanism,
        sampler=str(bound[0].context.parameters.get("sampler", "user functions")),
        plan=plan_record(plan, bound[0].deletion.release.access, trainings=trainings),
        findings=judged,
        controls=controls,
        controls_made=tally(controls),
        family=members,
        data=data,
        environment=environment,
    )


def _any_agrees(replays: Sequence[Replayed]) -> bool:
    """Return whether trials of some service are worth drawing."""
    return any(replayed.control.as_expected for replayed in replays)


def _replayed(plan: AuditPlan, services: Sequence[BoundRecord], index: int, engine: Streams) -> list[Replayed]:
    """Return the replay of every service about one forget set, which all retrain alike."""
    check_same_retraining([service.deletion for service in services], plan, index)
    found = []
    # Each draw is a training: a run that goes on does not ask again, unless it does so elsewhere.
    kept = engine if isinstance(engine, Resuming) and isinstance(engine.engine, Engine) else None
    place = "" if kept is None else machine()
    for s, service in enumerate(services):
        name = f"replay of {index}, {s} on {place}"
        text = None if kept is None else kept.noted(name)
        if text is not None:
            found.append(replayed_of(text))
            continue
        replayed = replay(service.deletion, plan, index, service.forget, service.label, engine=engine)
        if kept is not None:
            kept.note(name, replayed.to_text())
        found.append(replayed)
    return found


def _audit_forget_set(
    plan: AuditPlan,
    families: Sequence[Family],
    services: Sequence[BoundRecord],
    index: int,
    *,
    replays: Sequence[Replayed],
    sha256: str,
    engine: Streams,
    progress: Progress | None,
    fits: Fits | None = None,
) -> list[Audited]:
    """Return findings and controls of every service about one forget set; nothing is counted where no replay agrees."""
    levels = [
        [role_levels(family, claim=i, forget=service.forget) for i in range(len(service.claims))]
        for family, service in zip(families, services, strict=True)
    ]
    if not _any_agrees(replays):
        return [_stopped(plan, levels[s], service, replays[s], sha256) for s, service in enumerate(services)]
    retrained = retrained_sample(plan, index, services[0].deletion)
    contrasts = contrasts_of(plan, index, services)
    if isinstance(plan.counting, Sequential):
        inquiries = inquiries_of(contrasts, plan, [service.claims for service in services], levels)
        evidence = gather_until_decided(
            retrained, contrasts, inquiries, plan, plan.counting, engine=engine, progress=progress
        )
    else:
        given = None if fits is None else fits(index, services[0])
        evidence = gather(retrained, contrasts, plan, engine=engine, progress=progress, fitted=given)
    return [
        _judge(plan, levels[s], service, index, evidence, s, replays[s], sha256, engine)
        for s, service in enumerate(services)
    ]


def _stopped(
    plan: AuditPlan, levels: Sequence[Mapping[Role, float]], record: BoundRecord, replayed: Replayed, sha256: str
) -> Audited:
    """Return findings and controls of a service that was stopped before its first chunk."""
    forget, label = record.forget, record.label
    nothing = Evidence(prepared={}, unlearned={}, retrained={}, failures={})
    # Here alone is it known: where another service of the audit can be replayed, trials of this one are drawn too.
    said = replace(replayed.control, message=f"{replayed.control.message} Nothing more was drawn for this forget set.")
    controls = [
        said,
        *unchanged_data_control(record.deletion, record.data, nothing.seen, sha256=sha256, forget=forget, label=label),
    ]
    return _findings(plan, levels, record, nothing, controls, ()), controls


def _judge(
    plan: AuditPlan,
    levels: Sequence[Mapping[Role, float]],
    record: BoundRecord,
    index: int,
    evidence: Mapping[Key, Evidence],
    service: int,
    replayed: Replayed,
    sha256: str,
    engine: Streams,
) -> Audited:
    """Turn one service's evidence about one forget set into findings and controls."""
    forget, label = record.forget, record.label
    null = null_control(evidence[Kind.NULL, 0], plan, forget, label, n_controls=len(plan.forget) * len(plan.attackers))
    neglected = neglected_control(
        evidence[Kind.NEGLECTED, service], plan, record.claims[0], forget, label, level=levels[0]["claim_row"]
    )
    shown = evidence[Kind.CLAIMS, service]
    controls = [
        replayed.control,
        null,
        neglected,
        *randomness_controls(record.deletion, shown, plan, index, forget, label),
        *reused_models_control(record.deletion, shown.seen, replayed, plan, record=index, forget=forget, label=label),
        *unchanged_data_control(record.deletion, record.data, shown.seen, sha256=sha256, forget=forget, label=label),
        *reference_control(record, plan, index, seen=_seen_by_world(shown, service), engine=engine),
        *same_randomness_control(record, seed=plan.seed, index=index, n_controls=len(plan.forget), engine=engine),
        *utility_control(record.deletion, plan, index, forget, label, engine=engine),
    ]
    rng = make_generator(plan.seed, Stream.ESTIMATES, index)
    # Trials that failed are left out of scores: what is left is no sample of a fixed size.
    is_fixed = plan.counting.kind == "split" and not shown.failed
    estimates = estimates_of(shown.unlearned, shown.retrained, rng=rng, is_fixed=is_fixed)
    of_controls = (*evidence[Kind.NULL, 0].failed, *evidence[Kind.NEGLECTED, service].failed)
    failed = collected((*shown.failed, *of_controls))
    return _findings(plan, levels, record, shown, controls, estimates, failed), controls


def _seen_by_world(evidence: Evidence, service: int) -> dict[World, Seen]:
    """Return what was seen of a service's own trials: those of the retrained world are the first service's."""
    unlearned, retrained = evidence.seen
    return {World.UNLEARNED: unlearned} | ({World.RETRAINED: retrained} if service == 0 else {})


def _findings(
    plan: AuditPlan,
    levels: Sequence[Mapping[Role, float]],
    record: BoundRecord,
    evidence: Evidence,
    controls: Sequence[Control],
    estimates: tuple[Estimate, ...],
    failed: tuple[FailedChunk, ...] = (),
) -> list[Finding]:
    """Return one finding a claim."""
    return [
        make_finding(
            claim=claim,
            forget=record.forget,
            label=record.label,
            evidence=evidence,
            delta=plan.delta,
            levels=levels[i],
            reproducible=not any(control.spoils_verdicts for control in controls),
            n_counted=(plan.n_counted, plan.n_counted),
            certificates=record.certificates,
            parameters=record.context.parameters,
            data=record.data,
            estimates=estimates,
            failed=failed,
            max_failed=plan.max_failed,
        )
        for i, claim in enumerate(record.claims)
    ]
