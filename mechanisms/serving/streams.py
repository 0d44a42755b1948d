"""Requests that come one after the other, as a mechanism: its deletions are those after each request.

In the flow: :func:`audit.run` with ``requests`` and plans with ``[records] stream`` make one, and audit it as any
other mechanism. The unlearned world serves the requests one by one; the reference world retrains without all of their
records, and then runs the same phases on what is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mechanisms.claim import Certificate, Claim, Reference, ThisSet
from mechanisms.errors import InvalidInputError, require
from mechanisms.protocol import GaussianLaw, HasStages, HasStreams, ReleaseSpec, World
from mechanisms.reading.records import RecordSet
from mechanisms.serving.stages import validate_requests

Array = NDArray[np.float64]
Requests = tuple[tuple[int, ...], ...]
ADAPTIVE = (
    "requests that are chosen from earlier releases make these depend on each other, and no certificate or audit here "
    "is about that (arXiv:2210.08911); write the requests down before the first release"
)


@runtime_checkable
class ServedStream(Protocol):
    """A stream whose phases differ, and whose laws are known: what ``serve`` of a mechanism returns."""

    @property
    def phases(self) -> tuple[HasStages, ...]:
        """The stages that serve each request."""
        ...

    def law(self, world: World) -> GaussianLaw:
        """Return the exact law of the last release."""
        ...

    def certificates(self) -> tuple[Certificate, ...]:
        """Return certificates of the last release alone."""
        ...


@dataclass(frozen=True, kw_only=True)
class RequestStream:
    """A mechanism that serves several requests one after the other; every release after a request can be audited.

    Parameters
    ----------
    mechanism
        One that streams can be bound to (:class:`mechanisms.HasStreams`).
    requests
        What is deleted, in order: ``((291,), (17, 3), (123,))``. No record twice. Nothing is asked for by an empty
        request, and nothing is done. Requests must not depend on releases.

    Raises
    ------
    InvalidInputError
        For a mechanism without streams, or requests that are chosen by a function.
    """

    mechanism: Any
    requests: Any

    def __post_init__(self) -> None:
        require(
            isinstance(self.mechanism, HasStreams),
            "mechanism",
            expected="one that serves requests one after the other (bind_stream)",
            got=getattr(self.mechanism, "name", type(self.mechanism).__name__),
            fix="make it by from_functions, or audit each deletion alone",
        )
        object.__setattr__(self, "requests", stated_requests(self.requests))

    @property
    def name(self) -> str:
        """Name of the mechanism."""
        return str(self.mechanism.name)

    @property
    def reference(self) -> Reference:
        """The reference world."""
        return getattr(self.mechanism, "reference", Reference.RETRAIN_THEN_UNLEARN)

    def forget_sets(self) -> Requests:
        """Return the records that are gone after each request, in order; the same set twice is given once."""
        return tuple(dict.fromkeys(s for s in accumulate(self.requests, lambda a, b: a + b) if s))

    def labels(self) -> tuple[str, ...]:
        """Return "after request 2 of 3" for each of :meth:`forget_sets`."""
        sizes = list(accumulate(len(request) for request in self.requests))
        first = {size: j + 1 for j, size in reversed(list(enumerate(sizes)))}
        return tuple(f"after request {first[len(s)]} of {len(sizes)}" for s in self.forget_sets())

    def bind(self, data: RecordSet, forget: tuple[int, ...]) -> StreamDeletion:
        """Return the release after the request with which exactly these records are gone.

        Raises
        ------
        InvalidInputError
            When the records are not those of the first requests, in their order; as ``bind_stream`` of the mechanism.
        """
        asked = tuple(request for request in self.requests if request)
        validate_requests(asked, len(data))
        if tuple(forget) not in self.forget_sets():
            raise InvalidInputError(
                field="forget",
                expected=f"the records of the first requests, in order: one of {self.forget_sets()}",
                got=tuple(forget),
                fix="audit a stream after one of its requests",
            )
        sizes = list(accumulate(map(len, asked)))
        served = asked[: sizes.index(len(forget)) + 1]
        if hasattr(self.mechanism, "serve"):
            bound: Any = self.mechanism.serve(data, served)
            phases = bound.phases
        else:
            bound = self.mechanism.bind_stream(data, asked)
            phases = (bound,) * len(served)
        kind = LawfulStreamDeletion if isinstance(bound, ServedStream) else StreamDeletion
        return kind(bound=bound, phases=phases, data=data, requests=served)


def stated_requests(requests: Any) -> Requests:
    """Return requests as tuples of indices.

    Raises
    ------
    InvalidInputError
        For a function, which would choose them from what it sees, or what is no list of lists.
    """
    is_list = isinstance(requests, Sequence) and not isinstance(requests, str)
    if callable(requests) or (is_list and any(callable(request) for request in requests)):
        raise InvalidInputError(
            field="requests", expected="written down before the first release", got="a function", fix=ADAPTIVE
        )
    lists = is_list and all(isinstance(r, Sequence | np.ndarray) and not isinstance(r, str) for r in requests)
    fix = "write [[291], [17, 3]]: two requests, the second for two records at once"
    require(lists, "requests", expected="a list of lists of record indices", got=requests, fix=fix)
    found = tuple(tuple(int(i) if isinstance(i, np.integer) else i for i in request) for request in requests)
    require(any(found), "requests", expected="at least one record", got=found, fix=fix)
    return found


def check_stream_claim(claim: Claim, requests: Sequence[Sequence[int]]) -> None:
    """Refuse a claim about deletions that are made at once where several requests are served.

    Raises
    ------
    InvalidInputError
        When the claim is not about this very stream.
    """
    if sum(map(bool, requests)) > 1 and not isinstance(claim.covers, ThisSet):
        raise InvalidInputError(
            field="claim.covers",
            expected="a claim about this stream",
            got=f"a claim about {claim.covers.words}",
            fix="what is promised of one deletion says nothing of a release after several requests; state what is "
            "claimed of the release itself (covers=ThisSet())",
        )


def requests_of(mechanism: Any) -> Requests:
    """Return the requests that a mechanism serves, or the one that it shows otherwise; none where it is no stream."""
    while mechanism is not None:
        if isinstance(mechanism, RequestStream):
            found: Requests = mechanism.requests
            return found
        mechanism = getattr(mechanism, "mechanism", None)
    return ()


@dataclass(frozen=True, kw_only=True, eq=False)
class StreamDeletion:
    """The release after the last of the requests, with everything frozen; build it with ``RequestStream.bind``."""

    bound: Any
    phases: tuple[HasStages, ...]
    data: RecordSet
    requests: Requests

    @property
    def release(self) -> ReleaseSpec:
        """Shape and kind of one release."""
        return self.phases[-1].release

    @property
    def reference(self) -> Reference:
        """The reference world."""
        return self.phases[-1].reference

    def certificates(self) -> tuple[Certificate, ...]:
        """Return what the mechanism certifies of the records of all these requests; nothing where it does not say."""
        stated = getattr(self.bound, "stream_certificates", None)
        asked = tuple(record for request in self.requests for record in request)
        return () if stated is None else tuple(stated(self.data.take(asked)))

    def sample(self, world: World, n: int, *, rng: np.random.Generator) -> Array:
        """Return n independent releases of a world, made stage by stage."""
        first = self.phases[0]
        gone = [record for request in self.requests for record in request]
        learned_on = self.data.without(gone) if world is World.RETRAINED else self.data
        served = () if world is World.RETRAINED and self.reference is Reference.RETRAIN_ONLY else self._served(world)
        releases = []
        for start in range(0, n, first.at_once):
            models = first.learn(learned_on, min(first.at_once, n - start), rng)
            for phase, (kept, request) in zip(self.phases, served, strict=False):
                models = phase.unlearn(models, kept, request, rng)
            releases.append(self.phases[-1].released(models))
        return np.concatenate(releases)

    def parameters(self) -> Mapping[str, int | float | str]:
        """Return public hyper-parameters, and how many requests are served before the release."""
        inner: Mapping[str, int | float | str] = self.bound.parameters() if hasattr(self.bound, "parameters") else {}
        return {**inner, "requests": len(self.requests)}

    def _served(self, world: World) -> list[tuple[RecordSet, RecordSet]]:
        """Return what stays and what is asked for at each request, as a service sees them in a world."""
        nothing, gone = self.data.take(()), list(accumulate(self.requests, lambda a, b: a + b))
        if world is World.NEGLECTED:
            return [(self.data, nothing)] * len(gone)
        if world is World.RETRAINED:
            return [(self.data.without(gone[-1]), nothing)] * len(gone)
        asked = zip(gone, self.requests, strict=True)
        return [(self.data.without(before), self.data.take(request)) for before, request in asked]


@dataclass(frozen=True, kw_only=True, eq=False)
class LawfulStreamDeletion(StreamDeletion):
    """The same with a known law and certificates."""

    def law(self, world: World) -> GaussianLaw:
        """Return the exact law of a world."""
        return self.bound.law(world)  # type: ignore[no-any-return]

    def certificates(self) -> tuple[Certificate, ...]:
        """Return certificates of this release alone."""
        return self.bound.certificates()  # type: ignore[no-any-return]
