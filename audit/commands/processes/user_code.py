"""Import a user's own mechanism, named on the command line as ``module:object``. This runs the module's code."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from audit.errors import TrialError
from audit.trials.signals import ending_signals
from mechanisms.errors import InvalidInputError, UnlearnAuditError
from mechanisms.protocol import Mechanism


def load_mechanism(name: str, *, option: str = "--mechanism") -> Mechanism:
    """Return the mechanism that ``module:object`` names; the current directory is searched after installed modules.

    Parameters
    ----------
    name
        A module's dotted name, a colon, and the (dotted) name of an object in it.
    option
        For error messages.

    Raises
    ------
    InvalidInputError
        When there is no such module or object, or it is no mechanism.
    TrialError
        When the module's own code raises.

    Notes
    -----
    Importing runs the module: name only code that you trust. The current directory comes last, so that no folder in it
    can take the place of an installed package, here or in a worker process.
    """
    module_name, colon, path = name.partition(":")
    dotted = all(part.isidentifier() for part in module_name.split("."))
    if not (dotted and colon and path):
        raise InvalidInputError(
            field=option,
            expected="module:object, for example my_unlearning:mechanism",
            got=repr(name),
            fix="name a Python module, without its path, and after a colon the mechanism object in it",
        )
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)
    module = _import(module_name, option)
    return _checked(_attribute(module, path, option), name, option)


def _import(name: str, option: str) -> Any:
    with ending_signals() as interrupted:
        try:
            return importlib.import_module(name)
        except BaseException as error:
            if interrupted:
                raise
            raised = error
    raise _explained(raised, name, option) from raised


def _explained(error: BaseException, name: str, option: str) -> UnlearnAuditError:
    """Return what to say of an import that raised anything at all."""
    if isinstance(error, ModuleNotFoundError):
        # A module that the user's own code lacks is their code's failure, with its traceback.
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            return TrialError(f"Importing {name} failed: {error}")
        return InvalidInputError(
            field=option,
            expected=f"a module that can be imported here, in {Path.cwd()}",
            got=name,
            fix="start from the folder that holds it, name it without .py, or install it",
        )
    guard = ' (guard scripts with if __name__ == "__main__":)' if isinstance(error, SystemExit) else ""
    return TrialError(f"Importing {name} raised {type(error).__name__}: {error}{guard}")


def _attribute(module: Any, path: str, option: str) -> Any:
    found = module
    for part in path.split("."):
        if not hasattr(found, part):
            usable = [key for key, value in vars(module).items() if not key.startswith("_") and not _lacks(value)]
            raise InvalidInputError(
                field=option,
                expected=f"an object in module {module.__name__} ({getattr(module, '__file__', 'built in')})",
                got=path,
                fix=f"mechanisms there: {', '.join(usable)}" if usable else "assign the mechanism to that name there",
            )
        found = getattr(found, part)
    return found


def _checked(found: Any, name: str, option: str) -> Mechanism:
    lacks = _lacks(found)
    if lacks:
        maker = isinstance(found, type) or (callable(found) and not hasattr(found, "bind"))
        raise InvalidInputError(
            field=option,
            expected="a mechanism: an object with a name and bind(data, forget)",
            got=f"{name}, {_described(found)} without {lacks}",
            fix="name the object that it returns (mechanism = ...)" if maker else "see mechanisms.from_functions",
        )
    mechanism: Mechanism = found
    return mechanism


def _described(found: Any) -> str:
    return f"the class {found.__name__}" if isinstance(found, type) else f"a {type(found).__name__}"


def _lacks(found: Any) -> str:
    """Return which part of the protocol an object lacks, or nothing."""
    if isinstance(found, type):
        return "an instance"
    if not callable(getattr(found, "bind", None)):
        return "bind(data, forget)"
    return "" if isinstance(getattr(found, "name", None), str) else "a name"
