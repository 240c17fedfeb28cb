"""Kaldi's tables: archives and script files, read and written (``util/kaldi-table.h``).

Commands in a pipe must succeed, keys stand once, and a table declared sorted (``s``) has to be.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any, BinaryIO, Generic, Self, TypeVar

import numpy as np
import numpy.typing as npt

from dkt.errors import DktError
from dkt.specifiers import Specifier, parse_rspecifier, parse_wspecifier
from dkt.streams import is_input_pipe, open_input, open_output, split_offset
from dkt.text import read_keyed_lines
from dkt.values import encode_int_vector, encode_matrix, read_int_vector, read_matrix, read_value

V = TypeVar("V")
Reader = Callable[[BinaryIO], Any]

_ROW_TOLERANCE = 3
_RANGE = re.compile(r"^(.*)\[([0-9:, ]*)\]$")


def _read_key(stream: BinaryIO, path: str) -> str | None:
    key = b""
    while (byte := stream.read(1)) not in (b" ", b"\t", b""):
        key += b"" if byte == b"\n" and not key else byte
        if len(key) > 4096 or byte == b"\n":
            if not key:
                continue
            raise DktError(f"expected an utterance and a space, found {key[:30]!r}", path=path)
    if byte == b"" and key:
        raise DktError(f"the archive is cut short after {key[:30]!r}", path=path)
    try:
        return key.decode("utf-8") if byte else None
    except UnicodeDecodeError:
        raise DktError(f"the utterance-id {key[:30]!r} is not UTF-8", path=path) from None


def _read_archive(read: Reader, rxfilename: str) -> Iterator[tuple[str, Any]]:
    with open_input(rxfilename) as stream:
        while (key := _read_key(stream, rxfilename)) is not None:
            yield key, read_value(read, stream, rxfilename, key)


def read_script(rxfilename: str) -> dict[str, str]:
    """The lines of a script file: key to extended filename, in order.

    Raises:
        DktError: a line has no second field, or a key stands twice.
    """
    entries = read_keyed_lines(rxfilename)
    for number, entry in enumerate(entries.values(), 1):
        if not entry:
            raise DktError(f"line {number} is not '<utterance> <file>'", path=rxfilename)
    return entries


def _slices(text: str, path: str, utt: str) -> tuple[slice, ...]:
    slices = []
    for part in text.split(","):
        numbers = [n.strip() for n in part.split(":")]
        if part.strip() in ("", ":"):
            slices.append(slice(None))
        elif len(numbers) == 2 and all(n.isdigit() for n in numbers) and int(numbers[0]) <= int(numbers[1]):
            slices.append(slice(int(numbers[0]), int(numbers[1]) + 1))
        else:
            raise DktError(f"impossible range [{text}]", path=path, utt=utt)
    return tuple(slices)


class _ScriptReader:
    """Loads the objects of script-file entries; keeps the last archive open, as entries mostly share one."""

    def __init__(self, read: Reader) -> None:
        self.read = read
        self.path: str | None = None
        self.stream: BinaryIO | None = None
        self.open_file = ExitStack()

    def load(self, utt: str, entry: str) -> Any:
        match = None if is_input_pipe(entry) else _RANGE.match(entry)
        rxfilename = match.group(1) if match else entry
        value = self._load_whole(utt, rxfilename)
        if not match:
            return value
        if not isinstance(value, np.ndarray):
            raise DktError("a range can be taken of matrices and vectors only", path=entry, utt=utt)
        slices = _slices(match.group(2), entry, utt)
        # Kaldi lets rows, not columns, end a little beyond the matrix: frames are counted in various ways.
        limits = [length + (0 if axis else _ROW_TOLERANCE) for axis, length in enumerate(value.shape)]
        if len(slices) > value.ndim or any(
            s.stop is not None and (s.stop > limit or s.start >= length)
            for s, limit, length in zip(slices, limits, value.shape, strict=False)
        ):
            raise DktError(f"the range lies outside a matrix of shape {value.shape}", path=entry, utt=utt)
        return value[slices]

    def _load_whole(self, utt: str, rxfilename: str) -> Any:
        if is_input_pipe(rxfilename) or rxfilename == "-":
            with open_input(rxfilename) as stream:
                return read_value(self.read, stream, rxfilename, utt)
        path, offset = split_offset(rxfilename)
        if path != self.path or self.stream is None:
            self.close()
            self.stream, self.path = self.open_file.enter_context(open_input(path)), path
        self.stream.seek(0, 2)
        if offset >= self.stream.tell():
            raise DktError(f"offset {offset} lies past the end of the file", path=path, utt=utt)
        self.stream.seek(offset)
        return read_value(self.read, self.stream, path, utt)

    def close(self) -> None:
        self.open_file.close()
        self.path = self.stream = None


def read_table(read: Reader, rspecifier: str) -> Iterator[tuple[str, Any]]:
    """Read a table of any objects one by one; ``read`` takes one from the stream.

    Raises:
        DktError: anything that is not a whole, well-formed table.
    """
    spec = parse_rspecifier(rspecifier)
    seen: set[str] = set()
    last = ""
    for key, value in (
        _read_scripted(read, spec) if spec.kind == "scp" else _read_archive(read, spec.filename)
    ):
        if key in seen:
            raise DktError("stands twice", path=spec.filename, utt=key)
        if "s" in spec.options and key < last:
            raise DktError(
                f"comes after '{last}', but the table is declared sorted",
                path=spec.filename,
                utt=key,
                hint="sort it with LC_ALL=C, or drop the option 's'",
            )
        seen.add(key)
        last = key
        yield key, value


def _read_scripted(read: Reader, spec: Specifier) -> Iterator[tuple[str, Any]]:
    loader = _ScriptReader(read)
    try:
        for key, entry in read_script(spec.filename).items():
            yield key, loader.load(key, entry)
    finally:
        loader.close()


def read_matrices(rspecifier: str, dtype: npt.DTypeLike = np.float32) -> Iterator[tuple[str, np.ndarray]]:
    """Read a table of matrices one by one: utterance and values ``(T, F)`` of type ``dtype``, writable.

    Raises:
        DktError: anything that is not a whole, well-formed table.
    """
    for key, value in read_table(read_matrix, rspecifier):
        yield key, value.astype(dtype, copy=False)


def read_int_vectors(rspecifier: str) -> Iterator[tuple[str, np.ndarray]]:
    """Read a table of integer vectors one by one: utterance and int32 of shape ``(T,)``, writable.

    Raises:
        DktError: anything that is not a whole, well-formed table.
    """
    return read_table(read_int_vector, rspecifier)


class RandomAccessTable(Generic[V]):
    """Random access to a table of any objects: a script file is read on demand, an archive whole."""

    def __init__(self, read: Reader, rspecifier: str) -> None:
        spec = parse_rspecifier(rspecifier)
        self.path = spec.filename
        self._loader = _ScriptReader(read)
        self._entries = read_script(spec.filename) if spec.kind == "scp" else {}
        self._values: dict[str, V] = {}
        if spec.kind == "ark":
            self._values = {key: self.convert(key, value) for key, value in read_table(read, rspecifier)}

    def convert(self, key: str, value: Any) -> V:
        """What the table gives for an object as it was read."""
        raise NotImplementedError

    def __contains__(self, key: str) -> bool:
        return key in self._entries or key in self._values

    def __iter__(self) -> Iterator[str]:
        yield from self._entries or self._values

    def __len__(self) -> int:
        return len(self._entries or self._values)

    def __getitem__(self, key: str) -> V:
        if key in self._entries:
            return self.convert(key, self._loader.load(key, self._entries[key]))
        if key not in self._values:
            raise DktError("is not in the table", path=self.path, utt=key)
        return self._values[key]


class MatrixTable(RandomAccessTable[np.ndarray]):
    """Random access to the matrices of ``scp:...`` or ``ark:...``, turned into the type ``dtype``."""

    def __init__(self, rspecifier: str, dtype: npt.DTypeLike = np.float32) -> None:
        self.dtype = dtype
        super().__init__(read_matrix, rspecifier)

    def convert(self, key: str, value: np.ndarray) -> np.ndarray:
        """The matrix in the type asked for."""
        return value.astype(self.dtype, copy=False)


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


class IntVectorWriter(TableWriter):
    """Writes int32 vectors of shape ``(T,)``: alignments."""

    def encode(self, value: np.ndarray) -> bytes:
        """The vector in Kaldi's binary or text form."""
        return encode_int_vector(value, self.text)


class TextWriter(TableWriter):
    """Writes one line of text a key: transcripts."""

    def encode(self, value: str) -> bytes:
        """The line."""
        return value.encode("utf-8") + b"\n"
