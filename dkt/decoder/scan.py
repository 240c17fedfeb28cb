"""Decoding of one set of log-likelihoods at several LM weights and word insertion penalties."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from dkt.base.tally import Tally
from dkt.decoder.decode_table import NoPathError, SearchTimer, search_utterance
from dkt.decoder.faster_decoder import Searcher
from dkt.score.scan_points import ScanTexts, acoustic_scale
from dkt.util.progress import told
from dkt.util.symbols import to_words

logger = logging.getLogger(__name__)


def scan(
    searchers: Mapping[str, Searcher],
    lmwts: Sequence[str],
    loglikes: Iterable[tuple[str, np.ndarray]],
    path: str,
    words: dict[int, str],
    out_dir: str | Path,
    tally: Tally,
) -> None:
    """Decode every utterance at every point and write its words to ``out_dir/<lmwt>_<penalty>.txt``.

    The acoustic scale at weight w is 1 / w. The beam stays the same number of scaled cost units. An
    utterance without a path at some point gets a line without words there, so that it counts as
    deletions, and is counted as lost once.

    Args:
        searchers: word insertion penalty, as it is to stand in the file name, to its search.
        lmwts: language-model weights, as they are to stand in the file names.
        loglikes: utterances and log-likelihoods of shape ``(T, P)``.
        path: the rspecifier that they come from, for errors.
        words: integers of ``words.txt`` to words.
        out_dir: where to; each file is written whole, at the end.
        tally: counts the utterances without a path.

    Raises:
        DktError: a weight is not above 0, log-likelihoods are of another model or no numbers, or a file
            cannot be written.
    """
    scales = {lmwt: acoustic_scale(lmwt) for lmwt in lmwts}
    texts = ScanTexts(lmwts, list(searchers), out_dir)
    timer = SearchTimer()
    num_frames = 0
    for utt, matrix in told(loglikes, f"decoding at {len(texts)} points", path, len):
        losses = set()
        for lmwt, penalty in texts:
            try:
                with timer:
                    ids = search_utterance(searchers[penalty], matrix, path, utt, scales[lmwt]).words
            except NoPathError as error:
                ids = []
                losses.add(str(error))
            texts.add((lmwt, penalty), utt, to_words(ids, words, "words.txt"))
        num_frames += len(matrix)
        if losses:
            tally.drop(utt, min(losses))
        else:
            tally.done()
    texts.write()
    timer.log(num_frames * len(texts))
    logger.info("Decoded %d frames at %d points, into %s", num_frames, len(texts), out_dir)
