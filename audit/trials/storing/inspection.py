"""Look into a store without writing to it: what it holds, whether it is whole, and every row that can be read.

In the flow: the command ``store`` shows what is found here; also of a damaged file, which no run goes on with.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from audit.trials.rows import Row
from audit.trials.store import (
    FOLDER,
    last_id,
    releases_digest_of,
    releases_folder,
    rows_of,
)
from audit.trials.storing import holding
from audit.trials.storing.opening import APPLICATION, SCHEMA, database, words
from mechanisms.errors import InvalidInputError

# Numbers of rows that cannot be read, one after another, before the rest is given up.
_MOST_MISSES = 2_000


@dataclass(frozen=True, kw_only=True)
class StoreSummary:
    """What a store holds.

    Parameters
    ----------
    folder
        Of the run.
    n_stored, n_chunks, n_failed
        Stored chunks, how many the run has (at most), and how many of the stored ones failed.
    finished
        Whether the result is stored.
    n_bytes, n_release_bytes
        On disk: of the database, and of the releases beside it.
    holder
        Who writes to it now.
    trials, seed, data
        Of the plan, for the eye.
    command
        What runs it again; empty for a run from Python.
    """

    folder: Path
    n_stored: int
    n_chunks: int
    n_failed: int
    finished: bool
    n_bytes: int
    n_release_bytes: int
    holder: holding.Holder | None
    trials: int
    seed: int
    data: str
    command: str = ""


def stores_below(folder: Path) -> tuple[Path, ...]:
    """Return the folders of runs that hold a store: this one, or those directly below it.

    Raises
    ------
    InvalidInputError
        When there is none.
    """
    if database(folder).is_file():
        return (folder,)
    found = tuple(sorted(path.parents[1] for path in folder.glob(f"*/{FOLDER}/trials.sqlite")))
    if not found:
        raise InvalidInputError(
            field="DIR",
            expected="the folder of a run with a store, or one above it",
            got=str(folder),
            fix="name what --out of `unlearn-audit run` named",
        )
    return found


def summary_of(folder: Path) -> StoreSummary:
    """Return what a store holds.

    Raises
    ------
    InvalidInputError
        When there is none, or it cannot be read.
    """
    try:
        with reading(folder) as connection:
            meta = dict(connection.execute("SELECT key, value FROM meta WHERE key != 'result'").fetchall())
            plan = json.loads(meta.get("identity", "{}"))
            n_stored = int(connection.execute("SELECT count(*) FROM chunks").fetchone()[0])
            n_failed = int(connection.execute("SELECT count(*) FROM chunks WHERE failed != ''").fetchone()[0])
            holder = holding.holder_of(connection)
    except (sqlite3.DatabaseError, ValueError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(
            field=f"the store in {folder}",
            expected="whole",
            got=f"a damaged file ({error})",
            fix=f"see what is left by `unlearn-audit store verify {folder}`",
        ) from None
    path = database(folder)
    logs = [path.with_name(f"{path.name}{end}") for end in ("", "-wal")]
    return StoreSummary(
        folder=folder,
        n_stored=n_stored,
        n_chunks=int(meta.get("n_chunks", 0)),
        n_failed=n_failed,
        finished="result_sha256" in meta,
        n_bytes=sum(file.stat().st_size for file in logs if file.is_file()),
        n_release_bytes=sum(file.stat().st_size for file in releases_folder(folder).glob("*.npy")),
        holder=None if holder is None or holding.is_gone(holder) else holder,
        trials=plan.get("plan", {}).get("trials", 0),
        seed=plan.get("plan", plan).get("seed", 0),
        data=plan.get("data", {}).get("name", ""),
        command=meta.get("command", ""),
    )


def said_of(folder: Path) -> dict[str, str]:
    """Return what a store says of its run: its identity, how many chunks it has, and its result once it is finished.

    Raises
    ------
    InvalidInputError
        When there is none, or it cannot be read or is not what was stored.
    """
    try:
        with reading(folder) as connection:
            found = {str(key): str(value) for key, value in connection.execute("SELECT key, value FROM meta")}
    except sqlite3.DatabaseError as error:
        raise _damaged(folder, str(error)) from None
    for name, digest in (("identity", "digest"), ("result", "result_sha256")):
        if name in found and hashlib.sha256(found[name].encode()).hexdigest() != found.get(digest):
            raise _damaged(folder, f"its {name} is not what was stored")
    return found


def is_blank(folder: Path) -> bool:
    """Return whether a store was only just made: a run that was killed in its first moment leaves no table."""
    try:
        connection = sqlite3.connect(f"{database(folder).absolute().as_uri()}?mode=ro", uri=True)
    except sqlite3.Error:
        return False
    try:
        return not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    except sqlite3.Error:
        return False
    finally:
        connection.close()


def damage_in(folder: Path) -> tuple[str, ...]:
    """Return what is damaged in a store, one sentence each; nothing when all is whole.

    Raises
    ------
    InvalidInputError
        When there is no store.
    """
    try:
        with reading(folder) as connection:
            said = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(5)").fetchall()]
            found = [f"The database: {line}." for line in said if line != "ok"]
    except sqlite3.DatabaseError as error:
        return (f"The database: {error}.",)
    finished = _is_finished(folder)
    for row, whole in rows_in(folder):
        file = releases_folder(folder) / row.releases
        if not whole:
            found.append(f"Not what was stored: {row.key}.")
        # Nothing goes on from a finished run, and its releases are dropped.
        elif row.releases and (file.exists() or not finished) and releases_digest_of(file) != row.releases_sha256:
            found.append(f"Releases missing or not what was stored: {row.key}.")
    return tuple(found)


def _is_finished(folder: Path) -> bool:
    try:
        return summary_of(folder).finished
    except InvalidInputError:
        return False


def rows_in(folder: Path) -> Iterator[tuple[Row, bool]]:
    """Yield every row that can be read, and whether it is what was stored; what cannot be read is left out.

    Raises
    ------
    InvalidInputError
        When there is no store.
    """
    with reading(folder) as connection:
        try:
            stop = last_id(connection) + 1
        except sqlite3.DatabaseError:
            stop = None
        number, misses = 1, 0
        while misses < _MOST_MISSES and (stop is None or number < stop):
            found = _at(connection, number)
            misses = 0 if found else misses + 1
            yield from found
            number += 1


def _at(connection: sqlite3.Connection, number: int) -> list[tuple[Row, bool]]:
    """Return the row of a number; nothing where there is none, or the page that it lies on is damaged."""
    try:
        return [(row, whole) for _, row, whole in rows_of(connection, number, number + 1)]
    except sqlite3.DatabaseError:
        return []


@contextmanager
def reading(folder: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection to a store that writes nothing to it.

    Raises
    ------
    InvalidInputError
        When there is no store, or it is of another version.
    """
    path = database(folder)
    if not path.is_file():
        # Says what is missing, unless there are stores below.
        stores_below(folder)
        raise InvalidInputError(
            field="DIR", expected="the folder of one run", got=str(folder), fix="name one of the folders in it"
        )
    with _at_full_length(path) as whole:
        yield from _connected(whole, folder)


