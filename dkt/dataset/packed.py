"""Packed features on disk: a raw file of all frames end to end and an index beside it, in one directory.

``features`` holds float32, little-endian, of shape ``(R, F)``. ``index`` begins with a line of JSON that
tells sizes and the CRC-32 of each block of ``features``; then a line ``<utterance> <frames>`` for each, in
the order of the frames; then the CRC-32 of all these lines. Entries of an earlier dkt have neither.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from dkt.base.errors import DktError
from dkt.base.scratch import map_file
from dkt.dataset.contents import FORMAT
from dkt.dataset.features import BLOCK, PackedFeatures, check_dim
from dkt.feat.reader import FeatureReader

FEATURES = "features"
INDEX = "index"
_ROW = np.dtype("<f4")
_END = re.compile(rb"(.*\n)crc32 ([0-9a-f]{8})\n", re.DOTALL)


class BlockSums:
    """The CRC-32 of each block of bytes that come in pieces."""

    def __init__(self) -> None:
        self._done: list[int] = []
        self._sum = 0
        self._size = 0

    def add(self, values: np.ndarray) -> None:
        """Go on with the bytes of an array."""
        data = values.reshape(-1).view(np.uint8).data
        while data:
            piece = data[: BLOCK - self._size]
            self._sum = zlib.crc32(piece, self._sum)
            self._size += len(piece)
            data = data[len(piece) :]
            if self._size == BLOCK:
                self._done.append(self._sum)
                self._sum = self._size = 0

    def finish(self) -> list[int]:
        """All of them, the last of what is left."""
        return self._done + ([self._sum] if self._size else [])


@dataclass
class _Head:
    """The first line of an index."""

    format: int
    dim: int
    utterances: int
    frames: int
    blocks: list[int] | None = None


@dataclass
class Index:
    """What is in a file of packed features.

    Attributes:
        names: the utterances.
        lengths: frames of each.
        dim: F.
        blocks: the checksums of the features; None if there are none.
    """

    names: list[str] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    dim: int = 0
    blocks: list[int] | None = None

    def encode(self) -> bytes:
        """The content of the file ``index``."""
        head = _Head(FORMAT, self.dim, len(self.names), sum(self.lengths), self.blocks)
        lines = [f"{name} {length}" for name, length in zip(self.names, self.lengths, strict=True)]
        data = "\n".join([json.dumps(asdict(head)), *lines, ""]).encode("utf-8")
        return data + b"crc32 %08x\n" % zlib.crc32(data)

    @classmethod
    def decode(cls, data: bytes) -> Index:
        """Read what ``encode`` gave.

        Raises:
            ValueError, TypeError: it is not whole, or of another format.
        """
        sealed = _END.fullmatch(data)
        if sealed:
            data = sealed[1]
            if zlib.crc32(data) != int(sealed[2], 16):
                raise ValueError("the checksum of the index is wrong")
        first, *lines, end = data.decode("utf-8").split("\n")
        head = _Head(**json.loads(first))
        pairs = [line.split(" ") for line in lines]
        names, lengths = [name for name, _ in pairs], [int(length) for _, length in pairs]
        result = cls(names, lengths, head.dim, head.blocks)
        if end or head != _Head(FORMAT, head.dim, len(pairs), sum(lengths), head.blocks):
            raise ValueError("the index is not whole")
        if bool(sealed) != (head.blocks is not None):
            raise ValueError("the index has lost its checksums")
        return result

    def map(self, file: IO[bytes]) -> PackedFeatures:
        """The features in an open file.

        Raises:
            ValueError: it is of another size than the index says.
        """
        size = file.seek(0, 2)
        if self.blocks is not None and len(self.blocks) != -(-size // BLOCK):
            raise ValueError("the features are not whole")
        values = map_file(file, _ROW)
        if values.size != sum(self.lengths) * self.dim or not self.dim:
            raise ValueError("the features are not whole")
        lengths = np.array(self.lengths, np.int64)
        return PackedFeatures(self.names, lengths, values.reshape(-1, self.dim), file, self.blocks)


def write_packed(reader: FeatureReader, file: IO[bytes]) -> Iterator[Index]:
    """Write all features of a data directory, and tell after every utterance what there is so far.

    Raises:
        DktError: bad features, or none.
        OSError: the file cannot be written.
    """
    index, sums = Index(), BlockSums()
    for utt, features in reader:
        index.dim = check_dim(index.dim, features, reader, utt)
        rows = np.ascontiguousarray(features, dtype=_ROW)
        file.write(rows.data)
        sums.add(rows)
        index.names.append(utt)
        index.lengths.append(len(features))
        yield index
    if not index.names:
        raise DktError("there are no features in it", path=reader.data.path)
    index.blocks = sums.finish()
    file.flush()


def finish_entry(partial: Path, entry: Path, index: Index) -> None:
    """Give a directory whose features are written its index and its name, in this order, each for good.

    Raises:
        OSError: the disk is full, or an entry is there already.
    """
    path = partial / INDEX
    path.write_bytes(index.encode())
    for written in (partial / FEATURES, path, partial):
        _sync(written)
    partial.rename(entry)
    _sync(entry.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_entry(entry: Path) -> PackedFeatures | None:
    """The features of an entry, marked as in use as long as they live; None if it is missing or damaged."""
    try:
        file = (entry / FEATURES).open("rb")
    except OSError:
        return None
    # Nobody waits for this lock: who removes entries gives up on those that are in use.
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    try:
        return Index.decode((entry / INDEX).read_bytes()).map(file)
    except (OSError, ValueError, TypeError):
        file.close()
        return None


def is_unused(entry: Path) -> bool:
    """Whether nobody has the features of an entry open; False too where that cannot be told."""
    try:
        # For writing: NFS gives no exclusive lock otherwise.
        with (entry / FEATURES).open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except FileNotFoundError:
        return True
    except OSError:
        return False
