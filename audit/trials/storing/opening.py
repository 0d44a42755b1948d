"""Open a store for a run: made if it is missing, refused if it is of another run, held by another, newer or damaged.

In the flow: :func:`audit.running.runner.run` opens one around every audit; without a folder it is a temporary one.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from audit.trials.identity.of_runs import Identity, canonical, differences, digest_of
from audit.trials.rows import KEY_COLUMNS
from audit.trials.store import FOLDER, Storage, Store, drop_releases, last_id, releases_folder, rows_of
from audit.trials.storing import holding
from mechanisms.errors import InvalidInputError

SCHEMA = 2
# "UnLA": tells a store from other databases.
APPLICATION = 0x556E4C41
_STRICT = " STRICT" if sqlite3.sqlite_version_info >= (3, 37) else ""
_TABLES = (
    f"CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL){_STRICT}",
    f"""CREATE TABLE holder (
        pid INTEGER NOT NULL, started TEXT NOT NULL, host TEXT NOT NULL, place TEXT NOT NULL, since TEXT NOT NULL
    ){_STRICT}""",
    f"""CREATE TABLE chunks (
        id INTEGER PRIMARY KEY,
        step TEXT NOT NULL, stream TEXT NOT NULL, world TEXT NOT NULL, record INTEGER NOT NULL, chunk INTEGER NOT NULL,
        n INTEGER NOT NULL,
        attacks TEXT NOT NULL, scores BLOB NOT NULL, failures TEXT NOT NULL,
        prints BLOB NOT NULL, models BLOB, opaque TEXT NOT NULL, changed TEXT NOT NULL,
        releases TEXT NOT NULL, releases_sha256 TEXT NOT NULL,
        worker TEXT NOT NULL, seconds REAL NOT NULL, failed TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        UNIQUE ({", ".join(KEY_COLUMNS)})
    ){_STRICT}""",
)
# Seconds to wait for another process that is opening the same store.
_PATIENCE = 10.0
# Rows that are checked together.
_AT_ONCE = 256


@contextmanager
def opened(
    storage: Storage, identity: Callable[[], Identity], *, n_chunks: int, command: str | None = None
) -> Iterator[Store]:
    """Yield the store of a run, which this process alone writes to until the block ends.

    Parameters
    ----------
    storage
        Where it is.
    identity
        Makes what the run depends on; asked only for a store that lasts.
    n_chunks
        How many chunks the run has (at most, where it may stop early).
    command
        What runs it again; kept for whoever looks at the store.

    Raises
    ------
    InvalidInputError
        When the store is of another run, held by another process, of a newer version, damaged, or cannot be written.
    """
    connection = _temporary() if storage.folder is None else _durable(storage.folder, storage, identity(), n_chunks)
    store = Store(connection, storage)
    try:
        if storage.folder is not None:
            if command is not None:
                connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('command', ?)", (command,))
            _mend(store, connection, storage.folder)
        yield store
    finally:
        store.close()


def _temporary() -> sqlite3.Connection:
    # SQLite's own temporary database: in memory while it is small, then in a file that nobody else sees.
    connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous = OFF")
    _create(connection)
    return connection


def _durable(folder: Path, storage: Storage, identity: Identity, n_chunks: int) -> sqlite3.Connection:
    path = database(folder)
    if storage.fresh:
        discard(folder)
    connection = _connect(path, folder)
    try:
        _check_kind(connection, folder)
        _take(connection, folder)
        _check_identity(connection, folder, identity, n_chunks)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise _unusable(folder, error) from None
    except BaseException:
        connection.close()
        raise
    return connection


def database(folder: Path) -> Path:
    """Return the file of the store of a run's folder."""
    return folder / FOLDER / "trials.sqlite"


def discard(folder: Path) -> None:
    """Delete a store, unless a process holds it.

    Raises
    ------
    InvalidInputError
        When one does.
    """
    path = database(folder)
    holder = holder_in(path)
    if holder is not None and not holding.is_gone(holder):
        raise _held(folder, holder)
    for name in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        name.unlink(missing_ok=True)
    drop_releases(releases_folder(folder))
    # What else lies there is not ours.
    with suppress(OSError):
        releases_folder(folder).rmdir()
        path.parent.rmdir()


def free(folder: Path) -> holding.Holder | None:
    """Forget who writes to a store, and return who that was."""
    path = database(folder)
    holder = holder_in(path)
    connection = sqlite3.connect(path, isolation_level=None, timeout=_PATIENCE)
    try:
        connection.execute("DELETE FROM holder")
    finally:
        connection.close()
    return holder


def holder_in(path: Path) -> holding.Holder | None:
    """Return who is written down as a store's writer; ``None`` too where that cannot be read."""
    if not path.is_file():
        return None
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        return holding.holder_of(connection)
    except sqlite3.DatabaseError:
        return None
    finally:
        connection.close()


