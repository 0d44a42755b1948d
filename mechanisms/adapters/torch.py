"""A mechanism from torch: two functions that train and unlearn a network, on a data set of the user's own kind.

Networks are learned on parts of the data set by index, each from random numbers of its own trial; what an attacker sees
are their answers, or their weights. Torch is imported when something is bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mechanisms.adapters.functions import FunctionsDeletion, FunctionsMechanism, from_functions
from mechanisms.adapters.seeding import seeded, words_of
from mechanisms.adapters.stages import FunctionsStages
from mechanisms.adapters.torch_records import TorchRecords, torch_part, torch_records
from mechanisms.adapters.torch_stages import Evaluating, Learning, Observing, TorchLearnFn, TorchUnlearnFn, Unlearning
from mechanisms.claim import Reference
from mechanisms.dataset import validate_forget
from mechanisms.errors import InvalidInputError, require
from mechanisms.protocol import Access, Outputs, ReleaseSpec
from mechanisms.reading.records import RecordSet
from mechanisms.reading.scalars import real_number
from mechanisms.serving.stages import validate_requests

if TYPE_CHECKING:
    from mechanisms.adapters.torch_models import Asked, Sees

Replay = Literal["exact", "off"] | float
_SEES = ("logits", "probabilities", "labels", "weights")

__all__ = ["TorchMechanism", "TorchRecords", "from_torch"]


@dataclass(frozen=True, kw_only=True, eq=False)
class TorchMechanism:
    """A mechanism made of two functions that train and unlearn networks; build it with :func:`from_torch`."""

    learn: TorchLearnFn
    unlearn: TorchUnlearnFn
    sees: Sees
    probe: Any
    ask: Callable[[Any, Sequence[Any]], Any] | None
    evaluate: Callable[[Any], float] | None
    device: str
    replay: Replay
    reference: Reference
    name: str
    public: Mapping[str, int | float | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # By the digest of the data: the shape of a release, known once two trainings have agreed. No field, so that
        # what a run is does not depend on what was bound before.
        object.__setattr__(self, "_known", {})

    def records(self, data: Any) -> RecordSet:
        """Return a torch data set as records; what is a set of records stays as it is.

        Raises
        ------
        InvalidInputError
            For what has no length or no records by position, or cannot be told from others.
        """
        return torch_records(data)

    def bind(self, data: Any, forget: tuple[int, ...]) -> FunctionsDeletion:
        """Train a network twice from one random stream and once from another, and freeze the shape of a release.

        Raises
        ------
        InvalidInputError
            For a forget set out of range, data that are no map-style data set, what a function should not return, and
            training that is not a function of its seeds, or gives one network for all of them.
        UserFunctionError
            When a function raises.
        """
        data = self.records(data)
        forget = validate_forget(forget, len(data))
        return self._functions(data, forget).bind(data, forget)

    def bind_pool(self, data: Any, pool: tuple[int, ...]) -> FunctionsStages:
        """Bind as :meth:`bind` does, to all records of a pool: their answers are what is released.

        Raises
        ------
        InvalidInputError, UserFunctionError
            As :meth:`bind`.
        """
        data = self.records(data)
        pool = validate_forget(pool, len(data), field="pool")
        return self._functions(data, pool).bind_pool(data, pool)

    def bind_stream(self, data: Any, requests: tuple[tuple[int, ...], ...]) -> FunctionsStages:
        """Bind as :meth:`bind_pool` does, to the records of all requests.

        Raises
        ------
        InvalidInputError, UserFunctionError
            As :meth:`bind`; for a record that is asked for twice.
        """
        data = self.records(data)
        return self.bind_pool(data, tuple(i for request in validate_requests(requests, len(data)) for i in request))

    def _functions(self, data: RecordSet, shown: tuple[int, ...]) -> FunctionsMechanism:
        asked = self._asked(data, shown)
        known: dict[str, int] = self.__dict__["_known"]
        digest = data.sha256()
        if digest not in known:
            from mechanisms.adapters.torch_checks import columns_of

            known[digest] = columns_of(self._stages(asked, None), data, shown, sees=self.sees, replay=self.replay)
        return self._stages(asked, known[digest])

    def _stages(self, asked: Asked, columns: int | None) -> FunctionsMechanism:
        """Return the user's functions with everything round them; without columns, to see what they return."""
        running: dict[str, Any] = {"device": self.device, "exact": self.replay == "exact"}
        release = ReleaseSpec(shape=()) if columns is None else self._release(asked, columns)
        return from_functions(
            learn=Learning(function=self.learn, **running),
            unlearn=Unlearning(function=self.unlearn, **running),
            observe=Observing(asked=asked, sees=self.sees, columns=columns),
            evaluate=None if self.evaluate is None else Evaluating(function=self.evaluate, **running),
            release=release,
            reference=self.reference,
            name=self.name,
            parameters={"sampler": f"training on {self.device}", "sees": self.sees, **self.public},
        )

    def _release(self, asked: Asked, columns: int) -> ReleaseSpec:
        if self.sees == "weights":
            return ReleaseSpec(shape=(columns,), access=Access.WHITE_BOX)
        rows = len(asked.items)
        shape = (rows,) if self.sees == "labels" else (rows, columns)
        # Which records the rows are is filled in when the deletion is bound: the deleted ones first.
        outputs = Outputs(kind=self.sees)
        return ReleaseSpec(shape=shape, access=Access.BLACK_BOX, continuous=self.sees != "labels", outputs=outputs)

    def _asked(self, data: RecordSet, shown: tuple[int, ...]) -> Asked:
        """Read the records that networks are asked about, once: what is drawn in reading them is the same for all."""
        from mechanisms.adapters.torch_models import Asked, copied

        exact = self.replay == "exact"
        with seeded(words_of(np.random.default_rng(0)), device="cpu", exact=False):
            deleted = torch_part(data.take(shown))
            probes = [] if self.probe is None else [torch_part(torch_records(self.probe))]
            items = tuple(copied(part[i]) for part in (deleted, *probes) for i in range(len(part)))
        return Asked(items=items, ask=self.ask, device=self.device, exact=exact)


