"""What a learned model holds, read without calling it: its numbers, and 64 bits by which equal models are found.

Models are taken apart as :mod:`pickle` would store them, and nothing is ever loaded. What pickle would also store, but
says nothing of the model, is left out: where in memory a part lies and which parts are shared, the state of random
generators, and the padding of structured arrays. Equal fingerprints mean equal models; unequal ones may be of equal
models, for some keep a clock time.
"""

from __future__ import annotations

import copyreg
import hashlib
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mechanisms.errors import UnlearnAuditError

Array = NDArray[np.float64]
Prints = NDArray[np.uint64]
Part = bytes | NDArray[Any]
_PLAIN = (type(None), bool, int, float, complex, str, bytes, bytearray, range, slice, type(...))
_GENERATORS = (np.random.Generator, np.random.RandomState, np.random.BitGenerator, np.random.SeedSequence)
_DEEPEST = 200
# How a model is given back to Python, and what it is told then: pickle's protocol 4.
_PROTOCOL = 4


class OpaqueModelError(UnlearnAuditError):
    """A model cannot be taken apart, or holds no floating-point number by which models differ."""


def fingerprint(model: Any) -> int:
    """Return 64 bits of a model: equal for equal models, and else different but for a chance of 2^-64.

    Raises
    ------
    OpaqueModelError
        When the model cannot be taken apart, or holds no floating-point number.
    """
    digest, has_floats = hashlib.blake2b(digest_size=8), False
    for part in parts_of(model):
        digest.update(part if isinstance(part, bytes) else np.ascontiguousarray(part).tobytes())
        has_floats |= not isinstance(part, bytes)
    if not has_floats:
        raise OpaqueModelError("it holds no floating-point number (is it a file's name, or a handle?)")
    return int.from_bytes(digest.digest(), "little")


def numbers_of(model: Any) -> Array:
    """Return all floating-point numbers of a model in one row, by which nearly equal models are found.

    Raises
    ------
    OpaqueModelError
        As :func:`fingerprint`.
    """
    floats = [np.asarray(part).ravel() for part in parts_of(model) if not isinstance(part, bytes)]
    if not floats:
        raise OpaqueModelError("it holds no floating-point number (is it a file's name, or a handle?)")
    real = [np.concatenate([f.real, f.imag]) if np.iscomplexobj(f) else f for f in floats]
    return np.concatenate(real).astype(np.float64)


def parts_of(model: Any) -> Iterator[Part]:
    """Yield a model's parts in a fixed order: bytes, and arrays of floating-point numbers.

    Raises
    ------
    OpaqueModelError
        When a part cannot be stored, such as a function defined within another, or refers to itself without end.
    """
    try:
        yield from _parts(model, ())
    except OpaqueModelError:
        raise
    except Exception as error:
        raise OpaqueModelError(f"taking it apart raised {type(error).__name__}: {error}") from error


def _parts(value: Any, above: tuple[int, ...]) -> Iterator[Part]:
    kind = type(value)
    yield f"{kind.__module__}.{kind.__qualname__}:".encode()
    if id(value) in above:
        # A part that holds the whole, as a layer may its network: said by how far up that is.
        yield str(len(above) - above.index(id(value))).encode()
    elif len(above) >= _DEEPEST:
        raise OpaqueModelError(f"its parts lie more than {_DEEPEST} deep")
    elif kind is float or kind is complex:
        yield np.array(value)
    elif kind in _PLAIN:
        yield repr(value).encode()
    elif isinstance(value, _GENERATORS):
        yield b"generator"
    else:
        yield from _compound(value, (*above, id(value)))


def _compound(value: Any, above: tuple[int, ...]) -> Iterator[Part]:
    if isinstance(value, np.ndarray | np.generic):
        yield from _array_parts(np.asarray(value), above)
    elif callable(getattr(value, "detach", None)) and hasattr(value, "numpy"):
        yield from _array_parts(_of_tensor(value), above)
    elif callable(getattr(value, "state_dict", None)):
        yield from _parts(dict(value.state_dict()), above)
    elif isinstance(value, list | tuple):
        yield str(len(value)).encode()
        for item in value:
            yield from _parts(item, above)
    elif isinstance(value, Mapping) and type(value).__module__ in ("builtins", "collections"):
        yield str(len(value)).encode()
        for key, item in value.items():
            yield from _parts(key, above)
            yield from _parts(item, above)
    elif isinstance(value, set | frozenset):
        # The order of a set depends on the process.
        yield from sorted(_digest(item, above) for item in value)
    elif isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        yield _global_name(value).encode()
    else:
        yield from _stored(value, above)


def _array_parts(array: NDArray[Any], above: tuple[int, ...]) -> Iterator[Part]:
    yield f"{array.dtype.str}{array.shape}".encode()
    if array.dtype.names is not None:
        for name in array.dtype.names:
            yield from _array_parts(array[name], above)
    elif array.dtype.kind in "fc":
        yield array
    elif array.dtype.kind == "O":
        for item in array.ravel():
            yield from _parts(item, above)
    else:
        yield array.tobytes()


def _of_tensor(tensor: Any) -> NDArray[Any]:
    plain = tensor.detach()
    plain = plain.cpu() if hasattr(plain, "cpu") else plain
    try:
        return np.asarray(plain.numpy())
    except TypeError:
        # bfloat16 has no counterpart in numpy, and float32 holds each of its values.
        return np.asarray(plain.float().numpy())


def _stored(value: Any, above: tuple[int, ...]) -> Iterator[Part]:
    """Yield what pickle would store of an object: how it is built, its state and its items."""
    reduce = copyreg.dispatch_table.get(type(value))
    stored = reduce(value) if reduce is not None else value.__reduce_ex__(_PROTOCOL)
    if isinstance(stored, str):
        yield stored.encode()
        return
    function, arguments, state, items, pairs = (*stored, None, None, None)[:5]
    yield _global_name(function).encode()
    yield from _parts(tuple(arguments), above)
    yield from _parts(_without_settings(value, state), above)
    yield from _parts([] if items is None else list(items), above)
    yield from _parts([] if pairs is None else list(pairs), above)


def _without_settings(value: Any, state: Any) -> Any:
    """Return the state of an object; of a fitted estimator without the settings, which may be drawn and not learned."""
    if isinstance(state, dict) and callable(getattr(value, "get_params", None)):
        learned = {k: v for k, v in state.items() if k.endswith("_") and not k.endswith("__")}
        return learned or state
    return state


def _global_name(value: Any) -> str:
    name = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}"
    if "<" in name or name.endswith("."):
        raise OpaqueModelError(f"it holds {name}, whose values cannot be seen")
    owner = getattr(value, "__self__", None)
    if owner is not None and not isinstance(owner, type | ModuleType):
        raise OpaqueModelError(f"it holds {name} of an object, whose values cannot be seen")
    return name


def _digest(value: Any, above: tuple[int, ...]) -> bytes:
    digest = hashlib.blake2b(digest_size=8)
    for part in _parts(value, above):
        digest.update(part if isinstance(part, bytes) else np.ascontiguousarray(part).tobytes())
    return digest.digest()
