"""Audits by lot for readers: pages, a text for a terminal, JUnit XML, and copies from which names are withheld."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from audit.lots.result import LotsResult
from audit.records.filing.case import withheld
from audit.records.words.rounding import up
from mechanisms.claim import Claim, EpsilonDelta
from reports.lots import words
from reports.lots.view import page
from reports.writing import check_formats, write_texts

FORMATS = ("html", "json", "md", "junit")


def write_lots(
    result: LotsResult, directory: str | Path, formats: Sequence[str] = ("html", "json", "md"), *, redact: bool = False
) -> tuple[Path, ...]:
    """Write ``report.html``, ``report.json`` and ``report.md`` of an audit by lot; return the paths.

    Parameters
    ----------
    result
        What :func:`audit.from_lots`, :func:`audit.which_record`, :func:`audit.follow_stream` or :func:`audit.run_lots`
        returned.
    directory
        Created when it is missing; reports that lie there are replaced.
    formats
        Some of "html", "json", "md" and "junit" (``report.xml``).
    redact
        Withhold names and claims of single records (:func:`redact_lots`).

    Raises
    ------
    InvalidInputError
        For an unknown format, or a folder that cannot be written.
    """
    check_formats(formats, FORMATS)
    value = redact_lots(result) if redact else result
    names = {"junit": "report.xml"}
    return write_texts(directory, {names.get(name, f"report.{name}"): render(value, name) for name in formats})


def render(result: LotsResult, name: str) -> str:
    """Return an audit by lot in one format."""
    if name == "json":
        return result.to_json()
    if name == "junit":
        return junit(result)
    if name == "html":
        from reports.page.html import template, unbroken
        from reports.page.parts import map_text

        return template("lots.html.j2").render(page=map_text(page(result), unbroken)) + "\n"
    from reports.page import markdown

    return markdown.filled("lots.md.j2", page(result))


def lots_summary(result: LotsResult, *, width: int = 110) -> str:
    """Return the experiment in words, the verdict, and what it rests on, as plain text.

    Parameters
    ----------
    result
        What was found.
    width
        Columns of the terminal.
    """
    from reports.page.terminal import printed, shown_case

    view = page(result)
    return printed(
        [
            view.title,
            *shown_case(view.case),
            *view.points,
            f"{view.verdict.symbol} {view.verdict.text}: {view.headline}",
            *view.conditions,
            f"Highest bound that so many models could show: ε = {up(result.ceiling)}.",
        ],
        width,
    )


def redact_lots(result: LotsResult) -> LotsResult:
    """Return a copy without the command, a title of the user's, and claims that were computed for single records.

    Which candidates were drawn is in no result to begin with.

    Parameters
    ----------
    result
        What was found; what is redacted already is returned as it is.
    """
    if result.redacted:
        return result
    alone = len(result.claims) == 1 and result.claim.provenance == "user"
    return replace(
        result,
        title="Deletions by lot",
        claims=result.claims if alone else (_withheld(result.claim, result.delta),),
        lower_bound=result.lower_bound if alone else 0.0,
        command=None,
        case=None if result.case is None else withheld(result.case),
        redacted=True,
    )


def _withheld(claim: Claim, delta: float) -> Claim:
    return replace(claim, guarantee=EpsilonDelta(epsilon=math.inf, delta=delta), assumptions=())


def junit(result: LotsResult) -> str:
    """Return JUnit XML: one suite, one test case; refuted is a failure, what could not be decided skipped."""
    from reports.audits.junit import PACKAGE, Case, Suite, render_suites

    said = words.sentences(result)
    case = Case(
        group=f"{PACKAGE}.{result.title}",
        name=f"deletions by lot ({result.draw}): {words.claims_text(result)}",
        outcome=result.verdict.value,
        message=said[-1],
        text="\n".join([*said, *result.conditions]),
        seconds=result.seconds,
    )
    properties = [
        ("draw", result.draw),
        ("candidates", str(result.candidates)),
        ("models", str(len(result.runs))),
        ("significance", repr(result.significance)),
        ("redacted", "yes" if result.redacted else "no"),
        *((f"commitment.{i + 1}", text) for i, text in enumerate(result.commitments)),
    ]
    suite = Suite(name=result.title, cases=(case,), properties=tuple(properties), seconds=result.seconds)
    return render_suites([suite], name=result.title)
