"""The size in the header of a wav file, which libsndfile does not insist on (``feat/wave-reader.cc``)."""

from __future__ import annotations

from typing import Literal

from dkt.errors import DktError

#: A program that writes to a pipe cannot come back to put in the size, and leaves one of these (sox, ffmpeg).
STREAMED_SIZES = (0, 0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF)


def check_riff(data: bytes, path: str, utt: str) -> bytes:
    """The bytes of a recording, those of a streamed wav with the true size in the header.

    Args:
        data: of any format; all but wav is returned as it is.
        path, utt: for errors.

    Raises:
        DktError: a wav file holds fewer samples than its header says.
    """
    if data[8:12] != b"WAVE" or data[:4] not in (b"RIFF", b"RIFX"):
        return data
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
            return data  # damaged otherwise: libsndfile says how
    size, found = number(place + 4, 4), len(data) - place - 8
    # sox rounds the size down to whole samples.
    streamed = any(size in (mark, mark - mark % block) for mark in STREAMED_SIZES)
    if streamed or number(4, 4) in (0, 0xFFFFFFFF):
        return data[: place + 4] + min(found, 0xFFFFFFFF).to_bytes(4, order) + data[place + 8 :]
    if found // block < size // block:
        raise DktError(
            f"is cut short: {found // block} samples of {size // block}",
            path=path,
            utt=utt,
            hint="copy it again, or remove the utterance",
        )
    return data
