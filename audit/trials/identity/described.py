"""What a value is, as plain data: equal for equal values in any process, so that two runs can be told apart.

In the flow: :mod:`audit.trials.identity.of_runs` describes a plan and a mechanism by it.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from audit.trials.identity.user_files import is_users, lies_in_a_file

# Deeper values are told by their type alone; it also ends chains of objects that grow.
DEEPEST = 24
Plain = Any


def described(value: object) -> Plain:
    """Return a value as JSON data.

    Parameters
    ----------
    value
        Anything: frozen dataclasses by their fields, other objects by their attributes, arrays by the digest of their
        bytes, functions of the user's by their code and everything that it reaches, those of libraries by name.

    Notes
    -----
    What cannot be looked into (objects of other languages, random generators) is told by its type alone.
    """
    return _Reader().read(value, 0)


class _Reader:
    """Describes values and remembers objects on the way, which may hold each other."""

    def __init__(self) -> None:
        self._open: set[int] = set()

    def read(self, value: object, depth: int) -> Plain:
        """Return one value, ``depth`` levels below the first."""
        if value is None or (isinstance(value, bool | int | str) and not isinstance(value, Enum)):
            return value
        if isinstance(value, float | np.floating):
            number = float(value)
            return number if np.isfinite(number) else str(number)
        if isinstance(value, np.generic):
            return value.item()
        if id(value) in self._open or depth > DEEPEST:
            return f"({name_of(type(value))})"
        self._open.add(id(value))
        try:
            return self._looked_into(value, depth + 1)
        finally:
            self._open.discard(id(value))

    def _looked_into(self, value: Any, depth: int) -> Plain:
        if isinstance(value, Enum):
            return f"{name_of(type(value))}.{value.name}"
        if isinstance(value, bytes | bytearray):
            return hashlib.sha256(value).hexdigest()
        if isinstance(value, Path):
            return str(value)
        if isinstance(value, ModuleType):
            return value.__name__
        if isinstance(value, Mapping):
            return self._mapping(value, depth)
        if isinstance(value, list | tuple):
            return [self.read(item, depth) for item in value]
        if isinstance(value, set | frozenset):
            return sorted((self.read(item, depth) for item in value), key=_as_text)
        if isinstance(value, type):
            return self._class(value, depth)
        if isinstance(value, FunctionType | MethodType | BuiltinFunctionType | CodeType | functools.partial):
            return self._callable(value, depth)
        return self._array(value, depth) or self._object(value, depth)

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> Plain:
        found = {key if isinstance(key, str) else _as_text(self.read(key, depth)): value[key] for key in value}
        return {key: self.read(found[key], depth) for key in sorted(found)}

    def _array(self, value: Any, depth: int) -> Plain:
        if not isinstance(value, np.ndarray):
            # Tensors that are trained refuse to be seen as arrays.
            value = value.detach().cpu() if hasattr(value, "detach") and hasattr(value, "cpu") else value
            if not hasattr(type(value), "__array__"):
                return None
            try:
                value = np.asarray(value)
            except Exception:
                return None
        if value.dtype.hasobject:
            return [self.read(item, depth) for item in value.ravel().tolist()]
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return {"array": [value.dtype.str, *value.shape], "sha256": digest}

    def _object(self, value: Any, depth: int) -> Plain:
        kind = type(value)
        if is_dataclass(value):
            inside = {field.name: getattr(value, field.name) for field in fields(value)}
        else:
            slots = [name for base in kind.__mro__ for name in vars(base).get("__slots__", ()) if isinstance(name, str)]
            inside = {name: getattr(value, name) for name in slots if hasattr(value, name)}
            inside |= getattr(value, "__dict__", {})
        return {"type": self.read(kind, depth), **self._mapping(inside, depth)}

    def _class(self, value: type, depth: int) -> Plain:
        if not is_users(value.__module__) or lies_in_a_file(value.__module__):
            return name_of(value)
        # Of a notebook or a prompt: no file tells when it changes.
        methods = {name: part for name, part in vars(value).items() if isinstance(part, FunctionType)}
        return {"class": name_of(value), **self._mapping(methods, depth)}

    def _callable(self, value: Any, depth: int) -> Plain:
        if isinstance(value, functools.partial):
            return {
                "partial": self.read(value.func, depth),
                "arguments": self.read(value.args, depth),
                "keywords": self.read(value.keywords, depth),
            }
        if isinstance(value, MethodType):
            return {"method": name_of(value.__func__), "of": self.read(value.__self__, depth)}
        if isinstance(value, CodeType):
            parts = [self.read(constant, depth) for constant in value.co_consts]
            return [hashlib.sha256(value.co_code).hexdigest(), parts, list(value.co_names)]
        if not isinstance(value, FunctionType) or not is_users(value.__module__):
            return name_of(value)
        return {
            "function": name_of(value),
            "code": hashlib.sha256(_as_text(self.read(value.__code__, depth)).encode()).hexdigest(),
            "defaults": self.read([value.__defaults__, value.__kwdefaults__], depth),
            "closure": [self.read(_cell(cell), depth) for cell in value.__closure__ or ()],
            "globals": self._mapping(_reached(value), depth),
        }


def _reached(function: FunctionType) -> dict[str, object]:
    """Return the global values that a function of a notebook names; those of a file change with the file."""
    if lies_in_a_file(function.__module__):
        return {}
    names = function.__code__.co_names
    return {name: function.__globals__[name] for name in names if name in function.__globals__}


def _cell(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def name_of(value: Any) -> str:
    """Return the module and the name of a class or a function."""
    return f"{getattr(value, '__module__', None)}.{getattr(value, '__qualname__', type(value).__qualname__)}"


def _as_text(plain: Plain) -> str:
    return json.dumps(plain, sort_keys=True)
