"""What running both worlds from the same random streams showed, as frozen data with an exact JSON round trip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from audit.errors import ClaimRefutedError, InconclusiveError
from audit.plan.ranges import check
from audit.records import json_text
from audit.records.ledger import DataRecord
from audit.records.verdict import Verdict, overall
from audit.records.words.phrases import claim_text, name, plain, subject, tally
from audit.records.words.rounding import down, enough_digits, nearest, up
from mechanisms.claim import JSON_CONFIG, Claim

SAME_RANDOMNESS_SCHEMA: Literal["unlearn-audit/randomness/1"] = "unlearn-audit/randomness/1"
# Epsilon of a claim that names no delta is told here.
_TOLD_AT = 1e-5


@dataclass(frozen=True, kw_only=True)
class SharedNoiseFinding:
    """One claim about one forget set, and what pairs of runs from the same random streams say of it.

    Parameters
    ----------
    claim, forget, label
        What was claimed, of which deletion.
    verdict
        ``REFUTED``: the shift is larger than the claim allows with this noise. ``NOT_REFUTED``: it is not.
        ``INCONCLUSIVE``: the method does not apply to this mechanism.
    why
        Why it does not apply, or how the noise was found.
    streams
        Random streams that both worlds were run from.
    shift
        Distance of what the two worlds release without noise.
    allowed_shift
        The largest distance that the claim allows with the noise of ``noise_bound``: the sensitivity that it declares.
    noise, noise_bound
        Standard deviation in the direction of the shift, and an upper bound on it; the same where ``recognised``.
    recognised
        Whether the noise is a multiple of the drawn numbers themselves, so that nothing was estimated.
    mu, allowed_mu
        A lower bound on the shift in units of noise, and the largest one that the claim allows.
    level
        Probability that ``noise_bound`` is too small; ``None`` where nothing was estimated.

    Notes
    -----
    Numbers are ``None`` where the method does not apply, and noise where there is no shift.
    """

    __pydantic_config__ = JSON_CONFIG
    claim: Claim
    forget: tuple[int, ...]
    label: str
    verdict: Verdict
    why: str
    streams: int
    shift: float | None = None
    allowed_shift: float | None = None
    noise: float | None = None
    noise_bound: float | None = None
    recognised: bool = False
    mu: float | None = None
    allowed_mu: float | None = None
    level: float | None = None

    def __post_init__(self) -> None:
        for field in ("shift", "allowed_shift", "noise", "noise_bound", "mu", "allowed_mu"):
            check(field, getattr(self, field), finite=False)
        check("level", self.level, high=1.0)

    @property
    def subject(self) -> str:
        """Return "record 757 (hardest)"."""
        return subject(self.forget, self.label)

    def sentence(self) -> str:
        """Return what was found, in one or two sentences."""
        if self.shift is None:
            return f"Does not apply: {self.why} Nothing is said of the claim."
        claimed = claim_text(self.claim, _TOLD_AT)
        if self.shift == 0:
            return f"No shift at all where {claimed} is claimed. {self.why}"
        mu, most = self.mu or 0.0, self.allowed_mu or 0.0
        digits = enough_digits(mu, most)
        sigma = nearest(self.noise or 0.0) if self.recognised else f"at most {up(self.noise_bound or 0.0)}"
        compared = (
            f"The shift is {down(self.shift, digits)} and the noise {sigma}, where {claimed} allows a shift of "
            f"{up(self.allowed_shift or 0.0, digits)}: {down(mu, digits)} standard deviations, of {up(most, digits)} "
            "that are allowed."
        )
        unsure = "" if self.level is None else f" The bound on the noise is wrong with probability {up(self.level)}."
        return f"{compared} {self.why}{unsure}"


@dataclass(frozen=True, kw_only=True)
class SameRandomness:
    """What pairs of runs from the same random streams showed of every claim.

    A claim that holds is REFUTED with probability at most ``significance``, over all findings together, where releases
    are what the runs showed: a fixed array and the same Gaussian noise in both worlds. NOT_REFUTED proves nothing of
    other data or other records, nor of what happens for rare random numbers only.

    Parameters
    ----------
    title, mechanism, data
        What was looked at.
    seed, significance
        Of the streams, and of all bounds on noise together.
    findings
        One a claim and forget set.
    seconds
        How long it took; the only field that differs between two runs.
    command
        What runs it again, where a command line did.
    """

    __pydantic_config__ = JSON_CONFIG
    title: str
    mechanism: str
    data: DataRecord
    seed: int
    significance: float
    findings: tuple[SharedNoiseFinding, ...]
    seconds: float
    command: str | None = None
    schema: Literal["unlearn-audit/randomness/1"] = SAME_RANDOMNESS_SCHEMA

    def __post_init__(self) -> None:
        check("significance", self.significance, high=1.0)
        check("seconds", self.seconds)

    def __repr__(self) -> str:
        """Return one line: title and how many claims got which verdict."""
        return f"<SameRandomness {plain(self.title)}: {tally([f.verdict for f in self.findings])}>"

    def __str__(self) -> str:
        """Return a line a finding."""
        lines = [plain(f"{name(f.verdict)}  {f.subject}: {f.sentence()}") for f in self.findings]
        return "\n".join([plain(self.title), *(f"  {line}" for line in lines)])

    @property
    def verdict(self) -> Verdict:
        """REFUTED if any claim is, else INCONCLUSIVE if the method does not apply anywhere."""
        return overall(finding.verdict for finding in self.findings)

    def assert_holds(self) -> None:
        """Raise unless nothing was refuted and the method applied everywhere.

        Raises
        ------
        ClaimRefutedError
            When a claim was refuted.
        InconclusiveError
            When the method does not apply to some forget set.
        """
        if self.verdict is Verdict.REFUTED:
            raise ClaimRefutedError(str(self))
        if self.verdict is Verdict.INCONCLUSIVE:
            raise InconclusiveError(str(self))

    def to_json(self) -> str:
        """Return the result as JSON text; :meth:`from_json` gives back an equal object."""
        return json_text.dump(self)

    @staticmethod
    def from_json(text: str) -> SameRandomness:
        """Return the result that :meth:`to_json` wrote.

        Raises
        ------
        SchemaError
            When the text is not of this schema.
        """
        return json_text.load(text, SameRandomness, schemas=(SAME_RANDOMNESS_SCHEMA,))
