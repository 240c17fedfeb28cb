"""LDA statistics on disk, in the form of Kaldi's ``acc-lda`` (``LdaEstimate::Read`` and ``Write``).

The file holds single precision, so the second-order sums stand there without the part that the class means
explain, which is large and is added again on reading.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dkt.base.errors import DktError
from dkt.transform.lda import LdaAccumulator
from dkt.util.object_io import ObjectReader, ObjectWriter

_PACKED_TYPES: dict[str, np.dtype] = {"FP": np.dtype("<f4"), "DP": np.dtype("<f8")}


class _PackedReader(ObjectReader):
    """Reads symmetric matrices too."""

    def packed(self) -> np.ndarray:
        """A symmetric matrix (``PackedMatrix::Read``): shape ``(n, n)``, float64."""
        values = self._packed_binary() if self.binary else self._packed_text()
        size = int(np.sqrt(2 * len(values)))
        if size * (size + 1) // 2 != len(values):
            raise self.fail(f"{len(values)} numbers are not the lower triangle of a symmetric matrix")
        result = np.zeros((size, size))
        rows_, columns = np.tril_indices(size)
        result[rows_, columns] = result[columns, rows_] = values
        return result

    def _packed_binary(self) -> np.ndarray:
        dtype = _PACKED_TYPES[self.expect(*_PACKED_TYPES)]
        size = self.int32()
        if size < 0:
            raise self.fail(f"impossible matrix size {size}")
        return np.frombuffer(self._take(size * (size + 1) // 2 * dtype.itemsize), dtype=dtype)

    def _packed_text(self) -> np.ndarray:
        # The rows grow: to the reader of matrices they would be damaged.
        self.expect("[")
        values = []
        while self.peek_token() != "]":
            values.append(self.real())
        self.expect("]")
        return np.array(values)


class _PackedWriter(ObjectWriter):
    """Writes symmetric matrices too."""

    def packed(self, values: np.ndarray) -> None:
        """Write a symmetric matrix ``(n, n)`` as float32 (``PackedMatrix<float>::Write``)."""
        triangle = values[np.tril_indices(len(values))].astype("<f4")
        if self.binary:
            self.token("FP")
            self.int32(len(values))
            self._parts.append(triangle.tobytes())
        else:
            rows = ["".join(f"{x:.7g} " for x in row[: i + 1]) for i, row in enumerate(values.astype("<f4"))]
            self._parts.append(("[\n" + "\n".join(rows) + "]\n").encode())


def _class_part(stats: LdaAccumulator) -> np.ndarray:
    """What the class means explain of the second-order sums: shape ``(F, F)``."""
    seen = stats.counts != 0
    sums = stats.first[seen]
    return (sums / stats.counts[seen, None]).T @ sums


def save_accumulator(path: str | Path, stats: LdaAccumulator, binary: bool = True) -> None:
    """Write LDA statistics, which Kaldi's ``est-lda`` reads too.

    Raises:
        DktError: the file cannot be written.
    """
    writer = _PackedWriter(binary)
    writer.token("<LDAACCS>")
    writer.token("<VECSIZE>")
    writer.int32(stats.dim)
    writer.token("<NUMCLASSES>")
    writer.int32(stats.num_pdfs)
    writer.token("<ZERO_ACCS>")
    writer.vector(stats.counts)
    writer.token("<FIRST_ACCS>")
    writer.matrix(stats.first)
    writer.token("<SECOND_ACCS>")
    writer.packed(stats.second - _class_part(stats))
    writer.token("</LDAACCS>")
    writer.save(path)


def load_accumulator(path: str | Path) -> LdaAccumulator:
    """Read LDA statistics, of ours or of Kaldi's ``acc-lda``, binary or text.

    Raises:
        DktError: the file is missing, cut short or damaged.
    """
    reader = _PackedReader.open(path)
    assert isinstance(reader, _PackedReader)
    reader.expect("<LDAACCS>")
    reader.expect("<VECSIZE>")
    dim = reader.int32()
    reader.expect("<NUMCLASSES>")
    num_pdfs = reader.int32()
    reader.expect("<ZERO_ACCS>")
    counts = reader.vector()
    reader.expect("<FIRST_ACCS>")
    first = reader.matrix()
    reader.expect("<SECOND_ACCS>")
    second = reader.packed()
    reader.expect("</LDAACCS>")
    shapes = (counts.shape, first.shape, second.shape)
    if dim < 1 or num_pdfs < 1 or shapes != ((num_pdfs,), (num_pdfs, dim), (dim, dim)):
        raise reader.fail(f"statistics of shapes {shapes} for {num_pdfs} classes and dimension {dim}")
    if not all(np.isfinite(values).all() for values in (counts, first, second)) or (counts < 0).any():
        raise reader.fail("a negative count, or a value that is not a number")
    stats = LdaAccumulator(num_pdfs, dim)
    stats.counts += counts
    stats.first += first
    stats.second += second + _class_part(stats)
    return stats


def sum_accumulators(paths: Iterable[str | Path]) -> LdaAccumulator:
    """Read LDA statistics of parts of the data and add them up.

    Raises:
        DktError: a file is bad, there is none, or they are not of one model and one kind of features.
    """
    total: LdaAccumulator | None = None
    for path in paths:
        stats = load_accumulator(path)
        if total is None:
            total = stats
            continue
        try:
            total.add(stats)
        except DktError as error:
            raise DktError(str(error), path=path) from None
    if total is None:
        raise DktError("no LDA statistics are given")
    return total
