"""The feature pipeline as pure functions, in Kaldi's order: CMVN, deltas, splice, transform, i-vectors.

T is the number of frames, F the feature dimension. Every function returns a new float32 array.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dkt.base.errors import DktError

_VARIANCE_FLOOR = 1.0e-20


def cmvn_stats(features: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """CMVN statistics of frames of shape ``(T, F)``: float64 of shape ``(2, F + 1)``.

    Row 0 holds the sums and the number of frames, row 1 the sums of squares (Kaldi's ``transform/cmvn.cc``).
    Weights of shape ``(T,)`` count each frame so often.
    """
    frames = features.astype(np.float64)
    stats = np.zeros((2, frames.shape[1] + 1))
    weighted = frames if weights is None else frames * weights.astype(np.float64)[:, None]
    stats[0, :-1] = weighted.sum(axis=0)
    stats[0, -1] = len(frames) if weights is None else weights.astype(np.float64).sum()
    stats[1, :-1] = (weighted * frames).sum(axis=0)
    return stats


def fake_stats(stats: np.ndarray, skip_dims: Sequence[int]) -> np.ndarray:
    """CMVN statistics that leave some dimensions as they are (``FakeStatsForSomeDims``).

    Args:
        stats: shape ``(..., 1 or 2, F + 1)``.
        skip_dims: the dimensions.

    Raises:
        DktError: there is no such dimension.
    """
    if not skip_dims:
        return stats
    dim = stats.shape[-1] - 1
    if max(skip_dims) >= dim:
        raise DktError(f"--skip-dims names dimension {max(skip_dims)} of features of dimension {dim}")
    faked = stats.copy()
    # A mean of 0 and a variance of 1.
    faked[..., 0, list(skip_dims)] = 0.0
    faked[..., 1:, list(skip_dims)] = stats[..., 0, -1][..., None, None]
    return faked


def apply_cmvn(features: np.ndarray, stats: np.ndarray, norm_vars: bool = False) -> np.ndarray:
    """Subtract the mean and, with ``norm_vars``, divide by the standard deviation (``ApplyCmvn``).

    Args:
        features: shape ``(T, F)``.
        stats: shape ``(2, F + 1)``, as ``cmvn_stats`` gives them, or ``(T, 2, F + 1)``, of each frame.
        norm_vars: normalise the variance too.

    Raises:
        DktError: the statistics are of another dimension or of less than one frame.
    """
    if stats.ndim not in (2, 3) or stats.shape[-2] not in (1, 2) or stats.shape[-1] != features.shape[1] + 1:
        raise DktError(
            f"CMVN statistics of shape {stats.shape} for features of dimension {features.shape[1]}"
        )
    count = stats[..., 0, -1:]
    if not (count >= 1.0).all() or not np.isfinite(stats).all():
        raise DktError(f"CMVN statistics of {count.min():g} frames, or with a value that is not a number")
    mean = stats[..., 0, :-1] / count
    if not norm_vars:
        return (features - mean.astype(np.float32)).astype(np.float32)
    if stats.shape[-2] == 1:
        raise DktError("variance normalisation is asked for, but the CMVN statistics hold means only")
    variance = np.maximum(stats[..., 1, :-1] / count - mean**2, _VARIANCE_FLOOR)
    scale = 1.0 / np.sqrt(variance)
    return (features * scale.astype(np.float32) - (mean * scale).astype(np.float32)).astype(np.float32)


def _delta_filters(order: int, window: int) -> list[np.ndarray]:
    if order < 0 or window < 1:
        raise DktError(f"deltas of order {order} and window {window}: expected 0 or more, and 1 or more")
    slope = np.arange(-window, window + 1, dtype=np.float64)
    slope /= (slope**2).sum()
    filters = [np.ones(1)]
    for _ in range(order):
        filters.append(np.convolve(filters[-1], slope))
    return filters


def add_deltas(features: np.ndarray, order: int = 2, window: int = 2) -> np.ndarray:
    """Append derivatives: shape ``(T, F)`` to ``(T, F * (order + 1))``.

    Each order is one filter on the original frames, the edge frames repeated beyond the ends, not deltas of
    deltas (``DeltaFeatures`` in Kaldi's ``feat/feature-functions.cc``).
    """
    num_frames = len(features)
    blocks = []
    for taps in _delta_filters(order, window):
        reach = len(taps) // 2
        block = np.zeros_like(features, dtype=np.float64)
        for offset, tap in zip(range(-reach, reach + 1), taps, strict=True):
            if tap:
                block += tap * features[np.clip(np.arange(num_frames) + offset, 0, num_frames - 1)]
        blocks.append(block)
    return np.concatenate(blocks, axis=1).astype(np.float32)


def splice_indices(num_frames: int, left: int, right: int) -> np.ndarray:
    """The frames that each spliced frame is made of: shape ``(T, left + 1 + right)``, edges repeated."""
    index = np.arange(num_frames)[:, None] + np.arange(-left, right + 1)
    return np.clip(index, 0, num_frames - 1)


def splice(features: np.ndarray, left: int, right: int) -> np.ndarray:
    """Join frames with their neighbours: ``(T, F)`` to ``(T, (left + 1 + right) * F)`` (``SpliceFrames``)."""
    index = splice_indices(len(features), left, right)
    return features[index].reshape(len(features), -1).astype(np.float32)


def apply_transform(features: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """Apply a linear or affine transform (``transform-feats``).

    Args:
        features: shape ``(T, F)``.
        transform: shape ``(D, F)`` or ``(D, F + 1)``, the last column then being the offset.

    Returns:
        Shape ``(T, D)``.

    Raises:
        DktError: the transform is of another dimension.
    """
    dim = features.shape[1]
    if transform.ndim != 2 or transform.shape[1] not in (dim, dim + 1):
        raise DktError(f"a transform of shape {transform.shape} for features of dimension {dim}")
    result = features @ transform[:, :dim].T
    if transform.shape[1] == dim + 1:
        result = result + transform[:, dim]
    return result.astype(np.float32)


def paste(parts: Sequence[np.ndarray], length_tolerance: int = 0) -> np.ndarray:
    """Join features of one utterance frame by frame (``paste-feats``).

    Args:
        parts: each of shape ``(T, F)``, T differing by ``length_tolerance`` at most: all are cut to the
            shortest.
        length_tolerance: in frames.

    Returns:
        Shape ``(T, sum of F)``.

    Raises:
        DktError: they differ more in length, or one is empty.
    """
    lengths = [len(part) for part in parts]
    shortest = min(lengths)
    if shortest == 0 or max(lengths) - shortest > length_tolerance:
        raise DktError(
            f"features of {' and '.join(map(str, lengths))} frames, expected a difference of at most "
            f"{length_tolerance}"
        )
    return np.concatenate([part[:shortest] for part in parts], axis=1).astype(np.float32)


# How far Kaldi's nnet3 lets the last i-vector be behind the last frame.
_IVECTOR_MARGIN = 50
_FRAMING = 4


def append_ivectors(features: np.ndarray, ivectors: np.ndarray, period: int = 1) -> np.ndarray:
    """Append i-vectors to frames: ``(T, F)`` to ``(T, F + I)``.

    Args:
        features: shape ``(T, F)``.
        ivectors: one for all frames, shape ``(I,)`` (``append-vector-to-feats``); or one every ``period``
            frames, shape ``(ceil(T / period), I)``, the last one serving for what follows it.
        period: in frames.

    Raises:
        DktError: the i-vectors end much before or after the features.
    """
    num_frames = len(features)
    if ivectors.ndim == 1:
        rows = np.broadcast_to(ivectors, (num_frames, len(ivectors)))
    else:
        missing = num_frames - len(ivectors) * period
        # One a frame: only what framing differs by. Many too many: they are of another period.
        limit = _IVECTOR_MARGIN if period > 1 else _FRAMING
        if len(ivectors) == 0 or missing > limit or -missing > limit + period:
            raise DktError(
                f"{len(ivectors)} i-vectors, one every {period} frames, for {num_frames} frames",
                hint="extract them from these features; those of a period are given by their directory",
            )
        rows = ivectors[np.minimum(np.arange(num_frames) // period, len(ivectors) - 1)]
    return np.concatenate([features, rows], axis=1).astype(np.float32)
