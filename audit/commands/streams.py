"""What ``certify`` and ``calibrate`` do with a plan that names a stream of requests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from audit.commands.output.saying import say, say_result
from audit.commands.output.writable import CERTIFICATES_STORE, display
from audit.errors import ExitCode
from mechanisms.errors import require

if TYPE_CHECKING:
    from audit.commands.plan_file.reading import ResolvedPlan


def certify_requests(
    resolved: ResolvedPlan,
    records: str,
    target: tuple[float, float] | None,
    out: Path | None,
    as_json: bool,
    command: str,
    fresh: bool,
    redact: bool,
) -> int:
    """Certify every release of a stream, print the table and write it; return the exit code."""
    from audit.certificates.stream_certifying import certify_stream
    from audit.commands.output.certificates import delete_private
    from audit.trials.progress import show_progress
    from audit.trials.store import Storage
    from reports.certificates.streams import stream_summary, write_stream_certification

    fix = "the plan's stream says which records are deleted"
    require(records == "all", "--records", expected="left out with a stream of requests", got=records, fix=fix)
    folder = None if out is None else out / CERTIFICATES_STORE
    with show_progress() as progress:
        certification = certify_stream(
            resolved.mechanism,  # type: ignore[arg-type]
            resolved.data,
            target=target,
            store=Storage(folder=folder, fresh=fresh, say=say),
            progress=progress,
            title=resolved.title,
            command=f"unlearn-audit {command}",
        )
    if redact:
        certification = certification.without_records()
    written = () if out is None else write_stream_certification(certification, out)
    if redact and folder is not None:
        delete_private(folder)
    shown = certification.to_json() if as_json else stream_summary(certification)
    code = ExitCode.OK if say_result(shown, is_json=as_json) else ExitCode.INTERNAL
    for path in written:
        say(display(path))
    return code
