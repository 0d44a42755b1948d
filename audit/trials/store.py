"""Chunks that outlive the run: rows of one SQLite file, committed before anybody counts them.

In the flow: :mod:`audit.trials.storing.opening` opens a store for a run, :mod:`audit.trials.storing.resuming` asks it
before drawing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audit.trials.rows import COLUMNS, KEY_COLUMNS, Row, RowKey, releases_digest, row_of

Array = NDArray[np.float64]
Say = Callable[[str], None]
GIGABYTE = 10**9
FOLDER = "audit-store"
_INSERT = f"INSERT OR REPLACE INTO chunks ({', '.join(COLUMNS)}, sha256) VALUES ({', '.join('?' * (len(COLUMNS) + 1))})"
_BY_KEY = f"SELECT {', '.join(COLUMNS)}, sha256 FROM chunks WHERE {' AND '.join(f'{name} = ?' for name in KEY_COLUMNS)}"


@dataclass(frozen=True, kw_only=True)
class Storage:
    """Where a run keeps its chunks, so that it can be stopped at any time and goes on later.

    Parameters
    ----------
    folder
        The folder of the run; the store is ``audit-store/`` in it. ``None`` for a temporary one, gone with the run.
    fresh
        Throw away what is stored there, and start anew.
    keep_releases
        Keep the releases that attacks were fitted on when the run is finished; they are needed only to go on with it.
    most_release_bytes
        Disk space for these releases, besides which half of what is free is left alone. Where they take more they are
        not kept, and a run that goes on draws them again.
    say
        Called with sentences for the user: what is stored, what is damaged. By default only that nothing more can be
        stored is said, as a warning.
    """

    folder: Path | None = None
    fresh: bool = False
    keep_releases: bool = False
    most_release_bytes: int = 20 * GIGABYTE
    say: Say | None = None


class Store:
    """An open store of one run. Rows are committed by a thread of its own, in the order in which they are put.

    Parameters
    ----------
    connection
        To a database with the tables of :mod:`audit.trials.storing.opening`, used by this store alone.
    storage
        What was asked for.
    """

    def __init__(self, connection: sqlite3.Connection, storage: Storage) -> None:
        self._connection = connection
        self._storage = storage
        self._lock = threading.Lock()
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._failed = False
        self._told = False
        self._n_bytes = sum(path.stat().st_size for path in self.folder.glob("*.npy")) if self.folder else 0

    @property
    def folder(self) -> Path | None:
        """Where releases lie; ``None`` for a temporary store, which keeps none."""
        return None if self._storage.folder is None else releases_folder(self._storage.folder)

    def say(self, sentence: str) -> None:
        """Tell the user."""
        if self._storage.say is not None:
            self._storage.say(sentence)

    def read(self, key: RowKey) -> Row | None:
        """Return a stored row, or ``None``; rows were checked when the store was opened."""
        try:
            with self._lock:
                found = self._connection.execute(_BY_KEY, [getattr(key, name) for name in KEY_COLUMNS]).fetchone()
        except sqlite3.Error as error:
            self._give_up(error)
            return None
        return None if found is None else row_of(found[:-1])

    def releases(self, row: Row) -> Array | None:
        """Return the releases of a row, mapped into memory; ``None`` when they were not kept or are damaged."""
        return None if self.folder is None else kept_releases(self.folder, row)

    def put(self, row: Row, releases: Array | None = None) -> Future[None]:
        """Store a row, and the releases beside it; when the future is done both are on disk."""
        return self._writer.submit(self._write, row, releases)

    def has_room(self, n_bytes: int) -> bool:
        """Return whether so many bytes of releases may be kept; if not, the user is told once."""
        if self.folder is None or self._failed:
            return False
        used, free = self._n_bytes, shutil.disk_usage(self.folder).free // 2
        if used + n_bytes <= self._storage.most_release_bytes and n_bytes <= free:
            return True
        if not self._told:
            self._told = True
            self.say(
                f"Releases that attacks are fitted on take {(used + n_bytes) / GIGABYTE:.3g} GB and are not kept: "
                "going on after an interruption will draw them again."
            )
        return False

    def finish(self, result: str) -> None:
        """Keep the result of the run as text; what was needed only to go on is deleted unless it was asked for."""
        self._writer.submit(self._finish, result).result()

    @property
    def result(self) -> str | None:
        """The result of a finished run."""
        text, digest = self._meta("result"), self._meta("result_sha256")
        return text if text is not None and hashlib.sha256(text.encode()).hexdigest() == digest else None

    def noted(self, name: str) -> str | None:
        """Return what was noted about the run under a name, or ``None``."""
        try:
            text, digest = self._meta(f"note {name}"), self._meta(f"note_sha256 {name}")
        except sqlite3.Error as error:
            self._give_up(error)
            return None
        return text if text is not None and hashlib.sha256(text.encode()).hexdigest() == digest else None

    def note(self, name: str, text: str) -> None:
        """Keep a text about the run, that is no chunk, for when it goes on."""
        self._writer.submit(self._keep, f"note {name}", f"note_sha256 {name}", text).result()

    @property
    def n_stored(self) -> int:
        """Number of stored chunks."""
        with self._lock:
            return int(self._connection.execute("SELECT count(*) FROM chunks").fetchone()[0])

    def forget_failed(self) -> None:
        """Forget chunks that failed, so that they are tried again: nothing was decided with them."""
        self._writer.submit(self._forget_failed).result()

    def close(self) -> None:
        """Commit what was put, and let go."""
        self._writer.shutdown(wait=True)
        try:
            self._connection.execute("DELETE FROM holder")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error:
            # A holder that is gone holds nothing, and a log is read by whoever opens the store next.
            pass
        self._connection.close()

    def _meta(self, key: str) -> str | None:
        with self._lock:
            found = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if found is None else str(found[0])

    def _write(self, row: Row, releases: Array | None) -> None:
        if self._failed:
            return
        try:
            if releases is not None:
                row = replace(row, releases=self._save(row, releases), releases_sha256=releases_digest(releases))
            values = [getattr(row, name) for name in COLUMNS]
            with self._lock:
                self._connection.execute(_INSERT, [*values, row.sha256()])
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)

    def _save(self, row: Row, releases: Array) -> str:
        """Write releases under a name that is there only when they are whole."""
        folder = self.folder
        if folder is None:
            return ""
        name = f"{row.key.id}.npy"
        partial = folder / f"{name}.partial"
        with open(partial, "wb", opener=_private) as file:
            np.save(file, np.ascontiguousarray(releases, dtype="<f8"), allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, folder / name)
        self._n_bytes += releases.nbytes
        return name

    def _keep(self, name: str, digest_name: str, text: str) -> None:
        """Write a text and its digest."""
        if self._failed:
            return
        try:
            with self._lock, self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                for key, value in ((name, text), (digest_name, hashlib.sha256(text.encode()).hexdigest())):
                    self._connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))
        except sqlite3.Error as error:
            self._give_up(error)

    def _finish(self, result: str) -> None:
        self._keep("result", "result_sha256", result)
        if self._failed:
            return
        if not self._storage.keep_releases and self.folder is not None:
            drop_releases(self.folder)

    def _forget_failed(self) -> None:
        if self._failed:
            return
        try:
            with self._lock:
                self._connection.execute("DELETE FROM chunks WHERE failed != ''")
        except sqlite3.Error as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """Go on without storing: hours of trials are not to end because a disk is full."""
        said = f"The store can no longer be used ({error}). The run goes on without it; what is stored stays."
        if self._failed or self.folder is None:
            return
        self._failed = True
        if self._storage.say is None:
            warnings.warn(said, RuntimeWarning, stacklevel=2)
        self.say(said)


def releases_folder(folder: Path) -> Path:
    """Return where a run's releases lie."""
    return folder / FOLDER / "fit"


