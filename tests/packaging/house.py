"""Count the rooms of the four packages: ``python tests/packaging/house.py``.

Entries are what a reader sees on opening a folder. An arrow goes from one entry to another that it imports anything of,
at any depth, lazily or for types included. A circle is a set of entries each of which reaches the others by arrows.
Floors are the longest way down, circles taken as one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]
PACKAGES = ("mechanisms", "attacks", "audit", "reports")
Arrows = Mapping[str, set[str]]


@dataclass(frozen=True, kw_only=True)
class Folder:
    """What one folder shows, and how its entries import each other."""

    path: str
    entries: tuple[str, ...]
    n_arrows: int
    n_floors: int
    circles: tuple[tuple[str, ...], ...]


def folders(root: Path = ROOT) -> tuple[Folder, ...]:
    """Return every folder of the packages below ``root``, packages first."""
    graph = build(root)
    paths = sorted(path.parent for name in PACKAGES for path in (root / name).rglob("__init__.py"))
    return tuple(_folder(graph, root, path) for path in paths)


def build(root: Path, packages: Iterable[str] = PACKAGES) -> grimp.ImportGraph:
    """Return the graph of all imports of packages below ``root``."""
    sys.path.insert(0, str(root))
    try:
        return grimp.build_graph(*packages, cache_dir=None)
    finally:
        sys.path.remove(str(root))


def file_circles(graph: grimp.ImportGraph) -> tuple[tuple[str, ...], ...]:
    """Return the circles of single files; a package stands for its ``__init__``."""
    return circles({module: graph.find_modules_directly_imported_by(module) for module in graph.modules})


def room_arrows(graph: grimp.ImportGraph, package: str) -> dict[str, set[str]]:
    """Return which entry of a package imports anything of which other entry."""
    rooms = sorted(graph.find_children(package))
    inside = {room: {room, *graph.find_descendants(room)} for room in rooms}
    home = {module: room for room, modules in inside.items() for module in modules}
    return {
        room: {
            home[target]
            for module in inside[room]
            for target in graph.find_modules_directly_imported_by(module)
            if home.get(target, room) != room
        }
        for room in rooms
    }


def circles(arrows: Arrows) -> tuple[tuple[str, ...], ...]:
    """Return every set of at least two that reach each other."""
    below = {start: _reached(arrows, start) for start in arrows}
    found = {tuple(sorted(b for b in below[a] | {a} if b == a or a in below[b])) for a in arrows}
    return tuple(sorted(circle for circle in found if len(circle) > 1))


def floors(arrows: Arrows) -> int:
    """Return the length of the longest way down, each circle taken as one stop."""
    circle_of = {member: circle for circle in circles(arrows) for member in circle}
    stop = {name: circle_of.get(name, (name,)) for name in arrows}
    down: dict[tuple[str, ...], set[tuple[str, ...]]] = {s: set() for s in stop.values()}
    for name, targets in arrows.items():
        down[stop[name]] |= {stop[target] for target in targets} - {stop[name]}
    height: dict[tuple[str, ...], int] = {}

    def climb(at: tuple[str, ...]) -> int:
        if at not in height:
            height[at] = 1 + max(map(climb, down[at]), default=0)
        return height[at]

    return max(map(climb, down), default=0)


def _reached(arrows: Arrows, start: str) -> set[str]:
    seen: set[str] = set()
    todo = list(arrows[start])
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += arrows.get(name, ())
    return seen


def _folder(graph: grimp.ImportGraph, root: Path, path: Path) -> Folder:
    relative = path.relative_to(root)
    arrows = room_arrows(graph, ".".join(relative.parts))
    return Folder(
        path=relative.as_posix(),
        entries=tuple(_entries(path)),
        n_arrows=sum(map(len, arrows.values())),
        n_floors=floors(arrows),
        circles=circles(arrows),
    )


def _entries(path: Path) -> Iterator[str]:
    yield from sorted(item.name for item in path.iterdir() if item.name != "__pycache__")


def _lines(found: Iterable[Folder]) -> Iterator[str]:
    yield f"{'folder':<40}{'entries':>9}{'arrows':>9}{'floors':>9}{'circles':>9}"
    for folder in found:
        counts = (len(folder.entries), folder.n_arrows, folder.n_floors, len(folder.circles))
        yield f"{folder.path:<40}" + "".join(f"{n:>9}" for n in counts)
        for circle in folder.circles:
            yield f"    circle: {', '.join(circle)}"


if __name__ == "__main__":
    top = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    print("\n".join(_lines(folders(top))))
    for names in file_circles(build(top)):
        print("circle of files:", ", ".join(names))
