"""An audit plan: everything that is decided before a single trial is drawn. Frozen data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from attacks.protocol import Attack
from attacks.registry import resolve
from audit.plan.split import Counting, Sequential, Split
from mechanisms.claim import JSON_CONFIG, Claim, OnAverage, Reference
from mechanisms.errors import require
from mechanisms.protocol import Access
from mechanisms.reading.scalars import flag, real_number, whole_number

Axis = Literal["records", "claims", "attacks", "rows"]
# A release a microsecond: a quarter of an hour for a world.
MAX_TRIALS = 10**9
# Each chunk has a generator and a place in a list.
MAX_CHUNKS = 10**6
# No audit of MAX_TRIALS trials tells a smaller level from never refuting, and shares of it vanish in rounding.
SMALLEST_SIGNIFICANCE = 1e-30


@dataclass(frozen=True, kw_only=True)
class CertifiedClaim:
    """The claim of the deletion's own certificate, taken by method name when the deletion is bound.

    Parameters
    ----------
    method
        Method of one of the deletion's certificates, for example "exact" or "published".
    """

    __pydantic_config__ = JSON_CONFIG
    method: str
    kind: Literal["certified"] = "certified"


@dataclass(frozen=True, kw_only=True)
class Bonferroni:
    """Every member of the family is tested at significance / family size."""

    __pydantic_config__ = JSON_CONFIG
    kind: Literal["bonferroni"] = "bonferroni"


@dataclass(frozen=True, kw_only=True)
class Holm:
    """Step down: members of a refuted claim leave the family, and the others share the significance anew.

    Refutes whatever :class:`Bonferroni` refutes, and more where several claims are false.
    """

    __pydantic_config__ = JSON_CONFIG
    kind: Literal["holm"] = "holm"


@dataclass(frozen=True, kw_only=True)
class FixedSequence:
    """Step by step in a declared order, each step at the whole significance, until a step is not refuted whole.

    Parameters
    ----------
    order
        What the steps run through, the slowest first; within each, the order of the plan counts ("rows": the claim's
        row first, then the plan's delta). What is not named shares the level of its step equally. By default a step
        is one claim about one deletion, with all of its attacks and rows.
    """

    __pydantic_config__ = JSON_CONFIG
    order: tuple[Axis, ...] = ("records", "claims")
    kind: Literal["fixed_sequence"] = "fixed_sequence"

    def __post_init__(self) -> None:
        known = get_args(Axis)
        require(
            bool(self.order) and len(set(self.order)) == len(self.order) and set(self.order) <= set(known),
            "correction.order",
            expected=f"distinct names out of {', '.join(known)}",
            got=self.order,
            fix='name the slowest first, for example ("records", "claims")',
        )


Correction = Bonferroni | Holm | FixedSequence


@dataclass(frozen=True, kw_only=True)
class AuditPlan:
    """What is audited, how often, and at which level.

    Parameters
    ----------
    claims
        Claims to test on every forget set, literal or taken from the deletion's certificates.
    forget
        Forget sets, each a tuple of record indices.
    attacks
        Attacks to score with, or their names (``unlearn-audit list attacks``); kept as objects.
    labels
        One word for each forget set ("hardest"), for reports; empty for none.
    trials
        Releases per world and forget set, fitting and counting together.
    counting
        Which trials fit and which count, and whether counting stops once every claim is refuted.
    significance
        Family-wise probability of refuting any claim that holds, over everything in the plan.
    correction
        How the significance is divided, and in which order it is spent.
    delta
        Besides the claim's own rows, bounds are reported at this delta.
    control_trials
        Releases per world and forget set for each control; a fifth of ``trials``, at most 20,000, by default.
    seed
        The only source of randomness.
    chunk_size
        Trials drawn and scored together: the unit of work, of memory and of replay.
    access
        What attackers are granted of a release. Attacks that need more are refused, and so is a mechanism that releases
        something else. ``None`` for whatever the mechanism releases.
    max_failed
        Trials of one forget set, of all its worlds and controls, that may fail. When more fail, the finding is
        inconclusive. Failed trials that were to be counted count against refuting, however many are allowed.
    trial_timeout
        Seconds that a trial may take: a chunk of n trials is given up after n times as long, which needs a worker
        process. ``None`` for no limit.
    replay
        How alike two draws of one random stream must be before anything is counted. "exact": equal in every digit. A
        number in (0, 1), for training whose last digits differ from run to run (kernels of a GPU): by at most that
        share of the largest number of a release. "off": not asked, which reports say; nothing then shows whether trials
        take all of their randomness from their stream. What a mechanism declares (:func:`mechanisms.from_torch`) holds
        in place of "exact".
    share_learned
        Learn trial t of the full data once, and serve every forget set from that model: of several forget sets the
        trainings of the full data are shared, and a release still has unlearning noise of its own. Forget sets then
        depend on each other, which Bonferroni and Holm allow. The mechanism needs stages
        (:class:`mechanisms.HasStages`), and a learning that does not depend on what is deleted, which is checked.
    """

    claims: tuple[Claim | CertifiedClaim, ...]
    forget: tuple[tuple[int, ...], ...]
    attacks: Sequence[Attack | str] = ("portfolio",)
    labels: tuple[str, ...] = ()
    trials: int = 20_000
    counting: Counting = Split()
    significance: float = 0.05
    correction: Correction = Bonferroni()
    delta: float = 1e-5
    control_trials: int | None = None
    seed: int = 0
    chunk_size: int = 1000
    access: Access | None = None
    max_failed: int = 0
    trial_timeout: float | None = None
    replay: Literal["exact", "off"] | float = "exact"
    share_learned: bool = False

    def __post_init__(self) -> None:
        self._check_kinds()
        object.__setattr__(self, "attacks", resolve(self.attacks))
        for name, values in (("claims", self.claims), ("forget", self.forget), ("attacks", self.attacks)):
            require(bool(values), name, expected="at least one entry", got="()", fix=f"name {name} to audit")
        require(
            not self.labels or len(self.labels) == len(self.forget),
            "labels",
            expected=f"{len(self.forget)} words, one a forget set",
            got=self.labels,
            fix="or leave them out",
        )
        self._take_numbers()
        trials, level, delta, chunk = self.trials, self.significance, self.delta, self.chunk_size
        probability = "give a probability, for example 1e-5"
        require(trials >= 20, "trials", expected="at least 20", got=trials, fix="an audit needs thousands")
        require(trials <= MAX_TRIALS, "trials", expected=f"at most {MAX_TRIALS:,}", got=trials, fix="use fewer")
        levels = f"in (0, 0.5), at least {SMALLEST_SIGNIFICANCE:g}"
        is_level = SMALLEST_SIGNIFICANCE <= level < 0.5
        require(is_level, "significance", expected=levels, got=level, fix="0.05 is usual")
        require(0 <= delta < 1, "delta", expected="in [0, 1)", got=delta, fix=probability)
        require(self.seed >= 0, "seed", expected="a non-negative integer", got=self.seed, fix="choose any")
        require(chunk >= 1, "chunk_size", expected="at least 1", got=chunk, fix="1000 is usual")
        smallest = math.ceil(max(trials, self.control_trials or 0) / MAX_CHUNKS)
        fits = f"at least {smallest:,} for so many trials"
        require(chunk >= smallest, "chunk_size", expected=fits, got=chunk, fix="raise it")
        require(
            self.control_trials is None or 20 <= self.control_trials <= MAX_TRIALS,
            "control_trials",
            expected=f"in [20, {MAX_TRIALS:,}]",
            got=self.control_trials,
            fix="leave it out for a fifth of the trials",
        )
        failed, limit = self.max_failed, self.trial_timeout
        require(failed >= 0, "max_failed", expected="at least 0", got=failed, fix="0 lets no failed trial pass")
        positive = limit is None or 0 < limit < math.inf
        require(positive, "trial_timeout", expected="a positive number of seconds", got=limit, fix="or leave it out")
        self._take_replay()
        self._take_sharing()
        names = [attack.name for attack in self.attackers]
        require(len(set(names)) == len(names), "attacks", expected="distinct names", got=names, fix="remove the repeat")
        sets = [tuple(sorted(forget)) for forget in self.forget]
        distinct = len(set(sets)) == len(sets)
        require(distinct, "forget", expected="distinct forget sets", got=sets, fix="audit each deletion once")

    def _check_kinds(self) -> None:
        """Refuse a claim that stands alone, and words where objects are meant: they would end in a traceback later."""
        claims = self.claims
        are_claims = isinstance(claims, list | tuple) and all(isinstance(c, Claim | CertifiedClaim) for c in claims)
        fix = "write claims=(Claim(...),)"
        require(are_claims, "claims", expected="a tuple of claims", got=claims, fix=fix)
        certifying = [c for c in claims if isinstance(c, Claim) and c.reference is Reference.CERTIFYING]
        require(
            not certifying,
            "claim.reference",
            expected="a reference world that can be sampled",
            got=Reference.CERTIFYING.value,
            fix="nobody can draw from a law that is only said to exist: audit by lot (audit.from_lots), or state the "
            "claim against retrain_then_unlearn or retrain_only",
        )
        averaged = [c for c in claims if isinstance(c, Claim) and isinstance(c.covers, OnAverage)]
        require(
            not averaged,
            "claim.covers",
            expected="about the deletion that is audited",
            got=averaged[0].covers.words if averaged else "",
            fix="a mean over draws says nothing of one set: audit by lot (audit.from_lots), or state what is claimed "
            "of the set",
        )
        kinds: dict[str, tuple[Any, str]] = {
            "counting": (Counting, "write Split() or Sequential()"),
            "correction": (Correction, "write Bonferroni(), Holm() or FixedSequence()"),
            "access": (Access | None, "write Access.WHITE_BOX or Access.BLACK_BOX"),
        }
        for name, (kind, fix) in kinds.items():
            value = getattr(self, name)
            require(isinstance(value, kind), name, expected="an object of its kind", got=value, fix=fix)

    def _take_numbers(self) -> None:
        """Keep plain numbers, whatever kind they came in, and refuse what is none."""
        whole = {
            "trials": "an audit needs thousands",
            "seed": "choose any",
            "chunk_size": "1000 is usual",
            "control_trials": "leave it out for a fifth of the trials",
            "max_failed": "0 lets no failed trial pass",
        }
        for name, fix in whole.items():
            if name != "control_trials" or self.control_trials is not None:
                object.__setattr__(self, name, whole_number(getattr(self, name), name, fix=fix))
        for name, fix in (("significance", "0.05 is usual"), ("delta", "give a probability, for example 1e-5")):
            object.__setattr__(self, name, real_number(getattr(self, name), name, fix=fix))
        if self.trial_timeout is not None:
            limit = real_number(self.trial_timeout, "trial_timeout", fix="or leave it out")
            object.__setattr__(self, "trial_timeout", limit)

    def _take_replay(self) -> None:
        replay = self.replay
        if not isinstance(replay, str):
            replay = real_number(replay, "replay", fix='or write "exact" or "off"')
            object.__setattr__(self, "replay", replay)
        is_known = replay in ("exact", "off") or (not isinstance(replay, str) and 0 < replay < 1)
        expected = '"exact", "off" or a number in (0, 1)'
        require(is_known, "replay", expected=expected, got=replay, fix='"exact" unless training differs by run')

    def _take_sharing(self) -> None:
        """Refuse what is not valid, or not made, where forget sets depend on each other."""
        object.__setattr__(self, "share_learned", flag(self.share_learned, "share_learned"))
        if not self.share_learned:
            return
        names = type(self.correction).__name__, type(self.counting).__name__
        out = "or leave share_learned out"
        require(
            isinstance(self.correction, Bonferroni | Holm),
            "correction",
            expected="Bonferroni() or Holm(), which hold for forget sets that share learned models",
            got=names[0],
            fix=f"choose one of these, {out}",
        )
        require(
            isinstance(self.counting, Split),
            "counting",
            expected="Split(), a number of trials that is fixed beforehand, where forget sets share learned models",
            got=names[1],
            fix=f"leave stop_when_decided out, {out}",
        )
        require(
            self.replay != "off",
            "replay",
            expected='"exact" or a tolerance where forget sets share learned models',
            got="off",
            fix=f"whether learning depends on the forget set is seen by replays: ask for them, {out}",
        )

    @property
    def attackers(self) -> tuple[Attack, ...]:
        """The attacks as objects."""
        return cast("tuple[Attack, ...]", self.attacks)

    @property
    def n_smallest_fit(self) -> int:
        """Releases per world in the smallest fit: scores of the fit split come from fits on its halves."""
        return self.n_fit // 2

    def chunk_sizes(self, trials: int) -> tuple[int, ...]:
        """Return the sizes of the chunks that ``trials`` are drawn in: at least two, so that a split exists."""
        size = min(self.chunk_size, max(1, math.ceil(trials / 10)))
        if isinstance(self.counting, Sequential):
            size = min(size, self.counting.first_fit)
        full, rest = divmod(trials, size)
        return (size,) * full + ((rest,) if rest else ())

    @property
    def n_fit(self) -> int:
        """Releases per world and forget set that fit attacks and choose events."""
        sizes = self.chunk_sizes(self.trials)
        return sum(sizes[: self.counting.n_fit_chunks(sizes)])

    @property
    def n_counted(self) -> int:
        """Releases per world and forget set that are counted."""
        return self.trials - self.n_fit

    @property
    def n_control_trials(self) -> int:
        """Releases per world and forget set of each control."""
        return self.control_trials if self.control_trials is not None else min(20_000, max(20, self.trials // 5))
