"""Linear discriminant analysis: its statistics, and the transform estimated from them.

R. Haeb-Umbach and H. Ney, "Linear discriminant analysis for improved large vocabulary continuous speech
recognition", ICASSP 1992; Kaldi's ``transform/lda-estimate.cc``.

Legend: T frames, F feature dimension, P pdfs (the classes), D dimension after the transform, N utterances.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np

from dkt.base.errors import DktError
from dkt.base.memory import memory_for, require_memory
from dkt.feat.functions import splice

logger = logging.getLogger(__name__)

# Where Cholesky fails, this share of the mean variance is added to every variance, as Kaldi does.
_SMOOTHING = 1.0e-3
_LOWER = "splice fewer frames"
# A direction of less than this share of the mean variance is rounding error: Cholesky may take it for real.
_SINGULAR = 1.0e-10


class LdaAccumulator:
    """Sums of the frames of every pdf, in double precision (``LdaEstimate``).

    Args:
        num_pdfs: P, from the model.
        dim: F.

    Attributes:
        counts: the weight of the frames of each pdf, shape ``(P,)``.
        first: weighted sums of the frames of each pdf, shape ``(P, F)``.
        second: the weighted sum of ``x x'`` of all frames x, shape ``(F, F)``.
    """

    @memory_for("the statistics of LDA", _LOWER)
    def __init__(self, num_pdfs: int, dim: int) -> None:
        require_memory(8 * dim * (dim + num_pdfs), f"statistics of LDA of dimension {dim}", _LOWER)
        self.counts = np.zeros(num_pdfs)
        self.first = np.zeros((num_pdfs, dim))
        self.second = np.zeros((dim, dim))

    @property
    def num_pdfs(self) -> int:
        """P."""
        return self.first.shape[0]

    @property
    def dim(self) -> int:
        """F."""
        return self.first.shape[1]

    def accumulate(self, features: np.ndarray, pdfs: np.ndarray, weights: np.ndarray | None = None) -> None:
        """Add frames.

        Args:
            features: shape ``(T, F)``.
            pdfs: the pdf of each frame, integers of shape ``(T,)``.
            weights: of each frame, 0 or more, shape ``(T,)``; None means 1.

        Raises:
            DktError: shapes do not agree, a pdf is not of the model, or a value is not a number.
        """
        self._check(features, pdfs, weights)
        if len(features) == 0:
            return
        frames = features.astype(np.float64)
        weighted = frames if weights is None else frames * weights[:, None]
        self.counts += np.bincount(pdfs, weights, minlength=self.num_pdfs)
        order = np.argsort(pdfs, kind="stable")
        seen, starts = np.unique(pdfs[order], return_index=True)
        self.first[seen] += np.add.reduceat(weighted[order], starts)
        self.second += weighted.T @ frames

    def _check(self, features: np.ndarray, pdfs: np.ndarray, weights: np.ndarray | None) -> None:
        if features.ndim != 2 or features.shape[1] != self.dim:
            raise DktError(f"features of shape {features.shape}, expected (frames, {self.dim})")
        for name, values in (("pdfs", pdfs), ("weights", weights)):
            if values is not None and values.shape != features.shape[:1]:
                raise DktError(f"{name} of shape {values.shape} for {len(features)} frames")
        if len(pdfs) and not (pdfs.min() >= 0 and pdfs.max() < self.num_pdfs):
            raise DktError(
                f"pdfs from {pdfs.min()} to {pdfs.max()}, expected 0 to {self.num_pdfs - 1}",
                hint="give the model that made the alignment",
            )
        if not np.isfinite(features).all():
            raise DktError("the features hold a value that is not a number")
        if weights is not None and not (np.isfinite(weights).all() and (weights >= 0).all()):
            raise DktError("a weight is negative or not a number")

    def add(self, other: LdaAccumulator) -> None:
        """Add the statistics of other frames.

        Raises:
            DktError: they are of another number of pdfs or another dimension.
        """
        if self.first.shape != other.first.shape:
            raise DktError(
                f"LDA statistics of {other.num_pdfs} pdfs and dimension {other.dim}, those before have "
                f"{self.num_pdfs} pdfs and dimension {self.dim}",
                hint="accumulate all of them with one model and one kind of features",
            )
        self.counts += other.counts
        self.first += other.first
        self.second += other.second

    def covariances(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Within-class covariance ``(F, F)``, between-class covariance ``(F, F)`` and the mean ``(F,)``.

        They add up to the total covariance (``GetStats``).
        """
        total = self.counts.sum()
        mean = self.first.sum(axis=0) / total
        seen = self.counts > 0
        # Deviations from the mean, rather than the difference of large products, lose no digits.
        deviations = self.first[seen] / self.counts[seen, None] - mean
        between = (deviations * (self.counts[seen, None] / total)).T @ deviations
        covariance = self.second / total - np.outer(mean, mean)
        return covariance - between, between, mean

    def estimate(
        self,
        dim: int = 40,
        within_class_factor: float = 1.0,
        remove_offset: bool = False,
        allow_large_dim: bool = False,
    ) -> np.ndarray:
        """The transform to the ``dim`` most discriminative directions (``Estimate``).

        After it the within-class covariance is the identity and the between-class covariance diagonal,
        descending. With a ``within_class_factor`` f row i is scaled by sqrt((f + s_i) / (1 + s_i)), s_i
        being the between-class variance: its total variance becomes f + s_i.

        Args:
            dim: D.
            within_class_factor: f; less than 1 for the input of networks, 1 for none.
            remove_offset: append a column that makes the mean of the transformed features zero.
            allow_large_dim: allow more directions than the classes can differ in; those beyond are
                arbitrary.

        Returns:
            float32 of shape ``(D, F)``, with ``remove_offset`` ``(D, F + 1)``. The largest value of each
            row is positive.

        Raises:
            DktError: D is too large, or the frames do not determine the transform.
        """
        _check_dim(dim, self.dim, self.counts, allow_large_dim)
        transform, variances = self.estimate_full(within_class_factor, remove_offset)
        logger.info("Data count is %g", self.counts.sum())
        logger.info("LDA singular values are %s", " ".join(f"{value:.6g}" for value in variances))
        logger.info("Sum of all singular values is %g", variances.sum())
        logger.info("Sum of selected singular values is %g", variances[:dim].sum())
        return transform[:dim]

    def estimate_full(
        self, within_class_factor: float = 1.0, remove_offset: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """The transform of all F rows, and the between-class variance in each of its directions.

        Args:
            within_class_factor, remove_offset: see ``estimate``.

        Returns:
            float32 of shape ``(F, F)`` or ``(F, F + 1)``; float64 of shape ``(F,)``, descending.

        Raises:
            DktError: the frames do not determine the transform.
        """
        if not within_class_factor >= 0.0:
            raise DktError(f"within-class-factor is {within_class_factor}, expected 0 or more")
        _check_count(self.dim, self.counts)
        within, between, mean = self.covariances()
        whitener = np.linalg.inv(_cholesky(within))
        variances, directions = np.linalg.eigh(whitener @ between @ whitener.T)
        # eigh ascends. A covariance has no negative eigenvalues but by rounding.
        variances = np.maximum(variances[::-1], 0.0)
        transform = directions[:, ::-1].T @ whitener
        largest = np.abs(transform).argmax(axis=1)
        transform *= np.sign(transform[np.arange(self.dim), largest])[:, None]
        transform *= np.sqrt((within_class_factor + variances) / (1.0 + variances))[:, None]
        if remove_offset:
            transform = np.hstack([transform, -(transform @ mean)[:, None]])
        return transform.astype(np.float32), variances


def check_estimable(dim: int, feature_dim: int, counts: np.ndarray) -> None:
    """Raise DktError if LDA to ``dim`` dimensions cannot be estimated from so many frames of each pdf.

    Args:
        dim: D.
        feature_dim: F.
        counts: shape ``(P,)``.
    """
    _check_dim(dim, feature_dim, counts, False)
    _check_count(feature_dim, counts)


def _check_dim(dim: int, feature_dim: int, counts: np.ndarray, allow_large_dim: bool) -> None:
    if not 1 <= dim <= feature_dim:
        raise DktError(f"LDA to {dim} dimensions, expected 1 to {feature_dim}, those of the features")
    num_seen = int((counts > 0).sum())
    if dim >= num_seen and not allow_large_dim:
        raise DktError(
            f"LDA to {dim} dimensions: {num_seen} classes with frames, of {len(counts)}, differ in at "
            f"most {max(num_seen - 1, 0)}",
            hint="ask for fewer dimensions, or allow it with --allow-large-dim",
        )


def _check_count(feature_dim: int, counts: np.ndarray) -> None:
    count, num_seen = counts.sum(), int((counts > 0).sum())
    # Every class mean takes one degree of freedom of the frames.
    if not count >= feature_dim + num_seen:
        raise DktError(
            f"LDA statistics of {count:g} frames of {num_seen} pdfs: too few for dimension {feature_dim}",
            hint=f"accumulate more than {feature_dim + num_seen} frames, better 100 times as many",
        )


def _cholesky(within: np.ndarray) -> np.ndarray:
    """The lower triangular root ``(F, F)`` of a within-class covariance ``(F, F)``."""
    mean_variance = np.trace(within) / len(within)
    if not (np.isfinite(within).all() and mean_variance > 0.0):
        raise DktError("the within-class covariance is zero or not a number: the features do not vary")
    root = _regular_root(within, mean_variance)
    if root is not None:
        return root
    smoothing = _SMOOTHING * mean_variance
    logger.warning(
        "the within-class covariance is singular: adding %g to its diagonal; is a feature constant, or a sum "
        "of others?",
        smoothing,
    )
    root = _regular_root(within + smoothing * np.eye(len(within)), mean_variance)
    if root is None:
        raise DktError("the within-class covariance is not one", hint="accumulate the statistics again")
    return root


def _regular_root(within: np.ndarray, mean_variance: float) -> np.ndarray | None:
    try:
        root = np.linalg.cholesky(within)
    except np.linalg.LinAlgError:
        return None
    return root if (np.diag(root) ** 2).min() > _SINGULAR * mean_variance else None


def accumulate_spliced(
    utterances: Iterable[tuple[np.ndarray, np.ndarray]],
    dim: int,
    left: int,
    right: int,
    num_pdfs: int,
    weights: Iterable[np.ndarray] | None = None,
) -> LdaAccumulator:
    """The statistics of frames spliced with their neighbours; only one utterance is held at a time.

    Args:
        utterances: of each the features, shape ``(T, F)``, and the pdf-ids, shape ``(T,)``.
        dim: F.
        left, right: frames of context on each side.
        num_pdfs: P, from the model.
        weights: of the frames of each utterance, shape ``(T,)``, such as 0 for silence; None means 1.

    Returns:
        Statistics of dimension ``(left + 1 + right) * F``.

    Raises:
        DktError: as ``LdaAccumulator.accumulate``.
    """
    stats = LdaAccumulator(num_pdfs, (left + 1 + right) * dim)
    weighing = None if weights is None else iter(weights)
    for features, labels in utterances:
        own = None if weighing is None else next(weighing)
        if len(features):
            stats.accumulate(splice(features, left, right), labels, own)
    return stats
