"""The chunks of a store for whoever reads them and writes none: a run can be followed from them to any of its chunks.

In the flow: :mod:`audit.running.replaying` looks a chunk up here, and what its attacks were fitted on.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from audit.trials.identity.of_runs import Identity
from audit.trials.rows import Row, RowKey
from audit.trials.store import Array, kept_releases, read_row, releases_folder
from audit.trials.storing.inspection import reading
from mechanisms.errors import InvalidInputError


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptChunks:
    """The chunks of a store for a run that reads them and keeps none of its own.

    Parameters
    ----------
    home
        The folder of the run.
    identity
        What the store says of its run.
    connection
        For reading.
    """

    home: Path
    identity: Identity
    connection: sqlite3.Connection

    @property
    def folder(self) -> Path:
        """Where releases lie."""
        return releases_folder(self.home)

    def read(self, key: RowKey) -> Row | None:
        """Return a stored row; ``None`` where there is none, or it is not what was stored."""
        found = read_row(self.connection, key)
        return found[0] if found is not None and found[1] else None

    def releases(self, row: Row) -> Array | None:
        """Return the releases of a row; ``None`` when they were not kept or are damaged."""
        return kept_releases(self.folder, row)

    def has_room(self, n_bytes: int) -> bool:
        """Return that there is none: nothing is written."""
        return False

    def put(self, row: Row, releases: Array | None = None) -> Future[None]:
        """Do nothing, and be done."""
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def noted(self, name: str) -> str | None:
        """Return nothing: what is asked here is asked anew."""
        return None

    def note(self, name: str, text: str) -> None:
        """Do nothing."""


@contextmanager
def kept_chunks(folder: Path) -> Iterator[KeptChunks]:
    """Yield the chunks of a store, which may be at work.

    Raises
    ------
    InvalidInputError
        When there is no store, or it does not say of which run it is.
    """
    with reading(folder) as connection:
        try:
            identity = json.loads(connection.execute("SELECT value FROM meta WHERE key = 'identity'").fetchone()[0])
        except (sqlite3.DatabaseError, TypeError, ValueError) as error:
            raise InvalidInputError(
                field=f"the store in {folder}",
                expected="one that says of which run it is",
                got=str(error),
                fix=f"see what is left by `unlearn-audit store verify {folder}`",
            ) from None
        yield KeptChunks(home=folder, identity=identity, connection=connection)
