"""How any page becomes Markdown: templates whose every string is escaped here."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from reports.page.parts import map_text, plain

if TYPE_CHECKING:
    from jinja2 import Template

# What GitHub links in the text that is left once Markdown is done: no backslash helps there, a space of no width does.
_LINKED = re.compile(r"@(?=\w)|:(?=//)|\bwww(?=\.)|#(?=\d)|\bGH-(?=\d)", re.IGNORECASE)
_APART = r"\g<0>&#8203;"
_SPECIAL = re.compile(r"([\\`*_{}\[\]|~$#])")


def filled(name: str, view: object, **others: object) -> str:
    """Return a template of this package filled with the parts of a page, every string of which is escaped here."""
    text = _template(name).render(page=map_text(view, escape), **others)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def escape(text: str) -> str:
    """Return text that Markdown prints as it is, on one line: names are data and may hold anything.

    Addresses, names behind an @ and numbers of issues become no links and notify nobody.
    """
    one_line = " ".join(plain(text).split())
    html_free = one_line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _LINKED.sub(_APART, _SPECIAL.sub(r"\\\1", html_free))


def fence(code: str) -> str:
    """Return a code block whose fence is longer than any run of backticks in the code."""
    longest = max((len(run) for run in re.findall(r"`+", code)), default=0)
    bars = "`" * max(3, longest + 1)
    return f"{bars}sh\n{code}\n{bars}"


@functools.cache
def _template(name: str) -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=False,  # every string of the view is escaped before it gets here
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["fence"] = fence
    return environment.get_template(name)
