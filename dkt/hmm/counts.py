"""Counts of labels, or sums of posteriors, over a table (Kaldi's ``analyze-counts``)."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dkt.base.checksums import write_recorded
from dkt.base.errors import DktError
from dkt.base.findings import VERBOSE, list_names, some
from dkt.base.tally import Tally
from dkt.hmm.posterior import IMPROBABLE, read_posterior_or_matrix
from dkt.hmm.posterior_sums import sum_posteriors
from dkt.matrix.matrix_io import encode_vector, refuse_underscore
from dkt.util.kaldi_io import is_output_pipe, open_output
from dkt.util.object_io import ObjectReader
from dkt.util.table import RandomAccessTable, VectorTable, read_int_vectors, read_table

logger = logging.getLogger(__name__)


def read_real(stream: BinaryIO) -> float:
    """Read one real number of a table (``BasicHolder<BaseFloat>``), binary or text."""
    first = stream.read(1)
    if first != b"\0":
        line = first + stream.readline()
        refuse_underscore(line)
        return float(line)
    mark, size = struct.unpack("<sB", stream.read(2))
    if mark != b"B":
        raise DktError("expected a number")
    return float(struct.unpack("<f" if size == 4 else "<d", stream.read(size))[0])


class NumberTable(RandomAccessTable[float]):
    """Random access to real numbers, one per key."""

    def __init__(self, rspecifier: str) -> None:
        super().__init__(read_real, rspecifier)

    def convert(self, key: str, value: Any) -> float:
        """The number itself."""
        return value


class FrameWeights:
    """What each frame counts for, by utterance, by frame, or both.

    Args:
        frame_weights: rspecifier of vectors, one value per frame; empty for none.
        utt_weights: rspecifier of numbers, one per utterance; empty for none.
    """

    def __init__(self, frame_weights: str = "", utt_weights: str = "") -> None:
        self._frames = VectorTable(frame_weights) if frame_weights else None
        self._utts = NumberTable(utt_weights) if utt_weights else None

    def missing(self, utt: str) -> str | None:
        """What ``utt`` lacks, None if nothing."""
        if self._utts is not None and utt not in self._utts:
            return "missing per-utterance weight"
        if self._frames is not None and utt not in self._frames:
            return "missing per-frame weights"
        return None

    def of(self, utt: str, num_frames: int) -> np.ndarray | None:
        """The weights of one utterance, float64 of shape ``(T,)``; None where every frame counts one.

        Raises:
            DktError: not one weight per frame.
        """
        if self._utts is None and self._frames is None:
            return None
        weights = np.ones(num_frames)
        if self._utts is not None:
            # Kaldi holds it in single precision.
            weights *= float(np.float32(self._utts[utt]))
        if self._frames is not None:
            values = self._frames[utt]
            if len(values) != num_frames:
                raise DktError(
                    f"{len(values)} weights for {num_frames} frames", path=self._frames.path, utt=utt
                )
            weights *= values
        return weights


def _weighted(
    table: Iterator[tuple[str, Any]], weights: FrameWeights, tally: Tally
) -> Iterator[tuple[str, Any, np.ndarray | None]]:
    for utt, value in table:
        reason = weights.missing(utt)
        if reason is not None:
            tally.drop(utt, reason)
            continue
        yield utt, value, weights.of(utt, len(value))
        tally.done()


def count_labels(rspecifier: str, weights: FrameWeights, tally: Tally, counts_dim: int = 0) -> np.ndarray:
    """Frames of each label in a table of integer vectors.

    Args:
        rspecifier: of pdf-ids, phones or other labels from 0.
        weights: of the frames.
        tally: where utterances are counted.
        counts_dim: how many labels there are at least; a larger label adds to them.

    Returns:
        float64 of shape ``(largest label + 1 or counts_dim,)``.

    Raises:
        DktError: a label is negative or absurdly large.
    """
    counts = np.zeros(counts_dim)
    for utt, labels, frame_weights in _weighted(read_int_vectors(rspecifier), weights, tally):
        if not len(labels):
            continue
        # Counts take memory of the largest label, which a damaged archive may put at two thousand million.
        if not (labels.min() >= 0 and labels.max() < IMPROBABLE):
            found = f"labels from {labels.min()} to {labels.max()}"
            raise DktError(f"{found}, expected 0 to {IMPROBABLE - 1}", path=rspecifier, utt=utt)
        if labels.max() >= len(counts):
            if 0 < counts_dim == len(counts):
                logger.warning(
                    "utterance '%s' has label %d, beyond --counts-dim=%d", utt, labels.max(), counts_dim
                )
            counts = np.concatenate([counts, np.zeros(labels.max() + 1 - len(counts))])
        if frame_weights is None:
            counts += np.bincount(labels, minlength=len(counts))
        else:
            # Frame after frame, as Kaldi adds: a different order would round differently.
            np.add.at(counts, labels, frame_weights)
    return counts


def sum_posterior_table(
    rspecifier: str, weights: FrameWeights, tally: Tally, counts_dim: int = 0, apply_exp: bool = False
) -> np.ndarray:
    """The posteriors of a table, matrices or Posteriors of pdf-ids, summed over all frames.

    Divided by their sum they are the mean posterior. No half frame is added, as ``count_labels``' users do:
    a softmax gives every pdf something, and the half would draw the priors of rare pdfs away from the mean.

    Args:
        rspecifier: of the network's posteriors over training data.
        weights: of the frames.
        tally: where utterances are counted.
        counts_dim: the number of pdfs, P; 0 takes it from the first matrix.
        apply_exp: the matrices hold log-posteriors.

    Returns:
        float64 of shape ``(P,)``.

    Raises:
        DktError: these are not posteriors, or not all of the same number of pdfs.
    """
    sums = np.zeros(counts_dim)
    for utt, value, frame_weights in _weighted(
        read_table(read_posterior_or_matrix, rspecifier), weights, tally
    ):
        try:
            added = sum_posteriors(value, len(sums), frame_weights, apply_exp)
        except DktError as error:
            raise DktError(str(error), path=rspecifier, utt=utt) from None
        sums = sums + added if len(sums) else added
    return sums


def warn_of_zeros(counts: np.ndarray) -> None:
    """Warn of labels that never occur."""
    zeros = np.flatnonzero(counts == 0.0).tolist()
    if zeros:
        labels = [str(label) for label in zeros]
        named = some(labels, VERBOSE)
        list_names(logger, "zero count", labels)
        logger.warning("Zero count for %d labels (%s), this is suspicious.", len(zeros), named)


def count_table(counts: np.ndarray, symbol: Callable[[int], str] | None = None) -> str:
    """The counts sorted, with their shares and the total in hours, as ``analyze-counts`` logs them.

    Args:
        counts: shape ``(P,)``.
        symbol: label to its name; None leaves names out.
    """
    total = counts.sum()
    lines = ["Printing...", "### The sorted count table,", "count\t(norm),\tid\t(symbol):"]
    for label in np.argsort(counts, kind="stable").tolist():
        with np.errstate(invalid="ignore"):
            share = np.float64(np.float32(counts[label])) / total
        name = f"({symbol(label)})" if symbol else ""
        lines.append(f"{counts[label]:g}\t({share:g}),\t{label}\t{name}")
    hours = np.float32(total) / np.float32(100) / np.float32(3600)
    return "\n".join([*lines, "", f"#total {total:g} ({hours:g}h)", ""])


def symbol_finder(table: Mapping[str, int]) -> Callable[[int], str]:
    """Id to symbol, empty where there is none, for a table of symbol to id."""
    names = {number: name for name, number in table.items()}
    return lambda number: names.get(number, "")


#: What Kaldi adds to every count, so that no pdf has a prior of zero.
HALF_FRAME = 0.5


def count_pdfs(alignments: Iterable[np.ndarray], num_pdfs: int) -> np.ndarray:
    """Frames of each pdf plus a half, float64 of shape ``(P,)`` (Kaldi's ``analyze-counts``).

    Raises:
        DktError: a pdf is not one of ``num_pdfs``.
    """
    counts = np.full(num_pdfs, HALF_FRAME)
    for pdfs in alignments:
        if len(pdfs) and not (pdfs.min() >= 0 and pdfs.max() < num_pdfs):
            raise DktError(
                f"labels from {pdfs.min()} to {pdfs.max()}, but the model has pdfs 0 to {num_pdfs - 1}",
                hint="give the final.mdl that made the alignment",
            )
        counts += np.bincount(pdfs, minlength=num_pdfs)
    return counts


def save_counts(path: str | Path, counts: np.ndarray, binary: bool = False) -> None:
    """Write ``ali_train_pdf.counts`` (``Vector<double>::Write``).

    Args:
        path: a file, which is written whole or not at all; or, as a text, ``-`` or ``| command``.
        counts: shape ``(P,)``.
        binary: in Kaldi's binary form, else in text.
    """
    data = encode_vector(counts.astype(np.float64), text=not binary)
    if isinstance(path, str) and (path == "-" or is_output_pipe(path)):
        with open_output(path) as stream:
            stream.write(data)
    else:
        write_recorded(path, data)


def load_counts(path: str | Path) -> np.ndarray:
    """Read ``ali_train_pdf.counts``: shape ``(P,)``.

    Raises:
        DktError: it is missing, or holds a count that is negative or not a number.
    """
    counts = ObjectReader.open(path).vector().astype(np.float64)
    if not (np.isfinite(counts) & (counts >= 0)).all() or counts.sum() <= 0:
        raise DktError("expected counts of frames, none of them negative", path=path)
    return counts
