"""Layouts with a status for each model and record: memberships as attacks store them, and what was forgotten."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.models.assigning import ModelKind, Status
from audit.models.stacks import Stack
from audit.models.stored import StoredModels, check_labels, floats, opened, record_names, small
from mechanisms.errors import InvalidInputError
from mechanisms.reading.numpy_files import open_array, read_arrays

Raw = NDArray[Any]
NOT_FORGOTTEN = (
    "Membership says what each model learned and not what it was made to forget: models in and out of training are "
    "reference models alone."
)
_WRITE_STATUS = (
    "write status.npy, shape (models, records): 0 absent, 1 forgotten (learned, then unlearned), 2 retained; draw what "
    "is to be trained by unlearn-audit models assign"
)
_EXPERIMENT = re.compile(r"experiment-(\d+)_(\d+)$")
_KINDS = {"reference": "reference", "retrained": "reference", "deletion": "deletion", "unlearned": "deletion"}


def read_outputs(path: Path) -> StoredModels:
    """Return ``outputs.npy`` with ``status.npy`` and ``kinds.npy``."""
    file = path / "outputs.npy"
    outputs, labels = opened(file), small(path, "labels")
    if outputs.ndim not in (2, 3):
        raise _wrong(
            file, "shape (models, records) or (models, records, columns)", f"shape {outputs.shape}", "stack them"
        )
    check_labels(labels, outputs.shape[1:], outputs=str(file), labels_file=str(path / "labels.npy"))
    status, kinds = _status(path, outputs.shape[:2])
    return StoredModels(
        path=path,
        layout="outputs and a status",
        outputs=outputs,
        status=status,
        kinds=kinds,
        labels=labels,
        records=record_names(path),
    )


def read_archive_status(path: Path) -> StoredModels:
    """Return ``outputs``, ``status`` and ``kinds`` in an ``.npz`` file."""
    arrays = read_arrays(path, wanted=("outputs", "status", "kinds", "labels", "records"))
    if "status" not in arrays:
        raise _wrong(path, "an array status", NOT_FORGOTTEN, _WRITE_STATUS)
    records = arrays.get("records")
    kinds = arrays.get("kinds")
    return StoredModels(
        path=path,
        layout="outputs and a status in one file",
        outputs=floats(arrays["outputs"], f"{path}, array outputs"),
        status=arrays["status"],
        kinds=_kinds_of(arrays["status"]) if kinds is None else kinds,
        labels=arrays.get("labels"),
        records=None if records is None else tuple(map(str, records.tolist())),
    )


def read_lira(path: Path) -> StoredModels:
    """Return a folder of LiRA's: what models learned by ``keep.npy``, and what they forgot by ``status.npy``."""
    folders = _experiments(path)
    files = [_last_epoch(folder) for folder in folders]
    # Stored as (records, 1, augmentations, classes).
    shape = open_array(files[0]).shape
    if len(shape) != 4 or shape[1] != 1:
        raise _wrong(
            files[0],
            "logits of shape (records, 1, augmentations, classes)",
            f"shape {shape}",
            "store them as LiRA does",
        )
    stack = Stack.of(files, squeezed=1)
    floats(stack[0:1, 0:1], str(files[0]))
    labels_file = path / "y_train.npy"
    labels = small(path, "y_train")
    if labels is None:
        raise _wrong(labels_file, "the class of each record", "no file of that name", "copy it from where LiRA left it")
    if labels.dtype.kind not in "iu":
        raise _wrong(labels_file, "whole numbers", f"dtype {labels.dtype}", "store the classes")
    check_labels(labels, stack.shape[1:], outputs=str(files[0]), labels_file=str(labels_file))
    keep = np.stack([_keep(folder / "keep.npy", stack.shape[1]) for folder in folders])
    status, kinds = _status(path, keep.shape)
    _check_membership(keep, status, [folder / "keep.npy" for folder in folders])
    return StoredModels(
        path=path,
        layout="LiRA",
        kind="logits",
        outputs=stack,
        status=status,
        kinds=kinds,
        labels=labels,
        records=record_names(path),
    )


