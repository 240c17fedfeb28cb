"""CMVN statistics of tables of features, as Kaldi's ``featbin/compute-cmvn-stats.cc`` leaves them."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np

from dkt.base.errors import DktError
from dkt.base.tally import DEFAULT_MAX_DROPPED, Tally
from dkt.feat.functions import cmvn_stats
from dkt.util.kaldi_io import is_output_pipe, open_output
from dkt.util.object_io import ObjectWriter, replace_file
from dkt.util.specifiers import is_specifier
from dkt.util.table import MatrixTable, MatrixWriter, VectorTable, read_matrices

logger = logging.getLogger(__name__)


class CmvnTables:
    """Statistics of the features of a table.

    Args:
        features: rspecifier of matrices ``(T, F)``.
        weights: rspecifier of the weights of the frames, vectors ``(T,)``; empty for 1 throughout.
        max_dropped: the share of utterances that may be lost: without features or weights, or of which these
            differ in length.

    Raises:
        DktError: the weights cannot be read.
    """

    def __init__(self, features: str, weights: str = "", max_dropped: float = DEFAULT_MAX_DROPPED) -> None:
        self._features = features
        self._weights = VectorTable(weights) if weights else None
        self._weights_name = weights
        self._dim: int | None = None
        self.tally = Tally("CMVN", max_dropped)

    def of_speakers(self, spk2utt: str, wspecifier: str) -> None:
        """Write those of every speaker; ``spk2utt`` is an rspecifier of the utterances of each.

        Raises:
            DktError: a table cannot be read or written, or too many utterances are lost.
        """
        from dkt.util.symbols import read_texts

        table = MatrixTable(self._features)
        with MatrixWriter(wspecifier) as writer:
            for speaker, utts in read_texts(spk2utt).items():
                missing = [utt for utt in utts if utt not in table]
                for utt in missing:
                    self.tally.drop(utt, f"no features in {self._features}")
                stats = self._sum((utt, table[utt]) for utt in utts if utt not in missing)
                if stats is None:
                    logger.warning("no statistics of speaker '%s'", speaker)
                else:
                    writer.write(speaker, stats)
        self.tally.finish(self._features)

    def of_utterances(self, wspecifier: str) -> None:
        """Write those of every utterance.

        Raises:
            DktError: as ``of_speakers``.
        """
        with MatrixWriter(wspecifier) as writer:
            for utt, frames in read_matrices(self._features):
                stats = self._stats(utt, frames)
                if stats is not None:
                    writer.write(utt, stats)
        self.tally.finish(self._features)

    def of_all(self, wxfilename: str, binary: bool = True) -> None:
        """Write those of all utterances together as one matrix, in single precision as Kaldi does.

        Raises:
            DktError: as ``of_speakers``.
        """
        stats = self._sum(read_matrices(self._features))
        self.tally.finish(self._features)
        assert stats is not None
        object_writer = ObjectWriter(binary)
        object_writer.matrix(stats)
        if is_output_pipe(wxfilename) or wxfilename.strip() == "-":
            with open_output(wxfilename) as stream:
                stream.write(object_writer.getvalue())
        else:
            replace_file(wxfilename, object_writer.getvalue())
        logger.info("Wrote global CMVN stats to %s", wxfilename)

    def _sum(self, utterances: Iterable[tuple[str, np.ndarray]]) -> np.ndarray | None:
        total = None
        for utt, frames in utterances:
            stats = self._stats(utt, frames)
            if stats is not None:
                total = stats if total is None else total + stats
        return total

    def _stats(self, utt: str, frames: np.ndarray) -> np.ndarray | None:
        """The statistics of an utterance; None, and it is counted as lost, if it has no proper weights."""
        if self._dim is not None and frames.shape[1] != self._dim:
            raise DktError(
                f"features of dimension {frames.shape[1]}, expected {self._dim} as of those before",
                path=self._features,
                utt=utt,
            )
        weights = None
        if self._weights is not None:
            if utt not in self._weights:
                self.tally.drop(utt, f"no weights in {self._weights_name}")
                return None
            weights = self._weights[utt]
            if len(weights) != len(frames):
                self.tally.drop(utt, "as many weights as frames expected")
                return None
        self._dim = frames.shape[1]
        stats = cmvn_stats(frames, weights)
        if not np.isfinite(stats).all():
            # The statistics of the speaker's other utterances would be lost with it.
            what = "features" if weights is None or not np.isfinite(frames).all() else "weights"
            path = self._weights_name if what == "weights" else self._features
            raise DktError(f"the {what} hold a value that is not a number", path=path, utt=utt)
        self.tally.done()
        return stats


def compute(
    features: str,
    output: str,
    spk2utt: str = "",
    weights: str = "",
    binary: bool = True,
    max_dropped: float = DEFAULT_MAX_DROPPED,
) -> None:
    """Write what ``compute-cmvn-stats`` writes for these arguments.

    Args:
        features, weights, max_dropped: as of ``CmvnTables``.
        output: wspecifier of the statistics of speakers, with ``spk2utt``, or utterances; another name is
            that of a file for the statistics of all.
        spk2utt: rspecifier of the utterances of speakers; empty for none.
        binary: the form of the statistics of all.

    Raises:
        DktError: the arguments contradict each other, or as of the methods of ``CmvnTables``.
    """
    if not is_specifier(output) and spk2utt:
        raise DktError(
            "--spk2utt goes with a table of statistics, not with a single file",
            path=output,
            hint="did you forget ark: before it?",
        )
    tables = CmvnTables(features, weights, max_dropped)
    if spk2utt:
        tables.of_speakers(spk2utt, output)
    elif is_specifier(output):
        tables.of_utterances(output)
    else:
        tables.of_all(output, binary)
