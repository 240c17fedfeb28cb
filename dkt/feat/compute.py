"""Features of whole data directories."""

from __future__ import annotations

import logging
from collections.abc import Sized
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np

from dkt.base.errors import DktError
from dkt.base.tally import Tally
from dkt.feat.extraction import FeatureExtractor
from dkt.feat.vtln import WarpFactors
from dkt.feat.wave import Recordings
from dkt.feat.wave_archive import WaveArchive
from dkt.util.kaldi_io import open_output
from dkt.util.number_tables import NumberWriter
from dkt.util.specifiers import is_specifier
from dkt.util.table import MatrixWriter

logger = logging.getLogger(__name__)

_REPORT_EVERY = 200


@dataclass
class FeatureJob:
    """What is computed of each utterance, and written beside its features.

    Attributes:
        extractor: makes the features.
        warps: the warping factors of the utterances.
        min_duration: shorter utterances, in seconds, get no features, and are not counted as lost.
        subtract_mean: whether the mean of each utterance is subtracted.
        num_frames: wspecifier of the numbers of frames, or a file for lines ``<utterance> <frames>``; empty
            for neither.
        durations: wspecifier of the durations in seconds; empty for none.
    """

    extractor: FeatureExtractor
    warps: WarpFactors = field(default_factory=WarpFactors)
    min_duration: float = 0.0
    subtract_mean: bool = False
    num_frames: str = ""
    durations: str = ""

    def compute(self, recordings: Recordings | WaveArchive, utt: str) -> tuple[np.ndarray | None, float]:
        """The features ``(T, F)`` of an utterance, None if it is too short, and its duration.

        Raises:
            DktError: as ``FeatureExtractor.compute``, or it has no warping factor.
        """
        samples, rate = recordings.read(utt)
        duration = len(samples) / rate
        if duration < self.min_duration:
            return None, duration
        warp = self.warps.of(utt)
        if warp is None:
            raise DktError("has no warping factor", path=self.warps.vtln_map, utt=utt)
        features = self.extractor.compute(samples, rate, recordings.path_of(utt), utt, warp)
        return features - features.mean(axis=0) if self.subtract_mean else features, duration


def compute_features(
    recordings: Recordings | WaveArchive, job: FeatureJob, writer: MatrixWriter, max_dropped: float = 0.0
) -> Tally:
    """Write the features of every utterance, flushed one by one.

    Args:
        recordings: the utterances.
        job: what to do.
        writer: an open writer.
        max_dropped: the share of unreadable utterances that is not an error yet.

    Raises:
        DktError: too many recordings are unreadable or of another sample rate; all others are written.
    """
    tally = Tally("features", max_dropped)
    total = f" of {len(recordings)}" if isinstance(recordings, Sized) else ""
    lengths: dict[str, int] = {}
    short: list[str] = []
    with ExitStack() as files:
        durations = files.enter_context(NumberWriter(job.durations)) if job.durations else None
        for utt in recordings:
            try:
                features, duration = job.compute(recordings, utt)
            except DktError as error:
                tally.drop(utt, str(error))
                continue
            if features is None:
                short.append(utt)
                continue
            writer.write(utt, features)
            lengths[utt] = len(features)
            if durations is not None:
                durations.write(utt, duration)
            tally.done()
            if tally.num_done % _REPORT_EVERY == 0:
                logger.info("features of %d%s utterances", tally.num_done, total)
    _write_lengths(job.num_frames, lengths)
    if short:
        logger.warning(
            "%d utterances shorter than --min-duration=%g have no features, the first '%s'",
            len(short),
            job.min_duration,
            short[0],
        )
    recordings.tell_cut()
    tally.finish()
    return tally


def _write_lengths(target: str, lengths: dict[str, int]) -> None:
    if is_specifier(target):
        with NumberWriter(target) as writer:
            for utt, length in lengths.items():
                writer.write(utt, length)
    elif target:
        with open_output(target) as stream:
            stream.write("".join(f"{utt} {length}\n" for utt, length in lengths.items()).encode())
