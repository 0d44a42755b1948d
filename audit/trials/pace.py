"""How far a run is, how fast it goes and how long it will take: from calls of (phase, done, total) and a clock.

In the flow: :mod:`audit.trials.progress` shows what is kept here. Nothing here prints, and nothing reads a clock.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

# More forget sets than this share so many lines.
MOST_LINES = 50
_SET = re.compile(r"(?:(?P<title>.*), )?forget set (?P<index>\d+)/(?P<n>\d+): (?P<phase>.*)", re.DOTALL)


def set_phase(index: int, n_sets: int, phase: str) -> str:
    """Return the name of a phase of one forget set, ``index`` of 1 to ``n_sets``; :func:`read_phase` takes it apart."""
    return f"forget set {index:d}/{n_sets:d}: {phase}"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One call: which forget set of how many, 0 of 0 where it is about none, and how much of its phase is done."""

    title: str
    index: int
    n_sets: int
    phase: str
    done: int
    total: int

    @property
    def about(self) -> tuple[str, int, int, str]:
        """What gets a line of its own: a forget set, or a phase that is about none."""
        return self.title, self.index, self.n_sets, "" if self.n_sets else self.phase

    @property
    def share(self) -> float:
        """Share of the phase that is done."""
        return min(1.0, self.done / max(self.total, 1))


def read_phase(text: str, done: int, total: int) -> Step:
    """Return what a call says."""
    found = _SET.fullmatch(text)
    if found is None:
        return Step(title="", index=0, n_sets=0, phase=text, done=done, total=total)
    return Step(
        title=found["title"] or "",
        index=int(found["index"]),
        n_sets=int(found["n"]),
        phase=found["phase"],
        done=done,
        total=total,
    )


class Pace:
    """Keeps what was called and when.

    Parameters
    ----------
    now
        Seconds on the clock of all later calls.
    """

    def __init__(self, now: float) -> None:
        self.step: Step | None = None
        self._run_began = self._set_began = self._phase_began = self._last = now
        self._finished = 0

    def take(self, step: Step, now: float) -> str:
        """Take a step; return the line that tells of the forget set, or phase of none, that is over now, or nothing."""
        before, line = self.step, ""
        if before is not None and before.about != step.about:
            line = self.end(self._last)
            self._finished += 1
            self._set_began = self._last
            if (before.title, before.n_sets) != (step.title, step.n_sets):
                self._finished, self._run_began = 0, self._last
        if before is None or (before.about, before.phase) != (step.about, step.phase):
            self._phase_began = self._last
        self.step, self._last = step, now
        return line

    def end(self, now: float) -> str:
        """Return the line of what is over with the last step; nothing where it shares its line with later sets."""
        step = self.step
        if step is None:
            return ""
        if not step.n_sets:
            return f"{step.phase}: done in {duration(now - self._set_began)}{self._rate(now, ' (', ')')}."
        if step.index % math.ceil(step.n_sets / MOST_LINES) and step.index < step.n_sets:
            return ""
        left = step.n_sets - step.index
        each = (now - self._run_began) / (self._finished + 1)
        rest = f"; {left:,} more, about {duration(each * left)} left" if left else ""
        took = duration(now - self._set_began)
        return f"{_name(step)}: done in {took} ({step.phase}{self._rate(now, ', ')}){rest}."

    def beat(self, now: float) -> str:
        """Return where the run is, for a moment at which nothing else was said for long."""
        step = self.step
        if step is None:
            return f"nothing is done yet after {duration(now - self._run_began)}."
        said = f"{_name(step)}{': ' if step.n_sets else ''}{step.phase}{':' if not step.n_sets else ''} "
        said += f"{100 * step.share:.0f} %{self._rate(now, ', ')}"
        phase, run = self._phase_left(now), self._remaining(now)
        said += f", about {duration(phase)} left of these" if phase else ""
        return f"{said}{f'; about {duration(run)} left in all' if run and step.index < step.n_sets else ''}."

    def phase_note(self, now: float) -> str:
        """Return rate and remaining time of the current phase, for beside its bar."""
        left = self._phase_left(now)
        return f"{self._rate(now, '')}{f', about {duration(left)} left' if left else ''}"

    def run_note(self, now: float) -> str:
        """Return the remaining time of all forget sets, for beside their bar."""
        left = self._remaining(now)
        return f"about {duration(left)} left" if left else ""

    def _rate(self, now: float, before: str, after: str = "") -> str:
        """Return "1,250 a second" of the current phase, or nothing before there is a rate."""
        rate = self._speed(now)
        if rate is None:
            return ""
        if rate >= 0.95:
            words = f"{rate:,.0f} a second" if rate >= 9.95 else f"{rate:.1f} a second"
        else:
            words = f"{60 * rate:.1f} a minute"
        return f"{before}{words}{after}"

    def _speed(self, now: float) -> float | None:
        seconds = now - self._phase_began
        return self.step.done / seconds if self.step and self.step.done and seconds > 0 else None

    def _phase_left(self, now: float) -> float | None:
        rate = self._speed(self._last)
        if rate is None or self.step is None or self.step.done >= self.step.total:
            return None
        return max(0.0, (self.step.total - self.step.done) / rate - (now - self._last))

    def _remaining(self, now: float) -> float | None:
        """Return the seconds left of all forget sets, once one is over, as if all took as long as those."""
        if self.step is None or not self._finished:
            return None
        each = (self._set_began - self._run_began) / self._finished
        return max(0.0, each * (self.step.n_sets - self.step.index + 1) - (now - self._set_began))


def duration(seconds: float) -> str:
    """Return "0.4 s", "42 s", "6 min" or "2 h 10 min"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60:,} h {minutes % 60} min"


def _name(step: Step) -> str:
    if not step.n_sets:
        return ""
    return f"{step.title + ', ' if step.title else ''}forget set {step.index:,}/{step.n_sets:,}"
