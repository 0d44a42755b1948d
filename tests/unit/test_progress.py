"""Progress: a line a forget set with rate and remaining time, a sign of life each minute, and thousands of sets."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest

import audit
from audit.trials import progress
from audit.trials.pace import MOST_LINES, Pace, duration, read_phase, set_phase
from audit.trials.progress import HEARTBEAT, Lines, show_progress
from mechanisms.adapters.functions import from_functions
from mechanisms.claim import Claim, GaussianDP
from mechanisms.dataset import from_arrays


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def lines_of(clock: Clock) -> tuple[Lines, list[str]]:
    said: list[str] = []
    return Lines(clock=clock, write=said.append), said


def one_set(lines: Lines, clock: Clock, index: int, n: int, seconds: float = 10.0) -> None:
    """Report a forget set of 200 fitting and 800 counted trials."""
    for phase, total, share in (("fitting trials", 200, 0.2), ("counted trials", 800, 0.8)):
        for part in range(1, 5):
            clock.now += seconds * share / 4
            lines.report(set_phase(index, n, phase), total * part // 4, total)


def test_names_of_phases_are_taken_apart_again() -> None:
    for title in ("", "(a) Exact claim, hardest record"):
        text = f"{title}, " * bool(title) + set_phase(3, 5000, "pairs, at most")
        step = read_phase(text, 5, 20)
        assert (step.title, step.index, step.n_sets, step.phase) == (title, 3, 5000, "pairs, at most")
        assert step.share == 0.25
    assert read_phase("routes", 1, 2).n_sets == 0
    assert read_phase("routes", 0, 0).share == 0.0


def test_a_line_a_forget_set_with_rate_and_remaining_time() -> None:
    clock = Clock()
    lines, said = lines_of(clock)
    for i in range(1, 4):
        one_set(lines, clock, i, 3, seconds=10.0 * i)
    lines.end()
    assert said == [
        "forget set 1/3: fitting trials ...",
        "forget set 1/3: done in 10 s (counted trials, 100 a second); 2 more, about 20 s left.",
        "forget set 2/3: done in 20 s (counted trials, 50 a second); 1 more, about 15 s left.",
        "forget set 3/3: done in 30 s (counted trials, 33 a second).",
    ]


def test_a_sign_of_life_each_minute_also_within_a_chunk() -> None:
    clock = Clock()
    lines, said = lines_of(clock)
    for _ in range(200):
        clock.now += 1.0
        lines.beat()
    assert said == [f"nothing is done yet after {duration(60 * i)}." for i in (1, 2, 3)]
    said.clear()
    lines.report(set_phase(1, 2, "counted trials"), 100, 1000)
    for _ in range(90):
        clock.now += 1.0
        lines.beat()
    # At 260 seconds: 100 of 1,000 trials took 200 of them.
    assert said == [
        "forget set 1/2: counted trials ...",
        "forget set 1/2: counted trials 10 %, 23.1 a minute, about 29 min left of these.",
    ]


def test_a_sign_of_life_tells_the_time_that_all_sets_will_take() -> None:
    clock = Clock()
    lines, said = lines_of(clock)
    for i in (1, 2):
        one_set(lines, clock, i, 10, seconds=600.0)
    lines.report(set_phase(3, 10, "counted trials"), 400, 800)
    said.clear()
    clock.now += HEARTBEAT
    lines.beat()
    assert len(said) == 1
    assert said[0].startswith("forget set 3/10: counted trials 50 %")
    assert said[0].endswith("; about 79 min left in all.")


def test_thousands_of_sets_stay_readable() -> None:
    clock = Clock()
    lines, said = lines_of(clock)
    for i in range(1, 5001):
        one_set(lines, clock, i, 5000, seconds=0.5)
        lines.beat()
    lines.end()
    assert len(said) <= 1 + MOST_LINES + 5000 * 0.5 / HEARTBEAT
    assert sum("done in" in line for line in said) == MOST_LINES
    assert said[1].endswith("4,900 more, about 41 min left.")
    assert said[-1] == "forget set 5,000/5,000: done in 0.5 s (counted trials, 2,000 a second)."
    assert max(map(len, said)) < 120


def test_phases_of_no_forget_set_get_a_line_each() -> None:
    clock = Clock()
    lines, said = lines_of(clock)
    for phase in ("routes", "frozen events"):
        for i in range(1, 101):
            clock.now += 0.1
            lines.report(phase, i, 100)
    lines.end()
    assert said == [
        "routes ...",
        "routes: done in 10 s (10 a second).",
        "frozen events: done in 10 s (10 a second).",
    ]


def test_services_with_titles_are_counted_by_themselves() -> None:
    clock = Clock()
    lines, said = lines_of(clock)
    for title in ("(a) Exact", "(b) Published"):
        for i in (1, 2):
            clock.now += 5.0
            lines.report(f"{title}, {set_phase(i, 2, 'counted trials')}", 10, 10)
    lines.end()
    assert [line.split(":")[0] for line in said[1:]] == [
        f"{title}, forget set {i}/2" for title in ("(a) Exact", "(b) Published") for i in (1, 2)
    ]
    assert said[3].endswith("; 1 more, about 5.0 s left.")


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (42.4, "42 s"), (99.4, "99 s"), (360, "6 min"),
                          (5960, "99 min"), (7800, "2 h 10 min"), (4e6, "1,111 h 7 min")],
)  # fmt: skip
def test_durations_are_short(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_pace_without_a_rate_says_none() -> None:
    pace = Pace(0.0)
    assert pace.end(0.0) == ""
    assert pace.take(read_phase("routes", 0, 10), 0.0) == ""
    assert "second" not in pace.beat(0.0)


def audited(report: Callable[[str, int, int], None], *, until_decided: bool) -> None:
    data = from_arrays(np.arange(20.0).reshape(10, 2), np.arange(10.0), intercept=False)
    service = from_functions(
        learn=lambda data, rng: data.features.mean(axis=0),
        unlearn=lambda model, retained, forget, rng: model + 5 * rng.standard_normal(model.shape),
        release=(2,),
    )
    plan = audit.AuditPlan(
        claims=(Claim(guarantee=GaussianDP(mu=0.5)),),
        forget=((1,), (2,)),
        attacks=("lda",),
        trials=200,
        counting=audit.Sequential() if until_decided else audit.Split(),
    )
    audit.run(service, data, plan, progress=report)


@pytest.mark.parametrize("until_decided", [False, True])
def test_an_audit_off_a_terminal_prints_a_line_a_set(
    monkeypatch: pytest.MonkeyPatch, until_decided: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    steps: list[tuple[str, int, int]] = []
    with show_progress() as report:

        def both(*step: object) -> None:
            steps.append(step)  # type: ignore[arg-type]
            report(*step)  # type: ignore[arg-type]

        audited(both, until_decided=until_decided)
    lines = capsys.readouterr().err.splitlines()
    assert "forget set 1/2: fitting trials ..." in lines
    # On a slow machine a minute may have passed as well.
    said = [line for line in lines if "done in" in line]
    assert [line.split(" done")[0] for line in said] == ["forget set 1/2:", "forget set 2/2:"]
    assert all("a second" in line for line in said)
    # Counted in trials and not in chunks, so that rates are of trials.
    assert max(total for _, _, total in steps) >= 100
    assert all(done <= total for _, done, total in steps)


def test_a_real_heart_beats_in_a_thread_and_stops(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "HEARTBEAT", 0.5)
    with show_progress() as report:
        report("routes", 1, 10)
        said, waited_until = "", time.monotonic() + 60
        while "routes: 10 %" not in said and time.monotonic() < waited_until:
            time.sleep(0.1)
            said += capsys.readouterr().err
    assert "routes: 10 %" in said
    assert capsys.readouterr().err.splitlines()[-1].startswith("routes: done in")
    time.sleep(1.5)
    assert capsys.readouterr().err == ""


def test_a_run_that_fails_is_not_called_done(capsys: pytest.CaptureFixture[str]) -> None:
    def fails() -> None:
        with show_progress() as report:
            report(set_phase(1, 1, "counted trials"), 1, 10)
            raise ValueError("a bad day")

    with pytest.raises(ValueError, match="a bad day"):
        fails()
    assert "done" not in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_bars_and_keeps_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with show_progress() as report:
        for i in range(1, 5001):
            report(set_phase(i, 5000, "counted trials"), 100, 100)
    shown = terminal.getvalue()
    assert shown.count("done in") == MOST_LINES
    assert "forget set 5,000/5,000" in shown


def test_no_terminal_and_no_standard_error_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with show_progress() as report:
        report("routes", 1, 1)
