"""Fitted attacks as data: numbers and a description in JSON, never code; they score as before, bit for bit.

In the flow: where attacks are fitted on one machine and score on others. A file is read against the fields of the
classes that are named here, so that whatever it says, nothing but these is made of it.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from attacks.given.score import AsGiven
from attacks.linear.blocks import Blocks, BlockScore
from attacks.linear.score import LinearScore
from attacks.linear.shrunk import ShrunkRows
from attacks.linear.undoing import AlongPull
from attacks.outputs.columns import AllColumns, ColumnLaws, OneColumn
from attacks.outputs.shape import ShapeRatio
from attacks.outputs.u_lira import BinaryOutputs, GaussianOutputs
from attacks.portfolio import Chosen, FittedPart, MeanScore
from attacks.protocol import AttackContext, FittedAttack
from attacks.quadratic.likelihood_ratio import GaussianLogRatio
from attacks.quadratic.score import QuadraticScore
from attacks.quadratic.wide import WideDistance
from attacks.tails.classifier import LogisticOdds, NetworkOdds, StandardUnits
from attacks.tails.density import Coordinates, DensityTable, Grid
from attacks.tails.tail import AlongShift, View
from mechanisms.errors import InvalidInputError, require

Array = NDArray[np.float64]
# What JSON holds; arrays stand in it by their number.
Plain = Any
KINDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        AllColumns,
        AlongPull,
        AlongShift,
        AsGiven,
        BinaryOutputs,
        BlockScore,
        Blocks,
        Chosen,
        ColumnLaws,
        Coordinates,
        DensityTable,
        FittedPart,
        GaussianLogRatio,
        GaussianOutputs,
        Grid,
        LinearScore,
        LogisticOdds,
        MeanScore,
        NetworkOdds,
        OneColumn,
        QuadraticScore,
        ShapeRatio,
        ShrunkRows,
        StandardUnits,
        View,
        WideDistance,
    )
}
# Stands for what an attack was granted, which whoever reads it has.
_CONTEXT = "context"
_DEEPEST = 12


def written(fitted: FittedAttack, arrays: list[Array]) -> Plain:
    """Return a fitted attack as JSON data, and add its arrays to a list; :func:`read` gives it back.

    Raises
    ------
    InvalidInputError
        For an attack that is made of anything but the classes of this project, numbers and what it was granted.
    """
    if is_dataclass(fitted) and KINDS.get(type(fitted).__name__) is type(fitted):
        return {
            "kind": type(fitted).__name__,
            **{field.name: _written(getattr(fitted, field.name), arrays) for field in fields(fitted)},
        }
    raise InvalidInputError(
        field="a fitted attack",
        expected="one of this project's, which can be written down as numbers",
        got=f"a {type(fitted).__name__}",
        fix="run an audit with attacks of your own in one piece (audit.run)",
    )


def read(plain: Plain, arrays: Sequence[Array], context: AttackContext) -> FittedAttack:
    """Return the fitted attack that :func:`written` described.

    Parameters
    ----------
    plain, arrays
        As it was written.
    context
        What the attack is granted, as it was when it was fitted.

    Raises
    ------
    InvalidInputError
        When a field is missing, unknown or of another kind, or the attack cannot score releases of this shape.
    """
    found = _Reader(arrays, context).read(FittedAttack, plain, "attack", 0)
    attack: FittedAttack = found
    releases = np.zeros((2, *context.release.shape))
    try:
        with np.errstate(all="ignore"):
            shape = np.shape(attack.score(releases))
    except Exception as error:
        raise _unusable("attack", f"one that raises {type(error).__name__}: {error}") from None
    require(shape == (2,), "attack", expected="one score a release", got=f"scores of shape {shape} for two", fix=_AGAIN)
    return attack


_AGAIN = "fit the attacks again, and copy what is written as it is"


def _written(value: object, arrays: list[Array]) -> Plain:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": str(float(value))}
    if isinstance(value, np.ndarray) and value.dtype == np.float64:
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, tuple):
        return [_written(item, arrays) for item in value]
    if isinstance(value, Mapping):
        return [[_written(key, arrays), _written(item, arrays)] for key, item in value.items()]
    if isinstance(value, AttackContext):
        return _CONTEXT
    attack: Any = value
    return written(attack, arrays)


class _Reader:
    """Makes objects of what was written, each field by the type that its class says it has."""

    def __init__(self, arrays: Sequence[Array], context: AttackContext) -> None:
        self._arrays = arrays
        self._context = context

    def read(self, hint: Any, plain: Plain, where: str, depth: int) -> Any:
        """Return a value of a type, or refuse it by its place in the file."""
        if depth > _DEEPEST:
            raise _unusable(where, "parts in parts without end")
        origin, inside = get_origin(hint), get_args(hint)
        if origin in (Union, types.UnionType):
            rest = [part for part in inside if part is not type(None)]
            return None if plain is None else self.read(rest[0], plain, where, depth)
        if origin is np.ndarray:
            return self._array(plain, where)
        if origin is tuple:
            return self._tuple(inside, plain, where, depth)
        if origin is not None and issubclass(origin, Mapping):
            return self._mapping(inside, plain, where, depth)
        if hint is AttackContext:
            require(plain == _CONTEXT, where, expected=repr(_CONTEXT), got=plain, fix=_AGAIN)
            return self._context
        if hint in (bool, int, float, str):
            return _number(hint, plain, where)
        return self._object(hint, plain, where, depth)

    def _object(self, hint: Any, plain: Plain, where: str, depth: int) -> Any:
        kind = KINDS.get(plain.get("kind", "")) if isinstance(plain, dict) and _is_word(plain.get("kind")) else None
        fits = kind is not None and (hasattr(kind, "score") if hint is FittedAttack else kind is hint)
        if kind is None or not fits:
            raise _unusable(where, "a part of an unknown kind")
        hints = _hints(kind)
        if {*plain} != {"kind", *hints}:
            raise _unusable(where, f"a {kind.__name__} with other fields than {', '.join(hints) or 'none'}")
        values = {name: self.read(hints[name], plain[name], f"{where}.{name}", depth + 1) for name in hints}
        return kind(**values)

    def _array(self, plain: Plain, where: str) -> Array:
        number = plain.get("array") if isinstance(plain, dict) and {*plain} == {"array"} else None
        if not (isinstance(number, int) and not isinstance(number, bool) and 0 <= number < len(self._arrays)):
            raise _unusable(where, "no array")
        array = self._arrays[number]
        require(array.dtype == np.float64, where, expected="numbers of 64 bits", got=str(array.dtype), fix=_AGAIN)
        return array

    def _tuple(self, inside: tuple[Any, ...], plain: Plain, where: str, depth: int) -> tuple[Any, ...]:
        repeated = len(inside) == 2 and inside[1] is Ellipsis
        if not isinstance(plain, list) or (not repeated and len(plain) != len(inside)):
            raise _unusable(where, "no list of the right length")
        hints = [inside[0]] * len(plain) if repeated else list(inside)
        return tuple(
            self.read(hint, item, f"{where}[{i}]", depth + 1)
            for i, (hint, item) in enumerate(zip(hints, plain, strict=True))
        )

    def _mapping(self, inside: tuple[Any, ...], plain: Plain, where: str, depth: int) -> dict[Any, Any]:
        if not isinstance(plain, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in plain):
            raise _unusable(where, "no list of pairs")
        return {
            self.read(inside[0], key, f"{where}[{i}]", depth + 1): self.read(
                inside[1], value, f"{where}[{i}]", depth + 1
            )
            for i, (key, value) in enumerate(plain)
        }


def _number(hint: type, plain: Plain, where: str) -> Any:
    if hint is float:
        if isinstance(plain, dict) and {*plain} == {"float"} and plain["float"] in ("inf", "-inf", "nan"):
            return float(plain["float"])
        if isinstance(plain, int | float) and not isinstance(plain, bool):
            return float(plain)
    elif isinstance(plain, hint) and (hint is bool or not isinstance(plain, bool)):
        return plain
    raise _unusable(where, f"no {hint.__name__}")


def _is_word(value: object) -> bool:
    return isinstance(value, str)


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _unusable(where: str, got: str) -> InvalidInputError:
    return InvalidInputError(field=where, expected="a fitted attack as it was written down", got=got, fix=_AGAIN)
