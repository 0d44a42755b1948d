"""Say on standard error what a user should know of the data before an audit of them."""

from __future__ import annotations

from audit.commands.plan_file.reading import ResolvedPlan
from audit.commands.saying import say
from audit.records.provenance import data_record


def say_notes(resolved: ResolvedPlan) -> None:
    """Print how the data were read, and what looks wrong with them, one line each."""
    for note in data_record(resolved.data, resolved.mechanism).notes:
        say(f"Note on {resolved.data.name}: {note}")
