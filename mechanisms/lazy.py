"""Names that a package lends from its modules and loads on first use, so that importing the package stays quick.

In the flow: the ``__init__`` of each package and room that users import from. What a type checker reads there, under
``TYPE_CHECKING``, and what is loaded here are the same names; a test holds them together.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lend(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and ``__dir__`` of a package that lends names from its modules.

    Parameters
    ----------
    package
        The package's ``__name__``.
    homes
        Names, with spaces between them, by the module that defines them. None may be the name of a module of the
        package: importing that module would put itself in the place of the name.

    Returns
    -------
    tuple
        What looks a name up, and what lists the names that are loaded and that can be (for ``help`` and completion).

    Examples
    --------
    >>> look_up, _ = lend("numbers_of_mine", {"fractions": "Fraction"})
    >>> look_up("Fraction")(1, 2)
    Fraction(1, 2)
    """
    home_of = {name: module for module, names in homes.items() for name in names.split()}

    def look_up(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(home_of[name]), name)

    def listed() -> list[str]:
        return sorted({*vars(sys.modules[package]), *home_of})

    return look_up, listed
