"""Which code is the user's: neither of this project, nor of Python, nor installed."""

from __future__ import annotations

import functools
import hashlib
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGES = ("mechanisms", "attacks", "audit", "reports")


def is_users(module: str | None) -> bool:
    """Return whether a module is the user's own; a notebook's and a script's ``__main__`` is."""
    if not module or module.partition(".")[0] in PACKAGES:
        return False
    if module.partition(".")[0] in sys.stdlib_module_names:
        return False
    path = _path_of(module)
    return path is None or not _is_installed(path)


def lies_in_a_file(module: str | None) -> bool:
    """Return whether a module's code lies in a file that can be read again."""
    return module is not None and file_of(module) is not None


def file_of(module: str) -> Path | None:
    """Return the file of an imported module; ``None`` for a notebook, a prompt, or what is not imported."""
    path = _path_of(module)
    # Without its suffix a notebook's cell is no file of Python, whatever it is called.
    return path if path is not None and path.suffix == ".py" and path.is_file() else None


def _path_of(module: str) -> Path | None:
    named = getattr(sys.modules.get(module), "__file__", None)
    return Path(named).absolute() if isinstance(named, str) else None


def files_beside(modules: Iterable[str]) -> dict[str, str]:
    """Return the digests of all imported files of the user's in the folders of some modules, by relative path.

    Parameters
    ----------
    modules
        Names of modules; those that are not the user's count for nothing.
    """
    found = paths_beside(modules)
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sorted(found.items())}


def paths_beside(modules: Iterable[str]) -> dict[str, Path]:
    """Return all imported files of the user's in the folders of some modules, by relative path.

    Parameters
    ----------
    modules
        As for :func:`files_beside`.
    """
    mine = {name: path for name in modules if is_users(name) and (path := file_of(name)) is not None}
    folders = sorted({_top(name, path) for name, path in mine.items()})
    if not folders:
        return {}
    found = {}
    for name in sorted(sys.modules):
        path = file_of(name)
        above = next((folder for folder in folders if path is not None and path.is_relative_to(folder)), None)
        if path is not None and above is not None and is_users(name):
            found[path.relative_to(above).as_posix()] = path
    return found


def _top(module: str, path: Path) -> Path:
    """Return the folder that a module is imported from: that which holds its outermost package."""
    levels = module.count(".") + (path.name == "__init__.py")
    return path.parents[min(levels, len(path.parents) - 1)]


@functools.cache
def packages_digest() -> dict[str, str]:
    """Return the digest of the source of each of this project's packages."""
    root = Path(__file__).resolve().parents[3]
    return {name: _tree_digest(root / name) for name in PACKAGES}


def _tree_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()


@functools.cache
def _installed_folders() -> tuple[Path, ...]:
    return tuple(_folders())


def _folders() -> Iterator[Path]:
    for name in ("stdlib", "platstdlib", "purelib", "platlib"):
        path = sysconfig.get_path(name)
        if path:
            yield Path(path).resolve()


def _is_installed(path: Path) -> bool:
    if {"site-packages", "dist-packages"} & set(path.parts):
        return True
    return any(path.resolve().is_relative_to(folder) for folder in _installed_folders())
