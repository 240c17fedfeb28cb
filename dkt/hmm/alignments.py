"""Alignment directories: pdf-ids of every utterance, their counts and log-priors."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from dkt.base.errors import DktError
from dkt.hmm.phone_segments import PathChecker
from dkt.hmm.transition_model import TransitionModel, load_transition_model
from dkt.util.table import read_gzipped_int_vectors, read_int_vectors
from dkt.util.text import natural, read_lines

logger = logging.getLogger(__name__)

#: A length difference of features and labels below this is cut, as in Kaldi's nnet1 (--length-tolerance).
LENGTH_TOLERANCE = 5


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
            raise DktError("not a directory", path=path, hint="give an alignment directory")
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

    A warning tells of alignments that are not paths through the HMMs. They are given all the same: labels
    that came from elsewhere, turned into any transition-ids of their pdfs, can be trained on.

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
            "%s: %d of %d alignments are not paths through the HMMs of the model (%s first): "
            "are they of another model or topology?",
            path,
            len(broken),
            num_done,
            broken[0],
        )


def match_lengths(num_frames: int, num_labels: int) -> int | None:
    """What is used of features and labels of these lengths: the shorter; None if they differ by 5 or more."""
    return None if abs(num_frames - num_labels) >= LENGTH_TOLERANCE else min(num_frames, num_labels)
