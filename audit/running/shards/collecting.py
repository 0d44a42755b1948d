"""Put the shards of an audit together: fit its attacks between the phases, and judge what was counted.

In the flow: the last word of each phase. What is found is what :func:`audit.running.runner.run` finds, bit for bit
where machines agree; all controls that ask the mechanism itself are made here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from audit.gathering.at_once import Fitted, fit
from audit.gathering.contrast import make_contrasts, retrained_sample
from audit.plan.audit_plan import AuditPlan
from audit.records.provenance import data_record
from audit.records.result import AuditResult
from audit.running.binding import bind_once, check_inputs
from audit.running.cheap_checks import check_fits
from audit.running.runner import run_services
from audit.running.shards.dealing import Dealing, Phase
from audit.running.shards.fits import Fits, fits_in, required_fits, write_fits
from audit.running.shards.origin import Origin, differing, machines
from audit.running.shards.stores import FromShards, check_identities, drawn_shards, joined
from audit.trials.engines import Progress, SetUp, Streams, results
from audit.trials.identity.of_runs import identity_of
from audit.trials.store import Say, drop_releases, releases_folder
from audit.trials.storing.resuming import Resuming
from mechanisms.protocol import Mechanism
from mechanisms.reading.records import RecordSet

HERE = "what collects"


def origin_of(folder: Path, *, fitting: bool) -> Origin:
    """Return where the first of the shards that attacks are fitted on comes from.

    Raises
    ------
    InvalidInputError
        When such shards are missing and nothing was fitted, or the attacks that are to count are.
    """
    fits = fits_in(folder) if fitting else required_fits(folder)
    return drawn_shards(folder, Phase.FIT)[0].origin if fits is None else next(iter(fits.origins.values()))


def fit_shards(
    mechanism: Mechanism,
    data: RecordSet,
    plan: AuditPlan,
    folder: Path,
    *,
    origin: Origin,
    engine: Streams,
    keep_releases: bool = False,
    say: Say,
    progress: Progress | None = None,
) -> Fits:
    """Fit the attacks of an audit on what all shards of the first phase have drawn, and write them down.

    Parameters
    ----------
    mechanism, data, plan, engine, progress
        As for :func:`audit.running.runner.run`.
    folder
        With the shards; the fitted attacks are written there.
    origin
        Of this process, written down with the attacks.
    keep_releases
        Keep the releases in the shards; they are not needed any more.
    say
        Called with sentences for the user.

    Raises
    ------
    InvalidInputError
        When shards are missing, damaged, or of another audit, or when fitted attacks of another one are there.
    TrialError
        When every chunk of a world failed.
    """
    dealing = Dealing.of(plan, Phase.FIT)
    check_inputs(plan, data)
    identity = identity_of(mechanism, data, plan, data_sha256=data_record(data).sha256)
    found = fits_in(folder, identity)
    if found is not None and found.is_whole():
        say(f"The attacks are fitted already: {folder / 'fitted'}.")
        return found
    shards = drawn_shards(folder, Phase.FIT)
    check_identities(shards, identity)
    origins = {**{str(each.shard): each.origin for each in shards}, "the fit": origin}
    _say_differing(origins, say)
    with joined(shards, dealing) as store:
        drawn = FromShards(engine=engine, store=store, shards=shards, dealing=dealing)
        found = write_fits(folder, identity, _fitted(mechanism, data, plan, drawn, progress), origins)
    if not keep_releases:
        for each in shards:
            drop_releases(releases_folder(each.folder))
    return found


def _fitted(
    mechanism: Mechanism, data: RecordSet, plan: AuditPlan, engine: FromShards, progress: Progress | None
) -> Iterator[Fitted]:
    """Yield the fitted attacks of each forget set."""
    calls = [(mechanism, data, plan, SetUp(index=i)) for i in range(len(plan.forget))]
    bound = dict(results(engine.stream(bind_once, calls), doing="binding the mechanism"))
    for i in range(len(calls)):
        record = replace(bound.pop(i), data=data)
        check_fits(plan, record)
        contrasts = make_contrasts(plan, i, 0, record)
        retrained = retrained_sample(plan, i, record.deletion)
        yield fit(retrained, contrasts, plan, engine=engine, progress=None)
        if progress:
            progress("forget sets fitted", i + 1, len(calls))


def judge_shards(
    mechanism: Mechanism,
    data: RecordSet,
    plan: AuditPlan,
    folder: Path,
    *,
    origin: Origin,
    engine: Streams,
    say: Say,
    progress: Progress | None = None,
    title: str | None = None,
    command: str | None = None,
) -> AuditResult:
    """Return the result of an audit of which all shards are drawn.

    Parameters
    ----------
    mechanism, data, plan, engine, progress, title, command
        As for :func:`audit.running.runner.run`.
    folder
        With the fitted attacks and all shards that count.
    origin
        Of this process.
    say
        Called with sentences for the user.

    Raises
    ------
    InvalidInputError
        When nothing was fitted, or shards are missing, damaged, or of another audit or fit.
    TrialError
        When the mechanism fails, or failed in every chunk of a world.
    """
    dealing = Dealing.of(plan, Phase.COUNT)
    audited_data = data_record(data)
    identity = identity_of(mechanism, data, plan, data_sha256=audited_data.sha256)
    fits = required_fits(folder, identity)
    shards = drawn_shards(folder, Phase.COUNT)
    check_identities(shards, identity, fitted=fits.digest)
    origins = {**fits.origins, **{str(each.shard): each.origin for each in shards}, HERE: origin}
    _say_differing(origins, say)
    title = title or f"Audit of {mechanism.name} on {data.name}"
    with joined(shards, dealing) as store:
        result = run_services(
            {title: mechanism},
            data,
            plan,
            engine=Resuming(engine=engine, store=store),
            progress=progress,
            command=command,
            audited_data=audited_data,
            fits=lambda index, bound: fits.of(index, bound, plan),
        )[0]
    where = machines([(name, each.place) for name, each in origins.items()])
    return replace(result, environment=replace(result.environment, machine=where))


def _say_differing(origins: dict[str, Origin], say: Say) -> None:
    said = differing([(name, each.place) for name, each in origins.items()])
    if said:
        say(f"Not all shards were drawn on like machines, so that last digits may not be those of one machine. {said}.")
