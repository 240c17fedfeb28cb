"""What the frames of utterances should be called: by an alignment, or by a teacher."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dkt.base.errors import DktError
from dkt.base.scratch import Scratch
from dkt.hmm.alignments import AlignmentDir
from dkt.targets.soft_targets import SoftTargets
from dkt.targets.target_source import TargetSource


class AlignedPdfs:
    """The pdf-ids of an alignment directory, out of memory.

    Args:
        alignments: the directory, which is read once.
        place: the directory of the scratch file.

    Raises:
        DktError: the alignments are damaged, or not of their model.
    """

    def __init__(self, alignments: AlignmentDir, place: Path | None = None) -> None:
        self.path = alignments.path
        self._places: dict[str, tuple[int, int]] = {}
        scratch = Scratch(np.int32, place)
        for utt, pdfs in alignments.read_pdfs():
            self._places[utt] = (len(scratch), len(scratch) + len(pdfs))
            scratch.append(pdfs)
        self._pdfs = scratch.array()

    def __contains__(self, utt: str) -> bool:
        return utt in self._places

    def __getitem__(self, utt: str) -> np.ndarray:
        begin, end = self._places[utt]
        return self._pdfs[begin:end]


class Labels:
    """What a frame should be called: the alignment's pdf, or the teacher's best one.

    Args:
        alignments: None if only a teacher labels the data.
        targets: a teacher's; None for none.
        place: the directory of scratch files.

    Raises:
        DktError: there is neither, or the alignments are damaged.
    """

    def __init__(
        self, alignments: AlignmentDir | None, targets: TargetSource | None, place: Path | None = None
    ) -> None:
        if alignments is None and targets is None:
            raise DktError("neither alignments nor soft targets: there is nothing to learn")
        self._aligned = None if alignments is None else AlignedPdfs(alignments, place)
        self._targets = targets

    def missing(self, utt: str) -> str | None:
        """Why an utterance cannot be used; None if it can."""
        if self._aligned is not None and utt not in self._aligned:
            return f"no alignment in {self._aligned.path}"
        if self._targets is not None and utt not in self._targets:
            return f"no soft targets in {self._targets.where}"
        return None

    def of(self, utt: str, num_frames: int) -> tuple[np.ndarray, SoftTargets | None]:
        """Labels ``(T,)`` and soft targets of an utterance that has features of ``num_frames`` frames."""
        targets = None if self._targets is None else self._targets.read(utt, num_frames)
        if self._aligned is not None:
            return self._aligned[utt], targets
        assert targets is not None
        return targets.best().numpy(), targets