@contextmanager
def _at_full_length(path: Path) -> Iterator[Path]:
    """Yield a database that is as long as it says: of a shorter one SQLite reads nothing, not even what is there."""
    with path.open("rb") as file:
        head = file.read(32)
    n_bytes = int.from_bytes(head[16:18], "big") * int.from_bytes(head[28:32], "big")
    log = path.with_name(f"{path.name}-wal")
    if head[:6] != b"SQLite" or path.stat().st_size >= n_bytes or (log.is_file() and log.stat().st_size > 0):
        yield path
        return
    with tempfile.TemporaryDirectory() as name:
        copy = Path(shutil.copy(path, name))
        os.truncate(copy, n_bytes)
        yield copy


def _connected(path: Path, folder: Path) -> Iterator[sqlite3.Connection]:
    # Where nothing can be written SQLite cannot read a log either: it is taken as nobody's.
    for mode in ("mode=ro", "immutable=1"):
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, isolation_level=None)
        connection.text_factory = words
        try:
            _check_version(connection, folder)
            yield connection
            return
        except sqlite3.OperationalError as error:
            if mode != "mode=ro" or "unable to open" not in str(error):
                raise
        finally:
            connection.close()


def _check_version(connection: sqlite3.Connection, folder: Path) -> None:
    try:
        application, version = (
            int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("application_id", "user_version")
        )
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        raise InvalidInputError(
            field=f"the store in {folder}",
            expected="a database",
            got=str(error),
            fix="nothing in it can be read; start anew by --fresh",
        ) from None
    if (application, version) != (APPLICATION, SCHEMA):
        raise InvalidInputError(
            field=f"the store in {folder}",
            expected=f"of version {SCHEMA}",
            got=f"of version {version}" if application == APPLICATION else "another database",
            fix="use the version of unlearn-audit that made it",
        )


def _damaged(folder: Path, said: str) -> InvalidInputError:
    return InvalidInputError(
        field=f"the store in {folder}",
        expected="whole",
        got=f"a damaged file ({said})",
        fix=f"see what is left by `unlearn-audit store verify {folder}`",
    )
