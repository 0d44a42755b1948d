"""The attacks of an audit as files: fitted once, read by every shard that counts. Numbers and JSON, never code.

In the flow: between the two phases. One file a forget set, and an index that is written last: until then there is none.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from attacks.written import read, written
from audit.errors import SchemaError
from audit.gathering.at_once import Fitted
from audit.gathering.contrast import Key, Kind
from audit.gathering.selection import PreparedAttack
from audit.plan.audit_plan import AuditPlan
from audit.plan.bound_record import BoundRecord
from audit.records.json_text import dump, load
from audit.running.shards.origin import Origin
from audit.trials.failed_chunks import FailedChunk
from audit.trials.identity.of_runs import Identity, canonical, differences
from mechanisms.errors import InvalidInputError, UnlearnAuditError
from mechanisms.reading.numpy_files import read_arrays

Array = NDArray[np.float64]
FOLDER, INDEX, TEXT = "fitted", "fitted.json", "text"
SCHEMA = "unlearn-audit/fitted/1"
# An archive says when each of its members was changed: never, so that one fit is one file.
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
# What is read of one file is what it holds: archives are not packed.
_LARGEST = 2**40


@dataclass(frozen=True, kw_only=True, eq=False)
class Fits:
    """The fitted attacks of an audit.

    Parameters
    ----------
    folder
        That holds them and the shards.
    identity
        Of the audit.
    digests
        SHA-256 of the file of each forget set.
    origins
        By the names of the shards that they were fitted on, and of the fit itself.
    """

    folder: Path
    identity: Identity
    digests: tuple[str, ...]
    origins: Mapping[str, Origin]

    @property
    def digest(self) -> str:
        """SHA-256 of all of them together."""
        return hashlib.sha256("".join(self.digests).encode()).hexdigest()

    def of(self, index: int, bound: BoundRecord, plan: AuditPlan) -> Fitted:
        """Return the attacks of one forget set of a plan.

        Raises
        ------
        InvalidInputError
            When their file is missing, is not what was written, or holds other attacks than the plan's.
        """
        path = self.folder / FOLDER / _name(index)
        if index >= len(self.digests) or _digest(path) != self.digests[index]:
            raise _damaged(path, "a file that is missing or not what was written")
        found = _read(path, bound)
        names, keys = [attack.name for attack in plan.attackers], {(kind, 0) for kind in Kind}
        whole = all([*each] == names for each in found.prepared.values())
        if not (whole and {*found.prepared} == keys and {*found.failed} == {*keys, None}):
            raise _damaged(path, "attacks of another plan")
        return found

    def is_whole(self) -> bool:
        """Return whether every file is what was written."""
        return all(_digest(self.folder / FOLDER / _name(i)) == digest for i, digest in enumerate(self.digests))


def fits_in(folder: Path, identity: Identity | None = None) -> Fits | None:
    """Return the fitted attacks in a folder; ``None`` where nothing was fitted yet.

    Raises
    ------
    InvalidInputError
        When the index is damaged, or of another audit than the one that is named.
    """
    path = folder / FOLDER / INDEX
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from None
    found = _index(folder, path, text)
    said = "" if identity is None else differences(found.identity, identity)
    if said:
        raise InvalidInputError(
            field=f"the fitted attacks in {folder}",
            expected="of this audit",
            got=f"those of another one ({said})",
            fix="choose another folder for each audit",
        )
    return found


def required_fits(folder: Path, identity: Identity | None = None) -> Fits:
    """Return the fitted attacks in a folder, where there have to be some.

    Raises
    ------
    InvalidInputError
        As :func:`fits_in`, and when nothing was fitted yet.
    """
    found = fits_in(folder, identity)
    if found is None:
        raise InvalidInputError(
            field=f"{folder}",
            expected="a folder with attacks that were fitted",
            got="one without",
            fix="fit them by `unlearn-audit collect DIR --fit`, when all shards of phase fit are drawn",
        )
    return found


def write_fits(folder: Path, identity: Identity, fitted: Iterable[Fitted], origins: Mapping[str, Origin]) -> Fits:
    """Write the attacks of all forget sets, one at a time, and then the index."""
    (folder / FOLDER).mkdir(mode=0o700, exist_ok=True)
    digests = []
    for index, one in enumerate(fitted):
        content = _packed(one)
        _write(folder / FOLDER / _name(index), content)
        digests.append(hashlib.sha256(content).hexdigest())
    found = Fits(folder=folder, identity=identity, digests=tuple(digests), origins=origins)
    index_of = {
        "schema": SCHEMA,
        "identity": json.loads(canonical(identity)),
        "digests": digests,
        "origins": {name: json.loads(origin.to_json()) for name, origin in origins.items()},
    }
    _write(folder / FOLDER / INDEX, json.dumps(index_of, indent=1, ensure_ascii=False).encode())
    return found


def _index(folder: Path, path: Path, text: str) -> Fits:
    try:
        said = json.loads(text)
        if said["schema"] != SCHEMA:
            raise _damaged(path, f"one of schema {said['schema']!r}, not {SCHEMA}")
        digests = said["digests"]
        known = isinstance(said["identity"], dict) and isinstance(digests, list) and said["origins"]
        if not known or not all(isinstance(each, str) for each in digests):
            raise _damaged(path, "an index of another form")
        return Fits(
            folder=folder,
            identity=said["identity"],
            digests=tuple(digests),
            origins={str(name): Origin.from_json(json.dumps(each)) for name, each in said["origins"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SchemaError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise _damaged(path, f"{type(error).__name__}: {error}") from None


def _packed(fitted: Fitted) -> bytes:
    """Return the attacks of a forget set as the bytes of an ``.npz`` file; equal for equal attacks."""
    arrays: list[Array] = []
    said = {
        "contrasts": [
            {
                "kind": int(kind),
                "service": service,
                "attacks": [
                    {
                        "name": attack.name,
                        "failure": attack.failure,
                        "fitted": None if attack.fitted is None else written(attack.fitted, arrays),
                        "scores": [_kept(attack.unlearned, arrays), _kept(attack.retrained, arrays)],
                    }
                    for attack in prepared.values()
                ],
            }
            for (kind, service), prepared in fitted.prepared.items()
        ],
        "failed": [
            [None if key is None else [int(key[0]), key[1]], [json.loads(dump(chunk)) for chunk in chunks]]
            for key, chunks in fitted.failed.items()
        ],
    }
    text = np.frombuffer(json.dumps(said).encode(), dtype=np.uint8)
    members: dict[str, NDArray[Any]] = {TEXT: text, **{str(i): array for i, array in enumerate(arrays)}}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in members.items():
            member = io.BytesIO()
            npy_format.write_array(member, array, version=(1, 0), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", date_time=_LONG_AGO), member.getvalue())
    return file.getvalue()


def _kept(array: Array, arrays: list[Array]) -> int:
    arrays.append(array)
    return len(arrays) - 1


def _read(path: Path, bound: BoundRecord) -> Fitted:
    found = read_arrays(path, largest_bytes=_LARGEST)
    try:
        said = json.loads(found.pop(TEXT).tobytes())
        arrays: list[Any] = [found[str(i)] for i in range(len(found))]
        prepared = {
            _key(each["kind"], each["service"]): {
                str(attack["name"]): _attack(attack, arrays, bound) for attack in each["attacks"]
            }
            for each in said["contrasts"]
        }
        failed: dict[Key | None, list[FailedChunk]] = {
            None if key is None else _key(*key): [_failed(chunk) for chunk in chunks] for key, chunks in said["failed"]
        }
    except UnlearnAuditError as error:
        raise _damaged(path, str(error)) from None
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from None
    return Fitted(prepared=prepared, failed=failed)


def _attack(said: Mapping[str, Any], arrays: Sequence[Array], bound: BoundRecord) -> PreparedAttack:
    scores = [np.asarray(arrays[number], dtype=np.float64).reshape(-1) for number in said["scores"]]
    failure = None if said["failure"] is None else str(said["failure"])
    return PreparedAttack(
        name=str(said["name"]),
        fitted=None if failure is not None else read(said["fitted"], arrays, bound.context),
        unlearned=scores[0],
        retrained=scores[1],
        failure=failure,
    )


def _failed(said: Any) -> FailedChunk:
    return load(json.dumps(said), FailedChunk, schemas=("a failed chunk",))


def _key(kind: int, service: int) -> Key:
    return Kind(kind), int(service)


def _name(index: int) -> str:
    return f"set-{index}.npz"


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _write(path: Path, content: bytes) -> None:
    """Write a file that is there only when it is whole, and that only its owner reads: it names audited records."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    descriptor = os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def _damaged(path: Path, got: str) -> InvalidInputError:
    return InvalidInputError(
        field=str(path),
        expected="fitted attacks as they were written",
        got=got,
        fix="copy them again from where they were fitted, or delete them and fit by `unlearn-audit collect DIR --fit`",
    )
