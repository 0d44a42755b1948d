"""Where a command draws its trials: in worker processes, in one of its own, or on a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mechanisms.errors import InvalidInputError

if TYPE_CHECKING:
    from audit.trials.engines import Streams

F = TypeVar("F", bound=Callable[..., Any])
NAMES = ("processes", "serial", "dask")


def engine_options(command: F) -> F:
    """Add ``--engine`` and ``--scheduler`` to a command."""
    kind = click.option(
        "--engine",
        type=click.Choice(NAMES),
        default="processes",
        show_default=True,
        help="Where trials are drawn: --jobs worker processes, one, or a Dask cluster (extra dask); one result.",
    )
    address = click.option(
        "--scheduler",
        default=None,
        metavar="ADDRESS",
        help="With --engine dask: a scheduler that is there, as tcp://10.0.0.1:8786. Without, --jobs workers here.",
    )
    return kind(address(command))


@contextmanager
def engine_of(
    name: str, scheduler: str | None, *, jobs: int, isolated: bool, setup_timeout: float | None = None
) -> Iterator[Streams]:
    """Yield the engine that was asked for, and let go of it afterwards.

    Parameters
    ----------
    name, scheduler, jobs
        The options.
    isolated
        Whether code of the user draws, which then never does so in this process.
    setup_timeout
        Of :class:`audit.Engine`.

    Raises
    ------
    InvalidInputError
        For a scheduler without Dask, and a limit that Dask cannot keep.
    """
    from audit.trials.engines import Engine

    if name != "dask":
        if scheduler is not None:
            raise InvalidInputError(
                field="--scheduler", expected="only with --engine dask", got=scheduler, fix="add --engine dask"
            )
        yield Engine(n_jobs=1 if name == "serial" else jobs, isolated=isolated, setup_timeout=setup_timeout)
        return
    if setup_timeout is not None:
        raise InvalidInputError(
            field="--setup-timeout",
            expected="none on Dask, which cannot give up a call that hangs",
            got=setup_timeout,
            fix="leave it out, or run on worker processes",
        )
    from audit.trials.cluster import DaskEngine

    with DaskEngine(scheduler=scheduler, workers=jobs) as engine:
        yield engine
