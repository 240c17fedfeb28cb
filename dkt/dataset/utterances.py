"""The utterances of a training: features, labels and soft targets by number, none of them copied for it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dkt.base.errors import DktError
from dkt.base.scratch import Scratch
from dkt.base.tally import DEFAULT_MAX_DROPPED, Tally
from dkt.dataset.cache import open_features, scratch_place
from dkt.dataset.features import FrameSource, PackedFeatures
from dkt.dataset.labels import Labels
from dkt.feat.reader import FeatureReader
from dkt.hmm.alignments import LENGTH_TOLERANCE, AlignmentDir, match_lengths
from dkt.targets.scratch import FrameTargets, TargetScratch
from dkt.targets.soft_targets import SoftTargets, stack
from dkt.targets.target_source import TargetSource
from dkt.util.data_dir import DataDir

logger = logging.getLogger(__name__)


@dataclass
class Utterances:
    """N utterances: which they are in arrays that may hold more, and how much of each is used.

    What is used of all of them, end to end, is numbered from 0: the frames of ``offsets``.

    Attributes:
        names: the utterances.
        features: where their features come from.
        numbers: the number of each in ``features``; int64, shape ``(N,)``.
        lengths: frames used of each, the first ones; int64, shape ``(N,)``.
        labels: pdf-ids of frames end to end, int32; without an alignment the teacher's best ones.
        begins: where each begins in ``labels`` and ``targets``; int64, shape ``(N,)``.
        targets: the teacher's posteriors of every frame of ``labels``; None where there is no teacher.
    """

    names: list[str]
    features: FrameSource
    numbers: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray
    begins: np.ndarray
    targets: FrameTargets | None = None

    def __post_init__(self) -> None:
        self.offsets = np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int64)

    @property
    def num_frames(self) -> int:
        """The number of frames, all utterances together."""
        return int(self.offsets[-1])

    @property
    def dim(self) -> int:
        """F, of the features."""
        return self.features.dim

    def subset(self, chosen: Sequence[int]) -> Utterances:
        """The utterances of the indices ``chosen``, in that order."""
        index = np.asarray(chosen, dtype=np.int64)
        return Utterances(
            [self.names[i] for i in chosen],
            self.features,
            self.numbers[index],
            self.lengths[index],
            self.labels,
            self.begins[index],
            self.targets,
        )

    def load(
        self, chosen: np.ndarray, begins: np.ndarray | None = None, ends: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Have the features of some utterances at hand, or of the frames ``begins`` to ``ends`` of each.

        Args:
            chosen: indices of utterances, shape ``(C,)``.
            begins, ends: the first frame and the one after the last, shape ``(C,)``; None for the used ones.

        Returns:
            As ``FrameSource.load``: float32 rows, and where each utterance, or piece, begins in them.
        """
        begins = np.zeros(len(chosen), np.int64) if begins is None else begins
        return self.features.load(
            self.numbers[chosen], begins, self.lengths[chosen] if ends is None else ends
        )

    def features_of(self, utterance: int) -> np.ndarray:
        """The features of one utterance, shape ``(T, F)``; they may not be written to."""
        rows, (first,) = self.load(np.array([utterance]))
        return rows[first : first + self.lengths[utterance]]

    def labels_of(self, utterance: int) -> np.ndarray:
        """The labels of one utterance, int64 of shape ``(T,)``."""
        return self.labels[self.rows_of(utterance)].astype(np.int64)

    def rows_of(self, utterance: int) -> slice:
        """Where one utterance stands in ``labels`` and ``targets``."""
        begin = int(self.begins[utterance])
        return slice(begin, begin + int(self.lengths[utterance]))

    def runs(self, size: int) -> Iterator[tuple[np.ndarray, int, int]]:
        """All frames in order, ``size`` at a time.

        Yields:
            The utterances that a run touches, and its first frame and the one after its last, counted from
            the beginning of the first of them.
        """
        for begin in range(0, self.num_frames, size):
            end = min(begin + size, self.num_frames)
            first = int(np.searchsorted(self.offsets, begin, side="right")) - 1
            last = int(np.searchsorted(self.offsets, end, side="left"))
            start = int(self.offsets[first])
            yield np.arange(first, last), begin - start, end - start

    def blocks(self, size: int) -> Iterator[np.ndarray]:
        """All features in order, ``size`` frames at a time: new arrays of shape ``(size, F)``."""
        for chosen, begin, end in self.runs(size):
            pieces = np.concatenate([self.features_of(u) for u in chosen.tolist()])
            yield pieces[begin:end]


