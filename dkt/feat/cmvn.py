"""CMVN statistics of whole data directories."""

from __future__ import annotations

import logging

import numpy as np

from dkt.base.errors import DktError
from dkt.base.tally import DEFAULT_MAX_DROPPED, Tally
from dkt.feat.functions import cmvn_stats
from dkt.feat.pipeline import FEATS, FeatureOptions
from dkt.feat.reader import FeatureReader
from dkt.util.data_dir import DataDir
from dkt.util.table import MatrixWriter

logger = logging.getLogger(__name__)


def compute_cmvn(
    data: DataDir,
    wspecifier: str,
    per_utterance: bool = False,
    paste: str = FEATS,
    max_dropped: float = DEFAULT_MAX_DROPPED,
) -> None:
    """Write CMVN statistics of every speaker, or of every utterance, of a data directory.

    Args:
        data: a data directory with ``feats.scp``.
        wspecifier: where to.
        per_utterance: statistics of each utterance rather than each speaker.
        paste: script files of the data directory whose features are pasted first.
        max_dropped: the share of utterances that may be without features.

    Raises:
        DktError: an utterance of ``feats.scp`` has no speaker, features are NaN or infinite, or too many
            utterances have none.
    """
    tally = Tally("CMVN", max_dropped)
    reader = FeatureReader(data, FeatureOptions(paste=paste))
    reader.drop_missing(tally)
    stats: dict[str, np.ndarray] = {}
    for utt, features in reader:
        if utt not in data.utt2spk:
            raise DktError("has no speaker", path=data.path / "utt2spk", utt=utt)
        key = utt if per_utterance else data.utt2spk[utt]
        stats[key] = stats.get(key, 0) + cmvn_stats(features)
        tally.done()
    tally.finish(str(data.path))
    for speaker in sorted(set(data.utt2spk.values()) - set(stats)) if not per_utterance else ():
        logger.warning("no statistics of speaker '%s', who has no features", speaker)
    with MatrixWriter(wspecifier) as writer:
        for key in sorted(stats):
            writer.write(key, stats[key])
    logger.info("CMVN statistics of %d %s", len(stats), "utterances" if per_utterance else "speakers")
