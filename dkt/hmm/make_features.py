"""Features of whole data directories."""

from __future__ import annotations

import logging

from dkt.errors import DktError
from dkt.hmm.audio import Recordings
from dkt.hmm.extraction import FeatureExtractor
from dkt.streams import open_output
from dkt.tables import MatrixWriter
from dkt.tally import Tally

logger = logging.getLogger(__name__)

_REPORT_EVERY = 200


def compute_features(
    recordings: Recordings,
    extractor: FeatureExtractor,
    writer: MatrixWriter,
    num_frames_file: str | None = None,
    max_loss: float = 0.0,
) -> Tally:
    """Write the features of every utterance, flushed one by one.

    Args:
        recordings: the utterances.
        extractor: makes the features.
        writer: an open writer.
        num_frames_file: where to write ``<utterance> <frames>`` lines (``utt2num_frames``).
        max_loss: the share of unreadable utterances that is no error yet.

    Raises:
        DktError: too many recordings are unreadable or of another sample rate; all others are written.
    """
    tally = Tally("features", max_loss)
    lengths = []
    for utt in recordings:
        try:
            samples, rate = recordings.read(utt)
            features = extractor.compute(samples, rate, recordings.path_of(utt), utt)
        except DktError as error:
            tally.drop(utt, str(error))
            continue
        writer.write(utt, features)
        lengths.append(f"{utt} {len(features)}\n")
        tally.done()
        if tally.num_done % _REPORT_EVERY == 0:
            logger.info("features of %d of %d utterances", tally.num_done, len(recordings))
    if num_frames_file:
        with open_output(num_frames_file) as stream:
            stream.write("".join(lengths).encode())
    recordings.tell_cut()
    tally.finish()
    return tally
