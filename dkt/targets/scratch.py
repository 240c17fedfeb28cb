"""Soft targets of many utterances on disk, as narrow as they came, and turned into numbers a batch at a time.

K pdfs are kept of a frame, R is the number of all frames.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from dkt.base.errors import DktError
from dkt.base.scratch import Scratch
from dkt.targets.soft_targets import SoftTargets

_INT16_PDFS = 1 << 15


class FrameTargets:
    """Soft targets of frames end to end.

    Args:
        pdfs: integers of shape ``(R, K)``; None where all pdfs are kept and stand in order.
        log_post: reals of shape ``(R, K)``.
        tails: reals of shape ``(R, num_temperatures)``.
        temperatures: those of the columns of ``tails``.
        hint: a hidden layer of the teacher, float32 of shape ``(R, H)``; None where nobody asked for it.
    """

    def __init__(
        self,
        pdfs: np.ndarray | None,
        log_post: np.ndarray,
        tails: np.ndarray,
        temperatures: tuple[float, ...],
        hint: np.ndarray | None = None,
    ) -> None:
        self.hint = hint
        self.pdfs = pdfs
        self.log_post = log_post
        self.tails = tails
        self.temperatures = temperatures

    @classmethod
    def of(cls, targets: SoftTargets) -> FrameTargets:
        """Those that are in memory."""
        pdfs = None if targets.dense else targets.pdfs.numpy()
        hint = None if targets.hint is None else targets.hint.numpy()
        return cls(pdfs, targets.log_post.numpy(), targets.tails.numpy(), targets.temperatures, hint)

    def __len__(self) -> int:
        return len(self.log_post)

    @property
    def dense(self) -> bool:
        """Whether all pdfs are kept, and stand in order."""
        return self.pdfs is None

    def select(self, rows: np.ndarray | slice) -> SoftTargets:
        """The targets of some rows, in memory and in the types that training computes in.

        Args:
            rows: integers of shape ``(B,)``, or a slice of as many.
        """
        # By NumPy: PyTorch would open threads of its own in the thread that reads ahead.
        log_post = torch.from_numpy(self.log_post[rows].astype(np.float32))
        if self.pdfs is None:
            pdfs = torch.arange(log_post.shape[1]).expand(len(log_post), -1)
        else:
            pdfs = torch.from_numpy(self.pdfs[rows].astype(np.int64))
        tails = torch.from_numpy(self.tails[rows].astype(np.float32))
        hint = None if self.hint is None else torch.from_numpy(np.array(self.hint[rows]))
        return SoftTargets(pdfs, log_post, tails, self.temperatures, self.dense, hint)


class TargetScratch:
    """Collects the soft targets of utterances on disk.

    Args:
        num_pdfs: P.
        half: whether the reals are of half precision by origin, and need no more room.
        place: the directory of the files, as of ``Scratch``.
    """

    def __init__(self, num_pdfs: int, half: bool, place: Path | None = None) -> None:
        self._place = place
        real = np.dtype(np.float16 if half else np.float32)
        index = np.dtype(np.int16 if num_pdfs <= _INT16_PDFS else np.int32)
        self._pdfs, self._log_post, self._tails = (Scratch(dtype, place) for dtype in (index, real, real))
        self._hint: Scratch | None = None
        # Of each utterance: frames, and pdfs kept of each.
        self._shapes: list[tuple[int, int]] = []
        self._temperatures: tuple[float, ...] | None = None
        self._dense = True

    def append(self, targets: SoftTargets) -> None:
        """Add the targets of the next utterance.

        Raises:
            DktError: they are of other temperatures than those before.
        """
        if self._temperatures not in (None, targets.temperatures):
            raise DktError("soft targets of different temperatures cannot be joined")
        self._temperatures = targets.temperatures
        if self._dense and not targets.dense:
            # The first that need their pdfs written: those before have them all.
            self._dense = False
            for num_frames, width in self._shapes:
                self._pdfs.append(np.broadcast_to(np.arange(width), (num_frames, width)))
        if not self._dense:
            self._pdfs.append(targets.pdfs.numpy())
        self._log_post.append(targets.log_post.numpy())
        self._tails.append(targets.tails.numpy())
        if targets.hint is not None:
            self._hint = self._hint or Scratch(np.float32, self._place)
            self._hint.append(targets.hint.numpy())
        self._shapes.append(tuple(targets.log_post.shape))  # type: ignore[arg-type]

    def finish(self) -> FrameTargets:
        """All of them; in frames that have fewer pdfs than others the first one is repeated, at -inf.

        At least one utterance must be there.
        """
        assert self._temperatures is not None
        width = max(width for _, width in self._shapes)
        log_post = self._widened(self._log_post, width, -np.inf).reshape(-1, width)
        pdfs = None if self._dense else self._widened(self._pdfs, width, None).reshape(-1, width)
        tails = self._tails.array().reshape(len(log_post), len(self._temperatures))
        hint = None if self._hint is None else self._hint.array().reshape(len(log_post), -1)
        return FrameTargets(pdfs, log_post, tails, self._temperatures, hint)

    def _widened(self, scratch: Scratch, width: int, filler: float | None) -> np.ndarray:
        """All rows of one width; the filler is a number, or None for the first of the row."""
        values = scratch.array()
        if all(own == width for _, own in self._shapes):
            return values
        wide = Scratch(scratch.dtype, self._place)
        place = 0
        for num_frames, own in self._shapes:
            rows = values[place : place + num_frames * own].reshape(num_frames, own)
            place += rows.size
            fill = rows[:, :1] if filler is None else np.full((num_frames, 1), filler)
            wide.append(np.concatenate([rows, np.repeat(fill, width - own, axis=1)], axis=1))
        return wide.array()
