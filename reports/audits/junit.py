"""JUnit XML, which build servers read: a suite for each audit, a test case for each claim about one deletion.

A refuted claim is a failure, one that could not be decided is skipped, and a mechanism that crashed is an error. A test
case without any of them is NOT a claim that was shown to be true; its output says what the audit could have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from audit.records.result import AuditCollection, AuditResult
from audit.records.words.phrases import plain
from reports.page.parts import AuditView, FindingView

PACKAGE = "unlearn-audit"
Outcome = Literal["not_refuted", "refuted", "inconclusive", "error"]
TAGS: dict[str, str] = {"refuted": "failure", "inconclusive": "skipped", "error": "error"}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One claim that was audited, or that a crash kept from it.

    Parameters
    ----------
    group, name
        Class and name of the test case.
    outcome
        What becomes of it: "refuted" is a failure, "inconclusive" skipped, "error" an error.
    message, text
        In one line, and in full.
    seconds
        How long it took; ``None`` when that is known of the suite alone.
    """

    group: str
    name: str
    outcome: Outcome
    message: str
    text: str
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Cases of one audit, or of one session.

    Parameters
    ----------
    name, cases
        What was audited, claim by claim.
    properties
        Names and values, such as the seed.
    seconds, started
        How long it took, and when it began (ISO 8601); ``None`` when unknown.
    """

    name: str
    cases: tuple[Case, ...]
    properties: tuple[tuple[str, str], ...] = ()
    seconds: float | None = None
    started: str | None = None


def render(cases: Sequence[Case], *, name: str) -> str:
    """Return the document of one suite of cases."""
    seconds = sum(case.seconds or 0.0 for case in cases)
    return render_suites([Suite(name=name, cases=tuple(cases), seconds=seconds)], name=name)


def render_results(value: AuditResult | AuditCollection) -> str:
    """Return the document of a result or a collection; of one that is redacted, it names no records."""
    from reports.audits.view import page

    results = value.results if isinstance(value, AuditCollection) else (value,)
    view = page(value, details=False)
    suites = [_suite(result, audit) for result, audit in zip(results, view.audits, strict=True)]
    return render_suites(suites, name=view.title)


def render_crash(title: str, message: str) -> str:
    """Return the document of an audit that the crash of a mechanism ended: one error, and no verdict."""
    first = message.splitlines()[0] if message else "the audit did not end"
    case = Case(group=f"{PACKAGE}.{title}", name="audit", outcome="error", message=first, text=message)
    return render_suites([Suite(name=title, cases=(case,))], name=title)


def render_suites(suites: Sequence[Suite], *, name: str) -> str:
    """Return the document of several suites."""
    root = Element("testsuites", name=plain(name))
    for suite in suites:
        root.append(_suite_element(suite))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _suite(result: AuditResult, audit: AuditView) -> Suite:
    properties = [
        ("mechanism", result.mechanism),
        ("sampler", result.sampler),
        ("data", result.data.name),
        ("data.sha256", result.data.sha256),
        ("seed", str(result.plan.seed)),
        ("significance", repr(result.plan.significance)),
        ("redacted", "no" if result.redaction is None else "yes"),
    ]
    if audit.command:
        properties.append(("command", audit.command.text))
    seen: dict[str, int] = {}
    cases = []
    for finding in audit.findings:
        seen[finding.heading] = seen.get(finding.heading, 0) + 1
        cases.append(_case(finding, audit, position=seen[finding.heading]))
    return Suite(
        name=audit.title,
        cases=tuple(cases),
        properties=tuple(properties),
        seconds=result.environment.seconds,
        started=result.environment.started,
    )


def _case(finding: FindingView, audit: AuditView, *, position: int) -> Case:
    again = f"Run it again: {audit.command.text}" if audit.command else ""
    said = (finding.verdict.text, finding.sentence, finding.strength, finding.fired, *finding.notes, again)
    return Case(
        group=f"{PACKAGE}.{audit.title}",
        name=f"{finding.heading}, claim {position}: {finding.claim}",
        outcome=finding.verdict.key,
        message=finding.sentence,
        text="\n".join(filter(None, said)),
    )


def _suite_element(suite: Suite) -> Element:
    outcomes = [case.outcome for case in suite.cases]
    made = Element("testsuite", name=plain(suite.name), tests=str(len(outcomes)))
    made.set("failures", str(outcomes.count("refuted")))
    made.set("errors", str(outcomes.count("error")))
    made.set("skipped", str(outcomes.count("inconclusive")))
    if suite.seconds is not None:
        made.set("time", f"{suite.seconds:.3f}")
    started = _moment(suite.started)
    if started:
        made.set("timestamp", started)
    if suite.properties:
        properties = SubElement(made, "properties")
        for name, value in suite.properties:
            SubElement(properties, "property", name=name, value=_one_line(value))
    for case in suite.cases:
        made.append(_case_element(case))
    return made


def _moment(text: str | None) -> str:
    """Return a moment as XML Schema has it; empty where the text, which is data, is none."""
    try:
        return datetime.fromisoformat(text or "").isoformat(timespec="seconds")
    except ValueError:
        return ""


def _case_element(case: Case) -> Element:
    made = Element("testcase", classname=_one_line(case.group), name=_one_line(case.name))
    if case.seconds is not None:
        made.set("time", f"{case.seconds:.3f}")
    tag = TAGS.get(case.outcome)
    text = "\n".join(plain(line) for line in case.text.splitlines())
    if tag is None:
        SubElement(made, "system-out").text = text
        return made
    child = SubElement(made, tag, message=_one_line(case.message))
    if tag != "skipped":
        child.set("type", case.outcome)
    child.text = text
    return made


def _one_line(text: str) -> str:
    return " ".join(plain(text).split())