def read_privacy_meter(path: Path) -> StoredModels:
    """Return a folder of ML Privacy Meter's: probabilities of the true class, a column a model, and memberships."""
    file = path / "models" / "memberships.npy"
    keep = next(iter(read_arrays(file).values()))
    if keep.dtype.kind != "b" or keep.ndim != 2:
        raise _wrong(
            file, "True and False, shape (models, records)", f"{keep.dtype} of shape {keep.shape}", "save it anew"
        )
    _check_metadata(path / "models" / "models_metadata.json", len(keep))
    found = sorted(p for p in (path / "signals").glob("*_signals.npy"))
    if len(found) != 1:
        raise _wrong(path / "signals", "one file *_signals.npy", f"{len(found)}", "keep the signals of one algorithm")
    signals = floats(open_array(found[0]), str(found[0]))
    if signals.shape != keep.shape[::-1]:
        turned = ", which is transposed" if signals.shape == keep.shape else ""
        raise _wrong(
            found[0],
            f"shape {keep.shape[::-1]}, a row a record and a column a model of {file.name}",
            f"shape {signals.shape}{turned}",
            "save the signals of all models, as the tool does",
        )
    status, kinds = _status(path, keep.shape)
    _check_membership(keep, status, [file] * len(keep))
    return StoredModels(
        path=path,
        layout="ML Privacy Meter",
        kind="probabilities",
        outputs=signals.T,
        status=status,
        kinds=kinds,
        records=record_names(path),
    )


def read_table(path: Path) -> StoredModels:
    """Return ``models.csv`` and one ``<id>.npy`` a model: one deletion, or with ``status.npy`` a claim a record."""
    rows = _model_rows(path / "models.csv")
    listed = {row.id for row in rows}
    for file in sorted(path.glob("*.npy")):
        if file.stem.isdigit() and file.stem not in listed:
            raise _wrong(file, "a model of models.csv", "no line for it", "add the line: models left out bias an audit")
    stack = Stack.of([_file_of(path, row.id) for row in rows])
    floats(stack[0:1, 0:1], str(stack.files[0]))
    labels = small(path, "labels")
    check_labels(labels, stack.shape[1:], outputs=str(stack.files[0]), labels_file=str(path / "labels.npy"))
    is_deletion = np.array([row.kind == "deletion" for row in rows])
    common: dict[str, Any] = {"path": path, "labels": labels, "records": record_names(path)}
    if (path / "status.npy").is_file():
        status, _ = _status(path, stack.shape[:2])
        return StoredModels(
            **common,
            layout="a file a model and a status",
            outputs=stack,
            status=status,
            kinds=is_deletion.astype(np.int8),
            seeds=(tuple(row.seed for row in rows),) if all(row.seed for row in rows) else (),
        )
    seeds = tuple(tuple(row.seed for row in rows if (row.kind == "deletion") is which) for which in (True, False))
    return StoredModels(
        **common,
        layout="a file a model",
        unlearned=stack.only(is_deletion),
        retrained=stack.only(~is_deletion),
        seeds=seeds if all(all(part) for part in seeds) else (),
    )


@dataclass(frozen=True, kw_only=True)
class _Row:
    id: str
    kind: str
    seed: str
    digest: str
    origin: tuple[str, str]


def _model_rows(path: Path) -> list[_Row]:
    """Return the lines of models.csv, checked against each other."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _wrong(path, "a readable table", str(error), "write it again") from None
    if not lines or not {"id", "kind"} <= set(lines[0]):
        got = f"columns {', '.join(map(str, lines[0]))}" if lines else "no line"
        raise _wrong(path, "columns id and kind, and if known seed, digest, code, data", got, "add the columns")
    rows = []
    for i, line in enumerate(lines):
        kind = _KINDS.get((line["kind"] or "").strip())
        if kind is None:
            where = f"line {i + 2}: kind {line['kind']!r}"
            raise _wrong(path, "kinds deletion or reference", where, "say whether the model unlearned anything")
        cells = {name: (line.get(name) or "").strip() for name in ("id", "seed", "digest", "code", "data")}
        origin = (cells["code"], cells["data"])
        rows.append(_Row(id=cells["id"], kind=kind, seed=cells["seed"], digest=cells["digest"], origin=origin))
    for field in ("id", "digest"):
        seen: dict[str, str] = {}
        for row in rows:
            value = getattr(row, field)
            if value and value in seen:
                raise _wrong(
                    path, f"a {field} for each model", f"{value} of {seen[value]} and {row.id}", "file it once"
                )
            seen[value] = row.id
    for kind in ("deletion", "reference"):
        origins = sorted({row.origin for row in rows if row.kind == kind})
        if len(origins) > 1:
            got = f"{origins[0]} and {origins[1]} of {kind} models"
            raise _wrong(path, "one code and one data digest a kind", got, "audit models of one origin")
    return rows


def _file_of(path: Path, name: str) -> Path:
    if not re.fullmatch(r"[\w.-]+", name):
        raise _wrong(path / "models.csv", "ids of letters, digits, points and dashes", repr(name), "rename the model")
    file = path / f"{name}.npy"
    if not file.is_file():
        raise _wrong(file, "the outputs of a model of models.csv", "no file of that name", "put it there")
    return file


def _experiments(path: Path) -> list[Path]:
    """Return LiRA's folders in the order of their numbers; all of them must be there."""
    found: dict[int, Path] = {}
    sizes = set()
    for folder in path.glob("experiment-*"):
        match = _EXPERIMENT.match(folder.name)
        if match is None:
            raise _wrong(folder, "a name such as experiment-7_128", folder.name, "rename it: <number>_<number of all>")
        found[int(match[1])] = folder
        sizes.add(int(match[2]))
    if len(sizes) > 1:
        raise _wrong(path, "experiments of one run", f"runs of {sorted(sizes)} models", "keep one run a folder")
    n = sizes.pop()
    lost = next((i for i in range(n) if i not in found), None)
    if lost is not None:
        raise _wrong(path / f"experiment-{lost}_{n}", "a folder", "none of that name", "models left out bias an audit")
    return [found[i] for i in range(n)]