def from_torch(
    learn: TorchLearnFn,
    unlearn: TorchUnlearnFn,
    *,
    sees: Literal["logits", "probabilities", "labels", "weights"] = "logits",
    probe: Any = None,
    ask: Callable[[Any, Sequence[Any]], Any] | None = None,
    evaluate: Callable[[Any], float] | None = None,
    device: str = "cpu",
    replay: Replay = "exact",
    reference: Reference = Reference.RETRAIN_THEN_UNLEARN,
    name: str = "torch_functions",
    parameters: Mapping[str, int | float | str] | None = None,
) -> TorchMechanism:
    """Return a mechanism that trains and unlearns torch networks; it states no certificate, so that an audit decides.

    ``audit.run(service, dataset, forget=17, claim=...)`` takes a torch data set as it is.

    Parameters
    ----------
    learn
        ``learn(dataset, generator) -> nn.Module``: trains a network from the start. ``dataset`` is a torch ``Subset``
        of the audit's data set, all records or the retained ones. torch, numpy and random are seeded anew for each
        trial; ``generator`` is a ``torch.Generator`` of the processor with random numbers of its own, for a
        ``DataLoader``. Networks may be returned in training mode.
    unlearn
        ``unlearn(model, retained, forget, generator) -> nn.Module``: may change the network that it is given, and
        returns the network. In the reference world ``retrain_then_unlearn`` it gets the retrained network and an empty
        ``forget`` (``len(forget) == 0``), and must add the same noise.
    sees
        What an attacker sees: answers to the deleted records (and the probe) as "logits", their "probabilities" or
        "labels"; or all "weights", white box.
    probe
        A data set of further records that an attacker asks about; ``None`` for the deleted ones alone.
    ask
        ``ask(model, items) -> tensor``, a row for each item: how a network is asked, where ``model(inputs)`` is not the
        way. By default records are pairs (input, label), or inputs. The network is in evaluation mode and no gradient
        is kept.
    evaluate
        ``evaluate(model) -> number``, such as the accuracy on held-out records: what a network is good for. Its mean in
        each world is printed beside the verdict and decides nothing. Twenty more networks are trained for it.
    device
        Where the functions keep their networks: "cpu", "cuda", "cuda:1". They move data and networks there themselves.
    replay
        How alike two trainings from one stream must be: "exact" (in every digit; on "cuda" with deterministic kernels),
        or a share of the largest number of a release, as 1e-4, where digits differ from run to run. It holds for every
        plan that does not say another one. "off" asks nothing.
    reference
        With ``RETRAIN_ONLY`` the retrained world releases the network that ``learn`` returns.
    name
        For reports.
    parameters
        Public hyper-parameters, for reports.

    Returns
    -------
    TorchMechanism
        For ``audit.run``.

    Raises
    ------
    InvalidInputError
        For an option that is none, and without torch.

    Notes
    -----
    When a deletion is bound, three networks are trained (two of one stream, which must agree, and one of another, which
    must not), so that what is wrong with training shows before an audit begins. The records that are asked about are
    read once: random augmentation does not move them. Random numbers of neither function may come from anywhere but
    torch, numpy's global generator, random and ``generator``; nothing may be kept from one call to the next.

    References
    ----------
    As :func:`~mechanisms.adapters.functions.from_functions`.

    Examples
    --------
    >>> from torch import nn
    >>> from_torch(lambda dataset, generator: nn.Linear(2, 2), lambda model, retained, forget, generator: model).name
    'torch_functions'
    """
    if find_spec("torch") is None:
        raise InvalidInputError(
            field="from_torch", expected="used with torch", got="no torch", fix="run pip install 'unlearn-audit[torch]'"
        )
    _check_functions(learn=learn, unlearn=unlearn, ask=ask, evaluate=evaluate)
    require(sees in _SEES, "sees", expected=f"one of {', '.join(_SEES)}", got=sees, fix="say what is released")
    _check_device(device)
    return TorchMechanism(
        learn=learn,
        unlearn=unlearn,
        sees=sees,
        probe=probe,
        ask=ask,
        evaluate=evaluate,
        device=str(device),
        replay=_checked_replay(replay),
        reference=reference,
        name=name,
        public=dict(parameters or {}),
    )


