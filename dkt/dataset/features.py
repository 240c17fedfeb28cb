"""Where training takes the features of utterances from: a packed array, or Kaldi's archives.

F is the feature dimension, R the number of rows of an array.
"""

from __future__ import annotations

import contextlib
import os
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable
from typing import IO, Protocol

import numpy as np
import torch

from dkt.base.errors import DktError
from dkt.feat.reader import FeatureReader

#: Bytes of features that are read from archives and kept in case they are asked for again.
KEPT_BYTES = 32 << 20
#: Bytes of packed features that have one checksum.
BLOCK = 1 << 20
# Features stay on a GPU as a whole if they take up to this share of its free memory.
_DEVICE_SHARE = 0.4
_COPIED_ROWS = 1 << 18


class FrameSource(Protocol):
    """The features of utterances that are known by their numbers.

    Attributes:
        names: the utterances.
        lengths: frames of each, int64.
        dim: F.
    """

    names: list[str]
    lengths: np.ndarray
    dim: int

    def load(
        self, utterances: np.ndarray, begins: np.ndarray, ends: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Have pieces of utterances at hand.

        Args:
            utterances: their numbers, shape ``(N,)``.
            begins, ends: the first frame of each piece and the one after its last, shape ``(N,)``.

        Returns:
            float32 rows ``(R, F)``, and where each piece begins in them, int64 of shape ``(N,)``.
        """

    def expect(self, utterances: np.ndarray) -> None:
        """Say which utterances will be loaded soon, shape ``(N,)``: what can be read meanwhile, will be."""

    def resident(self, device: torch.device) -> torch.Tensor | None:
        """All rows on a device, in the places that ``load`` tells; None where there is no room for them."""


class PackedFeatures:
    """Features end to end in one array, which mostly is the map of a file.

    Args:
        names: the utterances.
        lengths: frames of each.
        matrix: all frames, float32 of shape ``(R, F)``.
        file: that of the matrix; others see by it that it is in use. None if it is in memory.
        blocks: the CRC-32 of each ``BLOCK`` bytes of the matrix, which is looked at when the block is first
            asked for; None to believe it.

    Attributes:
        remake: gives the same features anew if a block is damaged.
    """

    def __init__(
        self,
        names: list[str],
        lengths: np.ndarray,
        matrix: np.ndarray,
        file: IO[bytes] | None = None,
        blocks: list[int] | None = None,
    ) -> None:
        self.names = names
        self.lengths = np.asarray(lengths, dtype=np.int64)
        self.matrix = matrix
        self.dim = matrix.shape[1]
        self._begins = np.cumsum(self.lengths) - self.lengths
        self._file = file
        self._on_device: dict[str, torch.Tensor | None] = {}
        self.remake: Callable[[], PackedFeatures] | None = None
        self._take_blocks(blocks)
        self._checking = threading.Lock()

    def _take_blocks(self, blocks: list[int] | None) -> None:
        self._blocks = blocks or []
        # Of each block, whether its checksum is still to be looked at.
        self._unchecked = np.ones(len(self._blocks), bool)
        self._all_checked = not self._blocks

    def load(
        self, utterances: np.ndarray, begins: np.ndarray, ends: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """As of ``FrameSource``: the whole array, nothing is copied."""
        rows = self._begins[utterances] + begins
        if not self._all_checked:
            width = self.matrix.itemsize * self.dim
            with self._checking:
                self._check(rows * width, (rows + ends - begins) * width)
        return self.matrix, rows

    def _check(self, begins: np.ndarray, ends: np.ndarray) -> None:
        """Look at the checksums of blocks that bytes ``begins`` to ``ends`` touch; make damaged ones anew."""
        data = self.matrix.reshape(-1).view(np.uint8)
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            first = begin // BLOCK
            for block in (first + np.flatnonzero(self._unchecked[first : -(-end // BLOCK)])).tolist():
                if zlib.crc32(data[block * BLOCK : (block + 1) * BLOCK].data) != self._blocks[block]:
                    self._renew()
                    return self._check(begins, ends)
                self._unchecked[block] = False
        self._all_checked = not self._unchecked.any()
        return None

    def _renew(self) -> None:
        remake, self.remake = self.remake, None
        if remake is None:
            raise DktError("the packed features are damaged", path=getattr(self._file, "name", None))
        new = remake()
        if new.names != self.names or new.dim != self.dim or (new.lengths != self.lengths).any():
            raise DktError(
                "the packed features are damaged, and made anew they are others",
                path=getattr(self._file, "name", None),
                hint="the archives must not change during a training: start again",
            )
        self.matrix, self._file = new.matrix, new._file
        self._take_blocks(new._blocks)

    def expect(self, utterances: np.ndarray) -> None:
        """As of ``FrameSource``: the system reads what is not in its page cache, in the order of the file."""
        if self._file is None or not hasattr(os, "posix_fadvise"):
            return
        width = self.matrix.itemsize * self.dim
        for utterance in np.sort(utterances).tolist():
            place = width * int(self._begins[utterance]), width * int(self.lengths[utterance])
            # Advice, no more: where it is not taken, the rows are read when they are needed.
            with contextlib.suppress(OSError):
                os.posix_fadvise(self._file.fileno(), *place, os.POSIX_FADV_WILLNEED)

    def resident(self, device: torch.device) -> torch.Tensor | None:
        """As of ``FrameSource``."""
        if device.type != "cuda":
            return None
        if str(device) not in self._on_device:
            free, _ = torch.cuda.mem_get_info(device)
            fits = self.matrix.nbytes <= _DEVICE_SHARE * free
            if fits:
                everything = np.arange(len(self.names))
                self.load(everything, np.zeros_like(self.lengths), self.lengths)
            self._on_device[str(device)] = _copied(self.matrix, device) if fits else None
        return self._on_device[str(device)]


def _copied(matrix: np.ndarray, device: torch.device) -> torch.Tensor:
    result = torch.empty(matrix.shape, dtype=torch.float32, device=device)
    for begin in range(0, len(matrix), _COPIED_ROWS):
        # A copy: PyTorch warns of arrays that cannot be written to, as a map is.
        rows = torch.from_numpy(matrix[begin : begin + _COPIED_ROWS].copy())
        result[begin : begin + len(rows)] = rows
    return result


class ArchiveFeatures:
    """Features read from Kaldi's archives whenever they are asked for; of one thread at a time.

    All of them are read once at the beginning: only then lengths are known, and errors told before training.

    Args:
        reader: of the data directory.
        kept_bytes: as many bytes of features last read are kept.

    Raises:
        DktError: as of the reader, or there are no features.
    """

    def __init__(self, reader: FeatureReader, kept_bytes: int = KEPT_BYTES) -> None:
        reader.remember()
        self.names: list[str] = []
        lengths = []
        self.dim = 0
        for utt, features in reader:
            self.names.append(utt)
            lengths.append(len(features))
            self.dim = check_dim(self.dim, features, reader, utt)
        self.lengths = np.array(lengths, dtype=np.int64)
        self._reader = reader
        self._kept_bytes = kept_bytes
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self._bytes = 0

    def load(
        self, utterances: np.ndarray, begins: np.ndarray, ends: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """As of ``FrameSource``: the pieces end to end, in a new array."""
        lengths = ends - begins
        first = np.cumsum(lengths) - lengths
        rows = np.empty((int(lengths.sum()), self.dim), dtype=np.float32)
        pieces = zip(utterances.tolist(), begins.tolist(), ends.tolist(), first.tolist(), strict=True)
        for utterance, begin, end, place in pieces:
            rows[place : place + end - begin] = self._read(utterance)[begin:end]
        return rows, first

    def _read(self, utterance: int) -> np.ndarray:
        if utterance in self._kept:
            self._kept.move_to_end(utterance)
            return self._kept[utterance]
        features = self._reader.read(self.names[utterance])
        if len(features) != self.lengths[utterance]:
            raise DktError(
                f"{len(features)} frames, there were {self.lengths[utterance]} before",
                path=self._reader.data.path,
                utt=self.names[utterance],
                hint="the archives must not change during a training",
            )
        self._kept[utterance] = features
        self._bytes += features.nbytes
        while self._bytes > self._kept_bytes and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return features

    def expect(self, utterances: np.ndarray) -> None:
        """As of ``FrameSource``: nothing is read before it is asked for."""

    def resident(self, device: torch.device) -> torch.Tensor | None:
        """As of ``FrameSource``: never."""
        return None


def check_dim(dim: int, features: np.ndarray, reader: FeatureReader, utt: str) -> int:
    """The dimension of features ``(T, F)``, ``dim`` being that of those before and 0 at the beginning.

    Raises:
        DktError: they are of another one.
    """
    if dim and features.shape[1] != dim:
        raise DktError(
            f"features of dimension {features.shape[1]} after the pipeline, those before have {dim}",
            path=reader.data.path,
            utt=utt,
        )
    return features.shape[1]
