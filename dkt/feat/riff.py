"""The size in the header of a wav file, which libsndfile does not insist on (``feat/wave-reader.cc``)."""

from __future__ import annotations

from typing import Literal

#: A program that writes to a pipe cannot come back to put in the size, and leaves one of these (sox, ffmpeg).
STREAMED_SIZES = (0, 0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF)


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
