"""One contrast of an audit that stops when decided, on its way: its fits, its questions, and when it may stop.

In the flow: ``audit.gathering.streaming`` draws and fits; what a chunk of scores means is said here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from attacks.protocol import FittedAttack
from audit.errors import TrialError
from audit.gathering.contrast import NOTHING_LEFT, Contrast, Evidence, Key, Kind
from audit.gathering.followed import Followed
from audit.gathering.following import Hypothesis, Question, follow, without
from audit.gathering.selection import PreparedAttack
from audit.statistics.multiplicity import Role
from audit.trials.chunks import ScoredChunk
from audit.trials.failed_chunks import FailedChunk, collected
from audit.trials.watching import Watched, together

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Inquiry:
    """What to ask about one contrast: points and levels of lines by role, and whether lines are judged together."""

    hypotheses: tuple[Hypothesis, ...]
    levels: Mapping[Role, float]
    combined: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Era:
    """Fitted attacks, and the scores that were counted under them, by attack and chunk."""

    prepared: Mapping[str, PreparedAttack]
    unlearned: Mapping[str, tuple[Array, ...]] = field(default_factory=dict)
    retrained: Mapping[str, tuple[Array, ...]] = field(default_factory=dict)
    n: int = 0

    def extended(self, scored: ScoredChunk, other: ScoredChunk, key: Key) -> Era:
        """Return the era with one more chunk."""
        names = [name for name in self.prepared if (key, name) in scored.scores and (key, name) in other.scores]
        return replace(
            self,
            unlearned={name: (*self.unlearned.get(name, ()), scored.scores[key, name]) for name in names},
            retrained={name: (*self.retrained.get(name, ()), other.scores[key, name]) for name in names},
            n=self.n + scored.n,
        )

    def past(self) -> dict[str, PreparedAttack]:
        """Return the attacks with all scores that may choose events: of the fit, and counted since."""
        return {
            name: replace(
                attack,
                unlearned=_known([attack.unlearned, *self.unlearned.get(name, ())]),
                retrained=_known([attack.retrained, *self.retrained.get(name, ())]),
            )
            for name, attack in self.prepared.items()
        }


def _known(scores: Sequence[Array]) -> Array:
    """Return scores of the trials that did not fail."""
    joined: Array = np.concatenate([np.empty(0), *scores])
    return np.asarray(joined[~np.isnan(joined)])


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """One contrast on its way: its fits, its questions, and the era whose scores are shown in the end."""

    contrast: Contrast
    n_chunks: int
    inquiries: tuple[Inquiry, ...]
    era: Era = Era(prepared={})
    shown: Era = Era(prepared={})
    questions: tuple[Question, ...] = ()
    failures: Mapping[str, str] = field(default_factory=dict)
    watched: tuple[tuple[Watched, Watched], ...] = ()
    failed: tuple[FailedChunk, ...] = ()
    refits: tuple[int, ...] = ()
    n_counted: int = 0

    def is_open(self, chunk: int) -> bool:
        """Whether the chunk is to be counted: within the budget, something is left to refute, and an attack to try."""
        undecided = any(q.lines and q.refuted_at is None for q in self.questions)
        return chunk < self.n_chunks and (undecided or not self.questions)

    def scorers(self) -> dict[tuple[Key, str], FittedAttack]:
        """Return the fitted attacks by contrast and name."""
        key = self.contrast.key
        return {(key, name): a.fitted for name, a in self.era.prepared.items() if a.fitted is not None}


def look_at(case: Case, scored: ScoredChunk, base: ScoredChunk) -> Case:
    """Return a case after one more chunk, which ends at the look that decides every question."""
    key = case.contrast.key
    failed = {
        name: message
        for s in (scored, base)
        for (k, name), message in s.failures.items()
        # Chunks drawn ahead still carry an attack that failed on one before them.
        if k == key and name not in case.failures
    }
    questions = case.questions
    for name in failed:
        questions = tuple(without(question, name) for question in questions)
    era = case.era.extended(scored, base, key)
    era = replace(era, prepared={name: a for name, a in era.prepared.items() if name not in failed})
    first, second = ({name: s.scores[k, name] for (k, name) in s.scores if k == key} for s in (scored, base))
    n = scored.n
    after = tuple(follow(question, first, second) for question in questions)
    if after and all(q.refuted_at is not None for q in after):
        n = max(q.refuted_at or 0 for q in after) - case.n_counted
        first, second = ({name: s[:n] for name, s in side.items()} for side in (first, second))
        after = tuple(follow(question, first, second) for question in questions)
    return replace(
        case,
        era=era,
        shown=era if era.n >= case.shown.n else case.shown,
        questions=after,
        failures={**case.failures, **failed},
        watched=(*case.watched, (scored.watched, base.watched)),
        n_counted=case.n_counted + n,
    )


def check_counted(case: Case) -> None:
    """Refuse a contrast about claims of which every counted chunk of a world failed.

    Raises
    ------
    TrialError
        What one of them said.
    """
    for side in (0, 1) if case.contrast.key[0] is Kind.CLAIMS else ():
        if case.watched and not any(len(pair[side].releases) for pair in case.watched):
            raise TrialError(case.failed[-1].message)


def evidence_of(case: Case, n_fit: int, budget: int) -> Evidence:
    """Return the evidence of one contrast; scores are those of the fit that counted most pairs."""
    era = case.shown
    names = [name for name in era.prepared if name not in case.failures]
    sides = {name: (_known(era.unlearned.get(name, ())), _known(era.retrained.get(name, ()))) for name in names}
    lost = [name for name, scores in sides.items() if not all(map(len, scores))]
    names = [name for name in names if name not in lost]
    return Evidence(
        prepared={name: era.prepared[name] for name in names},
        unlearned={name: sides[name][0] for name in names},
        retrained={name: sides[name][1] for name in names},
        failures={**case.failures, **dict.fromkeys(lost, NOTHING_LEFT)},
        failed=collected(case.failed),
        seen=(together([first for first, _ in case.watched]), together([second for _, second in case.watched])),
        followed=Followed(
            questions=case.questions,
            n_fit=n_fit,
            budget=budget,
            n_drawn=n_fit + case.n_counted,
            refits=case.refits,
        ),
    )
