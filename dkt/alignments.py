"""Alignment directories: pdf-ids of every utterance, their counts and log-priors."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from dkt.errors import DktError
from dkt.objectio import ObjectReader, ObjectWriter
from dkt.tables import read_int_vectors
from dkt.text import read_lines
from dkt.transitions import TransitionModel, load_transition_model

logger = logging.getLogger(__name__)

DEFAULT_PRIOR_FLOOR = 1.0e-10
# Kaldi disables a pdf by a huge log-prior rather than infinity, which would make NaN of differences.
DISABLED_LOG_PRIOR = float(np.sqrt(np.finfo(np.float32).max))


class AlignmentDir:
    """An alignment directory as Kaldi leaves it: ``ali.JOB.gz``, ``num_jobs``, ``final.mdl``.

    Args:
        path: the directory.

    Raises:
        DktError: a file is missing, or the frames are subsampled (chain models).
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise DktError("is no directory", path=path, hint="give an alignment directory")
        self.num_jobs = self._read_num_jobs()
        self.files = [self.path / f"ali.{job}.gz" for job in range(1, self.num_jobs + 1)]
        for file in self.files:
            if not file.is_file():
                raise DktError(f"does not exist, num_jobs is {self.num_jobs}", path=file, hint="align again")
        self._refuse_subsampling()
        self.transitions: TransitionModel = load_transition_model(self.path / "final.mdl")

    def _read_num_jobs(self) -> int:
        path = self.path / "num_jobs"
        if not path.is_file():
            raise DktError("does not exist", path=path, hint="is this an alignment directory?")
        words = " ".join(read_lines(str(path))).split()
        if len(words) != 1 or not words[0].isdigit() or int(words[0]) < 1:
            raise DktError(f"expected one number above 0, found '{' '.join(words)}'", path=path)
        return int(words[0])

    def _refuse_subsampling(self) -> None:
        path = self.path / "frame_subsampling_factor"
        if path.is_file() and " ".join(read_lines(str(path))).strip() != "1":
            raise DktError(
                "the alignment is of a chain model, with fewer labels than frames",
                path=path,
                hint="align with the GMM system (align_fmllr.sh or align_si.sh) and give that directory",
            )

    @property
    def num_pdfs(self) -> int:
        """The number of pdfs, P, of the model."""
        return self.transitions.num_pdfs

    def transition_ids(self) -> Iterator[tuple[str, np.ndarray]]:
        """Utterance and its transition-ids, shape ``(T,)``, job by job."""
        for file in self.files:
            for utt, ids in read_int_vectors(f"ark:gunzip -c '{file}' |"):
                self.transitions.check_ids(ids, file, utt)
                yield utt, ids

    def pdfs(self) -> dict[str, np.ndarray]:
        """Utterance to its pdf-ids, int32 of shape ``(T,)``.

        Raises:
            DktError: an utterance stands in two jobs, or a transition-id is not of ``final.mdl``.
        """
        result: dict[str, np.ndarray] = {}
        for utt, ids in self.transition_ids():
            if utt in result:
                raise DktError("is aligned twice", path=self.path, utt=utt, hint="align again")
            result[utt] = self.transitions.id2pdf[ids]
        return result


def count_pdfs(alignments: Iterable[np.ndarray], num_pdfs: int) -> np.ndarray:
    """Frames of each pdf plus a half, float64 of shape ``(P,)`` (Kaldi's ``analyze-counts``)."""
    counts = np.full(num_pdfs, 0.5)
    for pdfs in alignments:
        counts += np.bincount(pdfs, minlength=num_pdfs)
    return counts


def save_counts(path: str | Path, counts: np.ndarray) -> None:
    """Write ``ali_train_pdf.counts``, in Kaldi's text form."""
    writer = ObjectWriter(binary=False)
    writer.vector(counts)
    writer.save(path)


def load_counts(path: str | Path) -> np.ndarray:
    """Read ``ali_train_pdf.counts``: shape ``(P,)``.

    Raises:
        DktError: it is missing, or holds a negative count.
    """
    counts = ObjectReader.open(path).vector().astype(np.float64)
    if len(counts) == 0 or not (counts >= 0).all() or counts.sum() <= 0:
        raise DktError("expected counts of frames, none of them negative", path=path)
    return counts


def log_priors(counts: np.ndarray, floor: float = DEFAULT_PRIOR_FLOOR) -> np.ndarray:
    """Log-priors of the pdfs (``PdfPrior`` in Kaldi's ``nnet/nnet-pdf-prior.cc``).

    Args:
        counts: frames of each pdf, shape ``(P,)``.
        floor: a pdf of a smaller relative frequency is disabled, by a log-prior of sqrt(FLT_MAX).

    Returns:
        float32 of shape ``(P,)``.
    """
    frequency = counts / counts.sum()
    priors = np.log(frequency + 1.0e-20)
    disabled = frequency < floor
    if disabled.any():
        logger.info("%d pdfs are rarer than %g and disabled in decoding", int(disabled.sum()), floor)
    return np.where(disabled, DISABLED_LOG_PRIOR, priors).astype(np.float32)
