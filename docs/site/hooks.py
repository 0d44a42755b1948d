"""What is done to pages while they are built: wide parts can be reached by the keyboard, and words can be searched.

The index is a script, not a file that a script fetches: from a folder, browsers fetch nothing.
"""

from __future__ import annotations

import html
import itertools
import json
import re
from pathlib import Path
from typing import Any

HEADING = re.compile(r'(?=<h[1-4] id=")')
WIDE = re.compile(r'<table>.*?</table>|<math [^>]*display="block".*?</math>', re.DOTALL)
# Formulas within a line: those with more signs than fit beside each other into the narrowest window.
INLINE = re.compile(r'<math (?![^>]*display="block")(.*?</math>)', re.DOTALL)
MOST_SIGNS = 20
CODE = re.compile(r"<pre>(.*?)</pre>", re.DOTALL)
# Columns of code that fit onto paper as they are.
FIT_PAPER = 100
TAG = re.compile(r"<[^>]+>")
FOUND: list[tuple[str, str, str]] = []


def on_pre_build(config: Any) -> None:
    """Forget the words of the build before."""
    FOUND.clear()


def on_page_content(content: str, page: Any, config: Any, files: Any) -> str:
    """Note the words of each section; let tables and code scroll by themselves and be reached by the keyboard."""
    for part in HEADING.split(content):
        named = re.match(r'<h([1-4]) id="([^"]+)">(.*?)</h\1>', part, re.DOTALL)
        words = " ".join(html.unescape(TAG.sub(" ", part)).split())
        if words:
            title = html.unescape(TAG.sub("", named[3])) if named else page.title
            FOUND.append((page.url + (f"#{named[2]}" if named else ""), f"{page.title}: {title}", words))
    return reachable(content)


def reachable(content: str) -> str:
    """Wrap what may be wider than a window in parts that scroll, each with a name of its own."""
    numbers = itertools.count(1)

    def wrapped(found: re.Match[str]) -> str:
        name = f"table {next(numbers)}" if found[0].startswith("<table") else f"formula {next(numbers)}"
        return f'<div class="scroll" tabindex="0" role="region" aria-label="{name}">{found[0]}</div>'

    def focused(found: re.Match[str]) -> str:
        signs = html.unescape(TAG.sub("", found[0]))
        return f'<math class="scroll" tabindex="0" {found[1]}' if len(signs) > MOST_SIGNS else found[0]

    content = CODE.sub(lambda found: f"{_opened(found[1])}{found[1]}</pre>", INLINE.sub(focused, content))
    return WIDE.sub(wrapped, content)


def _opened(code: str) -> str:
    """Return how a block of code begins: it can be reached, and says how wide it is where paper has to know."""
    columns = max(map(len, html.unescape(TAG.sub("", code)).splitlines()), default=0)
    return f'<pre tabindex="0" style="--columns: {columns}">' if columns > FIT_PAPER else '<pre tabindex="0">'


def on_post_build(config: Any) -> None:
    """Write the words beside the pages."""
    text = "var SECTIONS = " + json.dumps(FOUND, ensure_ascii=False).replace("</", "<\\/") + ";\n"
    (Path(config["site_dir"]) / "words.js").write_text(text, encoding="utf-8")
