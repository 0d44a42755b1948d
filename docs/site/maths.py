"""Formulas of the pages as MathML, which browsers draw without a script: ``$...$`` and blocks of ``math``."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor
from markdown.preprocessors import Preprocessor

BLOCK = re.compile(r"^```math\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# As on the pages of a repository: no space inside the signs, and no digit after the second.
INLINE = r"(?<![\\$\w])\$(?=\S)([^$]+?)(?<=\S)\$(?!\d)"

# Script capitals of their own, in place of an attribute that browsers do not read.
SCRIPT = dict(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "𝒜ℬ𝒞𝒟ℰℱ𝒢ℋℐ𝒥𝒦ℒℳ𝒩𝒪𝒫𝒬ℛ𝒮𝒯𝒰𝒱𝒲𝒳𝒴𝒵", strict=True))


def drawn(formula: str, display: str = "inline") -> str:
    """Return a formula as MathML."""
    made = convert(formula.replace("{aligned}", "{align*}"), display=display)
    made = re.sub(r'<mi mathvariant="script">([A-Z])</mi>', lambda found: f"<mi>{SCRIPT[found[1]]}</mi>", made)
    # The sign for sets, which more fonts have.
    return made.replace("&#x029F5;", "&#x02216;")


class Blocks(Preprocessor):
    """Replace blocks before others are looked for."""

    def run(self, lines: list[str]) -> list[str]:
        """Return the lines with a placeholder for each formula."""
        store = self.md.htmlStash.store
        text = BLOCK.sub(lambda found: f"\n\n{store(drawn(found[1], 'block'))}\n\n", "\n".join(lines))
        return text.split("\n")


class Inline(InlineProcessor):
    """Replace formulas within a line."""

    def handleMatch(self, m: re.Match[str], data: str) -> tuple[str | Element, int, int]:
        """Return a placeholder for the formula, and where it stood."""
        return self.md.htmlStash.store(drawn(m[1])), m.start(0), m.end(0)


class Maths(Extension):
    """The extension of Python-Markdown."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Look for blocks before fenced code (25), and within lines after code (190) and before escapes (180)."""
        md.preprocessors.register(Blocks(md), "math_blocks", 28)
        md.inlinePatterns.register(Inline(INLINE, md), "math_inline", 185)


def makeExtension(**settings: object) -> Maths:
    """Return the extension, for Python-Markdown."""
    return Maths(**settings)
