"""Arrays that grow on disk instead of in memory: unlinked files, read back through a memory map."""

from __future__ import annotations

import logging
import mmap
import tempfile
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

logger = logging.getLogger(__name__)

_UNWRITTEN = 1 << 20


class Scratch:
    """Numbers end to end in a file that has no name, and so is gone with the process however it ends.

    Where there is no room on disk they are kept in memory, with a warning.

    Args:
        dtype: of the numbers.
        place: the directory to write in; None, or one that cannot be written in: that of temporary files.
    """

    def __init__(self, dtype: npt.DTypeLike, place: Path | None = None) -> None:
        self.dtype = np.dtype(dtype)
        self._size = 0
        self._kept: list[bytes] = []
        self._unwritten = 0
        self._file = _open(place)

    def __len__(self) -> int:
        return self._size // self.dtype.itemsize

    def append(self, values: np.ndarray) -> None:
        """Add numbers of any shape and type; those that the type of the array does not hold are an error."""
        data = np.ascontiguousarray(values, dtype=self.dtype).tobytes()
        self._kept.append(data)
        self._size += len(data)
        self._unwritten += len(data)
        if self._file is not None and self._unwritten >= _UNWRITTEN:
            self._write()

    def _write(self) -> None:
        assert self._file is not None
        written = self._size - self._unwritten
        left = memoryview(b"".join(self._kept))
        try:
            self._file.seek(written)
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            _warn(error)
            self._kept.insert(0, map_file(self._file, np.dtype(np.uint8))[:written].tobytes())
            self._file = None
            return
        self._kept, self._unwritten = [], 0

    def array(self) -> np.ndarray:
        """All numbers so far, one-dimensional and read-only; the file lives as long as the array does."""
        if self._file is not None and self._unwritten:
            self._write()
        if self._file is None:
            self._kept = [b"".join(self._kept)]
            return np.frombuffer(self._kept[0], self.dtype)
        return map_file(self._file, self.dtype)


def map_file(file: IO[bytes], dtype: np.dtype) -> np.ndarray:
    """The numbers of a whole file, one-dimensional: a shared map, which takes no memory of the process.

    Read-only: a private map that could be written to would have to be granted as memory, which the kernel
    refuses once a corpus is larger than all of it.
    """
    size = file.seek(0, 2)
    if size == 0:
        return np.empty(0, dtype)
    return np.frombuffer(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ), dtype)


def _open(place: Path | None) -> IO[bytes] | None:
    problem: OSError | None = None
    for directory in (place, None):
        try:
            # Unbuffered: what a write could not place is known at once.
            return tempfile.TemporaryFile(dir=directory, buffering=0)
        except OSError as error:
            problem = error
    assert problem is not None
    _warn(problem)
    return None


def _warn(error: OSError) -> None:
    logger.warning(
        "labels and targets are kept in memory: no temporary file (%s) - set TMPDIR to a place with room",
        error.strerror,
    )
