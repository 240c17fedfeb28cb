"""Recordings and segments: samples of every utterance of a ``wav.scp``, from files or pipes."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from dkt.errors import DktError
from dkt.findings import plural, some
from dkt.hmm.riff import mend_riff
from dkt.streams import is_input_pipe, open_input
from dkt.text import fields, read_keyed_lines

logger = logging.getLogger(__name__)

# Kaldi's features are defined on 16-bit sample values.
_SAMPLE_SCALE = 32768.0
# Times in segments are often rounded: as extract-segments does, so much beyond the end is cut off quietly.
_MAX_OVERSHOOT = 0.5  # seconds
_TO_THE_END = -1.0


def read_audio(rxfilename: str, utt: str, cut: dict[str, str] | None = None) -> tuple[np.ndarray, int]:
    """Read one mono recording: wav, flac or whatever else libsndfile knows.

    Args:
        rxfilename: a file or ``command |``.
        utt: the recording, for errors.
        cut: where it is noted, and logged, that a wav file ends before its header says: as in Kaldi what is
            there is used.

    Returns:
        float32 samples of 16-bit size, shape ``(num_samples,)``, and their rate in Hz.

    Raises:
        DktError: it cannot be read, holds no samples, or has several channels.
    """
    if not is_input_pipe(rxfilename) and not Path(rxfilename).is_file():
        raise DktError("does not exist", path=rxfilename, utt=utt, hint="mend wav.scp")
    with open_input(rxfilename) as stream:
        data, shorter = mend_riff(stream.read())
    if shorter and cut is not None:
        cut[utt] = shorter
        logger.info("%s: '%s' is cut short: %s", rxfilename, utt, shorter)
    try:
        samples, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise DktError(
            f"is no readable audio ({error})", path=rxfilename, utt=utt, hint="mend or remove it"
        ) from None
    if len(samples) == 0:
        raise DktError(
            "holds no samples", path=rxfilename, utt=utt, hint="remove the utterance from the data directory"
        )
    if samples.shape[1] != 1:
        raise DktError(
            f"has {samples.shape[1]} channels, expected one",
            path=rxfilename,
            utt=utt,
            hint="pick a channel in wav.scp, for example with 'sox FILE -t wav - remix 1 |'",
        )
    return samples[:, 0] * np.float32(_SAMPLE_SCALE), int(rate)


class Recordings:
    """The utterances of a data directory: whole recordings, or the pieces that ``segments`` names.

    Args:
        wav_scp: recording to extended filename.
        segments: the file ``segments``: ``<utterance> <recording> <start> <end>``, in seconds, where an end
            of -1 is that of the recording; None for none.

    Raises:
        DktError: a segment is malformed, impossible or of an unknown recording.
    """

    def __init__(self, wav_scp: dict[str, str], segments: Path | None = None) -> None:
        self.wav_scp = wav_scp
        self.segments_path = segments
        self.segments = None if segments is None else _read_segments(segments, wav_scp)
        self._last: tuple[str, np.ndarray, int] | None = None
        self._cut: dict[str, str] = {}

    def tell_cut(self) -> None:
        """Warn of the recordings read so far that end before their headers say."""
        if self._cut:
            logger.warning(
                "%s cut short (%s): what is there is used",
                plural(len(self._cut), "recording"),
                some([f"{name}: {samples}" for name, samples in self._cut.items()], "all in the log"),
            )

    def __iter__(self) -> Iterator[str]:
        yield from self.wav_scp if self.segments is None else self.segments

    def __len__(self) -> int:
        return len(self.wav_scp if self.segments is None else self.segments)

    def path_of(self, utt: str) -> str:
        """The extended filename that holds ``utt``."""
        return self.wav_scp[utt if self.segments is None else self.segments[utt][0]]

    def read(self, utt: str) -> tuple[np.ndarray, int]:
        """The samples of one utterance and their rate in Hz, as ``read_audio`` gives them.

        Raises:
            DktError: as ``read_audio``, or the segment lies outside the recording
                (``featbin/extract-segments.cc``).
        """
        if self.segments is None:
            return read_audio(self.wav_scp[utt], utt, self._cut)
        recording, start, end = self.segments[utt]
        if self._last is None or self._last[0] != recording:
            self._last = (recording, *read_audio(self.wav_scp[recording], recording, self._cut))
        _, samples, rate = self._last
        duration = len(samples) / rate
        if end == _TO_THE_END:
            end = duration
        if start >= duration or end > duration + _MAX_OVERSHOOT:
            raise DktError(
                f"the segment from {start:g} to {end:g} s is not within recording '{recording}' of "
                f"{duration:g} s",
                path=self.segments_path,
                utt=utt,
                hint="mend or remove the segment",
            )
        return samples[int(start * rate + 0.5) : int(end * rate + 0.5)], rate


def _read_segments(path: Path, wav_scp: dict[str, str]) -> dict[str, tuple[str, float, float]]:
    segments = {}
    for utt, rest in read_keyed_lines(path).items():
        try:
            recording, start, end = fields(rest)
            segments[utt] = (recording, float(start), float(end))
        except ValueError:
            raise DktError(
                f"expected '<recording> <start> <end>', found '{rest}'", path=path, utt=utt
            ) from None
        _check_times(*segments[utt][1:], path, utt)
        if recording not in wav_scp:
            raise DktError(f"recording '{recording}' is not in wav.scp", path=path, utt=utt)
    return segments


def _check_times(start: float, end: float, path: Path, utt: str) -> None:
    # Not a number fails every comparison.
    if not (0 <= start < math.inf and (end == _TO_THE_END or start < end)):
        raise DktError(
            f"the segment from {start:g} to {end:g} s is impossible",
            path=path,
            utt=utt,
            hint="give a start of 0 or more and an end after it, or -1 for that of the recording",
        )
