"""Read the files in which models' outputs lie, whatever laid them there: memory-mapped, and nothing is unpickled.

In the flow: :func:`read_models` looks which layout a path holds; the layouts are in :mod:`audit.models.pairs` (two
arrays) and :mod:`audit.models.matrices` (a status for each model and record).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from audit.models.matrices import read_archive_status, read_lira, read_outputs, read_privacy_meter, read_table
from audit.models.pairs import read_archive, read_pair, read_two_folders
from audit.models.stored import StoredModels, named
from mechanisms.errors import InvalidInputError
from mechanisms.reading.numpy_files import names_in

LAYOUTS = (
    "an .npz file or a folder with unlearned and retrained; folders unlearned and oracle with a file a model; "
    "models.csv with a file a model; outputs.npy with status.npy and kinds.npy; LiRA's experiment-* folders, or "
    "Privacy Meter's models/memberships.npy and signals, each with status.npy"
)


def read_models(path: str | Path) -> StoredModels:
    """Return the outputs of models that lie at a path, without reading more than headers and small tables.

    Parameters
    ----------
    path
        An ``.npz`` file, or a folder in one of these layouts:

        * ``unlearned`` and ``retrained`` (or ``oracle``) as ``.npy``, ``.csv`` or ``.parquet``, a row a model;
        * folders ``unlearned`` and ``oracle`` (or ``retrained``) with one ``.npy`` a model, such as the margins of KLOM
          and EasyDUB (``id_7_epoch_23.npy``);
        * ``models.csv`` (id, kind, and if known seed and digest) and one ``<id>.npy`` a model, with ``status.npy`` for
          claims of single records;
        * ``outputs.npy`` with ``status.npy`` and ``kinds.npy`` (also as one ``.npz``);
        * LiRA's: ``experiment-<i>_<n>/logits/<epoch>.npy`` and ``keep.npy``, ``y_train.npy``, with ``status.npy``;
        * ML Privacy Meter's: ``models/memberships.npy`` and ``signals/*_signals.npy``, with ``status.npy``.

        Beside them may lie ``labels.npy``, ``records.txt`` (a name a line) and ``before.npy``.

    Returns
    -------
    StoredModels
        ``read_models(path).audit(claim=...)`` audits them.

    Raises
    ------
    InvalidInputError
        When a file is missing, damaged, of another type or shape than it must be, or contradicts another one; the file
        is named. Membership alone, which does not say what was forgotten, is refused.
    """
    place = Path(path)
    if not place.exists():
        raise InvalidInputError(field=str(place), expected=LAYOUTS, got="no file of that name", fix="check the path")
    for holds, read in _LAYOUTS:
        if holds(place):
            return read(place)
    there = ", ".join(sorted(item.name for item in place.iterdir())[:8]) if place.is_dir() else f"{place.suffix!r} file"
    raise InvalidInputError(
        field=str(place), expected=LAYOUTS, got=there or "an empty folder", fix="lay the files out in one of these ways"
    )


def _is_archive(path: Path, *names: str) -> bool:
    return path.is_file() and path.suffix.lower() == ".npz" and set(names) <= set(names_in(path))


def _has_lira(path: Path) -> bool:
    return path.is_dir() and any(item.is_dir() for item in path.glob("experiment-*"))


def _has_folders(path: Path) -> bool:
    return (path / "unlearned").is_dir() or (path / "oracle").is_dir()


_LAYOUTS: tuple[tuple[Callable[[Path], bool], Callable[[Path], StoredModels]], ...] = (
    (lambda path: _is_archive(path, "outputs"), read_archive_status),
    (lambda path: _is_archive(path), read_archive),
    (lambda path: (path / "models.csv").is_file(), read_table),
    (_has_lira, read_lira),
    (lambda path: (path / "models" / "memberships.npy").is_file(), read_privacy_meter),
    (lambda path: (path / "outputs.npy").is_file(), read_outputs),
    (_has_folders, read_two_folders),
    (lambda path: path.is_dir() and any(named(path, stem) for stem in ("unlearned", "retrained", "oracle")), read_pair),
)
