"""All random numbers of a stage of training from one trial's stream: torch's, numpy's and Python's own.

In the flow: :mod:`mechanisms.adapters.torch` calls the user's functions in here. Whatever they take from a global
generator then belongs to their trial, and nobody else's generator is moved.
"""

# numpy's global generator is what users' functions draw from.
# ruff: noqa: NPY002

from __future__ import annotations

import functools
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]
# Random words that a stage is seeded by: as many bits as the trial's own generator has.
N_WORDS = 8
# Where torch keeps the 624 words of its generator for the processor, and where their number lies in numpy's.
_FIRST_WORD, _N_STATE = 24, 624
_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


def words_of(rng: np.random.Generator) -> Words:
    """Return the next words of a trial's stream, by which one stage is seeded."""
    return rng.integers(0, 2**32, size=N_WORDS, dtype=np.uint32)


@contextmanager
def seeded(words: Words, *, device: str, exact: bool) -> Iterator[Any]:
    """Seed every global generator by these words, yield a ``torch.Generator``, and put all back as it was.

    Parameters
    ----------
    words
        Of :func:`words_of`.
    device
        Where networks learn. On "cuda" its generators are seeded too.
    exact
        Whether kernels of a GPU are to be chosen that give the same digits each time; they are slower.

    Notes
    -----
    Torch runs on one thread, as workers do with every numerical library: sums depend on their number. Its generator for
    the processor keeps 32 bits of a seed, so that of 100,000 trainings some two would be equal; here its whole state is
    set.
    """
    import torch

    on_cuda = torch.device(device).type == "cuda"
    for_torch, for_user, for_numpy, for_python = np.random.SeedSequence(words.tolist()).spawn(4)
    kept = np.random.get_state(), random.getstate(), torch.get_num_threads()
    devices = list(range(torch.cuda.device_count())) if on_cuda else []
    try:
        with torch.random.fork_rng(devices=devices), torch.enable_grad(), _kernels(exact and on_cuda):
            torch.set_num_threads(1)
            # Not torch.manual_seed, which queues a call for each device that was never used, and keeps them all.
            _seed(torch.default_generator, for_torch)
            if on_cuda:
                torch.cuda.manual_seed_all(int(for_torch.generate_state(1, np.uint64)[0]))
            words_for_numpy: Any = for_numpy.generate_state(_N_STATE)
            np.random.set_state(("MT19937", words_for_numpy, _N_STATE, 0, 0.0))
            random.seed(int.from_bytes(for_python.generate_state(N_WORDS).tobytes(), "little"))
            generator = torch.Generator()
            _seed(generator, for_user)
            yield generator
    finally:
        np.random.set_state(kept[0])
        random.setstate(kept[1])
        torch.set_num_threads(kept[2])


def _seed(generator: Any, sequence: np.random.SeedSequence) -> None:
    """Seed a torch generator of the processor, all of its 624 words; where torch keeps them otherwise, by 64 bits."""
    import torch

    generator.manual_seed(int(sequence.generate_state(1, np.uint64)[0]))
    if not _is_known_layout():
        return
    state = generator.get_state().numpy().copy()
    held = state[_FIRST_WORD : _FIRST_WORD + 8 * _N_STATE]
    held.view(np.uint64)[:] = sequence.generate_state(_N_STATE)
    generator.set_state(torch.from_numpy(state))


@functools.cache
def _is_known_layout() -> bool:
    """Whether torch's words lie where numpy's would, for one seed."""
    import torch

    held = torch.Generator().manual_seed(5489).get_state().numpy()[_FIRST_WORD : _FIRST_WORD + 8 * _N_STATE]
    twin = np.random.RandomState(5489).get_state(legacy=False)["state"]["key"]
    return len(held) == 8 * _N_STATE and bool(np.array_equal(held.copy().view(np.uint64), twin.astype(np.uint64)))


@contextmanager
def _kernels(deterministic: bool) -> Iterator[None]:
    """Choose kernels whose sums run in one order, and put the choice back."""
    import torch

    if not deterministic:
        yield
        return
    os.environ.setdefault(_CUBLAS, ":4096:8")
    cudnn = torch.backends.cudnn
    kept = cudnn.deterministic, cudnn.benchmark
    was, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        cudnn.deterministic, cudnn.benchmark = True, False
        # A kernel that has no such twin is used and named by a warning: the replay shows whether its digits differ.
        torch.use_deterministic_algorithms(True, warn_only=True)
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = kept
        torch.use_deterministic_algorithms(was, warn_only=warned)
