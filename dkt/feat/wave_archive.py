"""Recordings in archives, as Kaldi's ``wav-copy`` writes them: wav files in a row, each behind a key."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO, Literal, cast

import numpy as np

from dkt.base.bounded import read_bytes
from dkt.base.errors import DktError
from dkt.base.gzipped import unpacked
from dkt.feat.riff import STREAMED_SIZES
from dkt.util.archives import read_key
from dkt.util.kaldi_io import open_input

_HEAD = 12
_PIECE = 1 << 20


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


class WaveArchive:
    """The recordings of an archive, one after another.

    Args:
        rxfilename: a file, ``-`` or ``command |``.
        channel: as of ``Recordings``.
    """

    segments = None

    def __init__(self, rxfilename: str, channel: int | None = None) -> None:
        self._rxfilename = rxfilename
        self._channel = channel
        self._utt, self._data = "", b""
        self._cut: dict[str, str] = {}

    def __iter__(self) -> Iterator[str]:
        """The utterances; each is there to be read until the next is asked for.

        Raises:
            DktError: the archive is damaged, or an utterance stands in it twice.
        """
        seen: set[str] = set()
        with open_input(self._rxfilename) as opened:
            stream = unpacked(opened, self._rxfilename)
            while (utt := read_key(stream, self._rxfilename)) is not None:
                if utt in seen:
                    raise DktError("stands twice", path=self._rxfilename, utt=utt)
                seen.add(utt)
                try:
                    self._utt, self._data = utt, read_wave(stream)
                except DktError as error:
                    raise DktError(str(error), path=self._rxfilename, utt=utt) from None
                yield utt

    def path_of(self, utt: str) -> str:
        """The archive."""
        return self._rxfilename

    def read(self, utt: str) -> tuple[np.ndarray, int]:
        """The samples of the present utterance and their rate, as ``dkt.feat.wave.read_audio`` gives them."""
        from dkt.feat.wave import decode_audio

        assert utt == self._utt
        return decode_audio(self._data, self._rxfilename, utt, self._channel, self._cut)

    def tell_cut(self) -> None:
        """As ``Recordings.tell_cut``."""
        from dkt.feat.wave import tell_cut

        tell_cut(self._cut)
