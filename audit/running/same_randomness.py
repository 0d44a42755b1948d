"""Run both worlds from the same random streams: a few pairs of runs against a claim. Entry: :func:`same_randomness`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from audit.controls.replay import replay
from audit.controls.same_noise import MIN_STREAMS, SameNoise, same_noise
from audit.plan.audit_plan import AuditPlan, CertifiedClaim
from audit.plan.bound_record import BoundRecord
from audit.records.provenance import data_record
from audit.records.verdict import Verdict
from audit.running.binding import bind, with_declared_replay
from audit.running.shared_noise import SameRandomness, SharedNoiseFinding
from audit.statistics.gaussian_shift import largest_mu
from audit.statistics.multiplicity import equal_share
from audit.trials.engines import Engine, Progress, results
from mechanisms.claim import Claim
from mechanisms.dataset import Dataset, validate_forget
from mechanisms.errors import InvalidInputError, require
from mechanisms.protocol import Mechanism
from mechanisms.reading.records import records_for

STREAMS = 20


def same_randomness(
    mechanism: Mechanism,
    data: Dataset,
    plan: AuditPlan | None = None,
    *,
    forget: int | Sequence[int] | None = None,
    claim: Claim | CertifiedClaim | None = None,
    streams: int = STREAMS,
    seed: int | None = None,
    significance: float | None = None,
    engine: Engine | None = None,
    progress: Progress | None = None,
    title: str | None = None,
    command: str | None = None,
) -> SameRandomness:
    """Refute claims of "fixed model plus Gaussian noise" from a few pairs of runs, both worlds with the same numbers.

    A claim that holds is REFUTED with probability at most the significance, over everything together, where releases
    are what the runs showed; where they show anything else the verdict is INCONCLUSIVE, never REFUTED. NOT_REFUTED is
    no proof: it is about these data and this deletion, and about random numbers as they usually are.

    Parameters
    ----------
    mechanism
        What to look at. It is run ``2 * (streams + 4)`` times a forget set, ``streams`` times more where its noise has
        to be estimated, and a few times to see that it can be replayed.
    data
        The data set D.
    plan
        Claims, forget sets, seed and significance; its attacks and trials are not used. Without one, give ``forget``
        and ``claim``.
    forget, claim
        A forget set (or one record) and a claim, without a plan.
    streams
        Random streams from which both worlds are run, at least 2. They bound the noise where it has to be estimated
        (20: to 1.36 of itself), and find draws that depend on the stream.
    seed, significance
        By default 0 and 0.05, or the plan's, which they override.
    engine
        Worker processes, which share the forget sets; one process by default.
    progress
        Called with (phase, forget sets done, forget sets in all).
    title, command
        For the result.

    Returns
    -------
    SameRandomness

    Raises
    ------
    InvalidInputError
        For input out of range.
    TrialError
        When the mechanism fails.

    Notes
    -----
    With equal random numbers the noise cancels in the difference of the two releases, and what is left is the shift
    that the noise has to hide. The worlds are then N(c + shift, S) and N(c, S), which is mu-Gaussian DP with mu at
    least the shift over the noise in its direction, and no less; the claim is false when that exceeds what it allows.
    No event is counted, so that no sampling error has to be outrun: :func:`audit.run` needs thousands of trials to see
    a noise that is half of what it should be. What must hold is checked, not assumed, as far as runs can show it (see
    :func:`audit.controls.same_noise.same_noise`): all random numbers are normal ones from ``rng``, the same in both
    worlds; the difference is one vector; the noise enters linearly. Mechanisms whose use of the stream depends on the
    data, that draw permutations or seeds, or whose training the noise passes through, are outside: audit those by
    sampling.

    References
    ----------
    Cebere, Erb, Desfontaines, Bellet, Fitzsimons 2026, "Privacy in theory, bugs in practice: grey-box auditing of
    differential privacy libraries" (arXiv:2602.17454), run an instrumented algorithm on neighbouring data with
    identical randomness and compare the declared sensitivity with the distance that is measured. Here releases are
    compared, and the generator is what is instrumented. Dong, Roth, Su 2022 (arXiv:1905.02383) for the Gaussian pair.

    Examples
    --------
    >>> import audit
    >>> from mechanisms import Claim, GaussianDP, from_functions, from_arrays
    >>> mean = from_functions(
    ...     learn=lambda data, rng: data.features.mean(axis=0),
    ...     unlearn=lambda model, retained, forget, rng: model + 0.01 * rng.standard_normal(model.shape),
    ...     release=(2,),
    ... )
    >>> data = from_arrays([[float(i), 1.0] for i in range(10)], [float(i) for i in range(10)], intercept=False)
    >>> audit.same_randomness(mean, data, forget=9, claim=Claim(guarantee=GaussianDP(mu=1.0))).verdict.value
    'refuted'
    """
    started = time.monotonic()
    data = records_for(mechanism, data)
    plan = with_declared_replay(_resolved(plan, data, forget, claim, seed, significance), [mechanism])
    whole = isinstance(streams, int | np.integer) and streams >= MIN_STREAMS
    require(whole, "streams", expected=f"at least {MIN_STREAMS}", got=streams, fix="20 is usual")
    engine = engine or Engine()
    looked: dict[int, list[SharedNoiseFinding]] = {}
    n = len(plan.forget)
    audited_data = data_record(data, mechanism)
    calls = [(mechanism, data, plan, i, int(streams)) for i in range(n)]
    for i, found in results(engine.stream(look_at, calls), doing="running both worlds"):
        looked[i] = found
        if progress is not None:
            progress("same randomness", len(looked), n)
    return SameRandomness(
        title=title or f"Same randomness: {mechanism.name} on {data.name}",
        mechanism=mechanism.name,
        data=audited_data,
        seed=plan.seed,
        significance=plan.significance,
        findings=tuple(finding for i in range(n) for finding in looked[i]),
        seconds=round(time.monotonic() - started, 3),
        command=command,
    )


def look_at(mechanism: Mechanism, data: Dataset, plan: AuditPlan, index: int, streams: int) -> list[SharedNoiseFinding]:
    """Return one finding a claim about one forget set of the plan; what the runs show is shared by its claims."""
    record = bind(mechanism, data, plan, index)
    replayed = replay(record.deletion, plan, index, record.forget, record.label).control
    if not replayed.as_expected:
        shown = SameNoise(applies=False, why=replayed.message, streams=0)
    else:
        # One bound on the noise serves all claims about a forget set.
        level = equal_share(plan.significance, len(plan.forget))
        shown = same_noise(record.deletion, seed=plan.seed, record=index, streams=streams, level=level)
    return [_finding(record, claim, shown, equal_share(plan.significance, len(plan.forget))) for claim in record.claims]


def _finding(record: BoundRecord, claim: Claim, shown: SameNoise, level: float) -> SharedNoiseFinding:
    found = SharedNoiseFinding(
        claim=claim,
        forget=record.forget,
        label=record.label,
        verdict=Verdict.INCONCLUSIVE,
        why=shown.why,
        streams=shown.streams,
    )
    if shown.mu is None:
        return found
    allowed = largest_mu(claim)
    return replace(
        found,
        verdict=Verdict.REFUTED if shown.mu > allowed else Verdict.NOT_REFUTED,
        shift=shown.shift,
        allowed_shift=None if shown.noise_bound is None else allowed * shown.noise_bound,
        noise=shown.noise,
        noise_bound=shown.noise_bound,
        recognised=shown.recognised,
        mu=shown.mu,
        allowed_mu=allowed,
        level=None if shown.recognised or shown.noise is None else level,
    )


def _resolved(
    plan: AuditPlan | None,
    data: Dataset,
    forget: int | Sequence[int] | None,
    claim: Claim | CertifiedClaim | None,
    seed: int | None,
    significance: float | None,
) -> AuditPlan:
    """Return the plan with what overrides it, or one of a forget set and a claim."""
    if plan is None:
        given = {"forget": forget, "claim": claim}
        missing = [name for name, value in given.items() if value is None]
        require(not missing, "plan", expected="given, or forget and claim", got=f"no {missing}", fix="pass both")
        is_claim = isinstance(claim, Claim | CertifiedClaim)
        fix = "write Claim(guarantee=GaussianDP(mu=0.5)), or with EpsilonDelta(epsilon=1.0, delta=1e-5)"
        require(is_claim, "claim", expected="a Claim", got=claim, fix=fix)
        records = forget if isinstance(forget, Sequence | np.ndarray) else (forget,)
        plan = AuditPlan(claims=(claim,), forget=(validate_forget(records, len(data)),))  # type: ignore[arg-type]
    elif forget is not None or claim is not None:
        raise InvalidInputError(
            field="plan", expected="given alone, without forget or claim", got="both", fix="put them into the plan"
        )
    changed = {"seed": seed, "significance": significance}
    return replace(plan, **{name: value for name, value in changed.items() if value is not None})  # type: ignore[arg-type]
