"""What a configuration does to features: Kaldi's pipeline, and the splicing of frame networks after it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from dkt.base import ranges
from dkt.base.errors import DktError
from dkt.feat.pipeline import FEATS, FeatureOptions, MatrixFile, sum_stats
from dkt.feat.speaker_inputs import Ivectors, SpeakerInputs
from dkt.transform.lda import accumulate_spliced, check_estimable
from dkt.util.data_dir import DataDir
from dkt.util.table import read_matrices
from dkt.validate.data_facts import DataFacts

if TYPE_CHECKING:
    from dkt.dataset.utterances import Utterances


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

    _named: ClassVar[tuple[str, ...]] = ("transform", "global_cmvn_stats")

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
            transform=self.matrices.get("transform"),
            online_cmvn_opts=self.online_cmvn_opts,
            global_cmvn_stats=self._global_stats(data),
            paste=self.paste,
            speaker_transforms=side.transform_dir is not None,
            ivector_dim=0 if side.ivectors is None else Ivectors(side.ivectors).dim,
        )

    @cached_property
    def matrices(self) -> dict[str, MatrixFile]:
        """The matrices that are named, by their keys; each is read once.

        Raises:
            DktError: one is missing, or is not a matrix.
        """
        names = {key: getattr(self, key) for key in self._named}
        return {key: MatrixFile.read(name) for key, name in names.items() if name is not None}

    def check_files(self) -> None:
        """Raise DktError unless the matrices that are named are there and can be read."""
        self.matrices  # noqa: B018 - read and kept

    def _global_stats(self, data: DataDir) -> MatrixFile | None:
        if self.global_cmvn_stats is not None:
            return self.matrices["global_cmvn_stats"]
        if self.online_cmvn_opts is None:
            return None
        path = str(data.file("cmvn.scp", "steps/compute_cmvn_stats.sh"))
        return sum_stats([stats for _, stats in read_matrices(f"scp:{path}", np.float64)], path)


@dataclass
class SplicedFeatureConfig(FeatureConfig):
    """What is done to the features of a frame network, in Kaldi's words.

    Attributes:
        splice: frames of context on each side.
        lda: a matrix file that is applied to the spliced features; null for none.
        lda_dim: dimension of an LDA of the spliced features that is estimated from the training data and
            their labels; null for none.
    """

    splice: Annotated[int, ranges.CONTEXT] = 5
    lda: Annotated[str | None, ranges.FileName()] = None
    lda_dim: Annotated[int | None, ranges.DIMENSION] = None

    _named: ClassVar[tuple[str, ...]] = ("transform", "global_cmvn_stats", "lda")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lda is not None and self.lda_dim is not None:
            raise DktError("'features.lda' and 'features.lda_dim' exclude each other", hint="set one to null")

    def check_lda(self, facts: DataFacts) -> None:
        """Raise DktError if the transform is of other features, or cannot be estimated from the data."""
        shape = None if self.lda is None else self.matrices["lda"].values.shape
        if facts.acoustic_dim is None:
            return
        spliced = (2 * self.splice + 1) * facts.acoustic_dim
        if self.lda_dim is not None:
            if self.lda_dim > spliced:
                raise DktError(
                    f"'features.lda_dim' is {self.lda_dim}, but the spliced features have {spliced}"
                )
            if facts.pdf_frames is not None:
                check_estimable(self.lda_dim, spliced, facts.pdf_frames)
        # An offset is the last column.
        if shape is not None and shape[1] not in (spliced, spliced + 1):
            raise DktError(
                f"the transform has shape {shape}, but the spliced features (without i-vectors) have "
                f"dimension {spliced}",
                path=self.lda,
                hint="it goes with features of one dimension and 'features.splice': give those it was made "
                "for",
            )

    def check_transform(self, transform: np.ndarray | None, ivector_dim: int, path: Path) -> None:
        """As ``dkt.train.recipes.Recipe.check_transform``."""
        wanted = self.lda is not None or self.lda_dim is not None
        if (transform is not None) != wanted:
            raise DktError(
                f"has {'no' if wanted else 'a'} transform of the spliced features, "
                f"the configuration {'one' if wanted else 'none'}",
                path=path,
                hint="set 'features.lda' or 'features.lda_dim' as it was trained",
            )
        if transform is None:
            return
        rows = len(transform) - ivector_dim
        if self.lda_dim not in (None, rows):
            raise DktError(f"'features.lda_dim' is {self.lda_dim}, the model has {rows}", path=path)
        if self.lda is None:
            return
        spliced = transform.shape[1] - 1 - ivector_dim
        given = self.matrices["lda"].values
        if given.shape[1] in (spliced, spliced + 1):
            given = self._with_ivectors(given, spliced, ivector_dim)
        if given.shape[1] < transform.shape[1]:
            given = np.hstack([given, np.zeros((len(given), 1), given.dtype)])
        if given.shape != transform.shape or not np.array_equal(given.astype(np.float32), transform):
            raise DktError(
                "'features.lda' is not the transform of the model that the training begins from",
                path=self.lda,
                hint=f"give the one of {path}: lda.mat beside it",
            )

    def make_lda(self, train: Utterances, ivector_dim: int, num_pdfs: int) -> np.ndarray | None:
        """The linear transform of the spliced features, given or estimated; i-vectors pass through it.

        Args:
            train: the training data.
            ivector_dim: I, the last dimensions of their features.
            num_pdfs: P.

        Returns:
            Shape ``(D + I, spliced + I)``, or one column more for an offset; None for no transform.
        """
        if self.lda is not None:
            matrix = self.matrices["lda"].values
        elif self.lda_dim is not None:
            acoustic = train.dim - ivector_dim
            of_utterances = (
                (train.features_of(u)[:, :acoustic], train.labels_of(u)) for u in range(len(train.names))
            )
            stats = accumulate_spliced(of_utterances, acoustic, self.splice, self.splice, num_pdfs)
            matrix = stats.estimate(self.lda_dim)
        else:
            return None
        spliced = (2 * self.splice + 1) * (train.dim - ivector_dim)
        return self._with_ivectors(matrix, spliced, ivector_dim)

    @staticmethod
    def _with_ivectors(matrix: np.ndarray, spliced: int, ivector_dim: int) -> np.ndarray:
        """A transform of so many spliced features that i-vectors behind them pass through."""
        if ivector_dim == 0:
            return matrix
        rows, columns = matrix.shape
        whole = np.zeros((rows + ivector_dim, columns + ivector_dim), matrix.dtype)
        whole[:rows, :spliced] = matrix[:, :spliced]
        whole[rows:, spliced : spliced + ivector_dim] = np.eye(ivector_dim)
        # An offset is the last column.
        whole[:rows, spliced + ivector_dim :] = matrix[:, spliced:]
        return whole
