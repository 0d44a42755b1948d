"""One chunk as a row: scores as little-endian float64, words as JSON, and a digest over all of it.

In the flow: :mod:`audit.trials.storing.resuming` turns results of chunks into rows and back, :mod:`audit.trials.store`
keeps them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.trials.chunks import ChunkTask, ScoredChunk
from audit.trials.watching import Watched

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RowKey:
    """Which chunk of a run: what was done with it ("fit" or "count"), its random stream, and its place in that."""

    step: str
    stream: str
    world: str
    record: int
    chunk: int

    @staticmethod
    def of(step: str, task: ChunkTask) -> RowKey:
        """Return the key of a task's chunk."""
        source = task.source
        return RowKey(
            step=step,
            stream=source.stream.name.lower(),
            world=source.world.value,
            record=source.record,
            chunk=task.chunk,
        )

    @property
    def id(self) -> str:
        """What the chunk is called on the command line."""
        return "-".join(str(getattr(self, name)) for name in KEY_COLUMNS)

    def __str__(self) -> str:
        stream = "" if self.stream == "releases" else f", stream {self.stream}"
        return f"world {self.world}, forget set {self.record}, chunk {self.chunk}{stream} ({self.step})"


@dataclass(frozen=True, kw_only=True)
class Row:
    """What the store keeps of a chunk; the names are those of its columns.

    Parameters
    ----------
    key, n
        Which chunk, and how many trials it has.
    attacks
        JSON list of the keys of the attacks that scored, in the order of ``scores``.
    scores
        (attacks, n) as little-endian float64.
    failures
        JSON object: the message of every attack that failed, by its key.
    prints, models, opaque, changed
        What was watched, as in :class:`audit.trials.watching.Watched`; prints as little-endian uint64. Of certificates
        ``opaque`` holds what is no number.
    releases, releases_sha256
        Name of the file beside the store that holds the releases, and the digest of their bytes; empty for none.
    worker, seconds
        Which process drew it, and how long that took.
    failed
        JSON object: the message and the traceback of a chunk that could not be drawn, twice; empty for others.
    """

    step: str
    stream: str
    world: str
    record: int
    chunk: int
    n: int
    attacks: str = "[]"
    scores: bytes = b""
    failures: str = "{}"
    prints: bytes = b""
    models: bytes | None = None
    opaque: str = ""
    changed: str = "[]"
    releases: str = ""
    releases_sha256: str = ""
    worker: str = ""
    seconds: float = 0.0
    failed: str = ""

    @property
    def key(self) -> RowKey:
        """Which chunk it is."""
        return RowKey(step=self.step, stream=self.stream, world=self.world, record=self.record, chunk=self.chunk)

    def sha256(self) -> str:
        """Return the digest of all columns."""
        values = [getattr(self, name) for name in COLUMNS]
        digest = hashlib.sha256(repr([len(v) if isinstance(v, bytes) else v for v in values]).encode())
        for value in values:
            if isinstance(value, bytes):
                digest.update(value)
        return digest.hexdigest()

    def scored(self) -> dict[str, Array]:
        """Return the scores by the text of each attack's key."""
        names = _names(self.attacks)
        # A copy: what is read from bytes cannot be written to.
        table = np.frombuffer(self.scores, dtype="<f8").astype(np.float64).reshape(len(names), self.n)
        return dict(zip(names, table, strict=True))


COLUMNS = tuple(field.name for field in fields(Row))
KEY_COLUMNS = tuple(field.name for field in fields(RowKey))


@lru_cache(maxsize=256)
def _names(attacks: str) -> tuple[str, ...]:
    return tuple(json.loads(attacks))


def text_of(key: Any) -> str:
    """Return an attack's key as text: a name, or tuples of numbers and names."""
    return json.dumps(key)


def scored_columns(chunk: ScoredChunk) -> dict[str, Any]:
    """Return the columns of a row that hold a scored chunk; :func:`scored_chunk` reads them."""
    watched = chunk.watched
    scores = np.array([chunk.scores[key] for key in chunk.scores], dtype="<f8")
    return {
        "attacks": json.dumps([text_of(key) for key in chunk.scores]),
        "scores": scores.tobytes(),
        "failures": json.dumps({text_of(key): message for key, message in chunk.failures.items()}),
        "prints": watched.releases.astype("<u8").tobytes(),
        "models": None if watched.models is None else watched.models.astype("<u8").tobytes(),
        "opaque": watched.opaque,
        "changed": json.dumps(list(watched.changed)),
    }


def scored_chunk(row: Row, attacks: Iterable[Any]) -> ScoredChunk | None:
    """Return the scored chunk of a row as these attacks' keys ask for it; ``None`` where the row lacks one of them."""
    # Most rows have no failures and no changes: a million scores are read back in a tenth of a second.
    scores, failures = row.scored(), {} if row.failures == "{}" else json.loads(row.failures)
    asked = {key: text_of(key) for key in attacks}
    if not all(text in scores or text in failures for text in asked.values()):
        return None
    return ScoredChunk(
        scores={key: scores[text] for key, text in asked.items() if text in scores},
        failures={key: failures[text] for key, text in asked.items() if text in failures},
        watched=Watched(
            releases=_prints(row.prints),
            models=None if row.models is None else _prints(row.models),
            opaque=row.opaque,
            changed=() if row.changed == "[]" else tuple(json.loads(row.changed)),
        ),
        n=row.n,
    )


def _prints(blob: bytes) -> NDArray[np.uint64]:
    return np.frombuffer(blob, dtype="<u8").astype(np.uint64)


def releases_digest(releases: Array) -> str:
    """Return the SHA-256 of the shape and the little-endian bytes of releases."""
    digest = hashlib.sha256(repr(releases.shape).encode())
    digest.update(np.ascontiguousarray(releases, dtype="<f8").data)
    return digest.hexdigest()


def row_of(values: Sequence[Any]) -> Row:
    """Return the row of a table's columns, in the order of :data:`COLUMNS`."""
    return Row(**dict(zip(COLUMNS, values, strict=True)))