def _last_epoch(folder: Path) -> Path:
    files = sorted((folder / "logits").glob("*.npy"))
    if not files:
        raise _wrong(folder / "logits", "a file of logits", "none", "run LiRA's inference.py")
    return files[-1]


def _keep(path: Path, n: int) -> NDArray[np.bool_]:
    if not path.is_file():
        raise _wrong(path, "which records the model learned", "no file of that name", "copy it from the training run")
    keep = next(iter(read_arrays(path).values()))
    if keep.dtype.kind != "b" or keep.shape != (n,):
        raise _wrong(path, f"True and False for {n:,} records", f"{keep.dtype} of shape {keep.shape}", "save it anew")
    return np.asarray(keep)


def _status(path: Path, shape: tuple[int, ...]) -> tuple[Raw, Raw]:
    """Return status and kinds beside some outputs; without a status nothing is known to be forgotten."""
    file = path / "status.npy"
    status = small(path, "status")
    if status is None:
        raise _wrong(file, "what each model forgot", f"no file of that name. {NOT_FORGOTTEN}", _WRITE_STATUS)
    if status.dtype.kind not in "iuUS":
        raise _wrong(file, "whole numbers 0, 1, 2 or words", f"dtype {status.dtype}", _WRITE_STATUS)
    if status.shape != shape[:2]:
        turned = ", which is transposed" if status.shape == shape[:2][::-1] else ""
        raise _wrong(
            file, f"shape {shape[:2]}, (models, records)", f"shape {status.shape}{turned}", "give a row a model"
        )
    kinds = small(path, "kinds")
    if kinds is None:
        return status, _kinds_of(status)
    if kinds.shape != shape[:1]:
        raise _wrong(path / "kinds.npy", f"{shape[0]} kinds, one a model", f"shape {kinds.shape}", "give one a model")
    return status, kinds


def _kinds_of(status: Raw) -> Raw:
    """Return which models forgot anything, where nobody says it."""
    forgot = status == ("forgotten" if status.dtype.kind in "US" else Status.FORGOTTEN)
    return np.where(np.any(forgot, axis=1), ModelKind.DELETION, ModelKind.REFERENCE).astype(np.int8)


def _check_membership(keep: Raw, status: Raw, files: list[Path]) -> None:
    """Refuse a status that says of a model that it learned other records than it did."""
    learned = status != ("absent" if status.dtype.kind in "US" else Status.ABSENT)
    wrong = np.argwhere(keep != learned)
    if len(wrong):
        model, record = (int(i) for i in wrong[0])
        raise _wrong(
            files[model],
            "what status.npy says was learned: retained or forgotten",
            f"record {record} {'in' if keep[model, record] else 'out'}, and status {status[model, record]} of {model}",
            "mend the one that is wrong, or the order of the models",
        )


def _check_metadata(path: Path, n_models: int) -> None:
    if not path.is_file():
        return
    try:
        listed = len(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise _wrong(path, "a JSON table of models", str(error), "copy it again") from None
    if listed != n_models:
        raise _wrong(path, f"{n_models} models, as in memberships.npy", str(listed), "models left out bias an audit")


def _wrong(path: Path, expected: str, got: str, fix: str) -> InvalidInputError:
    return InvalidInputError(field=str(path), expected=expected, got=got, fix=fix)
