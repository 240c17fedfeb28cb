"""What trainings read: data directories, alignments and a teacher's opinion, checked against each other."""

from __future__ import annotations

from dataclasses import dataclass

from dkt.alignments import AlignmentDir
from dkt.datadir import DataDir
from dkt.dataset import Utterances, check_cv_disjoint, load_utterances
from dkt.errors import DktError
from dkt.feature_reader import FeatureOptions, FeatureReader
from dkt.tally import DEFAULT_MAX_LOSS
from dkt.target_store import TargetSource

#: The share of the training utterances that losses and accuracies of the training data are measured on.
EVALUATED_SHARE = 0.1


@dataclass
class FeatureConfig:
    """What is done to the features, in Kaldi's words.

    Attributes:
        cmvn_opts: options of apply-cmvn; null for no CMVN.
        delta_opts: options of add-deltas; null for no deltas.
    """

    cmvn_opts: str | None = "--norm-means=true --norm-vars=false"
    delta_opts: str | None = None


@dataclass
class TrainingInputs:
    """The data that a training reads, and what it may lose of them.

    Attributes:
        data_train, data_dev: data directories, for training and for cross-validation.
        ali_train, ali_dev: their alignments; None where only a teacher labels the data.
        max_loss: the share of utterances that may be dropped.
        targets_train, targets_dev: the soft targets of a teacher; None where there is none.
    """

    data_train: DataDir
    data_dev: DataDir
    ali_train: AlignmentDir | None
    ali_dev: AlignmentDir | None
    max_loss: float = DEFAULT_MAX_LOSS
    targets_train: TargetSource | None = None
    targets_dev: TargetSource | None = None

    @property
    def num_pdfs(self) -> int:
        """P, of the alignments or of the teacher."""
        if self.ali_train is not None:
            return self.ali_train.num_pdfs
        assert self.targets_train is not None
        return self.targets_train.header.num_pdfs

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

    def load(self, features: FeatureConfig) -> tuple[Utterances, Utterances]:
        """Read all of it.

        Args:
            features: what is done to the features.

        Returns:
            The utterances for training and for cross-validation.

        Raises:
            DktError: bad data.
        """
        options = FeatureOptions(features.cmvn_opts, features.delta_opts)

        def read(
            data: DataDir, ali: AlignmentDir | None, what: str, targets: TargetSource | None
        ) -> Utterances:
            return load_utterances(FeatureReader(data, options), ali, what, self.max_loss, targets)

        train = read(self.data_train, self.ali_train, "training data", self.targets_train)
        dev = read(self.data_dev, self.ali_dev, "cross-validation data", self.targets_dev)
        if train.features.shape[1] != dev.features.shape[1]:
            raise DktError(
                f"features of dimension {dev.features.shape[1]}, {self.data_train.path} has "
                f"{train.features.shape[1]}",
                path=self.data_dev.path,
            )
        return train, dev
