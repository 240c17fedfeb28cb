"""Estimation of fMLLR: one affine transform of the features per speaker, under which a GMM likes them best.

M. J. F. Gales, "Maximum likelihood linear transformations for HMM-based speech recognition", Computer Speech
and Language 12 (1998), section 4; Kaldi's ``transform/fmllr-diag-gmm.cc``.

Legend: T frames, F feature dimension, E = F + 1 (the features and a one).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from dkt.gmm.gmm import AmDiagGmm

logger = logging.getLogger(__name__)

_NUM_ITERS = 40
#: With fewer frames of speech a speaker keeps the features as they are (``--fmllr-min-count`` of Kaldi).
MIN_COUNT = 500.0


@dataclass
class FmllrStats:
    """What the transform of a speaker is estimated from.

    Attributes:
        count: frames.
        linear: K of the paper, shape ``(F, E)``.
        quadratic: G of the paper, one matrix per row of the transform, shape ``(F, E, E)``.
    """

    count: float
    linear: np.ndarray
    quadratic: np.ndarray

    @classmethod
    def zeros(cls, dim: int) -> FmllrStats:
        """Statistics of no frames of dimension ``dim``."""
        return cls(0.0, np.zeros((dim, dim + 1)), np.zeros((dim, dim + 1, dim + 1)))

    def accumulate(self, gmm: AmDiagGmm, features: np.ndarray, pdfs: np.ndarray) -> None:
        """Add the frames of one utterance.

        Args:
            gmm: the model.
            features: shape ``(T, F)``.
            pdfs: the pdf of each frame, shape ``(T,)``; frames of pdf -1 are left out.

        Raises:
            DktError: the features have another dimension than the model.
        """
        gmm.check_dim(features)
        frames = np.hstack([features, np.ones((len(features), 1))]).astype(np.float64)
        means_invvars = np.zeros(features.shape)
        inv_vars = np.zeros(features.shape)
        for pdf in np.unique(pdfs[pdfs >= 0]):
            rows = gmm.gaussians(int(pdf))
            chosen = pdfs == pdf
            posteriors = _posteriors(gmm, rows, features[chosen])
            means_invvars[chosen] = posteriors @ gmm.means_invvars[rows]
            inv_vars[chosen] = posteriors @ gmm.inv_vars[rows]
        self.count += float((pdfs >= 0).sum())
        self.linear += means_invvars.T @ frames
        for row in range(features.shape[1]):
            self.quadratic[row] += (frames * inv_vars[:, row, None]).T @ frames


def _posteriors(gmm: AmDiagGmm, rows: slice, features: np.ndarray) -> np.ndarray:
    scores = np.hstack([features, features**2]) @ gmm.natural[rows].T + gmm.gconsts[rows]
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


def estimate(stats: FmllrStats, min_count: float = MIN_COUNT) -> np.ndarray:
    """The transform that makes the frames most likely, its rows improved one after another from the identity.

    Args:
        stats: of a speaker.
        min_count: with fewer frames the result is the identity, as it is where they do not determine one.

    Returns:
        Shape ``(F, E)``, float32; the last column is the offset.
    """
    dim = len(stats.linear)
    identity = np.eye(dim, dim + 1)
    # Fewer frames than unknowns of a row do not determine it.
    if stats.count < max(min_count, dim + 1):
        return identity.astype(np.float32)
    transform = identity.copy()
    try:
        inverses = np.linalg.inv(stats.quadratic)
        for _ in range(_NUM_ITERS):
            for row in range(dim):
                transform[row] = _best_row(transform, row, inverses[row], stats)
        better = _log_likelihood(transform, stats) >= _log_likelihood(identity, stats)
    except np.linalg.LinAlgError:
        better = False
    if not better:
        # Features that hardly vary: Kaldi, too, keeps what it had when the likelihood did not rise.
        logger.warning("%g frames do not determine a transform: the features stay as they are", stats.count)
    return (transform if better else identity).astype(np.float32)


def _log_likelihood(transform: np.ndarray, stats: FmllrStats) -> float:
    """Of the frames under a transform, up to a constant; not a number where the transform is none."""
    log_det = np.linalg.slogdet(transform[:, :-1])[1]
    quadratic = np.einsum("fe,fed,fd->", transform, stats.quadratic, transform)
    return float(stats.count * log_det + (transform * stats.linear).sum() - 0.5 * quadratic)


def _best_row(transform: np.ndarray, row: int, inverse: np.ndarray, stats: FmllrStats) -> np.ndarray:
    # The determinant is linear in the row: log |cofactors . row|, up to a constant.
    cofactors = np.append(np.linalg.inv(transform[:, :-1])[:, row], 0.0)
    linear, quadratic = stats.linear[row], stats.quadratic[row]
    a, b = cofactors @ inverse @ cofactors, cofactors @ inverse @ linear
    root = np.sqrt(b * b + 4.0 * a * stats.count)
    candidates = [inverse @ (linear + (sign * root - b) / (2.0 * a) * cofactors) for sign in (1.0, -1.0)]

    def objective(candidate: np.ndarray) -> float:
        log_det = stats.count * np.log(abs(cofactors @ candidate))
        return float(log_det + candidate @ linear - 0.5 * candidate @ quadratic @ candidate)

    return max(candidates, key=objective)


def apply_affine(features: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """Features ``(T, F)`` under a transform ``(F, E)``, float32."""
    return (features @ transform[:, :-1].T + transform[:, -1]).astype(np.float32)
