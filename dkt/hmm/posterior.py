"""Kaldi's Posterior type (``hmm/posterior.h``): for every frame a list of ids and weights.

``ali-to-post`` and lattice tools write it with transition-ids, ``post-to-pdf-post`` with pdf-ids.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dkt.base.bounded import read_bytes
from dkt.base.errors import DktError
from dkt.hmm.transition_model import TransitionModel
from dkt.matrix.matrix_io import read_binary_matrix, read_text_matrix, refuse_underscore
from dkt.util.table import TableWriter, read_table

_SIZE = struct.Struct("<Bi")
_FRAME_SIZE = np.dtype([("size", "u1"), ("value", "<i4")])
_ENTRY = np.dtype([("id_size", "u1"), ("id", "<i4"), ("weight_size", "u1"), ("weight", "<f4")])
#: The limit that Kaldi's own reader sets to the number of frames: a damaged archive may claim any.
IMPROBABLE = 10_000_000


@dataclass
class Posterior:
    """The entries of all T frames end to end.

    Attributes:
        lengths: how many entries each frame has; int64, shape ``(T,)``.
        ids: transition-ids or pdf-ids; int32, shape ``(sum of lengths,)``.
        weights: float32, shape ``(sum of lengths,)``.
    """

    lengths: np.ndarray
    ids: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def frame_of_entry(self) -> np.ndarray:
        """The frame that each entry belongs to: int64, shape ``(sum of lengths,)``."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @classmethod
    def of_frames(cls, frames: Iterable[Iterable[tuple[int, float]]]) -> Posterior:
        """Make one of a list of (id, weight) pairs per frame."""
        lists = [list(frame) for frame in frames]
        pairs = [pair for frame in lists for pair in frame]
        return cls(
            np.array([len(frame) for frame in lists], dtype=np.int64),
            np.array([pair[0] for pair in pairs], dtype=np.int32),
            np.array([pair[1] for pair in pairs], dtype=np.float32),
        )

    def frames(self) -> list[list[tuple[int, float]]]:
        """The (id, weight) pairs of every frame."""
        pairs = iter(zip(self.ids.tolist(), self.weights.tolist(), strict=True))
        return [[next(pairs) for _ in range(length)] for length in self.lengths.tolist()]

    def merged(self) -> Posterior:
        """Entries of one id in one frame added up, those of weight zero left out, ids ascending."""
        keys = (self.frame_of_entry << 32) | (self.ids.astype(np.int64) & 0xFFFFFFFF)
        places, inverse = np.unique(keys, return_inverse=True)
        weights = np.bincount(inverse, self.weights, minlength=len(places)).astype(np.float32)
        places, weights = places[weights != 0.0], weights[weights != 0.0]
        lengths = np.bincount(places >> 32, minlength=len(self))
        return Posterior(lengths, (places & 0xFFFFFFFF).astype(np.int32), weights)


def posterior_to_pdfs(
    posterior: Posterior, transitions: TransitionModel, path: str | Path, utt: str
) -> Posterior:
    """Transition-ids to pdf-ids, weights of one pdf added up (``post-to-pdf-post``).

    Args:
        posterior: of transition-ids.
        transitions: the model that made it.
        path, utt: for errors.

    Raises:
        DktError: a transition-id is not of this model.
    """
    transitions.check_ids(posterior.ids, path, utt)
    pdfs = transitions.id2pdf[posterior.ids].astype(np.int32)
    return Posterior(posterior.lengths, pdfs, posterior.weights).merged()


def read_posterior(stream: BinaryIO) -> Posterior:
    """Read one Posterior, binary or text.

    Raises:
        DktError: it is damaged, cut short or something else.
    """
    value = read_posterior_or_matrix(stream)
    if not isinstance(value, Posterior):
        raise DktError("expected a Posterior, found a matrix")
    return value


def read_posterior_or_matrix(stream: BinaryIO) -> Posterior | np.ndarray:
    """Read one object that is either a Posterior or a matrix (what ``nnet-forward`` writes).

    Raises:
        DktError: it is neither, damaged or cut short.
    """
    head = stream.read(1)
    if head == b"\0":
        head = stream.read(2)
        if head == b"B\x04":
            return _read_binary(stream)
        if head[:1] != b"B":
            raise DktError("expected a Posterior, found a zero byte")
        return read_binary_matrix(stream, head[1:])
    line = head if head == b"\n" else head + stream.readline()
    if not line.endswith(b"\n"):
        raise DktError("the archive is cut short: the end of a line expected")
    if line.lstrip().startswith(b"[") and b"]" not in line:
        return read_text_matrix(line, stream)
    return _parse_text(line)


