"""Utterances to batches: features and labels in memory, frames shuffled, context gathered by index."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from dkt.alignments import AlignmentDir
from dkt.datadir import DataDir
from dkt.errors import DktError
from dkt.feature_reader import FeatureReader
from dkt.tally import DEFAULT_MAX_LOSS, Tally

logger = logging.getLogger(__name__)

#: A length difference of features and labels below this is cut, as in Kaldi's nnet1 (--length-tolerance).
LENGTH_TOLERANCE = 5


@dataclass
class Utterances:
    """Utterances end to end in one array.

    Attributes:
        names: the N utterances.
        features: float32, shape ``(sum of T, F)``.
        labels: int64 pdf-ids, shape ``(sum of T,)``.
        offsets: where each utterance begins, and the end; int64, shape ``(N + 1,)``.
    """

    names: list[str]
    features: torch.Tensor
    labels: torch.Tensor
    offsets: torch.Tensor

    @property
    def num_frames(self) -> int:
        """The number of frames, all utterances together."""
        return len(self.labels)

    def subset(self, chosen: list[int]) -> Utterances:
        """The utterances of the indices ``chosen``, in that order."""
        pieces = [slice(int(self.offsets[i]), int(self.offsets[i + 1])) for i in chosen]
        return pack(
            [self.names[i] for i in chosen],
            [self.features[piece] for piece in pieces],
            [self.labels[piece] for piece in pieces],
        )


def pack(names: list[str], features: list[torch.Tensor], labels: list[torch.Tensor]) -> Utterances:
    """Join utterances, features of shape ``(T, F)`` and labels of shape ``(T,)`` each."""
    lengths = torch.tensor([0] + [len(x) for x in labels])
    return Utterances(names, torch.cat(features), torch.cat(labels), torch.cumsum(lengths, dim=0))


def match_lengths(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Cut features ``(T, F)`` and labels ``(T,)`` to the shorter; None if they differ by 5 frames or more."""
    if abs(len(features) - len(labels)) >= LENGTH_TOLERANCE:
        return None
    length = min(len(features), len(labels))
    return features[:length], labels[:length]


def load_utterances(
    reader: FeatureReader, alignments: AlignmentDir, what: str, max_loss: float = DEFAULT_MAX_LOSS
) -> Utterances:
    """Read the features and labels of a data directory.

    Args:
        reader: the features.
        alignments: the labels.
        what: the data, as they should read in the log.
        max_loss: the share of utterances that may lack features or an alignment, or differ in length.

    Raises:
        DktError: more than ``max_loss`` of the utterances cannot be used, or the data are bad.
    """
    tally = Tally(f"{what} of {reader.data.path}", max_loss)
    reader.drop_missing(tally)
    pdfs = alignments.pdfs()
    names, features, labels = [], [], []
    for utt, frames in reader:
        if utt not in pdfs:
            tally.drop(utt, f"no alignment in {alignments.path}")
            continue
        matched = match_lengths(frames, pdfs[utt])
        if matched is None:
            tally.drop(utt, f"{LENGTH_TOLERANCE} frames or more between features and alignment")
            continue
        names.append(utt)
        features.append(torch.from_numpy(matched[0]))
        labels.append(torch.from_numpy(matched[1].astype(np.int64)))
        tally.done()
    tally.finish(str(reader.data.path))
    return pack(names, features, labels)


def split_off(utterances: Utterances, share: float, seed: int) -> Utterances:
    """A fixed random ``share`` of the utterances, at least one."""
    count = max(1, round(share * len(utterances.names)))
    order = np.random.default_rng(seed).permutation(len(utterances.names))
    return utterances.subset(sorted(order[:count].tolist()))


class SplicedFrames:
    """Mini-batches of frames with their context; the spliced features are never stored.

    Args:
        utterances: the data.
        left, right: frames of context on each side; edge frames of the utterance are repeated.
        batch_size: frames a mini-batch.
        device: where batches are gathered.
    """

    def __init__(
        self, utterances: Utterances, left: int, right: int, batch_size: int, device: torch.device
    ) -> None:
        lengths = utterances.offsets.diff()
        self.features = utterances.features.to(device)
        self.labels = utterances.labels.to(device)
        self._first = torch.repeat_interleave(utterances.offsets[:-1], lengths).to(device)
        self._last = torch.repeat_interleave(utterances.offsets[1:] - 1, lengths).to(device)
        self._context = torch.arange(-left, right + 1, device=device)
        self.batch_size = batch_size
        self.device = device

    @property
    def num_frames(self) -> int:
        """The number of frames."""
        return len(self.labels)

    def gather(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Spliced features ``(B, (left + 1 + right) * F)`` and labels ``(B,)`` of the frames ``(B,)``."""
        index = frames[:, None] + self._context
        index = torch.minimum(torch.maximum(index, self._first[frames, None]), self._last[frames, None])
        spliced = self.features.index_select(0, index.flatten()).view(len(frames), -1)
        return spliced, self.labels[frames]

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """All frames in order."""
        for chunk in torch.arange(self.num_frames, device=self.device).split(self.batch_size):
            yield self.gather(chunk)

    def shuffled(self, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """All frames in an order that ``seed`` decides."""
        order = torch.randperm(self.num_frames, generator=torch.Generator().manual_seed(seed))
        for chunk in order.to(self.device).split(self.batch_size):
            yield self.gather(chunk)


def check_cv_disjoint(train: DataDir, dev: DataDir) -> None:
    """Warn when cross-validation utterances are trained on; refuse when all are."""
    shared = set(train.utt2spk) & set(dev.utt2spk)
    if shared and len(shared) == len(dev.utt2spk):
        raise DktError(
            f"all of its {len(shared)} utterances are in {train.path} too",
            path=dev.path,
            hint="cross-validate on data that are not trained on",
        )
    if shared:
        logger.warning("%d utterances of %s are also trained on", len(shared), dev.path)
