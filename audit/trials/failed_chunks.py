"""Chunks of trials that failed twice, as data: what replays each, and what it said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from audit.plan.ranges import check
from mechanisms.claim import JSON_CONFIG
from mechanisms.protocol import World

# Characters of a message and of the end of a traceback that are kept, and chunks with a traceback.
MOST_SAID, MOST_TRACED, MOST_TRACEBACKS = 600, 4000, 20


@dataclass(frozen=True, kw_only=True)
class FailedChunk:
    """A chunk that could not be drawn: it was tried twice, the second time in another process where there was one.

    Parameters
    ----------
    stream, world, chunk, seed
        What replays it: the purpose of its random stream in words, its world, its number and the plan's seed.
    n
        Trials in it, all of which failed with it.
    message
        What was raised, or how the process ended that drew it, and the other fields in words.
    traceback
        Where it was raised; empty where a process ended, and for all but the first of many.
    """

    __pydantic_config__ = JSON_CONFIG
    stream: str
    world: World
    chunk: int
    seed: int
    n: int
    message: str
    traceback: str = ""

    def __post_init__(self) -> None:
        check("chunk", self.chunk)
        check("seed", self.seed, finite=False)
        check("n", self.n, low=1)

    @property
    def key(self) -> tuple[str, str, int]:
        """Which chunk of a forget set it is."""
        return self.stream, self.world.value, self.chunk


def n_failed(chunks: Iterable[FailedChunk]) -> int:
    """Return the number of trials in failed chunks."""
    return sum(chunk.n for chunk in chunks)


def collected(chunks: Iterable[FailedChunk]) -> tuple[FailedChunk, ...]:
    """Return each chunk once, in an order that depends on nothing but the chunks, tracebacks of the first few only."""
    found = sorted({chunk.key: chunk for chunk in chunks}.values(), key=lambda chunk: chunk.key)
    return tuple(
        replace(
            chunk,
            message=shortened(chunk.message, MOST_SAID),
            traceback=chunk.traceback[-MOST_TRACED:] if i < MOST_TRACEBACKS else "",
        )
        for i, chunk in enumerate(found)
    )


def shortened(text: str, most: int) -> str:
    """Return a text, without its end where it is long."""
    return text if len(text) <= most else f"{text[: most - 4]} ..."


def failed_text(chunks: Sequence[FailedChunk]) -> str:
    """Return how many trials failed and what the first of them said; nothing where none did."""
    if not chunks:
        return ""
    first, n = chunks[0], n_failed(chunks)
    trials = f"{n:,} trial{'s' * (n > 1)} in {len(chunks):,} chunk{'s' * (len(chunks) > 1)}"
    return f"{trials} failed, twice each; the first: {first.message.rstrip('.')}"
