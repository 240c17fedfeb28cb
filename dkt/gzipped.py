"""What gzip compressed, told by its first bytes whatever its name: streams and whole files."""

from __future__ import annotations

import errno
import io
import zlib
from pathlib import Path
from typing import BinaryIO, cast

from dkt.errors import DktError

_MAGIC = b"\x1f\x8b"
_GZIP_FORMAT = 16 + zlib.MAX_WBITS
_PIECE = 1 << 16
# Data of any use shrink to a hundredth at most, zeros to a thousandth. Beyond these bounds it is a bomb.
_MOST_TIMES, _ALWAYS_ALLOWED = 500, 1 << 28


def is_gzip(data: bytes) -> bool:
    """Whether bytes begin as a gzip file does."""
    return data[: len(_MAGIC)] == _MAGIC


def gunzip(data: bytes, path: str | Path) -> bytes:
    """The content of a gzip file, or the bytes as they are if they are none.

    Raises:
        DktError: it is broken, or unpacks to more than 256 MiB and more than 500 times its size.
    """
    if not is_gzip(data):
        return data
    try:
        return _Unpacking(io.BytesIO(data), path).readall()
    except OSError as error:
        raise DktError(str(error.strerror), path=path) from None


def unpacked(stream: BinaryIO, path: str | Path) -> BinaryIO:
    """The stream, or if it holds gzip what that unpacks to, in a stream without seeking.

    Args:
        stream: buffered, at its beginning.
        path: for errors, which are OSErrors that name it.
    """
    if not is_gzip(cast(io.BufferedReader, stream).peek(len(_MAGIC))):
        return stream
    return cast(BinaryIO, io.BufferedReader(_Unpacking(stream, path)))


class _Unpacking(io.RawIOBase):
    """The content of one gzip file, or of several one after another."""

    def __init__(self, stream: BinaryIO, path: str | Path) -> None:
        super().__init__()
        self._stream, self._path = stream, str(path)
        self._member = zlib.decompressobj(_GZIP_FORMAT)
        self._taken = self._given = 0
        self._packed = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while True:
            if self._member.eof and not self._next_member():
                return 0
            if not self._packed:
                self._packed = self._stream.read(_PIECE)
                self._taken += len(self._packed)
            try:
                piece = self._member.decompress(self._packed, len(buffer))
            except zlib.error as error:
                raise self._broken(str(error)) from None
            if not piece and not self._packed and not self._member.eof:
                raise self._broken("it is cut short")
            self._packed = self._member.unconsumed_tail or self._member.unused_data
            if piece:
                buffer[: len(piece)] = piece
                self._count(len(piece))
                return len(piece)

    def _next_member(self) -> bool:
        # Zeros may pad the end.
        self._packed = self._packed.lstrip(b"\0")
        while not self._packed:
            self._packed = self._stream.read(_PIECE)
            if not self._packed:
                return False
            self._taken += len(self._packed)
            self._packed = self._packed.lstrip(b"\0")
        self._member = zlib.decompressobj(_GZIP_FORMAT)
        return True

    def _count(self, size: int) -> None:
        self._given += size
        if self._given > max(_ALWAYS_ALLOWED, _MOST_TIMES * self._taken):
            raise self._broken(f"it unpacks to more than {_MOST_TIMES} times its size")

    def _broken(self, reason: str) -> OSError:
        return OSError(errno.EIO, f"broken gzip file: {reason}", self._path)
