"""Worker processes that outlive nothing but their driver, and whose deaths cost the call in hand and nothing else.

In the flow: :mod:`audit.trials.engines` says what is called; here calls are packed, handed out and watched. Each worker
has a pipe of its own, so that no lock is shared with one that dies. Whatever ends a worker (``os._exit(0)``, a signal,
a crash of a library) closes that pipe or the process, and both are watched.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import os
import pickle
import queue
import subprocess
import sys
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from audit.trials.workers.worker import CALL, FORGET, HOLD

# Shared arguments of at least so many bytes are sent to a worker once.
SHARED_BYTES = 4096
# Shared arguments that a worker keeps.
MAX_HELD = 8
# Calls of at most so many bytes are handed out ahead of time: a pipe takes them while the worker is busy.
AHEAD_BYTES = 16_384
# Seconds between two looks at workers that are silent. A pipe may stay open when its worker has ended, in a process
# that a call left behind.
LOOK = 0.2
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_START = (
    "import sys; sys.path[:] = {path}; from audit.trials.workers.worker import serve; serve({fd}, {parent}, {path})"
)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a call gave no result, twice.

    Parameters
    ----------
    message
        One sentence.
    traceback
        As Python prints it; empty where a worker was lost.
    error
        What was raised, where it could be sent.
    """

    message: str
    traceback: str = ""
    error: BaseException | None = None


@dataclass(kw_only=True, eq=False)
class Parcel:
    """One argument, pickled: buffers that nobody may write to are not copied. A shared one has a key."""

    body: bytes
    buffers: tuple[pickle.PickleBuffer, ...]
    key: bytes | None = None

    @functools.cached_property
    def size(self) -> int:
        """Bytes, buffers included."""
        return len(self.body) + sum(buffer.raw().nbytes for buffer in self.buffers)

    @functools.cached_property
    def inline(self) -> Any:
        """How a call's message names it: by its key, by itself where it is small, or ``None`` where it follows."""
        if self.key is not None:
            return self.key
        return (self.body, [bytes(buffer) for buffer in self.buffers]) if self.size < SHARED_BYTES else None

    def send(self, connection: Connection) -> None:
        """Send it in messages of its own."""
        connection.send_bytes(len(self.buffers).to_bytes(4, "little"))
        connection.send_bytes(self.body)
        for buffer in self.buffers:
            connection.send_bytes(buffer.raw())


class Packer:
    """Pickles arguments; what several calls share only once."""

    def __init__(self, function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> None:
        self._function, self._calls = function, calls
        uses = Counter(id(argument) for call in calls for argument in call)
        # The calls keep their arguments alive, so that an id stays one object's.
        self._shared = {identity for identity, n in uses.items() if n > 1} | {id(function)}
        self._packed: dict[int, Parcel] = {}

    def pack(self, position: int) -> list[Parcel]:
        """Return the function and the arguments of a call."""
        return [self._parcel(argument) for argument in (self._function, *self._calls[position])]

    def _parcel(self, argument: Any) -> Parcel:
        if id(argument) not in self._shared:
            return packed(argument)
        if id(argument) not in self._packed:
            parcel = packed(argument)
            if parcel.size >= SHARED_BYTES:
                digest = hashlib.sha256(parcel.body)
                for buffer in parcel.buffers:
                    digest.update(buffer.raw())
                parcel = Parcel(body=parcel.body, buffers=parcel.buffers, key=digest.digest())
            self._packed[id(argument)] = parcel
        return self._packed[id(argument)]


def packed(value: Any) -> Parcel:
    """Return a value pickled as engines send it: functions of a script or a notebook, and what they keep, by value."""
    import cloudpickle

    buffers: list[pickle.PickleBuffer] = []

    def keep_apart(buffer: pickle.PickleBuffer) -> bool:
        try:
            frozen = buffer.raw().readonly
        except BufferError:
            return True
        if frozen:
            buffers.append(buffer)
        return not frozen

    body = cloudpickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL, buffer_callback=keep_apart)
    return Parcel(body=body, buffers=tuple(buffers))


