"""Alignment directories: pdf-ids of every utterance, their counts and log-priors."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from dkt.checksums import write_recorded
from dkt.errors import DktError
from dkt.objectio import ObjectReader
from dkt.phone_segments import PathChecker
from dkt.streams import is_output_pipe, open_output
from dkt.tables import read_gzipped_int_vectors, read_int_vectors
from dkt.text import natural, read_lines
from dkt.transitions import TransitionModel, load_transition_model
from dkt.values import encode_vector

logger = logging.getLogger(__name__)

#: What Kaldi adds to every count, so that no pdf has a prior of zero.
HALF_FRAME = 0.5
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
        self.num_jobs = read_num_jobs(self.path)
        self.files: list[Path] = []
        # One by one: nothing is made of a number that there are no files for.
        for job in range(1, self.num_jobs + 1):
            file = self.path / f"ali.{job}.gz"
            if not file.is_file():
                raise DktError(f"does not exist, num_jobs is {self.num_jobs}", path=file, hint="align again")
            self.files.append(file)
        self.transitions: TransitionModel = load_transition_model(self.path / "final.mdl")
        self._refuse_subsampling()

    def _refuse_subsampling(self) -> None:
        path = self.path / "frame_subsampling_factor"
        declared = " ".join(read_lines(str(path))).strip() if path.is_file() else None
        if declared not in (None, "1"):
            raise DktError(
                "the alignment is of a chain model, with fewer labels than frames",
                path=path,
                hint="align with the GMM system (align_fmllr.sh or align_si.sh) and give that directory",
            )
        if declared is None and not self.transitions.topology.is_hmm():
            # Kaldi's chain/build_tree.sh subsamples its alignments and leaves no word of it.
            raise DktError(
                "the model has the topology of a chain model, whose alignments mostly have fewer labels "
                "than frames",
                path=self.path / "final.mdl",
                hint="align with the GMM system (align_fmllr.sh or align_si.sh) and give that directory; "
                f"if every frame has its label, say so: echo 1 > {path}",
            )

    @property
    def num_pdfs(self) -> int:
        """The number of pdfs, P, of the model."""
        return self.transitions.num_pdfs

    def transition_ids(self) -> Iterator[tuple[str, np.ndarray]]:
        """Utterance and its transition-ids, shape ``(T,)``, job by job.

        Raises:
            DktError: an archive is damaged, an utterance stands in two jobs, or a transition-id is not of
                ``final.mdl``.
        """
        seen: set[str] = set()
        for file in self.files:
            for utt, ids in _checked(read_gzipped_int_vectors(file), self.transitions, file):
                if utt in seen:
                    raise DktError("is aligned twice", path=self.path, utt=utt, hint="align again")
                seen.add(utt)
                yield utt, ids

    def read_pdfs(self) -> Iterator[tuple[str, np.ndarray]]:
        """Utterances one by one and their pdf-ids, int32 of shape ``(T,)``.

        Raises:
            DktError: as ``transition_ids``.
        """
        for utt, ids in self.transition_ids():
            yield utt, self.transitions.id2pdf[ids]

    def pdfs(self) -> dict[str, np.ndarray]:
        """Utterance to its pdf-ids, as ``read_pdfs`` gives them, all in memory."""
        return dict(self.read_pdfs())


def read_num_jobs(directory: Path) -> int:
    """The number of jobs that made a directory, as its file ``num_jobs`` tells it.

    Raises:
        DktError: the file is missing, or holds something else than a number above 0.
    """
    path = directory / "num_jobs"
    if not path.is_file():
        raise DktError("does not exist", path=path, hint="is this an alignment directory?")
    words = " ".join(read_lines(str(path))).split()
    if len(words) != 1 or not natural(words[0]):
        raise DktError(f"expected one number above 0, found '{' '.join(words)}'", path=path)
    return int(words[0])


def read_alignments(
    rspecifier: str, model: TransitionModel, path: str | Path | None = None
) -> Iterator[tuple[str, np.ndarray]]:
    """Utterances and their transition-ids, shape ``(T,)``.

    A warning tells of alignments that are no paths through the HMMs. They are given all the same: labels that
    came from elsewhere, turned into any transition-ids of their pdfs, can be trained on.

    Args:
        rspecifier: of the alignments.
        model: the model that made them.
        path: the file to name in errors, ``rspecifier`` if missing.

    Raises:
        DktError: the table is damaged, or a transition-id is beyond those of ``model``.
    """
    return _checked(read_int_vectors(rspecifier), model, path or rspecifier)


def _checked(
    alignments: Iterable[tuple[str, np.ndarray]], model: TransitionModel, path: str | Path
) -> Iterator[tuple[str, np.ndarray]]:
    paths = PathChecker(model)
    broken: list[str] = []
    num_done = 0
    for utt, ids in alignments:
        model.check_ids(ids, path, utt)
        frame = paths.first_break(ids)
        if frame is not None:
            broken.append(f"utterance '{utt}', frame {frame}")
        num_done += 1
        yield utt, ids
    if broken:
        logger.warning(
            "%s: %d of %d alignments are no paths through the HMMs of the model (%s first): "
            "are they of another model or topology?",
            path,
            len(broken),
            num_done,
            broken[0],
        )


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
