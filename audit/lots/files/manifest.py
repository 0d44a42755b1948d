"""What a prepared experiment says of itself, in each of its three folders: draw, commitment, what is never given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from audit.errors import SchemaError
from audit.lots.result import DrawKind
from audit.plan.ranges import check
from audit.records import json_text
from mechanisms.claim import JSON_CONFIG
from mechanisms.errors import InvalidInputError

MANIFEST_SCHEMA: Literal["unlearn-audit/lots-manifest/1"] = "unlearn-audit/lots-manifest/1"
NAME = "manifest.json"
# The only experiment whose law without the drawn records is one law for all draws.
NEVER_GIVEN = "never_given"
DRAWN = "inserted_then_deleted"
Role = Literal["service", "scoring", "auditor"]
TASKS: Mapping[str, str] = {
    "service": "In each run train on your data and run_<j>/insert, then serve the request to delete run_<j>/delete. "
    "The other candidates are never given to training. Fresh randomness for every run.",
    "scoring": "Score every candidate for each released model: the higher, the more the release looks as if the "
    "candidate had been in the data. Keep the order of the candidates. Do not look into service/ or auditor/.",
    "auditor": "Keep this folder to yourself until the scores are written down.",
}


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What each folder says of the experiment.

    Parameters
    ----------
    role, task
        Whose folder it is, and what to do with it.
    draw, k, pairs
        How the coins were drawn.
    candidates, runs
        Sizes.
    drawn, others
        What happens to the candidates that were drawn, and to the others.
    pool, pool_sha256
        Name of the file of all candidates in ``scoring/``, and its digest.
    commitment, salt_sha256
        Of coins and salt, and of the salt alone.
    rows
        A digest of each row of the pool; in the auditor's folder alone.
    """

    __pydantic_config__ = JSON_CONFIG
    role: Role
    task: str
    draw: DrawKind
    candidates: int
    runs: int
    drawn: str
    others: str
    pool: str
    pool_sha256: str
    commitment: str
    salt_sha256: str
    k: int | None = None
    pairs: tuple[tuple[int, int], ...] | None = None
    rows: tuple[str, ...] = ()
    schema: Literal["unlearn-audit/lots-manifest/1"] = MANIFEST_SCHEMA

    def __post_init__(self) -> None:
        check("candidates", self.candidates, low=2)
        check("runs", self.runs, low=1)


def read_manifest(folder: Path, role: Role) -> Manifest:
    """Return the manifest of one of the three folders.

    Raises
    ------
    InvalidInputError
        When it is missing, damaged, another folder's, or declares another experiment.
    """
    path = folder / role / NAME
    try:
        found = json_text.load(path.read_text(encoding="utf-8-sig"), Manifest, schemas=(MANIFEST_SCHEMA,))
    except (OSError, UnicodeDecodeError, SchemaError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InvalidInputError(
            field=str(path),
            expected="what unlearn-audit lots prepare wrote",
            got=said,
            fix="give the folder that was prepared, with scoring/ and auditor/ in it",
        ) from None
    if found.role != role:
        raise InvalidInputError(field=f"{path}: role", expected=role, got=found.role, fix="put the folders back")
    for field, expected in (("drawn", DRAWN), ("others", NEVER_GIVEN)):
        value = getattr(found, field)
        if value != expected:
            raise InvalidInputError(
                field=f"{path}: {field}",
                expected=expected,
                got=value,
                fix="no other experiment can be judged: where all candidates are planted and a secret half is deleted, "
                "what perfect deletion leaves depends on the coins, and an ignored request leaves what does not",
            )
    return found


def same_experiment(first: Manifest, other: Manifest) -> None:
    """Refuse two manifests that are not of one experiment.

    Raises
    ------
    InvalidInputError
        Naming what differs.
    """
    for field in fields(Manifest):
        if field.name in ("role", "task", "rows"):
            continue
        mine, theirs = getattr(first, field.name), getattr(other, field.name)
        if mine != theirs:
            raise InvalidInputError(
                field=f"{other.role}/{NAME}: {field.name}",
                expected=f"{mine}, as in {first.role}/{NAME}",
                got=theirs,
                fix="put back the folders that were prepared together",
            )
