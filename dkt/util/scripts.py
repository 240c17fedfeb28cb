"""Kaldi's script files, ``feats.scp``: keys with the extended filename, offset and range of each object."""

from __future__ import annotations

import io
import re
from contextlib import ExitStack
from typing import Any, BinaryIO

import numpy as np

from dkt.base.errors import DktError
from dkt.base.gzipped import unpacked
from dkt.matrix.matrix_io import Reader, read_value
from dkt.util.kaldi_io import check_pipe, is_input_pipe, open_input, split_offset
from dkt.util.text import Content, read_keyed_lines

_ROW_TOLERANCE = 3
_RANGE = re.compile(r"(.+)\[([^\[\]]*)\]", re.DOTALL)
_BOUNDS = re.compile(r" *([0-9]{1,10}) *: *([0-9]{1,10}) *")


def read_script(rxfilename: str) -> dict[str, str]:
    """The lines of a script file: key to extended filename, in order.

    Raises:
        DktError: a line has no second field, there is a duplicate key, or a command may not be run.
    """
    entries = read_keyed_lines(rxfilename, Content.SCRIPT)
    for number, (key, entry) in enumerate(entries.items(), 1):
        if not entry:
            raise DktError(f"line {number} is not '<utterance> <file>'", path=rxfilename)
        if is_input_pipe(_whole(entry)):
            check_pipe(entry, rxfilename, key, number)
    return entries


def _whole(entry: str) -> str:
    """An entry without its range."""
    match = _RANGE.fullmatch(entry)
    return match.group(1) if match else entry


def file_of(entry: str) -> str | None:
    """The file that an entry of a script names, without offset and range; None if a command gives it."""
    rxfilename = _whole(entry)
    if is_input_pipe(rxfilename) or rxfilename.strip() == "-":
        return None
    return split_offset(rxfilename)[0]


class ScriptLoader:
    """Loads the objects of script-file entries.

    Entries mostly share an archive and segments of one recording share an object: the last of each is kept.

    Args:
        read: takes one object from a stream.
    """

    def __init__(self, read: Reader) -> None:
        self._read = read
        self._path: str | None = None
        self._stream: BinaryIO | None = None
        self._size = 0
        self._open_file = ExitStack()
        self._last_whole: tuple[str, np.ndarray] | None = None

    def load(self, utt: str, entry: str) -> Any:
        """The object that ``entry`` names: ``file``, ``file:offset`` or ``command |``, ranges too.

        Raises:
            DktError: it cannot be read, or the range is impossible.
        """
        match = _RANGE.fullmatch(entry)
        if match is None:
            return self._load_whole(utt, entry)
        rxfilename = match.group(1)
        if self._last_whole is None or self._last_whole[0] != rxfilename:
            value = self._load_whole(utt, rxfilename)
            if not isinstance(value, np.ndarray):
                raise DktError("a range can be taken of matrices and vectors only", path=entry, utt=utt)
            self._last_whole = rxfilename, value
        return _take_range(self._last_whole[1], match.group(2), entry, utt)

    def _load_whole(self, utt: str, rxfilename: str) -> Any:
        path, offset = (rxfilename, 0) if is_input_pipe(rxfilename) else split_offset(rxfilename)
        if path != self._path or self._stream is None:
            self.close()
            with ExitStack() as opened:
                stream = opened.enter_context(open_input(path))
                content = stream if offset else unpacked(stream, path)
                if content is not stream or is_input_pipe(path) or not stream.seekable():
                    return read_value(self._read, content, path, utt)
                self._size = stream.seek(0, io.SEEK_END)
                self._stream, self._path, self._open_file = stream, path, opened.pop_all()
        if offset and offset >= self._size:
            raise DktError(f"offset {offset} lies past the end of the file", path=path, utt=utt)
        self._stream.seek(offset)
        return read_value(self._read, self._stream, path, utt)

    def close(self) -> None:
        """Close the archive that is open."""
        self._path = self._stream = None
        self._open_file.close()


def _take_range(value: np.ndarray, text: str, path: str, utt: str) -> np.ndarray:
    slices = _slices(text, path, utt)
    # Kaldi lets rows, not columns, end a little beyond the matrix: frames are counted in various ways.
    limits = [length + (0 if axis else _ROW_TOLERANCE) for axis, length in enumerate(value.shape)]
    if len(slices) > value.ndim or any(
        s.stop is not None and (s.stop > limit or s.start >= length)
        for s, limit, length in zip(slices, limits, value.shape, strict=False)
    ):
        raise DktError(f"the range lies outside a matrix of shape {value.shape}", path=path, utt=utt)
    # A copy: the whole object may serve the next entry too.
    return value[slices].copy()


def _slices(text: str, path: str, utt: str) -> tuple[slice, ...]:
    slices = []
    for part in text.split(","):
        bounds = _BOUNDS.fullmatch(part)
        if part.strip() in ("", ":"):
            slices.append(slice(None))
        elif bounds and int(bounds[1]) <= int(bounds[2]):
            slices.append(slice(int(bounds[1]), int(bounds[2]) + 1))
        else:
            raise DktError(f"impossible range [{text}]", path=path, utt=utt)
    return tuple(slices)
