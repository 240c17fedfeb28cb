"""Where a wav file ends, by its header and by what is there (``feat/wave-reader.cc``)."""

from __future__ import annotations

import io
from typing import BinaryIO, Literal, cast

from dkt.base.bounded import read_bytes
from dkt.base.errors import DktError

#: A program that writes to a pipe cannot come back to put in the size, and leaves one of these (sox, ffmpeg).
STREAMED_SIZES = (0, 0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF)

_HEAD = 12
_PIECE = 1 << 20


def mend_riff(data: bytes) -> tuple[bytes, str | None]:
    """The bytes of a recording, those of a wav file with the true size in the header.

    Args:
        data: of any format; all but wav is returned as it is.

    Returns:
        The bytes; and how many samples there are of how many if the file is cut short, which Kaldi warns of
        (``WaveInfo::Read``) and uses. A streamed wav, whose header does not know its size, is whole.
    """
    if data[8:12] != b"WAVE" or data[:4] not in (b"RIFF", b"RIFX"):
        return data, None
    order: Literal["little", "big"] = "little" if data[:4] == b"RIFF" else "big"

    def number(place: int, size: int) -> int:
        return int.from_bytes(data[place : place + size], order)

    place, block = 12, 1
    while data[place : place + 4] != b"data":
        if data[place : place + 4] == b"fmt ":
            block = max(number(place + 20, 2), 1)
        size = number(place + 4, 4)
        place += 8 + size + size % 2
        if place + 8 > len(data):
            return data, None  # damaged otherwise: libsndfile says how
    size, found = number(place + 4, 4), len(data) - place - 8
    # sox rounds the size down to whole samples.
    streamed = any(size in (mark, mark - mark % block) for mark in STREAMED_SIZES)
    cut = None
    if not streamed and number(4, 4) not in (0, 0xFFFFFFFF):
        if found // block >= size // block:
            return data, None
        cut = f"{found // block} samples of {size // block}"
    # What is left over of a sample is none.
    size = min(found - found % block, 0xFFFFFFFF)
    return data[: place + 4] + size.to_bytes(4, order) + data[place + 8 : place + 8 + size], cut


def read_wave(stream: BinaryIO) -> bytes:
    """The bytes of the wav file that begins here; the stream is left behind its end.

    Of one whose header promises more samples than there are, and of one that was streamed to its place, all
    the rest.

    Args:
        stream: buffered.

    Raises:
        DktError: no wav file begins here, or it ends before its samples.
    """
    head = bytes(read_bytes(stream, _HEAD))
    if head[:4] not in (b"RIFF", b"RIFX") or head[8:] != b"WAVE":
        raise DktError(f"expected a wav file, found {head!r}")
    order: Literal["little", "big"] = "little" if head[:4] == b"RIFF" else "big"
    riff_size = int.from_bytes(head[4:8], order)
    parts = [head]
    while (chunk := bytes(read_bytes(stream, 8)))[:4] != b"data":
        size = int.from_bytes(chunk[4:], order)
        parts += [chunk, bytes(read_bytes(stream, size + size % 2))]
    size = int.from_bytes(chunk[4:], order)
    parts.append(chunk)
    left = riff_size + 8 - sum(map(len, parts))
    # Who knew that the file ends with its header has written no sample, and what follows is another's.
    empty = size == 0 and left == 0
    streamed = not empty and (size in STREAMED_SIZES or riff_size in (0, STREAMED_SIZES[-1]))
    parts.append(_up_to(stream, None if streamed else size))
    left -= len(parts[-1])
    if not streamed:
        parts.append(_trailing(stream, left, order))
    return b"".join(parts)


def _up_to(stream: BinaryIO, size: int | None) -> bytes:
    """So many bytes, all of them for None, or fewer where the stream ends."""
    pieces: list[bytes] = []
    left = size
    while left is None or left > 0:
        piece = stream.read(_PIECE if left is None else min(left, _PIECE))
        if not piece:
            break
        pieces.append(piece)
        left = None if left is None else left - len(piece)
    return b"".join(pieces)


def _trailing(stream: BinaryIO, left: int, order: Literal["little", "big"]) -> bytes:
    """What the header counts behind the samples, as far as it is there: some programs count wrongly."""
    pieces = []
    if left % 2 and cast(io.BufferedReader, stream).peek(1)[:1] == b"\0":
        pieces.append(stream.read(1))
        left -= 1
    while left >= 8:
        ahead = cast(io.BufferedReader, stream).peek(8)[:8]
        size = 8 + int.from_bytes(ahead[4:], order)
        size += size % 2
        if len(ahead) < 8 or not ahead[:4].isascii() or size > left:
            break
        pieces.append(_up_to(stream, size))
        left -= size
    return b"".join(pieces)
