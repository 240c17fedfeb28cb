"""Mini-batches of shuffled frames with their context, which is gathered by index and never stored."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from dkt.dataset.batch import Batch
from dkt.dataset.gather import Gatherer
from dkt.dataset.utterances import Utterances

#: Frames that are shuffled with each other, at most; Kaldi's nnet1 has 32768 (--randomizer-size).
POOL_FRAMES = 1 << 18
# Frames in order are indexed so many at a time.
_RUN_FRAMES = 1 << 15


class SplicedFrames:
    """Mini-batches of frames with their context.

    Frames are shuffled in two steps: all utterances, then the frames within a pool of consecutive ones. So
    no array is as long as the corpus, and an archive is read utterance by utterance; all the same a
    mini-batch holds frames of hundreds of utterances. The seed alone decides the order, wherever features
    come from. The last mini-batch of a pool may be smaller.

    Args:
        utterances: the data.
        left, right: frames of context on each side; edge frames of the utterance are repeated.
        batch_size: frames per mini-batch.
        device: where batches go.
        ivector_dim: the last dimensions of a frame that are not spliced.
        pool_frames: frames of a pool, at most; a longer utterance is a pool by itself.
    """

    num_states = 0
    smaller = "optimizer.minibatch_size or features.splice"

    def __init__(
        self,
        utterances: Utterances,
        left: int,
        right: int,
        batch_size: int,
        device: torch.device,
        ivector_dim: int = 0,
        pool_frames: int = POOL_FRAMES,
    ) -> None:
        self.utterances = utterances
        self.left = left
        self.context = np.arange(-left, right + 1)
        self.batch_size = batch_size
        self.ivector_dim = ivector_dim
        self.pool_frames = pool_frames
        self.gatherer = Gatherer(utterances.features, device)

    @property
    def num_frames(self) -> int:
        """The number of frames."""
        return self.utterances.num_frames

    def __iter__(self) -> Iterator[Batch]:
        """All frames in order."""
        for chosen, begin, end in self.utterances.runs(self.batch_size * -(-_RUN_FRAMES // self.batch_size)):
            pool = _Pool(self, chosen)
            yield from pool.batches(np.arange(begin, end))

    def shuffled(self, seed: int) -> Iterator[Batch]:
        """All frames in an order that ``seed`` decides."""
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self.utterances.lengths), generator=generator).numpy()
        data = self.utterances
        parts = pools(data.lengths, order, self.pool_frames)
        for chosen, following in zip(parts, [*parts[1:], order[:0]], strict=True):
            num_frames = int(data.lengths[chosen].sum())
            pool = _Pool(self, chosen)
            data.features.expect(data.numbers[following])
            yield from pool.batches(torch.randperm(num_frames, generator=generator).numpy())

    def network_inputs(self) -> Iterator[torch.Tensor]:
        """All spliced frames in order."""
        for batch in self:
            yield batch.inputs

    def describe(self) -> str:
        """How many frames there are."""
        return f"{self.num_frames} training frames"


class _Pool:
    """The frames of some utterances end to end: where each, its neighbours and its label are found."""

    def __init__(self, frames: SplicedFrames, chosen: np.ndarray) -> None:
        utterances = frames.utterances
        lengths = utterances.lengths[chosen]
        self._frames = frames
        self._rows, first = utterances.load(chosen)
        within = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        self._first = np.repeat(first, lengths)
        self._last = np.repeat(first + lengths - 1, lengths)
        self._own = self._first + within
        self._numbers = np.repeat(utterances.offsets[chosen], lengths) + within
        self._labelled = np.repeat(utterances.begins[chosen], lengths) + within
        self._labels = utterances.labels[self._labelled]

    def batches(self, order: np.ndarray) -> Iterator[Batch]:
        """The frames of the given numbers, in mini-batches."""
        frames = self._frames
        gatherer, targets = frames.gatherer, frames.utterances.targets
        for begin in range(0, len(order), frames.batch_size):
            chosen = order[begin : begin + frames.batch_size]
            index = self._own[chosen, None] + frames.context
            index = np.clip(index, self._first[chosen, None], self._last[chosen, None])
            soft = None if targets is None else targets.select(self._labelled[chosen])
            yield Batch(
                inputs=gatherer.spliced(self._rows, index, frames.ivector_dim, frames.left),
                labels=gatherer.send(self._labels[chosen].astype(np.int64)),
                targets=soft if soft is None else soft.to(gatherer.device),
                frames=torch.from_numpy(self._numbers[chosen]),
            )


def pools(lengths: np.ndarray, order: np.ndarray, limit: int) -> list[np.ndarray]:
    """Cut a row of utterances into pools of about equal size.

    Args:
        lengths: frames of each utterance, shape ``(N,)``.
        order: the row, a permutation of the utterances.
        limit: frames of a pool, at most; an utterance that has more is a pool by itself.

    Returns:
        The utterances of each pool, in the order of the row.
    """
    own = lengths[order]
    total = int(own.sum())
    # An utterance is of the pool that its middle lies in. Where that makes one too large, there is one more.
    middles = np.cumsum(own) - own / 2
    for count in range(max(1, -(-total // limit)), len(order) + 1):
        pool = np.minimum(middles * count // max(total, 1), count - 1).astype(np.int64)
        sizes = np.bincount(pool, own)
        if ((sizes <= limit) | (np.bincount(pool) == 1)).all():
            return [part for part in np.split(order, np.flatnonzero(np.diff(pool)) + 1) if len(part)]
    return [part for part in np.split(order, len(order)) if len(part)]
