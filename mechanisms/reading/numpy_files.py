"""Open numpy files of strangers: plain numbers only, measured before they are expanded, and every damage named.

A leaf: sources of data and readers of scores share it. Sizes are read from the headers, because an archive of a
megabyte can hold gigabytes of zeros.
"""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Collection
from os import SEEK_CUR
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from mechanisms.errors import InvalidInputError

# Most bytes that the numbers of one file may fill in memory.
LARGEST_BYTES = 2 * 2**30
# What one cell of a table takes while it is read: its text, its number and their places in lists.
CELL_BYTES = 120
# An .npz begins like every zip file.
_ZIP_MAGIC = b"PK"
_BLOCK = 2**20
_LONGEST_HEADER = 2**16

Arrays = dict[str, NDArray[np.generic]]


def read_arrays(path: Path, *, wanted: Collection[str] | None = None, largest_bytes: int = LARGEST_BYTES) -> Arrays:
    """Return the arrays of a ``.npy`` or ``.npz`` file by name; a ``.npy`` holds one, named like the file.

    Parameters
    ----------
    path
        The file.
    wanted
        Names of the arrays to read; all of them by default. The others stay unread, and are not measured.
    largest_bytes
        Most bytes that the arrays may fill in memory.

    Raises
    ------
    InvalidInputError
        When the file is damaged, holds Python objects (which would run code), or needs more memory than that.
    """
    try:
        with warnings.catch_warnings(), path.open("rb") as file:
            # Headers of old versions are read with a warning that says nothing about the numbers.
            warnings.simplefilter("ignore")
            if file.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC:
                return _read_archive(file, path, wanted, largest_bytes)
            file.seek(0)
            if file.read(len(npy_format.MAGIC_PREFIX)) != npy_format.MAGIC_PREFIX:
                raise _damaged(str(path), "Python objects, or no numpy file at all")
            file.seek(0)
            size = path.stat().st_size
            return {path.name: _read_array(file, path.name, size, largest_bytes, str(path))}
    except InvalidInputError:
        raise
    except MemoryError:
        raise _too_large(str(path), "more memory than there is", largest_bytes) from None
    except Exception as error:
        # A damaged file raises errors of many kinds: of zip, of its compression, of numpy, of Python's own parser.
        raise _damaged(str(path), f"{type(error).__name__}: {error}") from None


def open_array(path: Path) -> NDArray[np.generic]:
    """Return the array of a ``.npy`` file, memory-mapped: what is not read takes no memory.

    Raises
    ------
    InvalidInputError
        When the file is missing or damaged, or holds Python objects or anything but numbers.
    """
    try:
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")
            if file.read(len(npy_format.MAGIC_PREFIX)) != npy_format.MAGIC_PREFIX:
                raise _damaged(str(path), "Python objects, or no numpy file at all")
            file.seek(0)
            shape, dtype, start = _header(file)
            if dtype.hasobject:
                raise _damaged(str(path), "Python objects")
            needed, there = math.prod(shape) * dtype.itemsize, path.stat().st_size - start
            if needed != there:
                raise _damaged(str(path), f"an array of {max(there, 0):,} bytes, where its header says {needed:,}")
        if not needed:
            return np.empty(shape, dtype)
        mapped: NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
        return mapped
    except InvalidInputError:
        raise
    except FileNotFoundError:
        raise _damaged(str(path), "no file of that name") from None
    except Exception as error:
        raise _damaged(str(path), f"{type(error).__name__}: {error}") from None


def names_in(path: Path) -> tuple[str, ...]:
    """Return the names of the arrays in an ``.npz`` file; none when it cannot be opened."""
    try:
        with zipfile.ZipFile(path) as archive:
            return tuple(_array_name(info) for info in archive.infolist())
    except Exception:
        return ()


def check_table(path: Path, *, largest_bytes: int = LARGEST_BYTES) -> None:
    """Refuse a table in text whose cells need more memory than a limit, before any of them is read.

    Raises
    ------
    InvalidInputError
        When it is too large, by the number of its commas and line ends.
    OSError
        When the file cannot be read.
    """
    cells = 1
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            cells += block.count(b",") + block.count(b"\n")
    if cells * CELL_BYTES > largest_bytes:
        raise _too_large(str(path), f"{cells:,} cells, about {_size(cells * CELL_BYTES)}", largest_bytes)


def _array_name(info: zipfile.ZipInfo) -> str:
    return info.filename.removesuffix(".npy")


def _read_archive(file: IO[bytes], path: Path, wanted: Collection[str] | None, largest_bytes: int) -> Arrays:
    found: Arrays = {}
    left = largest_bytes
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            name = _array_name(info)
            if wanted is not None and name not in wanted:
                continue
            if name in found:
                raise _damaged(str(path), f"two arrays of the name {name}")
            with archive.open(info) as member:
                found[name] = _read_array(member, name, info.file_size, left, str(path))
            left -= found[name].nbytes
    return found


def _read_array(file: IO[bytes], name: str, size: int, largest_bytes: int, path: str) -> NDArray[np.generic]:
    """Return one array after its header was found to promise as many bytes as there are, and not too many."""
    shape, dtype, header_bytes = _header(file)
    if dtype.hasobject:
        raise _damaged(path, "Python objects")
    # In exact integers: the product of a hostile shape may be of any size.
    needed = math.prod(shape) * dtype.itemsize
    if needed > largest_bytes:
        raise _too_large(path, f"an array {name} of shape {_shown(shape)}, {_size(needed)}", largest_bytes)
    if needed != size - header_bytes:
        raise _damaged(
            path, f"an array {name} of {max(size - header_bytes, 0):,} bytes, where its header says {needed:,}"
        )
    file.seek(0)
    array: NDArray[np.generic] = npy_format.read_array(file, allow_pickle=False)
    # What is behind the array is read too, so that an archive's checksum is compared.
    file.read()
    return array


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Return shape, type and length of a header; its own length is looked at before it is read."""
    readers = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}
    version = npy_format.read_magic(file)
    if version not in readers:
        # Later versions are for named columns of mixed types.
        raise ValueError(f"version {version[0]}.{version[1]} of the format, which plain numbers do not need")
    width = 2 * version[0]
    if int.from_bytes(file.read(width), "little") > _LONGEST_HEADER:
        raise ValueError("a header of more than 64 KiB")
    file.seek(-width, SEEK_CUR)
    shape, _, dtype = readers[version](file)
    return shape, dtype, file.tell()


def _shown(shape: tuple[int, ...]) -> str:
    return repr(shape) if len(shape) < 5 else f"{len(shape)} axes"


def _size(n_bytes: int) -> str:
    if n_bytes >= 2**70:
        return "more than 2^70 bytes"
    return f"{n_bytes / 2**30:,.1f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:,.1f} MiB"


def _too_large(path: str, got: str, largest_bytes: int) -> InvalidInputError:
    return InvalidInputError(
        field=path,
        expected=f"numbers that fill at most {_size(largest_bytes)} of memory",
        got=got,
        fix="keep the rows and columns that are needed, or load it yourself and pass the arrays "
        "(mechanisms.dataset.from_arrays, audit.from_scores)",
    )


def _damaged(path: str, got: str) -> InvalidInputError:
    return InvalidInputError(
        field=path,
        expected="a numpy file of plain numbers",
        got=got,
        fix="save plain arrays of floats, numpy.save(path, scores.astype(float)) or numpy.savez(path, X=X, y=y), and "
        "copy the file as it is",
    )
