"""Do both worlds add the same Gaussian noise to a fixed model each, and by how much do these models differ?

In the flow: :func:`audit.same_randomness` asks, and the runner for a control of each forget set. A few pairs of runs,
both worlds from one random stream, then show what counting needs thousands of trials for. Each step that the conclusion
needs is checked; where one fails the method does not apply, and nothing is said of the claim.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audit.controls.seen_generator import Drawn, SeenGenerator
from audit.errors import TrialError
from audit.statistics.gaussian_shift import noise_bound
from audit.trials.chunks import Stream, make_generator, sampled
from audit.trials.engines import worker_limits
from mechanisms.protocol import Deletion, World

Array = NDArray[np.float64]
WORLDS = (World.UNLEARNED, World.RETRAINED)
# A shift that varies by no more than this share of itself is one vector, to the rounding of 32-bit weights.
TOLERANCE = 1e-5
# The shift in units of noise is lowered by more than all tolerances together can have raised it.
SLACK = 1e-4
# Below this share of the largest number of a release only rounding is left.
_LAST_DIGITS = 1e-12
# Mixtures of two streams: the sign, the size (ten times usual noise) and sums, in one.
_MIXED = (-6.0, 8.0)
MIN_STREAMS = 2


@dataclass(frozen=True, kw_only=True)
class SameNoise:
    """What the pairs showed.

    Parameters
    ----------
    applies
        Whether each release was seen to be a fixed array and Gaussian noise that is the same in both worlds.
    why
        Why it does not apply, or how the noise was found, one sentence.
    streams
        Random streams from which both worlds were run.
    shift
        Distance of the two fixed arrays; ``None`` where the method does not apply.
    noise
        Standard deviation of the noise in the direction of the shift: exact where ``recognised``, else an estimate.
    noise_bound
        Upper bound on it that is wrong with probability at most the level that was asked for; equal where exact.
    recognised
        Whether the noise in the release is a multiple of the very numbers that were drawn.
    """

    applies: bool
    why: str
    streams: int
    shift: float | None = None
    noise: float | None = None
    noise_bound: float | None = None
    recognised: bool = False

    @property
    def mu(self) -> float | None:
        """Lower bound on the shift in standard deviations of the noise; ``None`` where the method does not apply."""
        if self.shift is None:
            return None
        return 0.0 if self.shift == 0 or not self.noise_bound else self.shift / self.noise_bound * (1 - SLACK)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Run:
    release: Array
    drawn: Drawn


class _DoesNotApplyError(Exception):
    """A check failed; the text says which."""


def same_noise(deletion: Deletion, *, seed: int, record: int, streams: int, level: float) -> SameNoise:
    """Run both worlds from the same random streams; return the shift between them and the noise that hides it.

    Parameters
    ----------
    deletion
        Is run ``2 * (streams + 4)`` times, one release each, and ``streams`` times more where the noise has to be
        estimated; a few times where it is soon seen that this does not apply.
    seed, record
        Of the streams, which nothing else uses.
    streams
        At least 2.
    level
        Probability that ``noise_bound`` is too small, where the noise is estimated.

    Raises
    ------
    TrialError
        When the mechanism fails with usual random numbers.

    Notes
    -----
    Seen, and needed: all random numbers are normal ones from the generator; each trial draws the same ones in both
    worlds; the difference of the releases is one vector in all streams; without noise, and with mixtures of noise up to
    ten times its size, releases are a fixed array plus a linear function of what was drawn; the first stream gives the
    same releases again at the end. A linear function of normal numbers is Gaussian, with one covariance in both worlds.
    Where it is a multiple of the drawn arrays themselves its size is known; else it is bounded by chi-square in the
    direction of the shift alone, so that no shape of the covariance is assumed.

    Not seen: what happens for rare random numbers only (with probability p a stream, missed with (1 - p)^streams).
    """
    runs = _Runner(deletion=deletion, seed=seed, record=record)
    done = 0
    try:
        pairs: list[tuple[_Run, _Run]] = []
        for i in range(streams):
            pairs.append(runs.pair(i, expected=pairs[0][0].drawn if pairs else None))
            done = i + 1
            _check_pair(pairs)
        shift = _shift(pairs)
        _check_kept(pairs[0], runs.pair(0, expected=pairs[0][0].drawn))
        centres = runs.mixed((0, 1), (0.0, 0.0), pairs[0][0].drawn)
        noises = np.array([pair[1].release - centres[1] for pair in pairs])
        exact = _recognised(noises, [pair[1].drawn for pair in pairs])
        # What is recognised is seen to be linear in all streams; what is not, is tried in all.
        tried = range(0, len(pairs) - 1, 2) if exact is None else range(0, min(len(pairs) - 1, 4), 2)
        _check_linear(runs, pairs, centres, shift, tried)
    except _DoesNotApplyError as error:
        return SameNoise(applies=False, why=str(error), streams=done)
    return _measured(noises, shift, exact, level)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Runner:
    """Runs one trial of a world from a stream, or from a mixture of two."""

    deletion: Deletion
    seed: int
    record: int

    def pair(self, stream: int, *, expected: Drawn | None) -> tuple[_Run, _Run]:
        """Return one release of each world from one stream."""
        first, second = (self._run(world, self._plain(stream)) for world in WORLDS)
        _check_draws(first.drawn, second.drawn, expected)
        return first, second

    def mixed(self, streams: tuple[int, int], weights: tuple[float, float], expected: Drawn) -> tuple[Array, Array]:
        """Return one release of each world from mixed streams; where the code does not get through, say so."""

        def made() -> SeenGenerator:
            first, second = (self._generator(stream) for stream in streams)
            return SeenGenerator(first, second=second, weights=weights, expected=expected.shapes)

        try:
            first, second = (self._run(world, made).release for world in WORLDS)
        except TrialError as error:
            raise _DoesNotApplyError(f"It failed with noise of another size ({error}).") from error
        return first, second

    def _run(self, world: World, made: Callable[[], SeenGenerator]) -> _Run:
        generator = made()
        where = f"forget set {self.record}, same randomness, seed {self.seed}"
        with worker_limits():
            release = sampled(self.deletion, world, 1, rng=generator, where=where)[0].ravel()
        return _Run(release=release, drawn=generator.drawn())

    def _plain(self, stream: int) -> Callable[[], SeenGenerator]:
        size = math.prod(self.deletion.release.shape)
        return lambda: SeenGenerator(self._generator(stream), keep=size)

    def _generator(self, stream: int) -> np.random.Generator:
        return make_generator(self.seed, Stream.SAME_RANDOMNESS, self.record, stream)


def _check_draws(first: Drawn, second: Drawn, expected: Drawn | None) -> None:
    """Refuse other numbers than normal ones, and worlds or trials that draw other numbers."""
    others = tuple(dict.fromkeys((*first.others, *second.others)))
    if others:
        raise _DoesNotApplyError(f"It uses its generator for other things than normal numbers ({', '.join(others)}).")
    if not (first.shapes or second.shapes):
        raise _DoesNotApplyError("It draws no random number from its generator: its noise is fixed, or there is none.")
    if first.shapes != second.shapes:
        raise _DoesNotApplyError(
            "The two worlds draw different numbers from one random stream: what is drawn depends on the data, or noise "
            "is kept from one trial to the next."
        )
    if expected is not None and expected.shapes != first.shapes:
        raise _DoesNotApplyError(
            "Trials draw different numbers, so what is drawn depends on the random stream, or noise is kept from one "
            "trial to the next."
        )


def _check_pair(pairs: list[tuple[_Run, _Run]]) -> None:
    """Refuse a release that does not change with its stream, and a shift that does; as soon as it is seen."""
    last = pairs[-1]
    if len(pairs) == 1:
        return
    for i, world in enumerate(WORLDS):
        if np.array_equal(last[i].release, pairs[0][i].release):
            raise _DoesNotApplyError(
                f"Two random streams gave one release in the {world.value} world: its noise is fixed, or kept from one "
                "trial to the next."
            )
    _shift([pairs[0], last])


def _shift(pairs: list[tuple[_Run, _Run]]) -> Array:
    """Return the difference of the worlds, one vector in all streams; zeros where only rounding is left of it."""
    shifts = np.array([first.release - second.release for first, second in pairs])
    largest = max(float(np.linalg.norm(run.release)) for pair in pairs for run in pair)
    lengths = np.linalg.norm(shifts, axis=1)
    if np.all(lengths <= _LAST_DIGITS * largest):
        return np.zeros_like(shifts[0])
    mean: Array = shifts.mean(axis=0)
    if float(np.linalg.norm(shifts - mean, axis=1).max()) > TOLERANCE * float(np.linalg.norm(mean)):
        raise _DoesNotApplyError(
            "The difference of the two worlds varies with the random stream, so they do not add the same noise."
        )
    return mean


def _check_kept(before: tuple[_Run, _Run], after: tuple[_Run, _Run]) -> None:
    for i, world in enumerate(WORLDS):
        if not np.array_equal(before[i].release, after[i].release):
            raise _DoesNotApplyError(
                f"The {world.value} world gave other releases for one random stream: it draws numbers from elsewhere, "
                "or keeps something from one trial to the next."
            )


def _check_linear(
    runs: _Runner, pairs: list[tuple[_Run, _Run]], centres: tuple[Array, Array], shift: Array, tried: Sequence[int]
) -> None:
    """Refuse noise that does not enter as a linear function of what was drawn; a stream is mixed with the next one."""
    size = float(np.linalg.norm(shift))
    towards = shift / size if size else shift
    for i in tried:
        mixed = runs.mixed((i, i + 1), _MIXED, pairs[0][0].drawn)
        for world, centre in enumerate(centres):
            first, second = (_MIXED[k] * (pairs[i + k][world].release - centre) for k in (0, 1))
            rest = mixed[world] - centre - first - second
            usual = float(np.linalg.norm(first) + np.linalg.norm(second))
            along = abs(float(rest @ towards))
            if float(np.linalg.norm(rest)) > TOLERANCE * usual or along > 10 * TOLERANCE * size:
                raise _DoesNotApplyError(
                    "Releases are no fixed array plus a linear function of the normal numbers that were drawn, so the "
                    "noise need not be Gaussian."
                )
    if float(np.linalg.norm(centres[0] - centres[1] - shift)) > TOLERANCE * size + _rounding(pairs):
        raise _DoesNotApplyError("The difference of the two worlds is another one without noise.")


def _rounding(pairs: list[tuple[_Run, _Run]]) -> float:
    return _LAST_DIGITS * max(float(np.linalg.norm(run.release)) for run in pairs[0])


def _measured(noises: Array, shift: Array, exact: float | None, level: float) -> SameNoise:
    """Return shift and noise, the noise from the drawn numbers themselves where they were seen in the release."""
    size, n = float(np.linalg.norm(shift)), len(noises)
    if size == 0:
        why = "Both worlds gave the same release for every random stream."
        return SameNoise(applies=True, why=why, streams=n, shift=0.0)
    if exact is not None:
        why = "Both worlds add the same multiple of the normal numbers that were drawn, so that the noise is known."
        return SameNoise(applies=True, why=why, streams=n, shift=size, noise=exact, noise_bound=exact, recognised=True)
    along = noises @ (shift / size)
    why = "Both worlds add the same Gaussian noise, whose size in the direction of the shift is estimated."
    estimate = math.sqrt(float(np.mean(along**2)))
    bound = noise_bound(along, level=level)
    return SameNoise(applies=True, why=why, streams=n, shift=size, noise=estimate, noise_bound=bound)


def _recognised(noises: Array, drawn: list[Drawn]) -> float | None:
    """Return the standard deviation of each number of a release whose noise is a sum of multiples of what was drawn.

    With probability 1 over the drawn numbers no other linear function of them gives that sum, so the covariance is the
    sum of the squared multiples, times the identity.
    """
    kept = [trial.kept for trial in drawn]
    n_draws = len(kept[0])
    if not n_draws or noises.size <= n_draws:
        return None
    columns = np.column_stack([np.concatenate([trial[j] for trial in kept]) for j in range(n_draws)])
    target = noises.ravel()
    multiples = np.linalg.lstsq(columns, target, rcond=None)[0]
    rest = float(np.linalg.norm(target - columns @ multiples))
    return float(np.linalg.norm(multiples)) if rest <= TOLERANCE * float(np.linalg.norm(target)) else None
