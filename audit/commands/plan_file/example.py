"""The plan file that ``unlearn-audit init`` prints."""

from __future__ import annotations

from importlib.resources import files


def example_plan() -> str:
    """Return the text of a plan file that runs as it is."""
    return (files("audit.commands.plan_file") / "example.toml").read_text(encoding="utf-8")
