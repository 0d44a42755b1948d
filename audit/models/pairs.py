"""Layouts of one deletion: the outputs of unlearned models and of retrained ones, as two arrays or two folders."""

from __future__ import annotations

import re
from pathlib import Path

from audit.models.stacks import Stack
from audit.models.stored import StoredModels, check_labels, floats, named, opened, record_names, small
from mechanisms.errors import InvalidInputError
from mechanisms.reading.numpy_files import read_arrays

# What the retrained world is called by those who store it.
RETRAINED = ("retrained", "oracle")
_ARRAYS = ("unlearned", *RETRAINED, "labels", "records", "before")
# The number of a model in the name of its file.
_NUMBER = re.compile(r"(?:^|id_|model_)(\d+)")


def read_archive(path: Path) -> StoredModels:
    """Return the pair in an ``.npz`` file: ``unlearned`` and ``retrained``, with what else it names."""
    arrays = read_arrays(path, wanted=_ARRAYS)
    retrained = next((name for name in RETRAINED if name in arrays), "retrained")
    for name in ("unlearned", retrained):
        if name not in arrays:
            raise _missing(f"{path}, array {name}", "an array of that name", f"arrays {', '.join(arrays) or 'none'}")
    sides = {name: floats(arrays[name], f"{path}, array {name}") for name in ("unlearned", retrained)}
    records = arrays.get("records")
    return StoredModels(
        path=path,
        layout="two arrays in one file",
        unlearned=sides["unlearned"],
        retrained=sides[retrained],
        labels=arrays.get("labels"),
        records=None if records is None else tuple(map(str, records.tolist())),
        before=arrays.get("before"),
    )


def read_pair(path: Path) -> StoredModels:
    """Return the pair of files ``unlearned`` and ``retrained`` in a folder."""
    first = named(path, "unlearned")
    second = next((found for stem in RETRAINED if (found := named(path, stem)) is not None), None)
    if first is None or second is None:
        stem = "unlearned" if first is None else "retrained"
        raise _missing(str(path / f"{stem}.npy"), "outputs of the other world", "no file of that name")
    unlearned, retrained, labels = opened(first), opened(second), small(path, "labels")
    for file, array in ((first, unlearned), (second, retrained)):
        if array.ndim not in (2, 3):
            raise InvalidInputError(
                field=str(file),
                expected="shape (models, records) or (models, records, columns)",
                got=f"shape {array.shape}",
                fix="stack the models on the first axis",
            )
        check_labels(labels, array.shape[1:], outputs=str(file), labels_file=str(path / "labels.npy"))
    _check_alike(first, unlearned, second, retrained)
    before = named(path, "before")
    return StoredModels(
        path=path,
        layout="two files",
        unlearned=unlearned,
        retrained=retrained,
        labels=labels,
        records=record_names(path),
        before=None if before is None else opened(before),
    )


def read_two_folders(path: Path) -> StoredModels:
    """Return folders of one file a model: margins of points, as KLOM and EasyDUB store them."""
    second = next((name for name in RETRAINED if (path / name).is_dir()), None)
    if second is None or not (path / "unlearned").is_dir():
        wanted = "unlearned" if second else "oracle"
        raise _missing(str(path / wanted), "a folder with a file a model", "no folder of that name")
    stacks = [Stack.of(model_files(path / name)) for name in ("unlearned", second)]
    for stack in stacks:
        floats_of(stack)
    labels = small(path, "labels")
    for stack in stacks:
        check_labels(labels, stack.shape[1:], outputs=str(stack.files[0]), labels_file=str(path / "labels.npy"))
    _check_alike(stacks[0].files[0], stacks[0], stacks[1].files[0], stacks[1])
    return StoredModels(
        path=path,
        layout="two folders with a file a model",
        kind="scores" if len(stacks[0].shape) == 2 else None,
        unlearned=stacks[0],
        retrained=stacks[1],
        labels=None if len(stacks[0].shape) == 2 else labels,
        records=record_names(path),
    )


def model_files(folder: Path) -> list[Path]:
    """Return one file a model, in the order of their numbers.

    Raises
    ------
    InvalidInputError
        When there is none, files lie in several folders, or a number between others is missing.
    """
    files = sorted(folder.rglob("*.npy"))
    if not files:
        raise _missing(str(folder), "a .npy file a model", "none")
    homes = sorted({file.parent for file in files})
    if len(homes) > 1:
        raise InvalidInputError(
            field=str(folder), expected="files of one phase", got=f"{homes[0]} and {homes[1]}", fix="name one of them"
        )
    numbers = {file: match for file in files if (match := _NUMBER.search(file.stem))}
    if len(numbers) < len(files):
        return files
    found = {int(match[1]): file for file, match in numbers.items()}
    if len(found) < len(files):
        raise InvalidInputError(
            field=str(folder), expected="one file a model", got="several with one number", fix="keep one epoch a model"
        )
    low, high = min(found), max(found)
    lost = next((n for n in range(low, high) if n not in found), None)
    if lost is not None:
        near = found[max(n for n in found if n < lost)]
        said = near.name.replace(f"{numbers[near][1]}", str(lost).zfill(len(numbers[near][1])), 1)
        raise _missing(str(near.parent / said), "a file, as models before and after it have", "no file of that name")
    return [found[n] for n in sorted(found)]


def floats_of(stack: Stack) -> None:
    """Refuse a stack of anything but floats."""
    floats(stack[0:1, 0:1], str(stack.files[0]))


def _check_alike(first: Path, one: object, second: Path, other: object) -> None:
    for what in ("shape", "dtype"):
        a, b = getattr(one, what), getattr(other, what)
        a, b = (a[1:], b[1:]) if what == "shape" else (a, b)
        if a != b:
            named_so = "records and columns" if what == "shape" else "type"
            raise InvalidInputError(
                field=str(second),
                expected=f"the {named_so} of {first.name}, {a}",
                got=str(b),
                fix="store both worlds alike, models on the first axis; a type of its own tells them apart by rounding",
            )


def _missing(field: str, expected: str, got: str) -> InvalidInputError:
    fix = "put it there: models that are left out bias an audit"
    return InvalidInputError(field=field, expected=expected, got=got, fix=fix)
