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
from dkt.target_store import TargetSource
from dkt.targets import SoftTargets, stack

logger = logging.getLogger(__name__)

#: A length difference of features and labels below this is cut, as in Kaldi's nnet1 (--length-tolerance).
LENGTH_TOLERANCE = 5


@dataclass
class Utterances:
    """Utterances end to end in one array.

    Attributes:
        names: the N utterances.
        features: float32, shape ``(sum of T, F)``.
        labels: int64 pdf-ids, shape ``(sum of T,)``; without an alignment the teacher's best ones.
        offsets: where each utterance begins, and the end; int64, shape ``(N + 1,)``.
        targets: the teacher's opinion on every frame; None where there is no teacher.
    """

    names: list[str]
    features: torch.Tensor
    labels: torch.Tensor
    offsets: torch.Tensor
    targets: SoftTargets | None = None

    @property
    def num_frames(self) -> int:
        """The number of frames, all utterances together."""
        return len(self.labels)

    def subset(self, chosen: list[int]) -> Utterances:
        """The utterances of the indices ``chosen``, in that order."""
        pieces = [slice(int(self.offsets[i]), int(self.offsets[i + 1])) for i in chosen]
        frames = torch.cat([torch.arange(piece.start, piece.stop) for piece in pieces])
        return Utterances(
            [self.names[i] for i in chosen],
            self.features[frames],
            self.labels[frames],
            _offsets([piece.stop - piece.start for piece in pieces]),
            None if self.targets is None else self.targets.select(frames),
        )


def _offsets(lengths: list[int]) -> torch.Tensor:
    return torch.cumsum(torch.tensor([0, *lengths]), dim=0)


def pack(
    names: list[str],
    features: list[torch.Tensor],
    labels: list[torch.Tensor],
    targets: list[SoftTargets] | None = None,
) -> Utterances:
    """Join utterances: features ``(T, F)``, labels ``(T,)`` and, if there is a teacher, targets of each."""
    taught = stack(targets) if targets else None
    offsets = _offsets([len(x) for x in labels])
    return Utterances(names, torch.cat(features), torch.cat(labels), offsets, taught)


