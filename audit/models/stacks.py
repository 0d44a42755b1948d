"""Outputs that lie in one file a model, as one array that is never in memory as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mechanisms.errors import InvalidInputError
from mechanisms.reading.numpy_files import open_array


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Files of one shape and type, the first axis of the stack; each is memory-mapped when a part of it is read.

    Parameters
    ----------
    files
        One a model.
    shape
        Of the stack: (models, ...).
    dtype
        Of every file.
    squeezed
        Axis of a file that has length 1 and is left out, or ``None``.
    """

    files: tuple[Path, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    squeezed: int | None = None

    @staticmethod
    def of(files: Sequence[Path], *, squeezed: int | None = None) -> Stack:
        """Return a stack after a look at every header.

        Raises
        ------
        InvalidInputError
            When a file is damaged, or differs from the first in shape or type; the file is named.
        """
        shapes = []
        for path in files:
            array = open_array(path)
            shapes.append((array.shape, array.dtype))
            if shapes[-1] != shapes[0]:
                raise InvalidInputError(
                    field=str(path),
                    expected=f"{shapes[0][1]} of shape {shapes[0][0]}, like {files[0]}",
                    got=f"{array.dtype} of shape {array.shape}",
                    fix="store all models alike: a type of its own tells a model from the others by rounding alone",
                )
        shape, dtype = shapes[0]
        if squeezed is not None:
            shape = tuple(n for i, n in enumerate(shape) if i != squeezed)
        return Stack(files=tuple(files), shape=(len(files), *shape), dtype=dtype, squeezed=squeezed)

    def only(self, chosen: NDArray[np.bool_]) -> Stack:
        """Return the stack of some of the models."""
        files = tuple(path for path, is_chosen in zip(self.files, chosen, strict=True) if is_chosen)
        return replace(self, files=files, shape=(len(files), *self.shape[1:]))

    def __getitem__(self, key: tuple[slice, slice]) -> NDArray[Any]:
        """Return a block of records of some models, in memory."""
        models, records = key
        parts = [open_array(path) for path in self.files[models]]
        if self.squeezed is not None:
            parts = [np.squeeze(part, axis=self.squeezed) for part in parts]
        return np.stack([part[records] for part in parts])
