"""Utterances to batches of sequences: chunks in parallel streams, or whole utterances."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from dkt.base.errors import DktError
from dkt.dataset.gather import Gatherer
from dkt.dataset.utterances import Utterances
from dkt.targets.soft_targets import SoftTargets

# Padding may take this share of the computed frames; rather than exceed it, batches have fewer rows.
_MAX_PADDING = 0.04
# Open utterances a row: so many to choose from that enough of them can end at the same frame.
_OPEN_PER_ROW = 4


@dataclass
class SequenceBatch:
    """N pieces of utterances side by side.

    Attributes:
        features: shape ``(T, N, F)``, the target delay applied.
        frames: int64, shape ``(T, N)``, in memory: the number of each frame among those of ``Utterances``;
            0 on padding.
        labels: int64, shape ``(B,)``: of the B frames that are no padding, in the order of ``mask``.
        targets: the teacher's opinion on the same frames; None where there is no teacher.
        mask: bool, shape ``(T, N)``: False on padding, which always follows the end of an utterance.
        reset: bool, shape ``(N,)``: True where the piece begins an utterance, for its state to be zeroed.
        streams: int64, shape ``(N,)``: the stream of each piece, by which its carried state is found.
    """

    features: torch.Tensor
    frames: torch.Tensor
    labels: torch.Tensor
    targets: SoftTargets | None
    mask: torch.Tensor
    reset: torch.Tensor
    streams: torch.Tensor


class Piece(NamedTuple):
    """The frames ``begin`` to ``begin + length`` of an utterance, in a stream."""

    stream: int
    utterance: int
    begin: int
    length: int


class _Batches:
    """What both kinds of batches share: the data, gathering by index, and the count of padding."""

    def __init__(self, utterances: Utterances, target_delay: int, device: torch.device) -> None:
        _check(target_delay=(target_delay, 0))
        self.utterances = utterances
        self.target_delay = target_delay
        self.device = device
        self._gatherer = Gatherer(utterances.features, device)
        self._lengths: list[int] = utterances.lengths.tolist()

    @property
    def num_frames(self) -> int:
        """The number of frames, without padding."""
        return self.utterances.num_frames

    def gather(self, pieces: list[Piece]) -> SequenceBatch:
        """The batch of some pieces."""
        data, send = self.utterances, self._gatherer.send
        stream, utterance, begin, length = np.array(pieces, dtype=np.int64).T
        # Axes: frames of the batch down, pieces across.
        step = np.arange(int(length.max()))[:, None]
        mask = step < length
        last = data.lengths[utterance] - 1
        source = np.minimum(begin + step + self.target_delay, last)
        # Of the utterance only what is needed, from the first frame to the last.
        loaded, first = data.load(utterance, source[0], source[-1] + 1)
        labelled = (data.begins[utterance] + begin + step)[mask]
        targets = None if data.targets is None else data.targets.select(labelled)
        return SequenceBatch(
            features=self._gatherer.rows(loaded, first + source - source[0]),
            frames=torch.from_numpy(np.where(mask, data.offsets[utterance] + begin + step, 0)),
            labels=send(data.labels[labelled].astype(np.int64)),
            targets=targets if targets is None else targets.to(self.device),
            mask=send(mask),
            reset=send(begin == 0),
            streams=send(stream),
        )


class Streams(_Batches):
    """Chunks of many utterances side by side, for truncated back-propagation through time.

    Like Kaldi's ``nnet-train-multistream``, with two differences. There, a row whose utterance ends inside
    the chunk is padded, which is a fifth of the computation where utterances are short, and what is left in
    the other streams when the first one runs dry is discarded. Here more streams are open than a batch has
    rows, a batch joins those that can be cut at the same length, and every frame is seen once an epoch. The
    price: an utterance goes on from a state that is some updates old (``num_states`` over rows), not one.

    A trainer carries the state of all ``num_states`` streams from batch to batch::

        carried = network.zero_state(streams.num_states)
        for batch in streams.shuffled(seed):
            state = reset_state(select_state(carried, batch.streams), batch.reset)
            logits, state = network(batch.features, state)
            ...
            store_state(carried, batch.streams, state)

    Args:
        utterances: the data.
        target_delay: frames by which the features are ahead of labels and targets.
        num_streams: the most rows of a batch, N.
        chunk: about how many frames of an utterance are in a batch; two thirds to one and a half of it.
        device: where batches are gathered.
    """

    def __init__(
        self,
        utterances: Utterances,
        target_delay: int,
        num_streams: int,
        chunk: int = 20,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(utterances, target_delay, torch.device(device))
        _check(num_streams=(num_streams, 1), chunk=(chunk, 1))
        self.num_streams = num_streams
        self.chunk = chunk

    @property
    def num_states(self) -> int:
        """The number of streams, of which a batch has some; ``SequenceBatch.streams`` is below it."""
        return _OPEN_PER_ROW * self.num_streams

    def shuffled(self, seed: int) -> Iterator[SequenceBatch]:
        """All frames, utterances in an order that ``seed`` decides."""
        for pieces in self._plan(seed):
            yield self.gather(pieces)

    def padding_share(self, seed: int = 0) -> float:
        """The share of computed frames that are padding, in the order of ``seed``."""
        return _padding_share(self._plan(seed))

    def _plan(self, seed: int) -> Iterator[list[Piece]]:
        waiting = [u for u in _permutation(len(self._lengths), seed) if self._lengths[u]]
        free = list(range(self.num_states))
        # What is left of open utterances, those first that have waited longest.
        opened: list[Piece] = []
        padding = computed = 0
        while waiting or opened:
            while waiting and free:
                utterance = waiting.pop()
                opened.append(Piece(free.pop(), utterance, 0, self._lengths[utterance]))
            if not waiting:
                # No new utterance will fill the rows: keep the last ones ending together.
                opened.sort(key=lambda rest: -rest.length)
            length = self._cut(opened[0].length)
            chosen = self._choose([rest.length for rest in opened], length, padding, computed)
            pieces = [opened[k]._replace(length=min(length, opened[k].length)) for k in chosen]
            yield pieces
            computed += length * len(pieces)
            padding += length * len(pieces) - sum(piece.length for piece in pieces)
            rests = [_rest(opened[k], length) for k in chosen]
            free.extend(rest.stream for rest in rests if rest.length <= 0)
            taken = set(chosen)
            opened = [rest for k, rest in enumerate(opened) if k not in taken]
            opened.extend(rest for rest in rests if rest.length > 0)

    def _cut(self, left: int) -> int:
        """The length of the next chunk: what is left in equal parts, each as close to ``chunk`` as can be."""
        parts = max(1, (2 * left + self.chunk) // (2 * self.chunk))
        return -(-left // parts)

    def _choose(self, lefts: list[int], length: int, padding: int, computed: int) -> list[int]:
        """The open utterances of a batch of ``length`` frames, the first of them always.

        First those without padding: they end there, or enough of them remains for another chunk; among them
        those that had been cut there anyway. Then those that end earlier, as far as padding is allowed.
        """
        shortest = max(1, 2 * self.chunk // 3)
        others = range(1, len(lefts))
        whole = [k for k in others if lefts[k] == length or lefts[k] >= length + shortest]
        whole.sort(key=lambda k: abs(self._cut(lefts[k]) - length))
        chosen = [0, *whole[: self.num_streams - 1]]
        for k in sorted((k for k in others if lefts[k] < length), key=lambda k: -lefts[k]):
            padding += length - lefts[k]
            allowed = _MAX_PADDING * (computed + length * (len(chosen) + 1))
            if len(chosen) == self.num_streams or padding > allowed:
                break
            chosen.append(k)
        return chosen


class WholeUtterances(_Batches):
    """Whole utterances of nearly the same length side by side.

    Args:
        utterances: the data.
        target_delay: frames by which the features are ahead of labels and targets.
        frames_per_batch: the most frames of a batch, padding included; a longer utterance stands alone.
        device: where batches are gathered.
    """

    def __init__(
        self,
        utterances: Utterances,
        target_delay: int,
        frames_per_batch: int,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(utterances, target_delay, torch.device(device))
        _check(frames_per_batch=(frames_per_batch, 1))
        self.frames_per_batch = frames_per_batch

    def __iter__(self) -> Iterator[SequenceBatch]:
        """All frames, the longest utterances first."""
        for pieces in self._plan(range(len(self._lengths))):
            yield self.gather(pieces)

    def shuffled(self, seed: int) -> Iterator[SequenceBatch]:
        """All frames, batches in an order that ``seed`` decides."""
        batches = list(self._plan(_permutation(len(self._lengths), seed)))
        for number in _permutation(len(batches), seed):
            yield self.gather(batches[number])

    def padding_share(self) -> float:
        """The share of computed frames that are padding."""
        return _padding_share(self._plan(range(len(self._lengths))))

    def _plan(self, order: Iterable[int]) -> Iterator[list[Piece]]:
        utterances = [u for u in order if self._lengths[u]]
        utterances.sort(key=lambda u: -self._lengths[u])
        pieces: list[Piece] = []
        filled = 0
        for utterance in utterances:
            length = self._lengths[utterance]
            if pieces:
                computed = pieces[0].length * (len(pieces) + 1)
                padding = computed - filled - length
                if computed > self.frames_per_batch or padding > _MAX_PADDING * computed:
                    yield pieces
                    pieces, filled = [], 0
            pieces.append(Piece(len(pieces), utterance, 0, length))
            filled += length
        if pieces:
            yield pieces


def _rest(piece: Piece, length: int) -> Piece:
    return piece._replace(begin=piece.begin + length, length=piece.length - length)


def _permutation(count: int, seed: int) -> list[int]:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()


def _padding_share(batches: Iterable[list[Piece]]) -> float:
    computed = filled = 0
    for pieces in batches:
        computed += len(pieces) * max(piece.length for piece in pieces)
        filled += sum(piece.length for piece in pieces)
    return 1.0 - filled / computed if computed else 0.0


def _check(**values: tuple[int, int]) -> None:
    for name, (value, least) in values.items():
        if value < least:
            raise DktError(f"'{name}' is {value}, expected {least} or more")