def match_lengths(features: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Cut features ``(T, F)`` and labels ``(T,)`` to the shorter; None if they differ by 5 frames or more."""
    if abs(len(features) - len(labels)) >= LENGTH_TOLERANCE:
        return None
    length = min(len(features), len(labels))
    return features[:length], labels[:length]


class _Labels:
    """What a frame should be called: the alignment's pdf, or the teacher's best one."""

    def __init__(self, alignments: AlignmentDir | None, targets: TargetSource | None) -> None:
        if alignments is None and targets is None:
            raise DktError("neither alignments nor soft targets: there is nothing to learn")
        self._where = None if alignments is None else alignments.path
        self._pdfs = None if alignments is None else alignments.pdfs()
        self._targets = targets

    def missing(self, utt: str) -> str | None:
        """Why an utterance cannot be used; None if it can."""
        if self._pdfs is not None and utt not in self._pdfs:
            return f"no alignment in {self._where}"
        if self._targets is not None and utt not in self._targets:
            return f"no soft targets in {self._targets.where}"
        return None

    def of(self, utt: str, num_frames: int) -> tuple[torch.Tensor, SoftTargets | None]:
        """Labels ``(T,)`` and soft targets of an utterance that has features of ``num_frames`` frames."""
        targets = None if self._targets is None else self._targets.read(utt, num_frames)
        if self._pdfs is not None:
            return torch.from_numpy(self._pdfs[utt].astype(np.int64)), targets
        assert targets is not None
        return targets.best(), targets


def load_utterances(
    reader: FeatureReader,
    alignments: AlignmentDir | None,
    what: str,
    max_loss: float = DEFAULT_MAX_LOSS,
    targets: TargetSource | None = None,
) -> Utterances:
    """Read the features, labels and soft targets of a data directory.

    Args:
        reader: the features.
        alignments: the labels; None if the data are not transcribed and only a teacher labels them.
        what: the data, as they should read in the log.
        max_loss: the share of utterances that may lack features, labels or targets, or differ in length.
        targets: a teacher's; None for none.

    Raises:
        DktError: more than ``max_loss`` of the utterances cannot be used, or the data are bad.
    """
    tally = Tally(f"{what} of {reader.data.path}", max_loss)
    reader.drop_missing(tally)
    source = _Labels(alignments, targets)
    names, features, labels, taught = [], [], [], []
    for utt, frames in reader:
        missing = source.missing(utt)
        if missing:
            tally.drop(utt, missing)
            continue
        pdfs, soft = source.of(utt, len(frames))
        matched = match_lengths(torch.from_numpy(frames), pdfs)
        if matched is None:
            tally.drop(utt, f"{LENGTH_TOLERANCE} frames or more between features and alignment")
            continue
        names.append(utt)
        features.append(matched[0])
        labels.append(matched[1])
        if soft is not None:
            length = len(matched[1])
            taught.append(soft if len(soft) == length else soft.select(torch.arange(length)))
        tally.done()
    tally.finish(str(reader.data.path))
    return pack(names, features, labels, taught)


def split_off(utterances: Utterances, share: float, seed: int) -> Utterances:
    """A fixed random ``share`` of the utterances, at least one."""
    count = max(1, round(share * len(utterances.names)))
    order = np.random.default_rng(seed).permutation(len(utterances.names))
    return utterances.subset(sorted(order[:count].tolist()))


def gather_context(
    features: torch.Tensor, index: torch.Tensor, frames: torch.Tensor, ivector_dim: int
) -> torch.Tensor:
    """Splice frames; i-vectors at their end are taken once, of the frame itself.

    Args:
        features: shape ``(sum of T, F)``.
        index: the frames that each spliced frame is made of, shape ``(B, context)``.
        frames: the frames themselves, shape ``(B,)``.
        ivector_dim: I, the last dimensions of ``features`` that are i-vectors.

    Returns:
        Shape ``(B, context * (F - I) + I)``.
    """
    spliced = features.index_select(0, index.flatten())
    if ivector_dim == 0:
        return spliced.view(len(frames), -1)
    acoustic = spliced[:, :-ivector_dim].reshape(len(frames), -1)
    return torch.cat([acoustic, features[frames, -ivector_dim:]], dim=1)


class SplicedFrames:
    """Mini-batches of frames with their context; the spliced features are never stored.

    Args:
        utterances: the data.
        left, right: frames of context on each side; edge frames of the utterance are repeated.
        batch_size: frames a mini-batch.
        device: where batches are gathered.
        ivector_dim: the last dimensions of a frame that are not spliced.
    """

    def __init__(
        self,
        utterances: Utterances,
        left: int,
        right: int,
        batch_size: int,
        device: torch.device,
        ivector_dim: int = 0,
    ) -> None:
        lengths = utterances.offsets.diff()
        self.features = utterances.features.to(device)
        self.labels = utterances.labels.to(device)
        self._first = torch.repeat_interleave(utterances.offsets[:-1], lengths).to(device)
        self._last = torch.repeat_interleave(utterances.offsets[1:] - 1, lengths).to(device)
        self._context = torch.arange(-left, right + 1, device=device)
        self.batch_size = batch_size
        self.device = device
        self.ivector_dim = ivector_dim

    @property
    def num_frames(self) -> int:
        """The number of frames."""
        return len(self.labels)

    def gather(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Spliced features, as ``gather_context`` gives them, and labels ``(B,)`` of the frames ``(B,)``."""
        index = frames[:, None] + self._context
        index = torch.minimum(torch.maximum(index, self._first[frames, None]), self._last[frames, None])
        return gather_context(self.features, index, frames, self.ivector_dim), self.labels[frames]

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
