"""Posteriors summed over frames, from which priors are made, and scaled."""

from __future__ import annotations

import numpy as np

from dkt.base.errors import DktError
from dkt.hmm.posterior import Posterior

#: How far the posteriors of a frame may be from a sum of one: Kaldi's compressed matrices are that coarse.
SUM_TOLERANCE = 0.01


def scale_posterior(posterior: Posterior, scale: float) -> Posterior:
    """Weights times ``scale``; at 0 no entry is left (``ScalePosterior`` in Kaldi's ``hmm/posterior.cc``)."""
    if scale == 1.0:
        return posterior
    if scale == 0.0:
        nothing = np.zeros(0, dtype=np.float32)
        return Posterior(np.zeros_like(posterior.lengths), nothing.astype(np.int32), nothing)
    return Posterior(posterior.lengths, posterior.ids, posterior.weights * np.float32(scale))


def sum_posteriors(
    value: np.ndarray | Posterior, num_pdfs: int, frame_weights: np.ndarray | None, apply_exp: bool
) -> np.ndarray:
    """The posteriors of one utterance summed over its frames.

    Args:
        value: a matrix of shape ``(T, P)``, or a Posterior of pdf-ids.
        num_pdfs: P; 0 takes it from the matrix.
        frame_weights: shape ``(T,)``; None for ones.
        apply_exp: the matrix holds log-posteriors.

    Returns:
        float64 of shape ``(P,)``.

    Raises:
        DktError: another number of pdfs, or frames that are not distributions.
    """
    if isinstance(value, Posterior):
        if apply_exp:
            raise DktError("--apply-exp is for matrices, found a Posterior: its weights are not logarithms")
        return _sum_entries(value, num_pdfs, frame_weights)
    if value.ndim != 2 or not value.shape[1] or value.shape[1] != (num_pdfs or value.shape[1]):
        raise DktError(f"posteriors of shape {value.shape}, expected {num_pdfs or 'several'} pdfs")
    posteriors = value.astype(np.float64)
    if apply_exp:
        # Logits may be so large that their exponential is infinite: the sum tells it.
        with np.errstate(over="ignore"):
            posteriors = np.exp(posteriors)
    _check_range(posteriors)
    _check_sums(posteriors.sum(axis=1))
    return posteriors.sum(axis=0) if frame_weights is None else frame_weights @ posteriors


def _sum_entries(posterior: Posterior, num_pdfs: int, frame_weights: np.ndarray | None) -> np.ndarray:
    if not num_pdfs:
        raise DktError(
            "a Posterior does not tell the number of pdfs", hint="give --counts-dim, as dkt hmm-info tells it"
        )
    ids, weights = posterior.ids, posterior.weights.astype(np.float64)
    if len(ids) and not (ids.min() >= 0 and ids.max() < num_pdfs):
        raise DktError(
            f"posteriors of ids from {ids.min()} to {ids.max()}, expected pdfs from 0 to {num_pdfs - 1}",
            hint="those of transition-ids become those of pdfs by Kaldi's post-to-pdf-post",
        )
    _check_range(weights)
    frames = posterior.frame_of_entry
    _check_sums(np.bincount(frames, weights, minlength=len(posterior)))
    if frame_weights is not None:
        weights = weights * frame_weights[frames]
    return np.bincount(ids, weights, minlength=num_pdfs)


def _check_range(posteriors: np.ndarray) -> None:
    if np.isnan(posteriors).any():
        raise DktError("a posterior is not a number")
    if (posteriors < 0.0).any():
        raise DktError(
            f"a posterior is {posteriors.min():.4g}, expected none below 0",
            hint="log-posteriors need --apply-exp=true; logits and log-likelihoods are not posteriors",
        )


def _check_sums(sums: np.ndarray) -> None:
    wrong = np.flatnonzero(~(np.abs(sums - 1.0) <= SUM_TOLERANCE))
    if len(wrong):
        raise DktError(
            f"the posteriors of frame {wrong[0]} sum to {sums[wrong[0]]:.4g}, expected 1",
            hint="give what the network's softmax gave: not logits, not log-likelihoods, nothing weighted",
        )
