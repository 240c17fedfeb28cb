"""Recordings and segments: samples of every utterance of a ``wav.scp``, from files or pipes."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from dkt.base.errors import DktError
from dkt.base.findings import plural, some
from dkt.base.ranges import real_number
from dkt.feat.riff import mend_riff, read_wave
from dkt.util.kaldi_io import is_input_pipe, open_input, split_offset
from dkt.util.text import fields, natural, read_keyed_lines

logger = logging.getLogger(__name__)

# Kaldi's features are defined on 16-bit sample values.
_SAMPLE_SCALE = 32768.0
# Times in segments are often rounded: as extract-segments does, so much beyond the end is cut off quietly.
_MAX_OVERSHOOT = 0.5  # seconds
_TO_THE_END = -1.0
# Samples that are read at once.
_BLOCK = 1 << 20
# What libsndfile says of the length of a FLAC stream whose header tells none.
_UNKNOWN_LENGTH = 2**63 - 1


def read_audio(
    rxfilename: str, utt: str, channel: int | None = None, cut: dict[str, str] | None = None
) -> tuple[np.ndarray, int]:
    """Read one recording: wav, flac or whatever else libsndfile knows.

    Args:
        rxfilename: a file, ``archive:offset`` of a wav file, ``-`` or ``command |``.
        utt: the recording, for errors.
        channel: which one, from 0; None for a recording that has to have only one.
        cut: where it is noted, and logged, that a wav file ends before its header says: as in Kaldi what is
            there is used.

    Returns:
        float32 samples of 16-bit size, shape ``(num_samples,)``, and their rate in Hz.

    Raises:
        DktError: it cannot be read, holds no samples, or has several channels.
    """
    file, offset = (None, 0) if _is_stream(rxfilename) else split_offset(rxfilename)
    if file is not None and not Path(file).is_file():
        raise DktError("does not exist", path=file, utt=utt, hint="mend wav.scp")
    if file is not None and offset >= max(Path(file).stat().st_size, 1):
        raise DktError(f"offset {offset} lies past the end of the file", path=file, utt=utt)
    with open_input(rxfilename) as stream:
        try:
            # What follows in an archive is of other recordings.
            data = read_wave(stream) if offset else stream.read()
        except DktError as error:
            raise DktError(str(error), path=rxfilename, utt=utt) from None
    return decode_audio(data, rxfilename, utt, channel, cut)


def _is_stream(rxfilename: str) -> bool:
    return is_input_pipe(rxfilename) or rxfilename.strip() == "-"


def decode_audio(
    data: bytes, path: str, utt: str, channel: int | None = None, cut: dict[str, str] | None = None
) -> tuple[np.ndarray, int]:
    """The samples in the bytes of a recording and their rate, as ``read_audio``; ``path`` is for errors.

    Raises:
        DktError: as ``read_audio``.
    """
    data, shorter = mend_riff(data)
    if shorter and cut is not None:
        cut[utt] = shorter
        logger.info("%s: '%s' is cut short: %s", path, utt, shorter)
    try:
        samples, rate = _read_samples(data)
    except DktError as error:
        raise DktError(str(error), path=path, utt=utt) from None
    except soundfile.SoundFileError as error:
        raise DktError(
            f"not readable audio ({error})", path=path, utt=utt, hint="mend or remove it"
        ) from None
    if len(samples) == 0:
        raise DktError(
            "holds no samples", path=path, utt=utt, hint="remove the utterance from the data directory"
        )
    return _pick_channel(samples, channel, path, utt) * np.float32(_SAMPLE_SCALE), int(rate)


class _ForwardFile(soundfile.SoundFile):
    """Is read from its beginning to its end: in a FLAC stream, without a length, nothing can be sought."""

    def seekable(self) -> bool:
        return False


def _read_samples(data: bytes) -> tuple[np.ndarray, int]:
    """All samples, ``(num_samples, channels)``, piece by piece: a header may promise any number of them.

    Raises:
        DktError: a FLAC file holds fewer than its header says.
        SoundFileError: it is not audio, or damaged.
    """
    with _ForwardFile(io.BytesIO(data)) as sound:
        blocks: list[np.ndarray] = []
        while not blocks or len(blocks[-1]):
            blocks.append(sound.read(_BLOCK // sound.channels + 1, dtype="float32", always_2d=True))
        samples = np.concatenate(blocks)
        if sound.format == "FLAC" and len(samples) < sound.frames < _UNKNOWN_LENGTH:
            raise DktError(f"is cut short: {len(samples)} samples of {sound.frames}", hint="copy it again")
        return samples, sound.samplerate


def _pick_channel(samples: np.ndarray, channel: int | None, path: str, utt: str) -> np.ndarray:
    count = samples.shape[1]
    if channel is None and count != 1:
        raise DktError(
            f"has {count} channels, expected one",
            path=path,
            utt=utt,
            hint="pick a channel in wav.scp, for example with 'sox FILE -t wav - remix 1 |', or one for all "
            "with --channel of dkt compute-fbank-feats and compute-mfcc-feats",
        )
    if channel is not None and channel >= count:
        raise DktError(
            f"has {plural(count, 'channel')}, counted from 0, and channel {channel} is asked for",
            path=path,
            utt=utt,
            hint="mend --channel, or the last column of segments",
        )
    return samples[:, channel or 0]


def tell_cut(cut: dict[str, str]) -> None:
    """Warn of the recordings, noted by ``read_audio``, that end before their headers say."""
    if cut:
        logger.warning(
            "%s cut short (%s): what is there is used",
            plural(len(cut), "recording"),
            some([f"{name}: {samples}" for name, samples in cut.items()], "all in the log"),
        )


class Recordings:
    """The utterances of a data directory: whole recordings, or the pieces that ``segments`` names.

    Args:
        wav_scp: recording to extended filename.
        segments: the file ``segments``: ``<utterance> <recording> <start> <end>``, in seconds, where an end
            of -1 is that of the recording, and perhaps a channel; None for none.
        channel: which one, from 0, where a segment names none; None for recordings that have only one.

    Raises:
        DktError: a segment is malformed, impossible or of an unknown recording.
    """

    def __init__(
        self, wav_scp: dict[str, str], segments: Path | None = None, channel: int | None = None
    ) -> None:
        self.wav_scp = wav_scp
        self._channel = channel
        self.segments_path = segments
        self.segments = None if segments is None else _read_segments(segments, wav_scp)
        self._last: tuple[tuple[str, int | None], np.ndarray, int] | None = None
        self._cut: dict[str, str] = {}

    def tell_cut(self) -> None:
        """Warn of the recordings read so far that end before their headers say."""
        tell_cut(self._cut)

    def __iter__(self) -> Iterator[str]:
        yield from self.wav_scp if self.segments is None else self.segments

    def __len__(self) -> int:
        return len(self.wav_scp if self.segments is None else self.segments)

    def recording_of(self, utt: str) -> str:
        """The recording that ``utt`` is, or is a piece of."""
        return utt if self.segments is None else self.segments[utt][0]

    def path_of(self, utt: str) -> str:
        """The extended filename that holds ``utt``."""
        return self.wav_scp[self.recording_of(utt)]

    def read(self, utt: str) -> tuple[np.ndarray, int]:
        """The samples of one utterance and their rate in Hz, as ``read_audio`` gives them.

        Raises:
            DktError: as ``read_audio``, or the segment lies outside the recording
                (``featbin/extract-segments.cc``).
        """
        if self.segments is None:
            return read_audio(self.wav_scp[utt], utt, self._channel, self._cut)
        recording, start, end, channel = self.segments[utt]
        wanted = recording, self._channel if channel is None else channel
        if self._last is None or self._last[0] != wanted:
            self._last = (wanted, *read_audio(self.wav_scp[recording], *wanted, self._cut))
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


_Segment = tuple[str, float, float, int | None]


def _read_segments(path: Path, wav_scp: dict[str, str]) -> dict[str, _Segment]:
    segments: dict[str, _Segment] = {}
    for utt, rest in read_keyed_lines(path).items():
        try:
            recording, start, end, *channel = fields(rest)
            numbers = [natural(word) for word in channel]
            if len(numbers) > 1 or None in numbers:
                raise ValueError(rest)
            segments[utt] = (recording, real_number(start), real_number(end), numbers[0] if numbers else None)
        except ValueError:
            raise DktError(
                f"expected '<recording> <start> <end>', found '{rest}'", path=path, utt=utt
            ) from None
        _check_times(*segments[utt][1:3], path, utt)
        if recording not in wav_scp:
            raise DktError(f"recording '{recording}' is not in wav.scp", path=path, utt=utt)
    return segments


def _check_times(start: float, end: float, path: Path, utt: str) -> None:
    if not (start >= 0 and (end == _TO_THE_END or start < end)):
        raise DktError(
            f"the segment from {start:g} to {end:g} s is impossible",
            path=path,
            utt=utt,
            hint="give a start of 0 or more and an end after it, or -1 for that of the recording",
        )
