"""Files of candidates: read row by row, copied as they are, and parts of them written in the same format.

In the flow: :mod:`audit.lots.files.folders` hands parts of a pool to a service in whatever language, so that nothing
here knows what a record is. CSV keeps its header line; JSON is a list, JSON lines a record a line, .npy an array with a
row each.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mechanisms.errors import InvalidInputError, require
from mechanisms.reading.numpy_files import read_arrays

KINDS = (".csv", ".json", ".jsonl", ".npy")


@dataclass(frozen=True, kw_only=True, eq=False)
class PoolFile:
    """Candidates of a file.

    Parameters
    ----------
    kind
        Suffix of the file.
    rows
        One entry a candidate: cells, an object, or a row of an array.
    header
        Cells of the first line of a CSV file.
    raw
        The file, byte for byte.
    """

    kind: str
    rows: Sequence[Any]
    header: tuple[str, ...]
    raw: bytes

    @property
    def sha256(self) -> str:
        """SHA-256 of the file."""
        return hashlib.sha256(self.raw).hexdigest()

    def digests(self) -> tuple[str, ...]:
        """Return a short digest of each row, so that a changed one can be named."""
        return tuple(hashlib.sha256(_plain(row)).hexdigest()[:16] for row in self.rows)

    def covariates(self) -> dict[str, NDArray[np.float64]]:
        """Return what a number is in every row, by name: columns of CSV and arrays, keys of objects; the row's place.

        None of them can depend on coins that were tossed in secret.
        """
        found = {"the order of the rows": np.arange(len(self.rows), dtype=np.float64)}
        for name, values in _columns(self):
            numbers = _numbers(values)
            if numbers is not None:
                found[f"the column {name}"] = numbers
        return found

    def part(self, places: Sequence[int]) -> bytes:
        """Return a file of the rows at these places, in the format of the pool."""
        chosen = [self.rows[i] for i in places]
        if self.kind == ".npy":
            buffer = io.BytesIO()
            np.save(buffer, np.asarray(self.rows)[list(places)], allow_pickle=False)
            return buffer.getvalue()
        if self.kind == ".json":
            return (json.dumps(chosen, indent=1) + "\n").encode()
        if self.kind == ".jsonl":
            return "".join(f"{line}\n" for line in chosen).encode()
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.header, *chosen])
        return text.getvalue().encode()


def read_pool(path: Path) -> PoolFile:
    """Return the candidates of a file.

    Raises
    ------
    InvalidInputError
        When it is missing, of another kind, damaged, or holds fewer than two candidates.
    """
    kind = path.suffix.lower()
    fix = "give a .csv file with a header line, a .json list, .jsonl lines, or an .npy array with a row a candidate"
    require(kind in KINDS, str(path), expected=f"a file of {', '.join(KINDS)}", got=f"suffix {kind!r}", fix=fix)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InvalidInputError(
            field=str(path), expected="a readable file", got=error.strerror or str(error), fix="check the path"
        ) from None
    header: tuple[str, ...] = ()
    rows: Any
    if kind == ".npy":
        (rows,) = read_arrays(path).values()
        require(np.ndim(rows) >= 1, str(path), expected="a row a candidate", got="a single number", fix=fix)
    else:
        header, rows = _read_text(path, kind, raw)
    n = len(rows)
    require(n >= 2, str(path), expected="at least 2 candidates", got=f"{n}", fix="a verdict needs dozens")
    return PoolFile(kind=kind, rows=rows, header=header, raw=raw)


def _read_text(path: Path, kind: str, raw: bytes) -> tuple[tuple[str, ...], Sequence[Any]]:
    try:
        text = raw.decode("utf-8-sig")
        if kind == ".json":
            found = json.loads(text)
            require(isinstance(found, list), str(path), expected="a list", got=type(found).__name__, fix="write a list")
            return (), found
        if kind == ".jsonl":
            lines = [line for line in text.split("\n") if line.strip()]
            for line in lines:
                json.loads(line)
            return (), lines
        table = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    except (UnicodeDecodeError, csv.Error, json.JSONDecodeError, RecursionError) as error:
        raise InvalidInputError(
            field=str(path), expected=f"a {kind} file in UTF-8", got=str(error), fix="export it again"
        ) from None
    for i, row in enumerate(table[1:], start=1):
        same = len(row) == len(table[0])
        fix = "mend the row; a CSV pool begins with a header line"
        require(same, f"{path} row {i}", expected=f"{len(table[0])} cells", got=f"{len(row)}", fix=fix)
    return (tuple(table[0]) if table else ()), table[1:]


def _plain(row: Any) -> bytes:
    if isinstance(row, np.ndarray | np.generic):
        return np.ascontiguousarray(row).tobytes()
    return row.encode() if isinstance(row, str) else json.dumps(row, sort_keys=True).encode()


def _columns(pool: PoolFile) -> Iterator[tuple[str, Any]]:
    """Yield the names and the values of what looks like columns."""
    if pool.kind == ".csv":
        yield from ((name, [row[j] for row in pool.rows]) for j, name in enumerate(pool.header))
    elif pool.kind == ".npy":
        table = np.asarray(pool.rows).reshape(len(pool.rows), -1)
        yield from ((str(j + 1), table[:, j]) for j in range(table.shape[1]))
    else:
        rows = [json.loads(row) if isinstance(row, str) and pool.kind == ".jsonl" else row for row in pool.rows]
        if all(isinstance(row, dict) for row in rows):
            shared = sorted(set.intersection(*(set(row) for row in rows)))
            yield from ((name, [row[name] for row in rows]) for name in shared)


def _numbers(values: Any) -> NDArray[np.float64] | None:
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if found.ndim == 1 and bool(np.all(np.isfinite(found))) else None
