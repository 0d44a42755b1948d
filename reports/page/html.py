"""How any page becomes HTML: templates in which every string is escaped, and what stays on one line."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Template


def unbroken(text: str) -> str:
    """Keep "ε ≤ 0.5", "exact ε" and "p-value" on one line each."""
    text = re.sub(r"\b([εδμp]) ([=≤≥]) (?=\S)", "\\1\N{NO-BREAK SPACE}\\2\N{NO-BREAK SPACE}", text)
    text = re.sub(r" ([εδ])$", "\N{NO-BREAK SPACE}\\1", text)
    return text.replace("p-value", "p\N{NON-BREAKING HYPHEN}value")


@functools.cache
def template(name: str) -> Template:
    """Return a template of this package in which every string is escaped unless this package drew it."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
