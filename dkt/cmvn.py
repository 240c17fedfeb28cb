"""CMVN statistics of whole data directories."""

from __future__ import annotations

import logging

import numpy as np

from dkt.datadir import DataDir
from dkt.errors import DktError
from dkt.feature_options import FEATS, FeatureOptions
from dkt.feature_reader import FeatureReader
from dkt.features import cmvn_stats
from dkt.tables import MatrixWriter

logger = logging.getLogger(__name__)


def compute_cmvn(data: DataDir, wspecifier: str, per_utterance: bool = False, streams: str = FEATS) -> None:
    """Write CMVN statistics of every speaker, or of every utterance, of a data directory.

    Args:
        data: a data directory with ``feats.scp``.
        wspecifier: where to.
        per_utterance: statistics of each utterance rather than each speaker.
        streams: script files of the data directory whose features are pasted first.

    Raises:
        DktError: an utterance of ``feats.scp`` has no speaker, or a speaker has no features.
    """
    stats: dict[str, np.ndarray] = {}
    for utt, features in FeatureReader(data, FeatureOptions(streams=streams)):
        if utt not in data.utt2spk:
            raise DktError("has no speaker", path=data.path / "utt2spk", utt=utt)
        key = utt if per_utterance else data.utt2spk[utt]
        stats[key] = stats.get(key, 0) + cmvn_stats(features)
    missing = sorted(set(data.utt2spk.values()) - set(stats)) if not per_utterance else []
    if missing:
        raise DktError(
            f"speaker '{missing[0]}' has no features",
            path=data.path / streams.split()[0],
            hint="make the features of all utterances",
        )
    with MatrixWriter(wspecifier) as writer:
        for key in sorted(stats):
            writer.write(key, stats[key])
    logger.info("CMVN statistics of %d %s", len(stats), "utterances" if per_utterance else "speakers")
