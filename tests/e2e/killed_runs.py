"""Kill a run at one of its writes, let it go on, and compare: ``python -m tests.e2e.killed_runs PLAN FOLDER``.

With ``--certify`` the certificates of all records are computed instead.

Prints one JSON object. A run is killed (SIGKILL) just before or just after one write: a statement that changes the
store, the end of a transaction, or a step of writing releases. Each run is a fork of this process, which is quick; this
process runs nothing on threads while it forks.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import audit
from audit.certificates.certifying import certify, make_request
from audit.commands.plan_file.reading import read_plan
from audit.trials.store import Storage, Store, rows_of
from audit.trials.storing.opening import database

CHANGES = ("BEGIN", "CREATE", "DELETE", "INSERT", "PRAGMA APPLICATION_ID =", "PRAGMA JOURNAL", "PRAGMA USER_VERSION =")


class Killer:
    """Counts writes, and kills this process at one of them; 0 for none."""

    def __init__(self, at: int) -> None:
        self.at, self.count = at, 0

    def point(self) -> None:
        self.count += 1
        if self.count == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **options: Any) -> Any:
            self.point()
            found = function(*arguments, **options)
            self.point()
            return found

        return watched

    def install(self) -> None:
        killer = self

        class Watched(sqlite3.Connection):
            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
                changes = sql.lstrip().upper().startswith(CHANGES)
                run = super().execute
                return (killer.around(run) if changes else run)(sql, *values)

            def __exit__(self, *error: Any) -> Any:
                return killer.around(super().__exit__)(*error)

        usual = sqlite3.connect
        sqlite3.connect = lambda *a, **k: usual(*a, factory=Watched, **k)  # type: ignore[assignment]
        for module, name in ((os, "replace"), (os, "fsync"), (np, "save")):
            setattr(module, name, self.around(getattr(module, name)))


def run_once(plan: Path, folder: Path, log: Path, killer: Killer) -> None:
    """Run, or go on with, the audit of a plan; write the result without its environment, and what was stored."""
    killer.install()
    file = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    usual = Store._write

    def logged(self: Store, row: Any, releases: Any = None) -> None:
        os.write(file, f"drawn {row.key}\n".encode())
        usual(self, row, releases)
        os.write(file, f"stored {row.key}\n".encode())

    Store._write = logged  # type: ignore[method-assign]
    (folder / "result.json").write_text(text_of(computed(plan, Storage(folder=folder))))
    (folder / "points").write_text(str(killer.count))


CERTIFIES = "--certify" in sys.argv


def computed(plan: Path, storage: Storage) -> Any:
    """Return what a command would compute from a plan."""
    resolved = read_plan(plan)
    if CERTIFIES:
        request = make_request(records="all", routes="exact")
        return certify(resolved.mechanism, resolved.data, request, store=storage, title="t")
    return audit.run(resolved.mechanism, resolved.data, resolved.plan, store=storage, title="t")


def text_of(result: Any) -> str:
    found = json.loads(result.to_json())
    del found["environment"]
    return json.dumps(found)


def forked(work: Callable[[], None]) -> int:
    """Return how a fork that did the work ended: 0, or the number of the signal that killed it, or -1."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.waitstatus_to_exitcode(status)


def stored_in(folder: Path) -> set[str]:
    if not database(folder).exists():
        return set()
    connection = sqlite3.connect(database(folder))
    try:
        return {str(row.key) for _, row, whole in rows_of(connection, 0, 2**40) if whole}
    except sqlite3.OperationalError:
        # Killed before there were tables.
        return set()
    finally:
        connection.close()


def words(log: Path, kind: str) -> list[str]:
    lines = log.read_text().splitlines() if log.exists() else []
    return [line.partition(" ")[2] for line in lines if line.startswith(kind)]


def trial(plan: Path, folder: Path, expected: str, everything: set[str], at: int) -> dict[str, int]:
    """Kill at one write and go on; return what went wrong, counted."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    first, second = folder / "first.log", folder / "second.log"
    ended = forked(lambda: run_once(plan, folder, first, Killer(at)))
    kept = stored_in(folder)
    again = forked(lambda: run_once(plan, folder, second, Killer(0)))
    drawn = words(second, "drawn")
    return {
        "killed": ended == signal.SIGKILL,
        "lost": len(set(words(first, "stored")) - kept),
        "twice": len(kept & set(drawn)) + len(drawn) - len(set(drawn)),
        "missing": len(everything - kept - set(drawn)),
        "failed": again != 0,
        "different": again == 0 and (folder / "result.json").read_text() != expected,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("plan", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--certify", action="store_true")
    parser.add_argument("--every", type=int, default=1, help="Only every so many-th write.")
    chosen = parser.parse_args()
    # What a run that was never stopped finds; also loads everything before the forks.
    expected = text_of(computed(chosen.plan, Storage()))
    whole = chosen.folder / "whole"
    whole.mkdir(parents=True)
    if forked(lambda: run_once(chosen.plan, whole, whole / "log", Killer(0))):
        sys.exit("The run fails without being killed.")
    everything, n_points = stored_in(whole), int((whole / "points").read_text())
    found = {"points": n_points, "chunks": len(everything), "trials": 0}
    for at in range(1, n_points + 1, chosen.every):
        found["trials"] += 1
        for name, n in trial(chosen.plan, chosen.folder / "killed", expected, everything, at).items():
            found[name] = found.get(name, 0) + n
    print(json.dumps(found))


if __name__ == "__main__":
    main()
