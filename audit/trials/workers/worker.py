"""A worker process: takes calls from its driver one after the other, and answers each with a result or a failure.

In the flow: :mod:`audit.trials.workers.pool` starts it and watches it. What a call does to its process (another
directory, closed descriptors, an exception of any kind) is undone or reported here; what ends the process is noticed
there.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

# Seconds without a call after which a worker ends.
IDLE = 300.0
# What the driver sends first in each message: hold this parcel, forget it, or run this call.
HOLD, FORGET, CALL = b"h", b"f", b"c"
# What a worker says when a call with a limit has begun: its own start, and what the arguments import, are not timed.
BEGUN = b"begun"


def serve(descriptor: int, parent: int, path: list[str]) -> None:
    """Answer calls until the driver closes the connection or dies.

    Parameters
    ----------
    descriptor
        Of the connection to the driver.
    parent
        Process id of the driver.
    path
        The driver's ``sys.path``: user code is found here as it was there, after everything that is installed.
    """
    end_with(parent)
    sys.path[:] = path
    # An interruption of the whole group is the driver's business: here it would be mistaken for the user's own.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.stderr is not None:
        # Both are the driver's standard error. What is printed outlives a descriptor that a call has closed.
        sys.stdout = sys.stderr
    connection = Connection(descriptor)
    home, held = os.getcwd(), {}
    with contextlib.suppress(EOFError, ConnectionError):
        while connection.poll(IDLE):
            kind, key = _split(connection.recv_bytes())
            if kind == HOLD:
                held[key] = _parcel(connection)
            elif kind == FORGET:
                del held[key]
            else:
                timed, names = pickle.loads(key)
                answer(connection, [_resolved(named, held, connection) for named in names], timed=timed)
                tidy(home)
                signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Threads that a call has left behind are not waited for.
    os._exit(0)


def _split(message: bytes) -> tuple[bytes, bytes]:
    return message[:1], message[1:]


Parcel = tuple[bytes, list[bytes]]


def _resolved(named: Parcel | bytes | None, held: dict[bytes, Parcel], connection: Connection) -> Parcel:
    """Return an argument that a call's message holds, names, or is followed by."""
    if named is None:
        return _parcel(connection)
    return held[named] if isinstance(named, bytes) else named


def _parcel(connection: Connection) -> Parcel:
    """Receive a pickle and its buffers."""
    n = int.from_bytes(connection.recv_bytes(), "little")
    body = connection.recv_bytes()
    return body, [connection.recv_bytes() for _ in range(n)]


def answer(connection: Connection, parcels: list[Parcel], *, timed: bool) -> None:
    """Make one call and send what came of it."""
    connection.send_bytes(reply_to(parcels, begin=(lambda: connection.send_bytes(BEGUN)) if timed else None))


def reply_to(parcels: Sequence[Parcel], *, begin: Callable[[], None] | None = None) -> bytes:
    """Return, pickled, what a call gives: (True, its result), or (False, what it raised and how that is told).

    Parameters
    ----------
    parcels
        The function and its arguments, as :class:`~audit.trials.workers.pool.Packer` packs them.
    begin
        Called once they are unpickled, before the call.
    """
    try:
        # Unpickled anew for each call: what one call leaves behind in its arguments never reaches another.
        function, *arguments = (pickle.loads(body, buffers=buffers) for body, buffers in parcels)
        if begin is not None:
            begin()
        return _dumps((True, function(*arguments)))
    except BaseException as error:
        return _failed(error)


def _failed(error: BaseException) -> bytes:
    said = f"{type(error).__name__}: {error}"
    text = "".join(traceback.format_exception(error))
    try:
        reply = _dumps((False, (error, said, text)))
        pickle.loads(reply)
    except BaseException:
        # An exception that cannot travel is told in words.
        reply = _dumps((False, (None, said, text)))
    return reply


def _dumps(value: Any) -> bytes:
    import cloudpickle

    packed: bytes = cloudpickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    return packed


def tidy(home: str) -> None:
    """Undo what a call did to its process and the next one would notice: another directory, closed descriptors."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
    try:
        moved = os.getcwd() != home
    except OSError:
        moved = True
    if moved:
        os.chdir(home)


def end_with(parent: int) -> None:
    """End this process when its parent dies, whatever it is doing: a killed driver would orphan it for minutes."""
    if sys.platform == "linux":
        # Of the thread that started this process: the pool starts workers in a thread that lives as long as the driver.
        pr_set_pdeathsig = 1
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    if sys.platform != "linux":
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    import time

    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(0)
