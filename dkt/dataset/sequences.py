"""Utterances to batches of sequences: chunks in streams, chunks with context, or whole utterances."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch

from dkt.base.errors import DktError
from dkt.dataset.batch import Batch
from dkt.dataset.gather import Gatherer
from dkt.dataset.utterances import Utterances
from dkt.nnet.network import Sequences

# Padding may take this share of the computed frames; rather than exceed it, batches have fewer rows.
_MAX_PADDING = 0.04
# Open utterances per row: so many to choose from that enough of them can end at the same frame.
_OPEN_PER_ROW = 4
# Frames of features that are read at a time, in order.
_BLOCK = 1 << 16


class Piece(NamedTuple):
    """The frames ``begin`` to ``begin + length`` of an utterance, in a stream."""

    stream: int
    utterance: int
    begin: int
    length: int


class _Batches:
    """What all kinds of batches share: the data, gathering by index, and the count of padding."""

    smaller = "batches.num_streams, batches.chunk or batches.frames_per_batch"
    # Frames beside a piece that the network sees and does not learn.
    left = right = 0

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

    @property
    def num_states(self) -> int:
        """Sequences whose state is carried from batch to batch."""
        return 0

    def _plan(self, seed: int | None) -> Iterator[list[Piece]]:
        """The pieces of each batch, in an order that ``seed`` decides; None for that of the data."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[Batch]:
        """All frames, in the same order each time."""
        for pieces in self._plan(None):
            yield self.gather(pieces)

    def shuffled(self, seed: int) -> Iterator[Batch]:
        """All frames, in an order that ``seed`` decides."""
        for pieces in self._plan(seed):
            yield self.gather(pieces)

    def padding_share(self, seed: int | None = None) -> float:
        """The share of computed frames that are padding, in the order of ``seed``."""
        computed = filled = 0
        for pieces in self._plan(seed):
            lengths = [sum(self._seen(piece)) for piece in pieces]
            computed += len(pieces) * max(lengths)
            filled += sum(lengths)
        return 1.0 - filled / computed if computed else 0.0

    def describe(self) -> str:
        """How many frames there are, and how much of what is computed is padding."""
        return f"{self.num_frames} training frames with {100.0 * self.padding_share():.1f} % padding"

    def _seen(self, piece: Piece) -> tuple[int, int, int]:
        """The frames of a piece that are before those with labels, those, and those behind."""
        rest = self._lengths[piece.utterance] - piece.begin - piece.length
        return min(self.left, piece.begin), piece.length, min(self.right, rest)

    def network_inputs(self) -> Iterator[torch.Tensor]:
        """All features in order, some at a time: ``(B, F)``."""
        for rows in self.utterances.blocks(_BLOCK):
            yield torch.from_numpy(rows).to(self.device)

    def gather(self, pieces: list[Piece]) -> Batch:
        """The batch of some pieces."""
        data, send = self.utterances, self._gatherer.send
        stream, utterance, begin, length = np.array(pieces, dtype=np.int64).T
        first, seen = begin, length
        if self.left or self.right:
            first = np.maximum(begin - self.left, 0)
            seen = np.minimum(begin + length + self.right, data.lengths[utterance]) - first
        # Axes: frames of the batch down, pieces across.
        step = np.arange(int(seen.max()))[:, None]
        mask = step < begin - first + length
        if self.left:
            mask &= step >= begin - first
        source = np.minimum(first + step + self.target_delay, data.lengths[utterance] - 1)
        # Of the utterance only what is needed, from the first frame to the last.
        loaded, place = data.load(utterance, source[0], source[-1] + 1)
        labelled = (data.begins[utterance] + first + step)[mask]
        targets = None if data.targets is None else data.targets.select(labelled)
        return Batch(
            inputs=Sequences(
                features=self._gatherer.rows(loaded, place + source - source[0]),
                mask=send(mask),
                lengths=send(seen),
                reset=send(begin == 0),
                streams=send(stream),
            ),
            labels=send(data.labels[labelled].astype(np.int64)),
            targets=targets if targets is None else targets.to(self.device),
            frames=torch.from_numpy((data.offsets[utterance] + first + step)[mask]),
        )


