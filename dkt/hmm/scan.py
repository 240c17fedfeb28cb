"""Searches of one set of log-likelihoods at several language-model weights and word insertion penalties."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from dkt.errors import DktError
from dkt.hmm.search import NoPathError, Searcher, SearchTimer, search_utterance, to_words
from dkt.tally import Tally
from dkt.text import write_lines

logger = logging.getLogger(__name__)

_PROGRESS_EVERY = 50
_DECIMAL = re.compile(r"-?\d+(\.\d+)?")


def parse_points(text: str, option: str) -> list[str]:
    """The numbers of an option such as ``--lmwts "7 8 9"``, as written: they name the files of the scan.

    Raises:
        DktError: there is none, one is no number, or one stands twice.
    """
    points = text.split()
    if not points or not all(_DECIMAL.fullmatch(point) for point in points):
        raise DktError(f"{option} is '{text}', expected decimal numbers with spaces between them")
    if len(set(map(float, points))) != len(points):
        raise DktError(f"{option} is '{text}': a number stands twice")
    return points


def scan(
    searchers: Mapping[str, Searcher],
    lmwts: Sequence[str],
    loglikes: Iterable[tuple[str, np.ndarray]],
    path: str,
    words: dict[int, str],
    out_dir: str | Path,
    tally: Tally,
) -> None:
    """Search every utterance at every point and write its words to ``out_dir/<lmwt>_<penalty>.txt``.

    The acoustic scale at weight w is 1 / w. The beam stays the same number of scaled cost units. An
    utterance without a path at some point gets a line without words there, so that it counts as
    deletions, and is counted as lost once.

    Args:
        searchers: word insertion penalty, as it is to stand in the file name, to its search.
        lmwts: language-model weights, as they are to stand in the file names.
        loglikes: utterances and log-likelihoods of shape ``(T, P)``.
        path: where they come from, for errors.
        words: integers of ``words.txt`` to words.
        out_dir: where to; each file is written whole, at the end.
        tally: counts the utterances without a path.

    Raises:
        DktError: a weight is not above 0, log-likelihoods are of another model or no numbers, or a file
            cannot be written.
    """
    scales = {lmwt: 1.0 / _positive(lmwt) for lmwt in lmwts}
    _make_directory(out_dir)
    points = [(lmwt, penalty) for lmwt in lmwts for penalty in searchers]
    lines: dict[tuple[str, str], list[str]] = {point: [] for point in points}
    timer = SearchTimer()
    num_frames = 0
    for count, (utt, matrix) in enumerate(loglikes, 1):
        losses = set()
        for lmwt, penalty in points:
            try:
                with timer:
                    ids = search_utterance(searchers[penalty], matrix, path, utt, scales[lmwt]).words
            except NoPathError as error:
                ids = []
                losses.add(str(error))
            lines[lmwt, penalty].append(" ".join([utt, *to_words(ids, words, "words.txt")]))
        num_frames += len(matrix)
        if losses:
            tally.drop(utt, min(losses))
        else:
            tally.done()
        if count % _PROGRESS_EVERY == 0:
            logger.info("%d utterances searched at %d points each, %.0fs", count, len(points), timer.seconds)
    for (lmwt, penalty), found in lines.items():
        write_lines(Path(out_dir) / f"{lmwt}_{penalty}.txt", found)
    timer.log(num_frames * len(points))
    logger.info("Searched %d frames at %d points, into %s", num_frames, len(points), out_dir)


def _make_directory(path: str | Path) -> None:
    # At once, so that a long search does not end in an error.
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DktError(f"cannot be made: {error.strerror}", path=path) from None


def _positive(lmwt: str) -> float:
    if float(lmwt) <= 0.0:
        raise DktError(f"--lmwts holds {lmwt}, expected numbers above 0")
    return float(lmwt)
