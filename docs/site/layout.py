"""Lay out the pages of the site: the repository's Markdown, what it links to, and links that lead there.

Sources know nothing of the site: their links lead to files of the repository, as on its own pages. Whatever is linked
is taken along, code as a page that shows it. A link that leads nowhere is an error here, whatever the site's builder
would say of it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[2]
START = ("README.md", "CHANGELOG.md")
LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)#\s]+)")
FENCE = re.compile(r"^ *(```|~~~)")
LANGUAGES = {".py": "python", ".toml": "toml", ".yml": "yaml", ".ini": "ini", ".sh": "shell"}
PICTURES = (".svg", ".png")


class BrokenLinkError(Exception):
    """A link of a page leads to no file of the repository."""


def sources(root: Path = ROOT) -> list[PurePosixPath]:
    """Return the pages that the site begins with."""
    pages = sorted(path.relative_to(root).as_posix() for path in (root / "docs").glob("*.md"))
    return [PurePosixPath(page) for page in (*START, *pages)]


def home(source: PurePosixPath) -> PurePosixPath:
    """Return the place of a file of the repository in the site: ``docs/`` is its top, README its first page."""
    if source.as_posix() == "README.md":
        return PurePosixPath("index.md")
    within = source.relative_to("docs") if source.is_relative_to("docs") else source
    return within if within.suffix in (".md", *PICTURES) else within.with_name(within.name + ".md")


def lay_out(pages: Path, root: Path = ROOT, also: tuple[str, ...] = ()) -> list[PurePosixPath]:
    """Write every source, every file ``also`` named, and whatever they link to; return what was written."""
    todo, done = [*sources(root), *map(PurePosixPath, also)], []
    while todo:
        source = todo.pop(0)
        if source in done:
            continue
        done.append(source)
        target = pages / home(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix in PICTURES:
            shutil.copyfile(root / source, target)
            continue
        text, linked = rewritten(shown(root / source, source), source, root)
        target.write_text(text, encoding="utf-8")
        todo += linked
    return done


def shown(path: Path, source: PurePosixPath) -> str:
    """Return a file as Markdown: a page as it is, a notebook with its outputs, code in a fence, a folder as a list."""
    if path.is_dir():
        files = sorted(item.name for item in path.iterdir() if item.is_file())
        return f"# {source}\n\n" + "".join(f"* [`{name}`]({name})\n" for name in files)
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    if path.suffix == ".ipynb":
        return "\n\n".join(_cells(json.loads(text))) + "\n"
    return f"# {source}\n\n```{LANGUAGES.get(path.suffix, 'text')}\n{text}```\n"


def rewritten(text: str, source: PurePosixPath, root: Path = ROOT) -> tuple[str, list[PurePosixPath]]:
    """Return a page with its links turned to where things are in the site, and the files that it links to."""
    linked: list[PurePosixPath] = []
    # A link to a listed file of a folder is relative to the folder itself.
    base = source if (root / source).is_dir() else source.parent

    def turned(found: re.Match[str]) -> str:
        target = PurePosixPath(os.path.normpath(base / found[1]))
        if target.is_relative_to("..") or not (root / target).exists():
            raise BrokenLinkError(f"{source} links to {found[1]}, which is not in the repository")
        linked.append(target)
        return os.path.relpath(home(target), home(source).parent)

    lines = (LINK.sub(turned, line) if is_text else line for line, is_text in _lines(text))
    return "".join(lines), linked


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    fence = None
    for line in text.splitlines(keepends=True):
        found = FENCE.match(line)
        yield line, fence is None and found is None
        if found and fence in (None, found[1]):
            fence = None if fence else found[1]


def _cells(notebook: dict[str, list[dict[str, object]]]) -> Iterator[str]:
    for cell in notebook["cells"]:
        text = _joined(cell["source"])
        if cell["cell_type"] == "markdown":
            yield text
            continue
        yield f"```python\n{text}\n```"
        outputs = cell["outputs"]
        for output in outputs if isinstance(outputs, list) else ():
            data = output.get("data", {})
            if "image/svg+xml" in data:
                # A drawing says what it shows in its own title; in a line of its own, it is a block.
                yield re.sub(r"\n\s*", " ", _joined(data["image/svg+xml"]).split("?>", 1)[-1].strip())
            elif plain := _joined(output.get("text", data.get("text/plain", ""))).rstrip():
                yield f"```text\n{plain}\n```"


def _joined(text: object) -> str:
    return text if isinstance(text, str) else "".join(map(str, text))  # type: ignore[call-overload]
