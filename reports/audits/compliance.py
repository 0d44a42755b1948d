"""The summary for a compliance file: eight questions that a reader without statistics asks, each answered in words.

Five of them stand on page one, beside the picture of all records; the other three say how it was found out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from audit.records.accounts.remarks import why
from audit.records.evidence import Finding
from audit.records.ledger import DeclaredThreshold
from audit.records.result import AuditResult
from audit.records.verdict import Reason, Verdict
from audit.records.words import phrases
from reports.audits import plan_words, withheld, words
from reports.page.numbers import all_of, counted, down, listed, up
from reports.page.parts import NONE, Passage, TableView, plain

HEADING = "Summary for the file"
# More deletions or claims than this are counted in a sentence; the annex lists all deletions.
MAX_LISTED = 6
# A deletion of more records than this is named by the first four.
MAX_NAMED = 4
SAME = "with the same versions the counts come out the same, whatever the number of workers."


def passages(result: AuditResult) -> tuple[Passage, ...]:
    """Return what was deleted, claimed and found, what to do next, and what is left open."""
    open_lines = _open(result)
    return (
        Passage(heading="What was deleted", text=_deleted(result)),
        Passage(heading="What was claimed", text=_claimed(result)),
        Passage(heading="What was found", text=_found(result)),
        Passage(heading="What to do next", text=_next(result)),
        Passage(heading="What it does not show", text=" ".join(open_lines), lines=open_lines),
    )


def method(result: AuditResult) -> tuple[Passage, ...]:
    """Return what was tested, at which level, and how to repeat it."""
    return (
        Passage(heading="What was tested", text=_tested(result)),
        Passage(heading="At which level", text=_level(result)),
        Passage(heading="Who can repeat it, and how", text=_repeated(result)),
    )


def annex(result: AuditResult) -> TableView | None:
    """Return every deletion with all of its records, where the summary cannot name them all; else None."""
    forget = result.plan.forget
    is_short = len(forget) <= MAX_LISTED and all(len(records) <= MAX_NAMED for records in forget)
    if is_short or result.redaction is not None or result.data.is_given:
        return None
    labels = result.plan.labels or ("",) * len(forget)
    return TableView(
        title="Annex: what was deleted",
        caption="",
        columns=("deletion", "name", "records"),
        rows=tuple(
            (str(i + 1), label or NONE, ", ".join(map(str, records)))
            for i, (records, label) in enumerate(zip(forget, labels, strict=False))
        ),
        numeric=(True, False, False),
    )


def _deleted(result: AuditResult) -> str:
    if result.data.is_given:
        return (
            "Not known to the audit. It was given the output of models that were made elsewhere: of models from which "
            "a deletion was made, and of models that never had what was deleted."
        )
    n = len(result.plan.forget)
    how = f"{counted(n, 'deletion')}{', one at a time,' if n > 1 else ''} from {plan_words.data_named(result.data)}"
    if result.redaction is not None:
        return f"{how}. Which records these are is withheld."
    labels = result.plan.labels or ("",) * n
    named = [phrases.subject(forget, label) for forget, label in zip(result.plan.forget, labels, strict=False)]
    return f"{how}: {_listed(named)}."


def _claimed(result: AuditResult) -> str:
    about: dict[str, list[str]] = {}
    for f in result.findings:
        about.setdefault(_claim(f, result), []).append(phrases.subject(f.forget, f.label))
    stated = list(about) if len(about) == 1 else [f"of {_listed(who)}, {text}" for text, who in about.items()]
    used = {finding.claim.reference for finding in result.findings}
    worlds = listed(f"“{text}”" for reference, text in words.REFERENCES.items() if reference in used)
    return (
        "That an unlearned model can hardly be told from one that never had the record. In numbers: "
        f"{_listed(stated, separator='; ')}. Unlearned models are compared with {worlds}."
    )


def _claim(finding: Finding, result: AuditResult) -> str:
    if result.redaction is not None:
        return withheld.claim(finding, result)
    source = words.PROVENANCE[finding.claim.provenance]
    return f"{phrases.claim_text(finding.claim, result.plan.delta)}, {source}"


def _tested(result: AuditResult) -> str:
    record = result.plan
    attacks = f"{counted(len(record.attacks), 'attack')} ({listed(record.attacks)})"
    if record.retrained is not None:
        made = (
            f"{record.trials:,} models that were filed as unlearned, and {record.retrained.trials:,} as retrained, "
            "were given"
        )
        share = ", all of them counted" if isinstance(record.counting, DeclaredThreshold) else ""
        text = f"{made}{share}. {attacks} tried to tell the two kinds apart."
    else:
        most = "at most " if record.counting.kind == "sequential" else ""
        text = (
            f"For each deletion, {most}{record.trials:,} models were unlearned and as many retrained by "
            f"{result.mechanism} (sampler: {result.sampler}). {attacks} tried to tell the two kinds apart; what is "
            f"counted are {most}{record.n_counted:,} models of each kind that no attack had learned from."
        )
    return f"{text} {_controls(result)}"


def _controls(result: AuditResult) -> str:
    applied = [control for control in result.controls if control.applicable and control.was_tried]
    untried = sorted({phrases.CONTROLS[control.name] for control in result.controls if not control.was_tried})
    unexpected = sorted({phrases.CONTROLS[c.name] for c in applied if not c.as_expected and c.name != "neglected"})
    n_unseen = sum(c.name == "neglected" and not c.as_expected for c in applied)
    text = f"The audit checked itself with {counted(len(applied), 'control')}"
    text += f"; not as expected: {listed(unexpected)}." if unexpected else "; its sampling behaved as it must."
    if n_unseen:
        text += f" A deletion that was ignored on purpose was not seen in {n_unseen} of them."
    if untried:
        text += f" Not tried, for no attack could be scored: {listed(untried)}."
    return text


def _found(result: AuditResult) -> str:
    text = words.headline(result.findings)
    refuted = [phrases.subject(f.forget, f.label) for f in result.findings if f.verdict is Verdict.REFUTED]
    if refuted and len(refuted) < len(result.findings):
        text += f" Refuted: {_listed(dict.fromkeys(refuted))}."
    text += _undecided(result)
    return text if result.redaction is not None else text + _strength(result)


def _undecided(result: AuditResult) -> str:
    """Return why nothing was decided, each reason once, with the numbers of one record where they are those of all."""
    about: dict[Reason | None, list[Finding]] = {}
    for finding in result.findings:
        if finding.verdict is Verdict.INCONCLUSIVE:
            about.setdefault(finding.reason, []).append(finding)
    text = ""
    for reason, findings in about.items():
        told = {why(finding, result.controls) for finding in findings}
        said = told.pop() if len(told) == 1 or reason is None else f"{phrases.WHY[reason]}."
        named = _listed(dict.fromkeys(phrases.subject(f.forget, f.label) for f in findings))
        text += f" Inconclusive{f' ({named})' if len(findings) < len(result.findings) else ''}: {said}"
    return text


def _strength(result: AuditResult) -> str:
    """Return how strong a refutation is, and what was to be seen where nothing was refuted."""
    quoted = [(f.verdict, f.quoted) for f in result.findings if f.quoted is not None]
    shown = [s.bound.value for verdict, s in quoted if verdict is Verdict.REFUTED]
    detectable = [s.detectable_epsilon for verdict, s in quoted if verdict is Verdict.NOT_REFUTED]
    seen = [epsilon for epsilon in detectable if math.isfinite(epsilon)]
    text = ""
    if shown:
        spread = "" if min(shown) == max(shown) else f", up to {down(max(shown))} by record"
        text += f" Shown where a claim is refuted: ε of at least {down(min(shown))}{spread}, at the δ of its row."
    if seen:
        spread = "" if min(seen) == max(seen) else f" to {up(max(seen))}, by record,"
        where = "Where none is refuted, a" if shown else "A"
        text += f" {where} true ε of {up(min(seen))}{spread} would have been refuted with probability 0.8."
    if len(seen) < len(detectable):
        where = f"Of {counted(len(detectable) - len(seen), 'claim')} no" if seen or shown else "No"
        text += f" {where} true ε can be named that would have been refuted with probability 0.8."
    return text


def _next(result: AuditResult) -> str:
    kinds = {finding.verdict for finding in result.findings}
    steps = []
    if Verdict.REFUTED in kinds:
        steps.append(
            "Do not rely on a refuted claim, and do not report it as met: find what the service does otherwise than "
            "claimed, mend it, and audit what was mended with a seed that was not used before."
        )
    if Verdict.INCONCLUSIVE in kinds:
        steps.append("Where nothing could be decided, the reason stands beside the record: mend that, and audit again.")
    if Verdict.NOT_REFUTED in kinds:
        weak = any(f.is_weak for f in result.findings if f.verdict is Verdict.NOT_REFUTED)
        steps.append(
            "File a claim that was not refuted together with the smallest ε that would have been seen, and audit again "
            "when the model, the data or the code changes."
        )
        if weak:
            steps.append("A weak one needs more trials before it says much: “unlearn-audit power” says how many.")
    return " ".join(steps)


def _level(result: AuditResult) -> str:
    significance, n = up(result.plan.significance), len(result.family.members)
    fixed = "It was fixed before the first model was looked at."
    if result.data.is_given:
        fixed = "It has to be chosen before anybody looks at the models; the audit cannot tell whether it was."
    tests = f"{all_of(n, 'test')} of this audit"
    shared = f"for {tests}" if n == 1 else f"shared by {tests} together"
    return (
        f"Significance {significance}, {shared}: if every claim were true, the audit would call some claim refuted "
        f"with probability at most {significance}. {fixed}"
    )


def _open(result: AuditResult) -> tuple[str, ...]:
    """Return five sentences, each short enough for a line of its own beside the picture, on paper too."""
    return (
        "That a claim is true: an audit only finds evidence against it.",
        "Better attacks: “not refuted” is about these alone.",
        "Other models than those given." if result.data.is_given else "Other records, other data, another sampler.",
        "Earlier models, or what training itself gave away.",
        "Copies, backups, logs, other systems that hold the data.",
    )


def _repeated(result: AuditResult) -> str:
    versions = [f"{name} {version}" for name, version in sorted(result.environment.libraries.items())]
    kept = f"seed {result.plan.seed}, Python {result.environment.python}, {listed(versions)}"
    what = "both files" if result.data.is_given else "the data"
    who = f"Anyone who has {what} (SHA-256 {result.data.sha256})"
    command = result.environment.command
    if result.redaction is not None:
        return f"{who} and the full report, which names the records and the command. Needed besides: {kept}."
    if command is None:
        who += ", and the program that called the audit; no command was recorded"
        return f"{who}. Needed besides: {kept}."
    plan = "" if result.data.is_given else " and the files that the command names"
    return f"{who}{plan}, with the command “{plain(command)}”. Needed besides: {kept}; {SAME}"


def _listed(items: Iterable[str], separator: str = ", ") -> str:
    shown = list(items)
    if len(shown) > MAX_LISTED:
        return separator.join([*shown[:MAX_LISTED], f"and {len(shown) - MAX_LISTED} more, in the annex"])
    return separator.join(shown) if separator != ", " else listed(shown)