def _check_functions(**functions: Any) -> None:
    for name, function in functions.items():
        needed = name in ("learn", "unlearn")
        fix = (
            "pass a function: "
            + {
                "learn": "learn(dataset, generator) -> network",
                "unlearn": "unlearn(model, retained, forget, generator) -> network",
                "ask": "ask(model, items) -> tensor",
                "evaluate": "evaluate(model) -> number",
            }[name]
        )
        is_network = hasattr(function, "state_dict")
        holds = (callable(function) and not is_network) or (function is None and not needed)
        require(holds, name, expected="a function", got=f"a {type(function).__name__}", fix=fix)


def _check_device(device: str) -> None:
    import torch

    try:
        kind = torch.device(device).type
    except (RuntimeError, TypeError):
        raise InvalidInputError(
            field="device", expected='a device of torch, as "cpu" or "cuda"', got=device, fix="check the spelling"
        ) from None
    there = kind != "cuda" or torch.cuda.is_available()
    require(there, "device", expected="a device of this machine", got=device, fix='no GPU is seen: use device="cpu"')


def _checked_replay(replay: Replay) -> Replay:
    expected = '"exact", "off" or a number in (0, 1)'
    fix = '"exact" unless training differs by run, then a share of the largest number such as 1e-4'
    if isinstance(replay, str):
        require(replay in ("exact", "off"), "replay", expected=expected, got=replay, fix=fix)
        return replay
    tolerance = real_number(replay, "replay", fix=fix)
    require(0 < tolerance < 1, "replay", expected=expected, got=replay, fix=fix)
    return tolerance
