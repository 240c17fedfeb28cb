"""Features and CMVN statistics of whole data directories."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from dkt.datadir import DataDir
from dkt.errors import DktError
from dkt.features import cmvn_stats
from dkt.hmm.audio import Recordings
from dkt.hmm.extraction import FeatureExtractor
from dkt.streams import open_output
from dkt.tables import MatrixWriter, read_matrices
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
    tally.finish()
    return tally


def compute_cmvn(data: DataDir, wspecifier: str, per_utterance: bool = False) -> None:
    """Write CMVN statistics of every speaker, or of every utterance, of a data directory.

    Args:
        data: a data directory with ``feats.scp``.
        wspecifier: where to.
        per_utterance: statistics of each utterance rather than each speaker.

    Raises:
        DktError: an utterance of ``feats.scp`` has no speaker, or a speaker has no features.
    """
    feats = Path(data.file("feats.scp", "steps/make_fbank.sh or steps/make_mfcc.sh"))
    stats: dict[str, np.ndarray] = {}
    for utt, features in read_matrices(f"scp:{feats}"):
        if utt not in data.utt2spk:
            raise DktError("has no speaker", path=data.path / "utt2spk", utt=utt)
        key = utt if per_utterance else data.utt2spk[utt]
        try:
            stats[key] = stats.get(key, 0) + cmvn_stats(features)
        except ValueError:
            raise DktError(
                f"features of dimension {features.shape[1]}, others have another", path=feats, utt=utt
            ) from None
    missing = sorted(set(data.utt2spk.values()) - set(stats)) if not per_utterance else []
    if missing:
        raise DktError(
            f"speaker '{missing[0]}' has no features", path=feats, hint="make the features of all utterances"
        )
    with MatrixWriter(wspecifier) as writer:
        for key in sorted(stats):
            writer.write(key, stats[key])
    logger.info("CMVN statistics of %d %s", len(stats), "utterances" if per_utterance else "speakers")
