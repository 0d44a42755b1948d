"""JSON of what the auditor stores, with an exact round trip: infinities as strings, every problem with its path."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any, TypeVar

from audit.errors import SchemaError
from mechanisms.errors import printable

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")
_MOST_PROBLEMS = 10


def dump(value: object) -> str:
    """Return a frozen dataclass as JSON text; :func:`load` gives back an equal object."""
    from pydantic_core import to_json

    # Not dump_json: inside a union it writes infinities as null, whatever the configuration says.
    kind: Any = type(value)
    return to_json(_adapter(kind).dump_python(value), inf_nan_mode="strings", indent=1).decode()


def schema_of(text: str) -> str:
    """Return the schema that a JSON text names, such as "unlearn-audit/result/1"; "" when it names none."""
    try:
        return str(json.loads(text)["schema"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def load(text: str, kind: type[T], *, schemas: tuple[str, ...]) -> T:
    """Return the object of a kind that :func:`dump` wrote; ``schemas`` names what is expected in an error.

    Raises
    ------
    SchemaError
        When the text is not of that kind: with the schema that it names, or the first ten problems and their paths.
    """
    from pydantic import ValidationError

    adapted: Any = kind
    try:
        loaded: T = _adapter(adapted).validate_json(text)
    except ValidationError as error:
        expected, named = " or ".join(schemas), schema_of(text)
        if named and named not in schemas:
            raise SchemaError(f"Expected JSON of {expected}, got JSON of {named}.") from None
        problems = [f"  {'.'.join(map(str, e['loc'])) or 'text'}: {e['msg']}" for e in error.errors()[:_MOST_PROBLEMS]]
        said = "\n".join([f"Expected JSON of {expected}, got something else:", *problems])
        raise SchemaError(printable(said)) from None
    return loaded


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