def _mapped(path: Path) -> Array | None:
    try:
        found: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return None
    return found


def releases_digest_of(path: Path) -> str:
    """Return the digest of the releases in a file; empty where they cannot be read."""
    found = _mapped(path)
    return "" if found is None else releases_digest(found)


def drop_releases(folder: Path) -> None:
    """Delete the releases in a folder; those that another process reads stay."""
    for path in folder.glob("*.npy*"):
        try:
            path.unlink(missing_ok=True)
        except OSError:
            continue


def kept_releases(folder: Path, row: Row) -> Array | None:
    """Return the releases of a row from the folder where they lie; ``None`` when they are not there or damaged."""
    if not row.releases:
        return None
    found = _mapped(folder / row.releases)
    return found if found is not None and releases_digest(found) == row.releases_sha256 else None


def read_row(connection: sqlite3.Connection, key: RowKey) -> tuple[Row, bool] | None:
    """Return a row, and whether it is what was stored."""
    found = connection.execute(_BY_KEY, [getattr(key, name) for name in KEY_COLUMNS]).fetchone()
    return None if found is None else (row := row_of(found[:-1]), row.sha256() == found[-1])


def rows_of(connection: sqlite3.Connection, start: int, stop: int) -> list[tuple[int, Row, bool]]:
    """Return the rows with numbers from ``start`` up to ``stop``, and whether each is what was stored."""
    query = f"SELECT id, {', '.join(COLUMNS)}, sha256 FROM chunks WHERE id >= ? AND id < ? ORDER BY id"
    found = connection.execute(query, (start, stop)).fetchall()
    return [(values[0], row := row_of(values[1:-1]), row.sha256() == values[-1]) for values in found]


def last_id(connection: sqlite3.Connection) -> int:
    """Return the number of the row that was stored last; 0 for none."""
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM chunks").fetchone()[0])


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