class Streams(_Batches):
    """Chunks of many utterances side by side, for truncated back-propagation through time.

    Like Kaldi's ``nnet-train-multistream``, with two differences. There, a row whose utterance ends inside
    the chunk is padded, which is a fifth of the computation where utterances are short, and what is left in
    the other streams when the first one runs dry is discarded. Here more streams are open than a batch has
    rows, a batch joins those that can be cut at the same length, and every frame is seen once an epoch. The
    price: an utterance goes on from a state that is some updates old (``num_states`` over rows), not one.

    ``SequenceNetwork.runner`` carries the state of all ``num_states`` streams from batch to batch::

        carried = network.zero_state(streams.num_states)
        for batch in streams.shuffled(seed):
            state = reset_state(select_state(carried, batch.inputs.streams), batch.inputs.reset)
            logits, state = network(batch.inputs.features, state)
            ...
            store_state(carried, batch.inputs.streams, state)

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
        """The number of streams, of which a batch has some; ``Sequences.streams`` is below it."""
        return _OPEN_PER_ROW * self.num_streams

    def _plan(self, seed: int | None) -> Iterator[list[Piece]]:
        waiting = [u for u in _permutation(len(self._lengths), seed or 0) if self._lengths[u]]
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
        return -(-left // _num_chunks(left, self.chunk))

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

    def _plan(self, seed: int | None) -> Iterator[list[Piece]]:
        if seed is None:
            return self._grouped(range(len(self._lengths)))
        batches = list(self._grouped(_permutation(len(self._lengths), seed)))
        return (batches[number] for number in _permutation(len(batches), seed))

    def _grouped(self, order: Iterable[int]) -> Iterator[list[Piece]]:
        """Batches of utterances of nearly one length, the longest first; equal ones in ``order``."""
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


class Chunks(_Batches):
    """Chunks of utterances side by side, each between frames that the network sees and does not learn.

    As nnet3's chunks with ``--egs.chunk-left-context`` and ``-right-context``: no state is carried, so that
    a network may look ahead as well as back. The edges of an utterance are those of its chunks.

    Args:
        utterances: the data.
        target_delay: frames by which the features are ahead of labels and targets.
        num_chunks: chunks of a batch, N.
        chunk: about how many frames of a chunk have labels.
        left, right: the most frames beside them on each side.
        device: where batches are gathered.
    """

    def __init__(
        self,
        utterances: Utterances,
        target_delay: int,
        num_chunks: int,
        chunk: int,
        left: int,
        right: int,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(utterances, target_delay, torch.device(device))
        _check(num_chunks=(num_chunks, 1), chunk=(chunk, 1), left=(left, 0), right=(right, 0))
        self.num_chunks = num_chunks
        self.chunk = chunk
        self.left, self.right = left, right

    def _plan(self, seed: int | None) -> Iterator[list[Piece]]:
        pieces = [piece for utterance in range(len(self._lengths)) for piece in self._cut(utterance)]
        if seed is not None:
            # One by one: a batch shall be of as many utterances as it has rows.
            pieces = [pieces[number] for number in _permutation(len(pieces), seed)]
        # Those that see equally much side by side leave little padding; equal ones stay in their order.
        pieces.sort(key=lambda piece: -sum(self._seen(piece)))
        batches = [pieces[n : n + self.num_chunks] for n in range(0, len(pieces), self.num_chunks)]
        for number in range(len(batches)) if seed is None else _permutation(len(batches), seed):
            yield [piece._replace(stream=row) for row, piece in enumerate(batches[number])]

    def _cut(self, utterance: int) -> Iterator[Piece]:
        """An utterance in parts that are as equal, and as close to ``chunk``, as can be."""
        length = self._lengths[utterance]
        parts = _num_chunks(length, self.chunk)
        bounds = [length * part // parts for part in range(parts + 1)]
        for begin, end in pairwise(bounds):
            if end > begin:
                yield Piece(0, utterance, begin, end - begin)


def _num_chunks(length: int, chunk: int) -> int:
    """The number of equal parts of so many frames that are as close to ``chunk`` as can be."""
    return max(1, (2 * length + chunk) // (2 * chunk))


def _rest(piece: Piece, length: int) -> Piece:
    return piece._replace(begin=piece.begin + length, length=piece.length - length)


def _permutation(count: int, seed: int) -> list[int]:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()


def _check(**values: tuple[int, int]) -> None:
    for name, (value, least) in values.items():
        if value < least:
            raise DktError(f"'{name}' is {value}, expected {least} or more")