def pack(
    names: list[str],
    features: list[torch.Tensor],
    labels: list[torch.Tensor],
    targets: list[SoftTargets] | None = None,
) -> Utterances:
    """Join utterances that are in memory.

    Args:
        names: the utterances.
        features: of each, shape ``(T, F)``.
        labels: of each, shape ``(T,)``.
        targets: of each, if there is a teacher.
    """
    lengths = np.array([len(x) for x in labels], dtype=np.int64)
    return Utterances(
        names,
        PackedFeatures(names, lengths, torch.cat(features).numpy()),
        np.arange(len(names)),
        lengths,
        torch.cat(labels).numpy().astype(np.int32),
        np.cumsum(lengths) - lengths,
        FrameTargets.of(stack(targets)) if targets else None,
    )


def load_utterances(
    reader: FeatureReader,
    alignments: AlignmentDir | None,
    what: str,
    max_dropped: float = DEFAULT_MAX_DROPPED,
    targets: TargetSource | None = None,
    cache_dir: str | None = None,
    cache_otherwise: Path | None = None,
) -> Utterances:
    """Find the features, and read the labels and soft targets, of a data directory.

    Args:
        reader: the features.
        alignments: the labels; None if the data are not transcribed and only a teacher labels them.
        what: the data, as they should read in the log.
        max_dropped: the share of utterances that may lack features, labels or targets, or differ in length.
        targets: a teacher's; None for none.
        cache_dir: where packed features are kept, as ``dkt.dataset.cache.cache_root`` takes it.
        cache_otherwise: where they are kept if the data directory cannot be written in.

    Raises:
        DktError: more than ``max_dropped`` of the utterances cannot be used, or the data are bad.
    """
    tally = Tally(f"{what} of {reader.data.path}", max_dropped)
    reader.drop_missing(tally)
    place = scratch_place(reader.data, cache_dir)
    source = Labels(alignments, targets, place)
    features = open_features(reader, cache_dir, cache_otherwise)
    taught = None if targets is None else TargetScratch(targets.header.num_pdfs, targets.half, place)
    pdfs = Scratch(np.int32, place)
    used = _label(features, source, tally, pdfs, taught)
    tally.finish(str(reader.data.path))
    numbers, lengths = np.array(used, dtype=np.int64).T
    return Utterances(
        [features.names[number] for number, _ in used],
        features,
        numbers,
        lengths,
        pdfs.array(),
        np.cumsum(lengths) - lengths,
        None if taught is None else taught.finish(),
    )


def _label(
    features: FrameSource, source: Labels, tally: Tally, pdfs: Scratch, taught: TargetScratch | None
) -> list[tuple[int, int]]:
    """Write the labels and soft targets of all utterances that have them; their numbers and lengths."""
    used: list[tuple[int, int]] = []
    for number, (utt, num_frames) in enumerate(zip(features.names, features.lengths.tolist(), strict=True)):
        missing = source.missing(utt)
        if missing:
            tally.drop(utt, missing)
            continue
        labels, soft = source.of(utt, num_frames)
        length = match_lengths(num_frames, len(labels))
        if length is None:
            tally.drop(utt, f"{LENGTH_TOLERANCE} frames or more between features and alignment")
            continue
        used.append((number, length))
        pdfs.append(labels[:length])
        if taught is not None and soft is not None:
            taught.append(soft if len(soft) == length else soft.select(torch.arange(length)))
        tally.done()
    return used


def split_off(utterances: Utterances, share: float, seed: int) -> Utterances:
    """A fixed random ``share`` of the utterances, at least one."""
    count = max(1, round(share * len(utterances.names)))
    order = np.random.default_rng(seed).permutation(len(utterances.names))
    return utterances.subset(sorted(order[:count].tolist()))


def check_cv_disjoint(train: DataDir, dev: DataDir) -> None:
    """Warn when dev utterances are trained on; refuse when all are."""
    shared = set(train.utt2spk) & set(dev.utt2spk)
    if shared and len(shared) == len(dev.utt2spk):
        raise DktError(
            f"all of its {len(shared)} utterances are in {train.path} too",
            path=dev.path,
            hint="cross-validate on data that are not trained on",
        )
    if shared:
        logger.warning("%d utterances of %s are also trained on", len(shared), dev.path)