def _read_binary(stream: BinaryIO) -> Posterior:
    # The byte in front of the number of frames is taken already.
    num_frames = int.from_bytes(read_bytes(stream, 4), "little", signed=True)
    if not 0 <= num_frames <= IMPROBABLE:
        raise DktError(f"the archive is damaged: a Posterior of {num_frames} frames")
    lengths, entries = array("q"), bytearray()
    for frame in range(num_frames):
        size, length = _SIZE.unpack(read_bytes(stream, _SIZE.size))
        if size != 4 or not 0 <= length <= IMPROBABLE:
            raise DktError(f"the archive is damaged: {length} entries in frame {frame}")
        lengths.append(length)
        entries += read_bytes(stream, length * _ENTRY.itemsize)
    items = np.frombuffer(entries, dtype=_ENTRY)
    if (items["id_size"] != 4).any() or (items["weight_size"] != 4).any():
        raise DktError("expected pairs of a 4-byte integer and a 4-byte float")
    return Posterior(
        np.array(lengths, dtype=np.int64), items["id"].astype(np.int32), items["weight"].astype(np.float32)
    )


def _parse_text(line: bytes) -> Posterior:
    before, *frames = line.split(b"[")
    if before.strip():
        raise DktError(
            f"expected [ id weight ... ] of every frame, found {before.strip()[:20]!r}",
            hint="an alignment becomes posteriors by ali-to-post",
        )
    lengths, words = [], []
    for number, frame in enumerate(frames):
        body, bracket, after = frame.partition(b"]")
        fields = body.split()
        if not bracket or after.strip() or len(fields) % 2:
            raise DktError(f"frame {number} is not [ id weight id weight ... ]")
        lengths.append(len(fields) // 2)
        words.extend(fields)
    refuse_underscore(line)
    # A word that is not a number raises ValueError, which the table's reader reports with its place.
    ids = [int(word) for word in words[0::2]]
    weights = np.array([float(word) for word in words[1::2]], dtype=np.float32)
    return Posterior(np.array(lengths, dtype=np.int64), np.array(ids, dtype=np.int32), weights)


def encode_posterior(posterior: Posterior, text: bool = False) -> bytes:
    """The bytes of a Posterior, in Kaldi's binary or text form."""
    if text:
        pairs = ("".join(f"{i} {weight:.7g} " for i, weight in frame) for frame in posterior.frames())
        return ("".join(f"[ {frame}] " for frame in pairs) + "\n").encode()
    num_frames, num_entries = len(posterior), len(posterior.ids)
    lengths = np.empty(num_frames, dtype=_FRAME_SIZE)
    lengths["size"], lengths["value"] = 4, posterior.lengths
    entries = np.empty(num_entries, dtype=_ENTRY)
    entries["id_size"] = entries["weight_size"] = 4
    entries["id"], entries["weight"] = posterior.ids, posterior.weights
    # Every frame's length stands in front of its entries: both kinds of item go to their places at once.
    body = np.empty(_FRAME_SIZE.itemsize * num_frames + _ENTRY.itemsize * num_entries, dtype=np.uint8)
    first = np.cumsum(posterior.lengths) - posterior.lengths
    _place(body, lengths, _FRAME_SIZE.itemsize * np.arange(num_frames) + _ENTRY.itemsize * first)
    owners = _FRAME_SIZE.itemsize * (posterior.frame_of_entry + 1)
    _place(body, entries, owners + _ENTRY.itemsize * np.arange(num_entries))
    return b"\0B" + _SIZE.pack(4, num_frames) + body.tobytes()


def _place(body: np.ndarray, items: np.ndarray, places: np.ndarray) -> None:
    width = items.dtype.itemsize
    body[places[:, None] + np.arange(width)] = items.view(np.uint8).reshape(-1, width)


def read_posteriors(rspecifier: str) -> Iterator[tuple[str, Posterior]]:
    """Read a table of Posteriors one by one.

    Raises:
        DktError: anything that is not a whole, well-formed table.
    """
    return read_table(read_posterior, rspecifier)


class PosteriorWriter(TableWriter):
    """Writes Posteriors."""

    def encode(self, value: Any) -> bytes:
        """The Posterior in Kaldi's binary or text form."""
        return encode_posterior(value, self.text)
