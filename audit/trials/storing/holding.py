"""Who writes to a store: one process at a time, and one that died holds nothing.

In the flow: :mod:`audit.trials.store` takes hold before it writes and lets go when it closes.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A process that writes.

    Parameters
    ----------
    pid, started
        Its number, and when it began in the ticks of its machine: a number is given again after a while.
    host, place
        Name of its machine; and what tells this start of the machine and its processes from others of the same name.
    since
        When it took hold.
    """

    pid: int
    started: str
    host: str
    place: str
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


def this_process() -> Holder:
    """Return what this process is called as a holder."""
    return Holder(
        pid=os.getpid(),
        started=_started(os.getpid()),
        host=socket.gethostname(),
        place=_place(),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def is_gone(holder: Holder) -> bool:
    """Return whether a holder is surely dead; of another machine's process nothing is known."""
    mine = this_process()
    if holder.host != mine.host:
        return False
    if holder.place != mine.place:
        # Of the same machine before it was started again; or of a container of that name, whose processes are hidden.
        return holder.place.partition("|")[0] != mine.place.partition("|")[0] and bool(mine.place)
    return not _runs(holder.pid) or _started(holder.pid) != holder.started


def take(connection: sqlite3.Connection) -> Holder | None:
    """Write this process down as the holder; return the one that holds already, if one does."""
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        found = holder_of(connection)
        if found is not None and not is_gone(found):
            return found
        mine = this_process()
        connection.execute("DELETE FROM holder")
        connection.execute(
            "INSERT INTO holder (pid, started, host, place, since) VALUES (?, ?, ?, ?, ?)",
            (mine.pid, mine.started, mine.host, mine.place, mine.since),
        )
    return None


def holder_of(connection: sqlite3.Connection) -> Holder | None:
    """Return who is written down as the holder, dead or alive."""
    row = connection.execute("SELECT pid, started, host, place, since FROM holder").fetchone()
    return None if row is None else Holder(pid=row[0], started=row[1], host=row[2], place=row[3], since=row[4])


def _runs(pid: int) -> bool:
    if sys.platform == "win32":
        # There a signal of number 0 is no question.
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    return _stat(pid)[:1] == ["Z"]


def _started(pid: int) -> str:
    """Return the tick at which a process began; empty where the system does not say."""
    found = _stat(pid)
    return found[19] if len(found) > 19 else ""


def _stat(pid: int) -> list[str]:
    try:
        # After the name, which may hold spaces and brackets.
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _place() -> str:
    try:
        start = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{start}|{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""
