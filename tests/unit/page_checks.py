"""What a page of HTML or Markdown holds: its text, its tables, and whether it is one closed file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser

BREAKING = str.maketrans({"\N{NO-BREAK SPACE}": " ", "\N{NON-BREAKING HYPHEN}": "-"})


def html_text(document: str) -> str:
    body = re.sub(r"<style>.*?</style>", " ", document, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body)).translate(BREAKING)


def unescaped(text: str) -> str:
    return unescape(re.sub(r"\\([\\`*_{}\[\]|~$#])", r"\1", text))


class Checker(HTMLParser):
    """Collects what must not be there, and whether elements nest."""

    VOID = frozenset({"meta", "img", "br", "link", "input", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check_html(document: str) -> Checker:
    checker = Checker()
    checker.feed(document)
    checker.close()
    assert checker.open == []
    assert not checker.tags & {"script", "iframe", "object", "embed", "link", "base", "form"}
    assert len(set(checker.ids)) == len(checker.ids)
    for tag, name, value in checker.attributes:
        assert not name.startswith("on"), (tag, name)
        if name == "src":
            assert (value or "").startswith("data:image/png;base64,")
        if name in ("href", "xlink:href"):
            assert (value or "").startswith("#")
            assert (value or "")[1:] in checker.ids
        if name == "style":
            assert re.findall(r"url\((?!#)", value or "") == []
    return checker


class Tables(HTMLParser):
    """Tables of an HTML page as lists of rows of cells; a heading row without text is left out."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag: str) -> None:
        self.in_cell = self.in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.in_cell:
            self.tables[-1][-1][-1] += data.translate(BREAKING)


def html_tables(document: str) -> list[list[list[str]]]:
    parser = Tables()
    parser.feed(document)
    return [[[" ".join(cell.split()) for cell in row] for row in table] for table in parser.tables]


def markdown_tables(text: str) -> Iterator[list[list[str]]]:
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        lines = [line for line in block.splitlines() if not re.fullmatch(r"[|\-: ]+", line) or line.strip("| ") == ""]
        yield [
            [unescaped(cell.strip()).replace("**", "") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines
        ]
