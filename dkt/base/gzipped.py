"""What gzip compressed, told by its first bytes whatever its name: streams and whole files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO, cast

from dkt.base import bounded

_MAGIC = b"\x1f\x8b"


def is_gzip(data: bytes) -> bool:
    """Whether bytes begin as a gzip file does."""
    return data[: len(_MAGIC)] == _MAGIC


def gunzip(data: bytes, path: str | Path) -> bytes:
    """The content of a gzip file, or the bytes as they are if they are none.

    Raises:
        DktError: as ``dkt.base.bounded.decompress_gzip``.
    """
    return bounded.decompress_gzip(data, path) if is_gzip(data) else data


def unpacked(stream: BinaryIO, path: str | Path) -> BinaryIO:
    """The stream, or if it holds gzip what that unpacks to, in a stream without seeking.

    Args:
        stream: buffered, at its beginning.
        path: for errors, which are raised on reading.
    """
    if not is_gzip(cast(io.BufferedReader, stream).peek(len(_MAGIC))):
        return stream
    return cast(BinaryIO, bounded.open_gunzip(stream, None, path))