@dataclass(eq=False, kw_only=True)
class Worker:
    """One process, with the calls that it has in hand: the first is running, the others wait in its pipe."""

    process: subprocess.Popen[bytes]
    connection: Connection
    setting: tuple[Any, ...]
    tasks: deque[int] = field(default_factory=deque)
    since: float = 0.0
    begun: bool = False
    _held: OrderedDict[bytes, None] = field(default_factory=OrderedDict)

    def takes(self, parcels: Sequence[Parcel]) -> bool:
        """Whether a call can be handed out without waiting for the one that is running."""
        missing = [p for p in parcels if p.key is None or p.key not in self._held]
        return not self.tasks or sum(parcel.size for parcel in missing) <= AHEAD_BYTES

    def send(self, position: int, parcels: Sequence[Parcel], *, timed: bool = False) -> None:
        """Hand out a call, of which the worker says when it begins if ``timed``. What it is to keep is sent first."""
        for parcel in parcels:
            if parcel.key is not None and parcel.key not in self._held:
                self.connection.send_bytes(HOLD + parcel.key)
                parcel.send(self.connection)
            if parcel.key is not None:
                self._held[parcel.key] = None
                self._held.move_to_end(parcel.key)
        # One message where arguments are small: a call then costs one write.
        self.connection.send_bytes(CALL + pickle.dumps((timed, [parcel.inline for parcel in parcels])))
        for parcel in parcels:
            if parcel.inline is None:
                parcel.send(self.connection)
        while len(self._held) > MAX_HELD:
            self.connection.send_bytes(FORGET + self._held.popitem(last=False)[0])
        if not self.tasks:
            self.waits()
        self.tasks.append(position)

    def waits(self, *, begun: bool = False) -> None:
        """Start the clock of the call in hand."""
        self.since, self.begun = time.monotonic(), begun

    def ended(self) -> str:
        """Return how the process ended, in words; it has ended, or is about to."""
        try:
            code = self.process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            self.kill()
            return "its connection was closed"
        if code >= 0:
            return f"it ended by itself with exit code {code}"
        return f"it was ended by {_signal_name(-code)}"

    def kill(self) -> None:
        """End the process now."""
        self.connection.close()
        self.process.kill()
        self.process.wait()


def _signal_name(number: int) -> str:
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _setting() -> tuple[Any, ...]:
    """What a worker was started with, and a new one would not be if it has changed."""
    try:
        folder = os.getcwd()
    except OSError:
        folder = ""
    return (tuple(map(str, sys.path)), folder, os.environ.get("PYTHONPATH"))


class _Starter:
    """Starts processes in one thread that never ends: Linux ends a worker with the thread that started it."""

    def __init__(self) -> None:
        self._wanted: queue.SimpleQueue[tuple[queue.SimpleQueue[Worker | Exception], tuple[Any, ...]]]
        self._wanted = queue.SimpleQueue()
        threading.Thread(target=self._run, daemon=True, name="unlearn-audit-starter").start()

    def start(self) -> Worker:
        answer: queue.SimpleQueue[Worker | Exception] = queue.SimpleQueue()
        self._wanted.put((answer, _setting()))
        found = answer.get()
        if isinstance(found, Exception):
            raise found
        return found

    def _run(self) -> None:
        while True:
            answer, setting = self._wanted.get()
            try:
                answer.put(_started(setting))
            except Exception as error:
                answer.put(error)


def _started(setting: tuple[Any, ...]) -> Worker:
    """Start a worker: a new interpreter (never a fork) that finds no module in the current directory first."""
    here, there = Pipe()
    path = json.dumps([entry or setting[1] for entry in setting[0]])
    code = _START.format(path=path, fd=there.fileno(), parent=os.getpid())
    environment = {**dict.fromkeys(_ONE_THREAD, "1"), **os.environ}
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code],
        stdin=subprocess.DEVNULL,
        # What user code prints is no result of ours.
        stdout=_standard_error(),
        stderr=_standard_error(),
        pass_fds=[there.fileno()],
        env=environment,
    )
    there.close()
    return Worker(process=process, connection=here, setting=setting)


def _standard_error() -> int:
    try:
        os.fstat(2)
    except OSError:
        return subprocess.DEVNULL
    return 2


class Pool:
    """Idle workers of this process, for whichever stream comes next, in whichever thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        # All of them, those at work too: a connection that is collected before its worker is ended is closed twice.
        self._alive: set[Worker] = set()
        self._starter: _Starter | None = None

    def take(self) -> Worker:
        """Return a worker that has nothing in hand; a new one unless a usable one is idle."""
        with self._lock:
            setting = _setting()
            while self._idle:
                worker = self._idle.pop()
                if worker.setting == setting and worker.process.poll() is None:
                    return worker
                self._alive.discard(worker)
                worker.kill()
        return self.start()

    def start(self) -> Worker:
        """Return a worker that has done nothing yet."""
        with self._lock:
            starter = self._starter = self._starter or _Starter()
        worker = starter.start()
        with self._lock:
            self._alive.add(worker)
        return worker

    def give_back(self, worker: Worker) -> None:
        """Take a worker back; one that is still at work is ended."""
        if worker.tasks or worker.connection.closed:
            self.end(worker)
        else:
            with self._lock:
                self._idle.append(worker)

    def end(self, worker: Worker) -> None:
        """End a worker that was taken or started."""
        with self._lock:
            self._alive.discard(worker)
        worker.kill()

    def close(self) -> None:
        """End all idle workers."""
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            self.end(worker)


POOL = Pool()
atexit.register(lambda: POOL.close())


def _forget_parent() -> None:
    """In a fork of this process: its workers are the parent's."""
    global POOL
    POOL = Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
