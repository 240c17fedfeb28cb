"""What trainings read: data directories, alignments and a teacher's opinion, checked against each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np

from dkt.base import ranges
from dkt.base.errors import DktError
from dkt.base.memory import memory_for
from dkt.base.tally import DEFAULT_MAX_DROPPED
from dkt.dataset.utterances import Utterances, check_cv_disjoint, load_utterances
from dkt.feat.pipeline import FEATS, FeatureOptions, MatrixFile, sum_stats
from dkt.feat.reader import FeatureReader
from dkt.feat.speaker_inputs import Ivectors, SpeakerInputs
from dkt.hmm.alignments import AlignmentDir
from dkt.targets.target_source import TargetSource
from dkt.util.data_dir import DataDir
from dkt.util.table import MatrixTable, read_matrices

#: The share of the training utterances that losses and accuracies of the training data are measured on.
EVALUATED_SHARE = 0.1


@dataclass
class FeatureConfig:
    """What is done to the features, in Kaldi's words.

    Attributes:
        cmvn_opts: options of apply-cmvn; null for no CMVN.
        delta_opts: options of add-deltas; null for no deltas.
        splice_opts: options of splice-feats; null for none. A DNN's own splicing comes after it.
        transform: a matrix file applied after it, as the final.mat of a GMM (LDA, MLLT); null for none.
        online_cmvn_opts: options of apply-cmvn-online, instead of cmvn_opts; null for none.
        global_cmvn_stats: the matrix file that online CMVN begins with; null for the sum of the training
            data's cmvn.scp.
        paste: script files of the data directories whose features are pasted.
    """

    RENAMED: ClassVar[dict[str, str]] = FeatureOptions.RENAMED

    cmvn_opts: str | None = "--norm-means=true --norm-vars=false"
    delta_opts: str | None = None
    splice_opts: str | None = None
    transform: Annotated[str | None, ranges.FileName()] = None
    online_cmvn_opts: str | None = None
    global_cmvn_stats: Annotated[str | None, ranges.FileName()] = None
    paste: Annotated[str, ranges.FileName(several=True)] = FEATS

    def __post_init__(self) -> None:
        # What stands in these lines is wrong before any data are read.
        FeatureOptions(
            self.cmvn_opts, self.delta_opts, self.splice_opts, None, self.online_cmvn_opts, None, self.paste
        ).check("features.{}".format)

    def options(self, data: DataDir, side: SpeakerInputs) -> FeatureOptions:
        """The whole feature pipeline.

        Args:
            data: the training data.
            side: their transforms and i-vectors.

        Raises:
            DktError: a matrix is missing, or options exclude each other.
        """
        return FeatureOptions(
            cmvn_opts=self.cmvn_opts,
            delta_opts=self.delta_opts,
            splice_opts=self.splice_opts,
            transform=None if self.transform is None else MatrixFile.read(self.transform),
            online_cmvn_opts=self.online_cmvn_opts,
            global_cmvn_stats=self._global_stats(data),
            paste=self.paste,
            speaker_transforms=side.transform_dir is not None,
            ivector_dim=0 if side.ivectors is None else Ivectors(side.ivectors).dim,
        )

    def check_files(self) -> None:
        """Raise DktError unless the matrices that are named are there and can be read."""
        for name in (self.transform, self.global_cmvn_stats):
            if name is not None:
                MatrixFile.read(name)

    def _global_stats(self, data: DataDir) -> MatrixFile | None:
        if self.global_cmvn_stats is not None:
            return MatrixFile.read(self.global_cmvn_stats)
        if self.online_cmvn_opts is None:
            return None
        path = str(data.file("cmvn.scp", "steps/compute_cmvn_stats.sh"))
        return sum_stats([stats for _, stats in read_matrices(f"scp:{path}", np.float64)], path)


@dataclass
class TrainingInputs:
    """The data that a training reads, and what it may lose of them.

    Attributes:
        data_train, data_dev: data directories, for training and for cross-validation.
        ali_train, ali_dev: their alignments; None where only a teacher labels the data.
        max_dropped: the share of utterances that may be dropped.
        targets_train, targets_dev: the soft targets of a teacher; None where there is none.
        side_train, side_dev: fMLLR transforms and i-vectors.
        cache_dir: where packed features are kept: a directory, ``none``, or None for the data directories.
        cache_otherwise: where they are kept if the data directories cannot be written in.
    """

    data_train: DataDir
    data_dev: DataDir
    ali_train: AlignmentDir | None
    ali_dev: AlignmentDir | None
    max_dropped: float = DEFAULT_MAX_DROPPED
    targets_train: TargetSource | None = None
    targets_dev: TargetSource | None = None
    side_train: SpeakerInputs = field(default_factory=SpeakerInputs)
    side_dev: SpeakerInputs = field(default_factory=SpeakerInputs)
    cache_dir: str | None = None
    cache_otherwise: Path | None = None

    @property
    def num_pdfs(self) -> int:
        """P, of the alignments or of the teacher."""
        if self.ali_train is not None:
            return self.ali_train.num_pdfs
        assert self.targets_train is not None
        return self.targets_train.header.num_pdfs

    def raw_dim(self, options: FeatureOptions) -> int:
        """The dimension of the training data's features on disk, of the first of several that are pasted."""
        path = self.data_train.file(options.paste.split()[0], "steps/make_fbank.sh or steps/make_mfcc.sh")
        features = MatrixTable(f"scp:{path}")
        return int(features[next(iter(features))].shape[1])

    def check(self) -> None:
        """Raise DktError unless alignments and data directories belong together."""
        ali, ali_dev = self.ali_train, self.ali_dev
        if ali is not None and ali_dev is not None and ali.num_pdfs != ali_dev.num_pdfs:
            raise DktError(
                f"{ali_dev.num_pdfs} pdfs, {ali.path} has {ali.num_pdfs}",
                path=ali_dev.path,
                hint="align both with one model",
            )
        check_cv_disjoint(self.data_train, self.data_dev)

    @memory_for("the features", "train on fewer utterances, or give a --cache-dir that can be written to")
    def load(self, options: FeatureOptions) -> tuple[Utterances, Utterances]:
        """Read all of it.

        Args:
            options: what is done to the features.

        Returns:
            The utterances for training and for cross-validation.

        Raises:
            DktError: bad data.
        """
        loss, cache = self.max_dropped, (self.cache_dir, self.cache_otherwise)
        # Both before the first is read, which may take long.
        reader = FeatureReader(self.data_train, options, self.side_train)
        reader_dev = FeatureReader(self.data_dev, options, self.side_dev, "-dev")
        train = load_utterances(reader, self.ali_train, "training data", loss, self.targets_train, *cache)
        dev = load_utterances(
            reader_dev, self.ali_dev, "cross-validation data", loss, self.targets_dev, *cache
        )
        if train.dim != dev.dim:
            raise DktError(
                f"features of dimension {dev.dim}, {self.data_train.path} has {train.dim}",
                path=self.data_dev.path,
            )
        return train, dev
