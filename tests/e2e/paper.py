"""The words on each page of a PDF, for tests of what lies where on paper: reads what Chromium prints, and no other PDF.

Chromium writes glyphs by number, with a table for each font that gives their letters, and nothing that is nested.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Mapping

OBJECT = re.compile(rb"(?<!\d)(\d+) 0 obj\n(.*?)\nendobj", re.DOTALL)
SHOWN = re.compile(rb"/(\w+) [\d.]+ Tf|<([0-9A-F]+)> Tj")


def page_texts(pdf: bytes) -> list[str]:
    """Return the letters of each page, in the order in which they are drawn, as :func:`joined` gives them."""
    objects = {int(number): body for number, body in OBJECT.findall(pdf)}
    pages = [body for body in objects.values() if re.search(rb"/Type\s*/Page\b", body)]
    count = max(map(int, re.findall(rb"/Type /Pages\b[^>]*?/Count (\d+)", pdf)))
    if len(pages) != count:
        raise ValueError(f"Expected {count} pages, as the file counts them, got {len(pages)}.")
    return [_letters(body, objects) for body in pages]


def _letters(page: bytes, objects: Mapping[int, bytes]) -> str:
    fonts = {name: _alphabet(objects[int(number)], objects) for name, number in re.findall(rb"/(F\d+) (\d+) 0 R", page)}
    shown, letters = "", dict[str, str]()
    for font, glyphs in SHOWN.findall(_stream(objects[_reference(page, b"Contents")])):
        letters = fonts[font] if font else letters
        numbers = re.findall("....", glyphs.decode())
        shown += "".join(letters.get(number, "") for number in numbers)
    return joined(shown)


def joined(text: str) -> str:
    """Return a text as pages are given: without spaces, and without letters that are drawn as one."""
    return re.sub(r"\s", "", unicodedata.normalize("NFKC", text))


def _alphabet(font: bytes, objects: Mapping[int, bytes]) -> dict[str, str]:
    """Return the letters of a font's glyphs; a glyph may stand for several."""
    table = _stream(objects[_reference(font, b"ToUnicode")]).decode()
    letters = {
        glyph: _text(code)
        for block in re.findall(r"beginbfchar(.*?)endbfchar", table, re.DOTALL)
        for glyph, code in re.findall(r"<(\w+)> <(\w+)>", block)
    }
    for block in re.findall(r"beginbfrange(.*?)endbfrange", table, re.DOTALL):
        for first, last, code in re.findall(r"<(\w+)> <(\w+)> <(\w+)>", block):
            for i in range(int(last, 16) - int(first, 16) + 1):
                letters[f"{int(first, 16) + i:04X}"] = chr(int(code, 16) + i)
    return letters


def _text(code: str) -> str:
    return bytes.fromhex(code).decode("utf-16-be")


def _reference(body: bytes, name: bytes) -> int:
    [number] = re.findall(rb"/" + name + rb" (\d+) 0 R", body)
    return int(number)


def _stream(body: bytes) -> bytes:
    return zlib.decompress(body.split(b"stream\n", 1)[1].rsplit(b"\nendstream", 1)[0])
