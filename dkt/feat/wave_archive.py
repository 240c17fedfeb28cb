"""Recordings in archives, as Kaldi's ``wav-copy`` writes them: wav files in a row, each behind a key."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dkt.base.errors import DktError
from dkt.base.gzipped import unpacked
from dkt.feat.riff import read_wave
from dkt.feat.wave import decode_audio, tell_cut
from dkt.util.archives import read_key
from dkt.util.kaldi_io import open_input


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
            DktError: the archive is damaged, or a key is in it twice.
        """
        seen: set[str] = set()
        with open_input(self._rxfilename) as opened:
            stream = unpacked(opened, self._rxfilename)
            while (utt := read_key(stream, self._rxfilename)) is not None:
                if utt in seen:
                    raise DktError("duplicate key", path=self._rxfilename, utt=utt)
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
        assert utt == self._utt
        return decode_audio(self._data, self._rxfilename, utt, self._channel, self._cut)

    def tell_cut(self) -> None:
        """As ``Recordings.tell_cut``."""
        tell_cut(self._cut)
