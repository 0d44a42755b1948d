"""What a page of audits does not show."""

from __future__ import annotations

from collections.abc import Sequence

from audit.records.result import AuditResult
from reports.audits import plan_words
from reports.audits.words import REFERENCES, SENSITIVE
from reports.page.numbers import counted, listed
from reports.page.parts import Passage


def passages(results: Sequence[AuditResult], is_collection: bool) -> tuple[Passage, ...]:
    """Return what the page does not show."""
    drawn = [result for result in results if not result.data.is_given]
    found = [
        Passage(
            heading="A lower bound is no proof of safety.",
            text="NOT REFUTED says that these attacks, on these trials, found no contradiction. The true ε may still "
            "exceed the claim: read each NOT REFUTED together with the smallest ε that the audit would have refuted.",
        ),
        Passage(
            heading="Only the last iterate.",
            text="Each trial releases one model, the last one. The claims do not cover the model before the deletion "
            "together with the one after it, nor the training trajectory, and the audit did not look at them.",
        ),
        Passage(heading="Only these attacks.", text=_attacks(results)),
        Passage(heading="Only these records.", text=_records(results)),
        Passage(heading="One reference world.", text=_reference(results)),
        *([Passage(heading="The sampler matters.", text=_sampler(drawn))] if drawn else []),
        *plan_words.given(results),
        *plan_words.certificates([result for result in results if result.redaction is None]),
        *([] if all(result.redaction for result in results) else [SENSITIVE]),
    ]
    if is_collection and len(results) > 1:
        found.append(
            Passage(
                heading="Each audit is a family of its own.",
                text="The significance holds within one audit. It was not divided among the audits of this page: among "
                "many audits of true claims, a few may refute by chance.",
            )
        )
    return tuple(found)


def _attacks(results: Sequence[AuditResult]) -> str:
    names = sorted({name for result in results for name in result.plan.attacks})
    return f"{counted(len(names), 'attack')}: {listed(names)}. A better attack may show a larger ε."


def _records(results: Sequence[AuditResult]) -> str:
    groups = {(result.data.sha256, forget) for result in results for forget in result.plan.forget}
    data = listed(sorted({plan_words.data_named(result.data) for result in results}))
    deletions = counted(len(groups), "deletion")
    return f"Audited: {deletions} from {data}. Other records have other ε; the audit says nothing of them."


def _reference(results: Sequence[AuditResult]) -> str:
    used = {finding.claim.reference for result in results for finding in result.findings}
    named = listed(f"“{text}”" for reference, text in REFERENCES.items() if reference in used)
    return f"Unlearned models are compared with {named}. A claim about another reference world is another claim."


def _sampler(results: Sequence[AuditResult]) -> str:
    used = sorted({result.sampler for result in results})
    text = f"Releases were drawn by {listed(f'“{name}”' for name in used)}. "
    if "closed_form" in used:
        text += (
            "The closed_form sampler draws from the very law that the certificate is computed from, so it cannot find "
            "an error in that law; only stepwise, which runs every training step, tests the laws."
        )
    elif "stepwise" in used:
        text += (
            "The stepwise sampler runs every training step and shares no code with the laws that certificates are "
            "computed from; a closed_form sampler would draw from those very laws and could not find an error in them."
        )
    else:
        text += (
            "The audit is about what this sampler releases; whether your production code releases the same, it cannot "
            "tell."
        )
    return text
