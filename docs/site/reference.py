"""The reference: what the packages lend, from their docstrings, and what ``--help`` says of every command."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click

# The four packages, each with those of its rooms that lend names.
PACKAGES = {
    "audit": ("audit.certificates", "audit.statistics", "audit.selftest"),
    "mechanisms": ("mechanisms.accounting", "mechanisms.networks", "mechanisms.ridge", "mechanisms.faulty"),
    "attacks": ("attacks.lots",),
    "reports": (),
}
ROLE = re.compile(r":\w+:`~?([^`]+)`")
# A heading and its rule, as numpydoc writes them.
SECTION = re.compile(r"^([A-Z][A-Za-z ]+)\n-{3,}$", re.MULTILINE)
LISTS = ("Parameters", "Returns", "Raises", "Attributes", "Yields", "Warns")


def write(pages: Path) -> None:
    """Write a page for each package and one for the command line."""
    folder = pages / "reference"
    folder.mkdir(parents=True, exist_ok=True)
    for package, rooms in PACKAGES.items():
        text = "\n\n".join(part for name in (package, *rooms) for part in _package(name))
        (folder / f"{package}.md").write_text(text + "\n", encoding="utf-8")
    (folder / "command_line.md").write_text("\n\n".join(_command_line()) + "\n", encoding="utf-8")


def described(value: object) -> str:
    """Return a docstring as Markdown."""
    parts = SECTION.split(inspect.getdoc(value) or "")
    text = _prose(parts[0])
    for heading, body in zip(parts[1::2], parts[2::2], strict=True):
        text += f"\n\n**{heading}**\n\n" + _section(heading, body.strip("\n"))
    return text


def signature(name: str, value: object) -> str:
    """Return how something is called, one argument a line where it is long."""
    try:
        called = inspect.signature(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return name
    plain = _plain(str(called))
    if len(name + plain) <= 100:
        return name + plain
    kinds = inspect.Parameter
    lines, starred = [], False
    for argument in called.parameters.values():
        starred |= argument.kind is kinds.VAR_POSITIONAL
        if argument.kind is kinds.KEYWORD_ONLY and not starred:
            lines, starred = [*lines, "*"], True
        lines.append(_plain(str(argument)))
    back = plain.rsplit(") -> ", 1)
    return f"{name}(\n" + "".join(f"    {line},\n" for line in lines) + ")" + (f" -> {back[1]}" if back[1:] else "")


def _plain(text: str) -> str:
    # Annotations are strings; the address of a default would differ from build to build.
    return re.sub(r" at 0x[0-9a-f]+", "", re.sub(r"(: |-> )'([^']*)'", r"\1\2", text))


def _package(name: str) -> Iterator[str]:
    module = import_module(name)
    top = "#" if "." not in name else "##"
    yield f"{top} {name}\n\n{described(module)}"
    for each in module.__all__:
        value = getattr(module, each)
        yield f"{top}# {each}\n\n```python\n{signature(each, value)}\n```\n\n{described(value)}"
        if inspect.isclass(value):
            yield from _methods(value)


def _methods(value: type) -> Iterator[str]:
    for name, member in vars(value).items():
        if name.startswith("_") or not inspect.getdoc(member):
            continue
        if isinstance(member, classmethod | staticmethod):
            member = member.__func__
        if inspect.isfunction(member):
            yield f"```python\n{value.__name__}.{signature(name, member)}\n```\n\n{described(member)}"
        elif isinstance(member, property):
            yield f"`{value.__name__}.{name}`: {described(member)}"


def _prose(text: str) -> str:
    plain = ROLE.sub(r"`\1`", text.strip()).replace("``", "`")
    # What is indented is shown as it is: code after a double colon, and examples.
    parts = re.split(r"(?m)((?:^ {2,}\S.*\n?|^\n(?= {2,}))+)", plain)
    return "".join(f"\n```text\n{inspect.cleandoc(part)}\n```\n" if part.startswith("  ") else part for part in parts)


def _section(heading: str, body: str) -> str:
    if heading == "Examples":
        return f"```python\n{body}\n```"
    if heading not in LISTS:
        return _prose(body)
    items: list[tuple[str, list[str]]] = []
    for line in body.splitlines():
        if line and not line.startswith(" "):
            items.append((line, []))
        elif items:
            items[-1][1].append(line.strip())
    return "\n".join(f"* `{name.rstrip(':')}`{_after(lines)}" for name, lines in items)


def _after(lines: list[str]) -> str:
    text = " ".join(filter(None, lines))
    return f": {_prose(text)}" if text else ""


def _command_line() -> Iterator[str]:
    from audit.cli import main

    yield "# Command line\n\nWhat `--help` says of every command."
    yield from _help(main, "unlearn-audit")


def _help(command: click.Command, name: str) -> Iterator[str]:
    context = click.Context(command, info_name=name, terminal_width=100, max_content_width=100)
    yield f"## {name}\n\n```text\n{command.get_help(context)}\n```"
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            if (found := command.get_command(context, each)) is not None and not found.hidden:
                yield from _help(found, f"{name} {each}")
