"""What an audit is filed for: a request, its dates, models and people, as whoever files it states them."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from datetime import date

from mechanisms.claim import JSON_CONFIG
from mechanisms.errors import require

LONGEST = 200
_DIGEST = re.compile(r"[0-9a-f]{64}")
_DATES = ("received", "decided", "erased", "retain_until")


@dataclass(frozen=True, kw_only=True)
class FiledModel:
    """A model of a case: its name, and the SHA-256 of the file that holds it."""

    __pydantic_config__ = JSON_CONFIG
    name: str | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        _check_text("name", self.name)
        require(
            self.sha256 is None or _DIGEST.fullmatch(self.sha256) is not None,
            "sha256",
            expected="64 digits and small letters a to f",
            got=self.sha256,
            fix="copy what sha256sum prints for the file of the model",
        )


@dataclass(frozen=True, kw_only=True)
class Case:
    """The case that an audit belongs to. All of it is stated by a person: the audit checks the dates' order, no more.

    Parameters
    ----------
    request_id
        The request for deletion, as the register names it.
    received, decided, erased
        When the request came in, was decided, and was carried out.
    controller, system, version
        Who is responsible for which system, and which version of it was audited.
    model_before, model_after
        The models before and after the deletion.
    code_commit
        The version of the code that deletes.
    operator, auditor, reviewer
        Who deleted, who audited, and who looked at the audit.
    retain_until
        Until when this file is to be kept.
    withheld
        Names of what was stated and is withheld (:func:`reports.redact`).
    """

    __pydantic_config__ = JSON_CONFIG
    request_id: str | None = None
    received: date | None = None
    decided: date | None = None
    erased: date | None = None
    controller: str | None = None
    system: str | None = None
    version: str | None = None
    model_before: FiledModel | None = None
    model_after: FiledModel | None = None
    code_commit: str | None = None
    operator: str | None = None
    auditor: str | None = None
    reviewer: str | None = None
    retain_until: date | None = None
    withheld: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str):
                _check_text(field.name, value)
        # What is erased before it is decided is odd, but happens; what is decided before it is asked for is a slip.
        _check_order(self, "received", "decided")
        _check_order(self, "received", "erased")
        for name in _DATES[:-1]:
            _check_order(self, name, "retain_until")


def withheld(case: Case) -> Case:
    """Return a case of which the digests of the models are left, and the names of all else that was stated.

    Texts may name anything, and the day of a request is found in a register.

    Parameters
    ----------
    case
        What is withheld already stays so.
    """
    before, after = _unnamed(case.model_before), _unnamed(case.model_after)
    stated = [f.name for f in fields(case) if f.name != "withheld" and getattr(case, f.name) is not None]
    left = {name for name, model in (("model_before", before), ("model_after", after)) if model is not None}
    names = [*case.withheld, *(name for name in stated if name not in left and name not in case.withheld)]
    return replace(Case(model_before=before, model_after=after), withheld=tuple(names))


def _unnamed(model: FiledModel | None) -> FiledModel | None:
    return None if model is None or model.sha256 is None else FiledModel(sha256=model.sha256)


def _check_text(name: str, value: str | None) -> None:
    require(
        value is None or (bool(value.strip()) and len(value) <= LONGEST and value.isprintable()),
        name,
        expected=f"one line of 1 to {LONGEST} characters",
        got=value,
        fix="shorten it, or leave it out",
    )


def _check_order(case: Case, first: str, then: str) -> None:
    early, late = getattr(case, first), getattr(case, then)
    require(
        early is None or late is None or early <= late,
        then,
        expected=f"{early} ({first}) or later",
        got=str(late),
        fix="correct one of the two dates",
    )
