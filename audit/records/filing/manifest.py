"""What belongs to a folder of results, file by file with its SHA-256: what is signed when a folder is filed."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import Literal

from audit.errors import SchemaError
from audit.records import json_text
from mechanisms.claim import JSON_CONFIG
from mechanisms.errors import InvalidInputError, require

MANIFEST_SCHEMA: Literal["unlearn-audit/manifest/1"] = "unlearn-audit/manifest/1"
NAME = "manifest.json"
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class FiledFile:
    """One file, as it was on disk.

    Parameters
    ----------
    path
        From the folder of the manifest, with slashes; "../" leads out of it.
    role
        "output" of the command; or what it read: "plan", "data", "module", "case", "result", "scores", "models",
        "manifest".
    sha256, size
        Of its bytes; of what was read, before it was.
    changed
        It had other bytes when the command ended: what was read is not what lies there.
    """

    __pydantic_config__ = JSON_CONFIG
    path: str
    role: str
    sha256: str
    size: int
    changed: bool = False

    def __post_init__(self) -> None:
        normal = bool(self.path) and posixpath.normpath(self.path) == self.path and "\0" not in self.path
        fix = "take the manifest that was written with the files"
        require(normal, "path", expected="one path in its shortest form", got=self.path, fix=fix)
        digits = _DIGEST.fullmatch(self.sha256) is not None
        require(digits, f"sha256 of {self.path}", expected="64 hexadecimal digits", got=self.sha256, fix=fix)
        require(self.size >= 0, f"size of {self.path}", expected="at least 0", got=self.size, fix=fix)

    @property
    def is_inside(self) -> bool:
        """Whether it lies in the folder."""
        return not (posixpath.isabs(self.path) or self.path == ".." or self.path.startswith("../"))


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The files that a command read and wrote. It is no signature: whoever can change them can change it too.

    Parameters
    ----------
    made, made_by
        When by the clock of that machine, and by which version.
    files
        What was written, and what was read.
    withheld
        How many files are left out, because records were withheld: a digest of a short file tells what is in it.
    schema
        Of the JSON; published as ``reports/schema/manifest-1.json``.
    """

    __pydantic_config__ = JSON_CONFIG
    made: str
    made_by: str
    files: tuple[FiledFile, ...]
    withheld: int = 0
    schema: Literal["unlearn-audit/manifest/1"] = MANIFEST_SCHEMA

    def __post_init__(self) -> None:
        paths = [file.path for file in self.files]
        fix = "take the manifest that was written with the files"
        require(len(set(paths)) == len(paths), "files", expected="each file once", got=sorted(paths), fix=fix)
        has_output = any(file.is_inside and file.role == "output" for file in self.files)
        require(has_output, "files", expected="at least one output in the folder", got=sorted(paths), fix=fix)

    def to_json(self) -> str:
        """Return the manifest as JSON text."""
        return json_text.dump(self)

    @staticmethod
    def from_json(text: str) -> Manifest:
        """Return the manifest in a JSON text.

        Raises
        ------
        SchemaError
            When it is none.
        """
        try:
            return json_text.load(text, Manifest, schemas=(MANIFEST_SCHEMA,))
        except InvalidInputError as error:
            raise SchemaError(str(error)) from None