def _connect(path: Path, folder: Path) -> sqlite3.Connection:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for private in (path.parent, releases_folder(folder)):
            private.mkdir(mode=0o700, exist_ok=True)
        # Before SQLite makes it: what it makes others may read, and its log has the mode of its file.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_PATIENCE)
    except (OSError, sqlite3.Error) as error:
        raise InvalidInputError(
            field=f"the store in {folder}",
            expected="a file that can be written",
            got=str(error),
            fix="choose another folder, or leave --out out",
        ) from None
    return connection


def _check_kind(connection: sqlite3.Connection, folder: Path) -> None:
    """Make the tables of a new file; refuse one of another kind or version, and one that is damaged."""
    version, application = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("user_version", "application_id")
    )
    if application == 0 and not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        # A killed run may have left a file without tables.
        connection.execute("PRAGMA journal_mode = WAL")
        _create(connection)
    elif application != APPLICATION or version != SCHEMA:
        raise InvalidInputError(
            field=f"the store in {folder}",
            expected=f"of version {SCHEMA}",
            got=f"of version {version}" if application == APPLICATION else "another database",
            fix="use the version of unlearn-audit that made it, or another --out; nothing in it was changed",
        )
    connection.execute("PRAGMA synchronous = FULL")
    # Words of a damaged row are bytes of any kind.
    connection.text_factory = words
    said = _checked(connection)
    if "index" in said:
        # It only finds rows; they say themselves what they are.
        connection.execute("REINDEX")
        said = _checked(connection)
    if said != "ok":
        raise sqlite3.DatabaseError(said)


def _checked(connection: sqlite3.Connection) -> str:
    return str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])


def words(value: bytes) -> str:
    """Return text of a column, also where it is damaged."""
    return value.decode("utf-8", errors="replace")


def _create(connection: sqlite3.Connection) -> None:
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return
        for table in _TABLES:
            connection.execute(table)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {SCHEMA}")


def _take(connection: sqlite3.Connection, folder: Path) -> None:
    holder = holding.take(connection)
    if holder is not None:
        raise _held(folder, holder)


def _held(folder: Path, holder: holding.Holder) -> InvalidInputError:
    return InvalidInputError(
        field=f"the store in {folder}",
        expected="free",
        got=f"one that another run writes to ({holder})",
        fix="wait for it, or choose another --out; if that process is gone with its machine, free the store by "
        f"`unlearn-audit store purge --lock {folder}`",
    )


def _check_identity(connection: sqlite3.Connection, folder: Path, identity: Identity, n_chunks: int) -> None:
    """Write down which run it is, or refuse the store of another one and let go of it."""
    found = connection.execute("SELECT value FROM meta WHERE key = 'identity'").fetchone()
    if found is None:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            values = {"identity": canonical(identity), "digest": digest_of(identity), "n_chunks": str(n_chunks)}
            connection.executemany("INSERT INTO meta (key, value) VALUES (?, ?)", values.items())
        return
    digest = connection.execute("SELECT value FROM meta WHERE key = 'digest'").fetchone()
    stored = _read_identity(found[0])
    if stored is None or digest is None or digest[0] != digest_of(stored):
        raise sqlite3.DatabaseError("what it says of its run is not what was stored")
    said = differences(stored, identity)
    if said:
        connection.execute("DELETE FROM holder")
        raise InvalidInputError(
            field=f"the store in {folder}",
            expected="of this run",
            got=f"that of another one ({said})",
            fix="choose another --out, or start anew by --fresh, which deletes what is stored",
        )


def _read_identity(text: str) -> Identity | None:
    try:
        found: Identity = json.loads(text)
    except ValueError:
        return None
    return found


def _unusable(folder: Path, error: sqlite3.DatabaseError) -> InvalidInputError:
    if isinstance(error, sqlite3.OperationalError):
        return InvalidInputError(
            field=f"the store in {folder}",
            expected="a file that can be written",
            got=str(error),
            fix="make room or choose another --out; what is stored stays",
        )
    return InvalidInputError(
        field=f"the store in {folder}",
        expected="whole",
        got=f"a damaged file ({error})",
        fix=f"save the chunks that can be read by `unlearn-audit store export {folder}`, and start anew by --fresh",
    )


def _mend(store: Store, connection: sqlite3.Connection, folder: Path) -> None:
    """Forget rows that are not what was stored, naming them, and releases that belong to none."""
    kept = set()
    for start in range(0, last_id(connection) + 1, _AT_ONCE):
        for number, row, whole in rows_of(connection, start, start + _AT_ONCE):
            if whole:
                kept.add(row.releases)
                continue
            store.say(f"Damaged in {folder}, and to be drawn again: {row.key}.")
            connection.execute("DELETE FROM chunks WHERE id = ?", (number,))
    for path in releases_folder(folder).glob("*.npy*"):
        if path.name not in kept:
            path.unlink(missing_ok=True)
