"""What the pytest plugin does once a test audits a claim; ``unlearn_audit_pytest`` is what pytest loads.

An edge: it runs audits, and writes reports of a session.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from attacks.protocol import Attack
from audit.plan.audit_plan import CertifiedClaim
from audit.records.accounts.failure_text import one_line
from audit.records.result import AuditCollection, AuditResult, Table
from audit.records.verdict import Verdict
from audit.records.words.rounding import total, up
from audit.running.binding import default_plan
from audit.running.runner import run
from audit.trials.engines import Engine
from mechanisms.claim import Claim
from mechanisms.errors import InvalidInputError, UnlearnAuditError
from mechanisms.protocol import Mechanism
from mechanisms.reading.records import RecordSet

if TYPE_CHECKING:
    from reports.audits.junit import Case


@dataclass(frozen=True, kw_only=True)
class AuditClaim:
    """The ``audit_claim`` fixture: call it once, and the test fails when the claim is refuted.

    Parameters
    ----------
    test, command
        The test's name in reports, and how to run it again.
    level
        Probability of refuting the claim if it holds: the significance of the whole audit.
    seed
        Of the audit.
    skip_inconclusive
        Skip the test when the claim could not be decided; otherwise it fails.
    record
        Filled with what was found, as plain data.
    """

    test: str
    level: float
    seed: int
    command: str
    skip_inconclusive: bool
    record: dict[str, Any] = field(repr=False)

    def __call__(
        self,
        mechanism: Mechanism,
        data: RecordSet,
        forget: int | Sequence[int],
        claim: Claim | CertifiedClaim,
        *,
        trials: int | None = None,
        attacks: Sequence[Attack | str] | None = None,
        stop_when_decided: bool = False,
        engine: Engine | None = None,
    ) -> AuditResult:
        """Audit the claim at the test's level and seed; return the result unless the claim is refuted.

        Parameters
        ----------
        mechanism, data, forget, claim, trials, attacks, stop_when_decided, engine
            As for :func:`audit.run`.

        Returns
        -------
        AuditResult
            Whose verdict is NOT_REFUTED. That is no proof of the claim: assert on what the audit could have seen
            (``result.findings[0].sandwiches[0].detectable_epsilon``) where that matters.

        Raises
        ------
        InvalidInputError
            On a second call in one test, and as :func:`audit.run` does.
        TrialError
            When the mechanism fails.
        """
        if self.record:
            raise InvalidInputError(
                field="audit_claim",
                expected="called once in a test",
                got="a second call",
                fix="write one test for each claim, or use pytest.mark.parametrize: each claim has its own level",
            )
        started = time.monotonic()
        self.record.update(
            test=self.test,
            level=self.level,
            seed=self.seed,
            command=self.command,
            verdict="error",
            line="ERROR",
            text="the audit did not end",
            result=None,
            seconds=0.0,
        )
        try:
            plan = default_plan(mechanism, data, forget, claim, trials, attacks, self.seed)
            result = run(
                mechanism,
                data,
                replace(plan, significance=self.level),
                stop_when_decided=stop_when_decided,
                engine=engine,
                title=self.test,
                command=self.command,
            )
        except Exception as error:
            self.record["text"] = f"{type(error).__name__}: {error}"
            raise
        finally:
            self.record["seconds"] = time.monotonic() - started
        text = result.describe()
        line = one_line(result.findings[0], result.family.significance)
        self.record.update(verdict=result.verdict.value, line=line, text=text, result=result.to_json())
        if result.verdict is Verdict.INCONCLUSIVE and self.skip_inconclusive:
            pytest.skip(text)
        if result.verdict is not Verdict.NOT_REFUTED:
            pytest.fail(text, pytrace=False)
        return result


def write_report(records: Sequence[Mapping[str, Any]], folder: Path, *, budget: float, seed: int) -> tuple[Path, ...]:
    """Write ``report.html``, ``report.json`` and ``junit.xml`` of a session's claims; return their paths.

    Parameters
    ----------
    records
        At least one, as :class:`AuditClaim` fills them.
    folder
        Created when it is missing; reports that lie there are replaced. The page names the results that cannot be read.
    budget, seed
        Of the session.
    """
    import reports
    from reports.audits import junit
    from reports.writing import write_texts

    results, unread = _results(records)
    levels = total(record["level"] for record in records)
    collection = AuditCollection(
        title="Claims of a test session",
        introduction=(
            f"Each of {len(records)} tests audited one claim at a level of its own. The levels add up to {up(levels)} "
            f"(the session's budget is {budget:g}): were every claim true, the session would refute any of them with "
            f"at most that probability. Base seed {seed}." + _told(unread)
        ),
        results=results,
        tables=(_ledger(records, unread),),
    )
    texts = {"junit.xml": junit.render([_case(record) for record in records], name="claims of unlearning")}
    return (*reports.write(collection, folder, formats=("html", "json")), *write_texts(folder, texts))


def _results(records: Sequence[Mapping[str, Any]]) -> tuple[tuple[AuditResult, ...], dict[str, str]]:
    """Return the results of all records that can be read, and by test why one cannot."""
    found, unread = [], {}
    for record in records:
        if record["result"] is None:
            continue
        try:
            found.append(AuditResult.from_json(record["result"]))
        except UnlearnAuditError as error:
            unread[record["test"]] = str(error)
    return tuple(found), unread


def _told(unread: Mapping[str, str]) -> str:
    """Return which results are not on the page, and why."""
    told = "; ".join(f"{test}: {why}" for test, why in unread.items())
    return f" Could not be read, and not shown in full ({len(unread)} of these tests): {told}" if unread else ""


def _case(record: Mapping[str, Any]) -> Case:
    from reports.audits.junit import Case

    group, _, name = record["test"].rpartition("::")
    return Case(
        group=group,
        name=name,
        outcome=record["verdict"],
        message=record["text"].splitlines()[0] if record["verdict"] == "error" else record["line"],
        text=record["text"],
        seconds=record["seconds"],
    )


def _ledger(records: Sequence[Mapping[str, Any]], unread: Mapping[str, str]) -> Table:
    return Table(
        title="Tests and levels",
        caption="Every claim that was collected and audited. An error says nothing of a claim.",
        columns=("test", "outcome", "level", "seed", "run it again"),
        rows=tuple(
            (
                record["test"],
                record["verdict"].replace("_", " ") + (" (could not be read)" if record["test"] in unread else ""),
                f"{record['level']:g}",
                str(record["seed"]),
                record["command"],
            )
            for record in records
        ),
    )
