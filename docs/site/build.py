"""Build the documentation site: ``python docs/site/build.py --out out/docs`` (or ``make docs``).

Strict: a link that leads nowhere, a page that the navigation lacks, and an address that a browser would load from
elsewhere end the build. The pages open from the folder, without a server.
"""

from __future__ import annotations

import argparse
import logging
import re
import shutil
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import layout  # noqa: E402  # beside this file, which is run as a script

# Pages of the navigation that no other page links to.
ALSO = ("examples/first_audit.ipynb",)
LOADS = {
    "script": "src",
    "img": "src",
    "link": "href",
    "iframe": "src",
    "source": "src",
    "object": "data",
    "image": "href",
}
OUTSIDE = re.compile(r"^(?:https?:)?//")
# Names of XML, which nobody loads.
NAMES = re.compile(r"https?://www\.w3\.org/(?:1998/Math/MathML|2000/svg|1999/xlink)")


class Links(HTMLParser):
    """What a page loads, where it leads, and where one can be led to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.hrefs: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the addresses of one element."""
        found = {name: value or "" for name, value in attrs}
        self.ids |= {found["id"]} if "id" in found else set()
        if tag in LOADS and LOADS[tag] in found:
            self.loaded.append(found[LOADS[tag]])
        elif tag == "a" and "href" in found:
            self.hrefs.append(found["href"])
        self.loaded += re.findall(r"url\(['\"]?([^)'\"]+)", found.get("style", ""))


def problems(site: Path) -> Iterator[str]:
    """Say what is wrong with built pages: outside addresses that are loaded, and links that lead nowhere."""
    pages = {path: Links(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    for path, page in sorted(pages.items()):
        name = path.relative_to(site).as_posix()
        yield from (f"{name} loads {address}" for address in page.loaded if OUTSIDE.match(address))
        inside = [href for href in (*page.hrefs, *page.loaded) if not re.match(r"\w+:|//", href)]
        for href in inside:
            where, _, part = href.partition("#")
            target = (path.parent / unquote(where)).resolve() if where else path
            if not target.exists():
                yield f"{name} leads to {href}, which is not there"
            elif part and target in pages and unquote(part) not in pages[target].ids:
                yield f"{name} leads to {href}, where nothing is called so"
    for path in (*site.rglob("*.css"), *site.rglob("*.js")):
        if path.name != "words.js" and (found := re.search(r"https?://\S+", NAMES.sub("", path.read_text("utf-8")))):
            yield f"{path.name} names {found[0]}"


def build(out: Path) -> list[str]:
    """Lay out, build, check; return what is wrong."""
    import reference
    from mkdocs.commands.build import build as build_site
    from mkdocs.config import load_config

    shutil.rmtree(out, ignore_errors=True)
    pages = out / "pages"
    try:
        layout.lay_out(pages, also=ALSO)
    except layout.BrokenLinkError as error:
        return [str(error)]
    reference.write(pages)
    for name in ("mkdocs.yml", "hooks.py", "maths.py"):
        shutil.copyfile(HERE / name, out / name)
    shutil.copytree(HERE / "theme", out / "theme")
    warnings = Warnings()
    logging.getLogger("mkdocs").addHandler(warnings)
    build_site(load_config(str(out / "mkdocs.yml"), strict=False))
    return [*warnings.said, *problems((out / "site").resolve())]


class Warnings(logging.Handler):
    """Everything that the builder warns of; what it only informs of is left out but for pages that the menu lacks."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Note it."""
        self.said.append(record.getMessage())


def main() -> int:
    """Build, say where it is, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/docs"))
    out = parser.parse_args().out
    found = build(out)
    for problem in found:
        print(problem, file=sys.stderr)
    if not found:
        print(f"{out / 'site' / 'index.html'}: {len(list((out / 'site').rglob('*.html')))} pages")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
