"""How a plan's numbers are worded: trials, counting, and what does not apply where rows were given and not drawn."""

from __future__ import annotations

from collections.abc import Sequence

from audit.plan.split import Sequential
from audit.records.ledger import DataRecord, DeclaredThreshold, PlanRecord
from audit.records.result import AuditResult
from mechanisms.protocol import Access
from reports.page.facts import UNKNOWN
from reports.page.numbers import counted, listed, nearest
from reports.page.parts import Passage

NOT_DRAWN = "not applicable: rows were given, nothing was drawn"


def access(record: PlanRecord) -> str:
    """Return what attackers saw of a model, in the words of a reader."""
    if record.access is None:
        return UNKNOWN
    seen = {
        Access.WHITE_BOX: "the model's parameters",
        Access.BLACK_BOX: "the model's answers to probe records",
        Access.TRANSCRIPT: "the models before and after the deletion",
    }
    return f"{seen[record.access]} ({record.access.value.replace('_', ' ')})"


def trials(record: PlanRecord) -> str:
    """Return how many trials of each world there are, fit and count."""
    own = f"{record.trials:,} ({record.n_fit:,} fit, {record.n_counted:,} counted)"
    if record.retrained is None:
        return own
    other = record.retrained
    return f"{own} unlearned, {other.trials:,} ({other.n_fit:,} fit, {other.n_counted:,} counted) retrained"


def replay(record: PlanRecord) -> str:
    """Return how alike two draws of one random stream had to be."""
    if record.replay == "off":
        return "not asked (off)"
    return "equal" if record.replay == "exact" else f"alike to {record.replay} of the largest number"


def trainings(record: PlanRecord) -> str:
    """Return how many models the trials and controls train, "" where none is known to be."""
    found = record.trainings
    if found is None:
        return ""
    most = "at most " if isinstance(record.counting, Sequential) else ""
    shared = ", which all forget sets share" if record.share_learned else ""
    return (
        f"{most}{found.total:,}: {found.all_records:,} on all records{shared}, {found.retained:,} on what is retained"
    )


def control_trials(record: PlanRecord) -> str:
    """Return how many trials of a world each control has."""
    if record.retrained is None:
        return f"{record.control_trials:,}"
    return f"{record.retrained.trials // 2:,}: halves of the retrained rows"


def counting(record: PlanRecord) -> str:
    """Return which trials count."""
    rule = record.counting
    if isinstance(rule, DeclaredThreshold):
        return f"threshold {nearest(rule.threshold)}, declared in advance: every trial counts"
    if isinstance(rule, Sequential):
        return f"{rule.kind}, {rule.first_fit:,} trials fit first"
    shuffled = ", rows chosen by a seeded shuffle" if record.retrained else ""
    return f"{rule.kind}, fit fraction {nearest(rule.fit_fraction)}{shuffled}"


def chunk_size(record: PlanRecord) -> str:
    """Return how many trials are drawn together."""
    return NOT_DRAWN if record.retrained else f"{record.chunk_size:,}"


def data_named(record: DataRecord) -> str:
    """Return "digits (1,500 records)", or what was given instead."""
    if record.n_records is None:
        # A redacted record is named after its kind, "given scores".
        return record.name if record.name == f"given {record.kind}" else f"{record.kind} given as {record.name}"
    return f"{record.name} ({counted(record.n_records, 'record')})"


def given(results: Sequence[AuditResult]) -> tuple[Passage, ...]:
    """Return what could not be checked because rows were given and not drawn; empty when none were."""
    names = sorted({result.data.name for result in results if result.data.is_given})
    if not names:
        return ()
    return (
        Passage(
            heading="Nothing could be drawn again.",
            text=f"Rows were given ({listed(names)}). Whether an ignored deletion would have been seen, and whether "
            "the same random stream gives the same model, was not checked: both need new models. That each row is one "
            "independent model of the world it is filed under, and that no failed model was left out, is taken on "
            "trust, but for the checks among the controls.",
        ),
    )


def certificates(results: Sequence[AuditResult]) -> tuple[Passage, ...]:
    """Return what certificates do not say, and that there are none where a mechanism that was run states none."""
    bare = [r for r in results if not r.data.is_given and any(not f.certificates for f in r.findings)]
    passages = []
    if bare:
        names = listed(sorted({result.mechanism for result in bare}))
        passages.append(
            Passage(
                heading="No certificate.",
                text=f"For {names} no certificate was stated, so an audit is all that there is. It can find evidence "
                "against a claim; nothing on this page speaks for one.",
            )
        )
    if len(bare) < len(results):
        passages.append(
            Passage(
                heading="The learning noise may do all of it.",
                text="A certificate hardly below ε without unlearning says nothing of the unlearning: the noise of the "
                "learning alone gives nearly the same ε. Both numbers are printed for each record where they are "
                "known.",
            )
        )
    return tuple(passages)
