"""Errors of the auditor, and exit codes. "Could not decide" is not "failed" is not "refuted"."""

from __future__ import annotations

from enum import IntEnum

from mechanisms.errors import UnlearnAuditError


class ExitCode(IntEnum):
    """Exit codes of the command line; INTERNAL > REFUTED > INCONCLUSIVE > OK when several apply.

    Those of a signal are 128 and its number.
    """

    OK = 0
    REFUTED = 1
    USAGE = 2
    INCONCLUSIVE = 3
    INTERNAL = 4
    HANGUP = 129
    INTERRUPTED = 130
    TERMINATED = 143


class ClaimRefutedError(UnlearnAuditError, AssertionError):
    """A claim was refuted at the family's significance."""


class RegressionError(UnlearnAuditError, AssertionError):
    """A comparison showed that a candidate is worse than its baseline by more than the margin."""


class InconclusiveError(UnlearnAuditError):
    """A claim could not be decided."""


class SchemaError(UnlearnAuditError, ValueError):
    """A JSON text is not of the expected schema."""


class PlanError(UnlearnAuditError, ValueError):
    """A plan file is unusable; the text lists every problem with its path and fix."""


class TrialError(UnlearnAuditError):
    """A mechanism or attack raised, or returned something unusable, while trials were drawn or scored."""
