"""Kaldi's tables: archives and script files, read and written (``util/kaldi-table.h``).

Commands in a pipe must succeed, keys stand once, and a table declared sorted (``s``) has to be.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import numpy as np
import numpy.typing as npt

from dkt.base.errors import DktError
from dkt.matrix.matrix_io import (
    Reader,
    encode_int_vector,
    encode_matrix,
    encode_vector,
    read_int_vector,
    read_matrix,
    read_matrix_or_vector,
    read_vector,
)
from dkt.util.archives import read_archive, read_gzipped_archive
from dkt.util.kaldi_io import open_output
from dkt.util.scripts import ScriptLoader, read_script
from dkt.util.specifiers import Specifier, parse_rspecifier, parse_wspecifier

logger = logging.getLogger(__name__)

V = TypeVar("V")


def read_table(read: Reader, rspecifier: str) -> Iterator[tuple[str, Any]]:
    """Read a table of any objects one by one; ``read`` takes one from the stream.

    Raises:
        DktError: anything that is not a whole, well-formed table.
    """
    spec = parse_rspecifier(rspecifier)
    seen: set[str] = set()
    last = ""
    for key, value in (_read_scripted if spec.kind == "scp" else _read_archived)(read, spec):
        if key in seen:
            raise DktError("duplicate key", path=spec.filename, utt=key)
        if "s" in spec.options and key < last:
            raise _not_sorted(spec.filename, last, key)
        seen.add(key)
        last = key
        yield key, value


def _not_sorted(path: str, last: str, key: str) -> DktError:
    return DktError(
        f"comes after '{last}', but the table is declared sorted",
        path=path,
        utt=key,
        hint="sort it with LC_ALL=C, or drop the option 's'",
    )


def _read_archived(read: Reader, spec: Specifier) -> Iterator[tuple[str, Any]]:
    count = 0
    try:
        for entry in read_archive(read, spec.filename):
            yield entry
            count += 1
    except DktError as error:
        # As in Kaldi, option p does not excuse an archive of which nothing could be read.
        if "p" not in spec.options or count == 0:
            raise
        logger.warning("what follows entry %d is left out, as option p allows: %s", count, error)


def _read_scripted(read: Reader, spec: Specifier) -> Iterator[tuple[str, Any]]:
    entries = read_script(spec.filename)
    skipped = 0
    with closing(ScriptLoader(read)) as loader:
        for key, entry in entries.items():
            try:
                value = loader.load(key, entry)
            except DktError as error:
                if "p" not in spec.options:
                    raise
                skipped += 1
                logger.warning("skipped, as option p allows: %s", error)
                continue
            yield key, value
    if skipped:
        logger.warning(
            "%s: %d of %d entries could not be read and were skipped", spec.filename, skipped, len(entries)
        )


def _in_type(value: np.ndarray, dtype: npt.DTypeLike) -> np.ndarray:
    if value.dtype == dtype:
        return value
    # A double too large for single precision becomes infinite, as in Kaldi.
    with np.errstate(over="ignore", invalid="ignore"):
        return value.astype(dtype)


def read_matrices(rspecifier: str, dtype: npt.DTypeLike = np.float32) -> Iterator[tuple[str, np.ndarray]]:
    """Read a table of matrices one by one: utterance and values ``(T, F)`` of type ``dtype``, writable.

    Raises:
        DktError: anything that is not a whole, well-formed table.
    """
    for key, value in read_table(read_matrix, rspecifier):
        yield key, _in_type(value, dtype)


def read_vectors(rspecifier: str, dtype: npt.DTypeLike = np.float32) -> Iterator[tuple[str, np.ndarray]]:
    """Read a table of real vectors one by one: utterance and values ``(F,)`` of type ``dtype``, writable.

    Raises:
        DktError: anything that is not a whole, well-formed table.
    """
    for key, value in read_table(read_vector, rspecifier):
        yield key, _in_type(value, dtype)


def read_int_vectors(rspecifier: str) -> Iterator[tuple[str, np.ndarray]]:
    """Read a table of integer vectors one by one: utterance and int32 of shape ``(T,)``, writable.

    Raises:
        DktError: anything that is not a whole, well-formed table.
    """
    return read_table(read_int_vector, rspecifier)


def read_gzipped_int_vectors(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """As ``read_int_vectors``, of an archive that is a gzip file, such as ``ali.1.gz``.

    Raises:
        DktError: anything that is not a whole, well-formed archive, or becomes larger than data can.
    """
    seen: set[str] = set()
    for key, value in read_gzipped_archive(read_int_vector, path):
        if key in seen:
            raise DktError("duplicate key", path=path, utt=key)
        seen.add(key)
        yield key, value


class RandomAccessTable(Generic[V]):
    """Random access to a table of any objects: a script file is read on demand, an archive whole.

    With option p a script's entries that cannot be read count as missing: ``in`` tries to read.
    """

    def __init__(self, read: Reader, rspecifier: str) -> None:
        spec = parse_rspecifier(rspecifier)
        self.path = spec.filename
        self._permissive = "p" in spec.options
        self._loader = ScriptLoader(read)
        self._entries: dict[str, str] = {}
        self._values: dict[str, V] = {}
        if spec.kind == "scp":
            self._entries = read_script(spec.filename)
            if "s" in spec.options:
                self._check_sorted()
        else:
            self._values = {key: self.convert(key, value) for key, value in read_table(read, rspecifier)}

    def _check_sorted(self) -> None:
        for last, key in pairwise(self._entries):
            if key < last:
                raise _not_sorted(self.path, last, key)

    def convert(self, key: str, value: Any) -> V:
        """What the table gives for an object as it was read."""
        raise NotImplementedError

    def __contains__(self, key: str) -> bool:
        if key in self._entries and self._permissive:
            try:
                self[key]
            except DktError as error:
                logger.warning("taken for missing, as option p allows: %s", error)
                del self._entries[key]
        return key in self._entries or key in self._values

    def __iter__(self) -> Iterator[str]:
        keys = list(self._entries or self._values)
        yield from (key for key in keys if key in self) if self._permissive else keys

    def __len__(self) -> int:
        return sum(1 for _ in self) if self._permissive else len(self._entries or self._values)

    def __getitem__(self, key: str) -> V:
        if key in self._entries:
            return self.convert(key, self._loader.load(key, self._entries[key]))
        if key not in self._values:
            raise DktError("is not in the table", path=self.path, utt=key)
        return self._values[key]


class MatrixTable(RandomAccessTable[np.ndarray]):
    """Random access to the matrices of a table, turned into the type ``dtype``."""

    reader: Reader = staticmethod(read_matrix)

    def __init__(self, rspecifier: str, dtype: npt.DTypeLike = np.float32) -> None:
        self.dtype = dtype
        super().__init__(self.reader, rspecifier)

    def convert(self, key: str, value: np.ndarray) -> np.ndarray:
        """The matrix in the type asked for."""
        return _in_type(value, self.dtype)


class RealTable(MatrixTable):
    """Random access to a table of matrices or real vectors, each as it is stored, of type ``dtype``."""

    reader = staticmethod(read_matrix_or_vector)


class VectorTable(MatrixTable):
    """Random access to real vectors ``(F,)`` of a table, turned into the type ``dtype``."""

    reader = staticmethod(read_vector)


class TableWriter:
    """Writes a table entry by entry, flushed one by one so that what was written survives a failure.

    Use it as a context manager. ``ark:``, ``ark,t:`` (text) and ``ark,scp:`` are understood.
    """

    def __init__(self, wspecifier: str) -> None:
        self.spec = parse_wspecifier(wspecifier)
        self.text = "t" in self.spec.options
        self.num_written = 0
        self._stack = ExitStack()
        self._offset = 0

    def __enter__(self) -> Self:
        self._archive = self._stack.enter_context(open_output(self.spec.filename))
        self._script = None
        if self.spec.scp_filename:
            self._script = self._stack.enter_context(open_output(self.spec.scp_filename))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)

    def write(self, key: str, value: Any) -> None:
        """Append one entry."""
        if not key or any(c.isspace() for c in key):
            raise DktError(f"'{key}' cannot be an utterance-id", path=self.spec.filename)
        head = key.encode("utf-8") + b" "
        data = self.encode(value)
        self._archive.write(head + data)
        self._archive.flush()
        # After the entry itself, so that a script never names what is not there.
        if self._script is not None:
            line = f"{key} {self.spec.filename}:{self._offset + len(head)}\n"
            self._script.write(line.encode("utf-8"))
            self._script.flush()
        self._offset += len(head) + len(data)
        self.num_written += 1

    def encode(self, value: Any) -> bytes:
        """The bytes of one value, in the form asked for."""
        raise NotImplementedError


class MatrixWriter(TableWriter):
    """Writes matrices of shape ``(T, F)``, optionally compressed; float64 stays so, the rest is float32.

    Args:
        wspecifier: where to.
        compression_method: Kaldi's number, 1 to 7; None for none.
    """

    def __init__(self, wspecifier: str, compression_method: int | None = None) -> None:
        super().__init__(wspecifier)
        self.compression_method = compression_method

    def encode(self, value: np.ndarray) -> bytes:
        """The matrix in Kaldi's binary or text form."""
        return encode_matrix(value, self.text, self.compression_method)


class VectorWriter(TableWriter):
    """Writes real vectors of shape ``(F,)``; float64 stays so, the rest is float32."""

    def encode(self, value: np.ndarray) -> bytes:
        """The vector in Kaldi's binary or text form."""
        return encode_vector(value, self.text)


class IntVectorWriter(TableWriter):
    """Writes int32 vectors of shape ``(T,)``: alignments."""

    def encode(self, value: np.ndarray) -> bytes:
        """The vector in Kaldi's binary or text form."""
        return encode_int_vector(value, self.text)


class TextWriter(TableWriter):
    """Writes one line of text per key: transcripts."""

    def encode(self, value: str) -> bytes:
        """The line."""
        return value.encode("utf-8") + b"\n"
