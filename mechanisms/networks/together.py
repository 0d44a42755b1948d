"""Many small networks in one step, by torch.func; and how many at once are worth it.

In the flow: whoever moves networks asks :func:`descend`; what is saved is the time between operations, which for small
ones is longer than the operations.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap

from mechanisms.errors import require
from mechanisms.networks.batches import Batches, device_of
from mechanisms.networks.steps import Descent, Masks, Step, descend_alone, loss_of

# Measured by benchmarks/many_networks.py: up to so many outputs of layers (those of a batch added up) networks are
# quicker together, above they are slower; fewer than so many networks gain nothing, more than so many nothing more.
MOST_OUTPUTS = 100_000
FEWEST, MOST = 8, 32
# Numbers that a chunk may hold: 256 MB on a processor, 4 GB on a GPU.
_NUMBERS = {"cpu": 2**26, "cuda": 2**30}
# A network's weights are held four times (they, their gradients, momentum, the networks themselves), outputs twice.
_COPIES, _TWICE = 4, 2


def chunk_for(model: nn.Module, batches: Batches, batch_size: int) -> int:
    """Return how many networks like this one are worth training together; 1 for one after the other.

    It depends on sizes alone and on no clock, so that a trial that is drawn again is drawn in the same way.

    Parameters
    ----------
    model
        One of the networks.
    batches
        What they learn.
    batch_size
        Records of a step.
    """
    if not len(batches) or batches.tensors is None or not any(p.requires_grad for p in model.parameters()):
        return 1
    counted, columns = _outputs_of(model, batches)
    if columns <= int(batches.tensors[1].max()):
        # The one that learns alone says what is wrong.
        return 1
    outputs = min(batch_size, len(batches)) * counted
    on_cuda = device_of(model).type == "cuda"
    # A GPU waits between operations at sizes where a processor is busy.
    if outputs > MOST_OUTPUTS and not on_cuda:
        return 1
    weights = sum(p.numel() for p in model.parameters())
    chunk = min(MOST, _NUMBERS["cuda" if on_cuda else "cpu"] // (_COPIES * weights + _TWICE * outputs))
    return chunk if chunk >= FEWEST and _runs_together(model, batches) else 1


def chosen_chunk(said: int | None, model: nn.Module, batches: Batches, batch_size: int) -> int:
    """Return what :func:`chunk_for` says, unless a number is given.

    Raises
    ------
    InvalidInputError
        For a number above 1 where the records are no tensors.
    """
    if said is None:
        return chunk_for(model, batches, batch_size)
    require(
        said == 1 or batches.tensors is not None,
        "chunk",
        expected="1 for records that are read one by one",
        got=said,
        fix="give a TensorDataset(inputs, classes) to train networks together, or leave chunk out",
    )
    return said


def _outputs_of(model: nn.Module, batches: Batches) -> tuple[int, int]:
    """Return how many numbers the layers with weights put out for one record, and how many the network does."""
    counted: list[int] = []

    def count(part: nn.Module, inputs: Any, output: Any) -> None:
        counted.append(output.numel() if isinstance(output, torch.Tensor) else 0)

    twin = copy.deepcopy(model).eval()
    layers = [part for part in twin.modules() if next(part.parameters(recurse=False), None) is not None]
    for layer in layers:
        layer.register_forward_hook(count)
    with torch.no_grad():
        answer = twin(batches.read(torch.zeros(1, dtype=torch.long))[0])
    return sum(counted), int(answer.shape[-1])


def _runs_together(model: nn.Module, batches: Batches) -> bool:
    """Whether torch.func takes such networks: no dropout, no running averages, no layer that it does not know."""
    twins = [copy.deepcopy(model) for _ in range(2)]
    if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in model.modules()):
        return False
    positions = torch.zeros(2, dtype=torch.long)
    step = Step(positions=positions, weights=torch.ones(2))
    try:
        with torch.random.fork_rng(devices=[]):
            descend_together(twins, batches, [[step]] * 2, Descent(learning_rate=0.0, momentum=0.0))
    except Exception:
        return False
    return True


def descend(
    models: Sequence[nn.Module],
    batches: Batches,
    schedules: Sequence[Iterable[Step]],
    descent: Descent,
    *,
    chunk: int,
    masks: Sequence[Masks] | None = None,
) -> None:
    """Move networks in place, each by steps of its own: ``chunk`` at once, or one after the other.

    Steps at the same place of all schedules take equally many records.
    """
    for start in range(0, len(models), max(chunk, 1)):
        part = slice(start, start + max(chunk, 1))
        some = None if masks is None else masks[part]
        if chunk > 1 and len(models[part]) > 1:
            descend_together(models[part], batches, schedules[part], descent, some)
            continue
        for i, (model, steps) in enumerate(zip(models[part], schedules[part], strict=True)):
            descend_alone(model, batches, steps, descent, None if some is None else some[i])


def descend_together(
    models: Sequence[nn.Module],
    batches: Batches,
    schedules: Sequence[Iterable[Step]],
    descent: Descent,
    masks: Sequence[Masks] | None = None,
) -> None:
    """Move networks of one build in place, each by steps of its own; the records must be tensors."""
    weights, buffers = stack_module_state(list(models))
    weights = {name: w.detach() for name, w in weights.items()}
    names = descent.names(models[0])
    if not names:
        return
    fixed = {name: w for name, w in weights.items() if name not in names}
    moved = {name: weights[name].clone() for name in names}
    before = {name: w.clone() for name, w in weights.items()} if descent.teaches else None
    skeleton, eyes = copy.deepcopy(models[0]).train(), copy.deepcopy(models[0]).eval()
    kept = None if masks is None else {n: torch.stack([mask[n] for mask in masks]) for n in masks[0] if n in moved}

    def loss(w: Any, f: Any, b: Any, x: Any, labels: Any, own: Any, towards: Any, shown: Any) -> torch.Tensor:
        logits = functional_call(skeleton, ({**f, **w}, b), (x,))
        return loss_of(logits, labels, own, towards, shown)

    velocity: dict[str, torch.Tensor] = {}
    for steps in zip(*schedules, strict=True):
        x, own = batches.read(torch.stack([step.positions for step in steps]))
        labels = own if steps[0].labels is None else _stacked([step.labels for step in steps]).to(own.device)
        shown = None
        if before is not None and steps[0].towards is not None:
            answer = vmap(lambda w, b, x: functional_call(eyes, (w, b), (x,)))
            with torch.no_grad():
                shown = answer(before, buffers, x)
        like = next(iter(moved.values()))
        optional = [_as(like, [s.weights for s in steps]), _as(like, [s.towards for s in steps]), shown]
        given = tuple(None if value is None else 0 for value in optional)
        gradient = vmap(grad(loss), in_dims=(0, 0, 0, 0, 0, *given), randomness="error")
        gradients = gradient(moved, fixed, buffers, x, labels, *optional)
        for name, w in moved.items():
            g = gradients[name] if kept is None else gradients[name].mul_(kept[name])
            # As torch.optim.SGD: the first step has no momentum.
            velocity[name] = velocity[name].mul_(descent.momentum).add_(g) if name in velocity else g.clone()
            w.sub_(velocity[name], alpha=descent.learning_rate)
    with torch.no_grad():
        for i, model in enumerate(models):
            for name, p in model.named_parameters():
                if name in moved:
                    p.copy_(moved[name][i])
            model.train()


def _stacked(values: Sequence[torch.Tensor | None]) -> torch.Tensor:
    return torch.stack([value for value in values if value is not None])


def _as(like: torch.Tensor, values: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
    return None if values[0] is None else _stacked(values).to(device=like.device, dtype=like.dtype)
