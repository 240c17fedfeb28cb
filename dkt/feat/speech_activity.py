"""Which frames of a corpus are speech and which are quiet, before there is any model.

Nothing is known of the columns of the features: not which of them is an energy, nor whether CMVN has scaled
them. But speech comes and goes slowly beside all else that changes: the direction of the largest variance of
smoothed frames leads from quiet to speech. Which end is which shows in that quiet frames are more alike, and
more often at the ends of a recording.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_CLIP = 2.5  # standard deviations: no outlier is to turn the direction
_WINDOW = 7  # frames of smoothing, less than the shortest pauses
_EDGE_FRAMES = 5
_MIN_FRAMES = 2 * _WINDOW
_PARTLY_REPEATED = 2  # frames beside repeated ones, which share samples with them
_EM_ITERATIONS = 30
_VARIANCE_FLOOR = 0.05  # of the utterance's variance
_FOR_SPEECH = 1.5  # its weak sounds lie between the classes
_MAX_SCORE = 5.0


@dataclass(frozen=True)
class Split:
    """The frames of an utterance in two classes.

    Attributes:
        scores: log-likelihood ratio of the upper class to the lower one, shape ``(T,)``, 0 where unknown.
        repeated: frames that equal a neighbour: digital silence, shape ``(T,)``, bool.
        evidence: see ``leaning``, shape ``(6,)``.
    """

    scores: np.ndarray
    repeated: np.ndarray
    evidence: np.ndarray

    def speech_scores(self, upper: bool) -> np.ndarray:
        """Log-likelihood ratio of speech to silence, shape ``(T,)``."""
        scores = np.clip((self.scores if upper else -self.scores) + _FOR_SPEECH, -_MAX_SCORE, _MAX_SCORE)
        return np.where(self.repeated, -_MAX_SCORE, scores)


def correlations(features: np.ndarray) -> np.ndarray:
    """Products of the smoothed columns, summed over the frames of an utterance, shape ``(F, F)``.

    Args:
        features: shape ``(T, F)``, without deltas.
    """
    smoothed = _smooth(_standardize(features[_heard(features)[1]]))
    return smoothed.T @ smoothed


def main_direction(total: np.ndarray) -> np.ndarray:
    """The direction of the largest variance, shape ``(F,)``, for the sum of ``correlations``."""
    return np.linalg.eigh(total)[1][:, -1]


def split(features: np.ndarray, direction: np.ndarray) -> Split:
    """Part the frames of an utterance by a mixture of two Gaussians along ``direction``.

    Args:
        features: shape ``(T, F)``, without deltas.
        direction: shape ``(F,)``, see ``main_direction``.
    """
    repeated, heard = _heard(features)
    scores, evidence = np.zeros(len(features)), np.zeros(6)
    if heard.sum() >= _MIN_FRAMES:
        frames = _standardize(features[heard])
        scores[heard] = _two_gaussians(_smooth(frames) @ direction)
        evidence = _evidence(frames, scores[heard] > 0)
    return Split(scores, repeated, evidence)


def leaning(evidence: np.ndarray) -> float:
    """How much speaks for the upper class being speech, or, below 0, the lower one.

    Above 1.3 for recordings with pauses or noise in any place, below 1 where there is hardly a pause.

    Args:
        evidence: the sum over all utterances: for upper and lower class the sum of log-variances and number
            of frames, then the surplus of the upper class at the ends and the number of utterances.
    """
    upper, num_upper, lower, num_lower, surplus, num_utts = evidence.tolist()
    wider = upper / max(num_upper, 1.0) - lower / max(num_lower, 1.0)
    return wider - surplus / max(num_utts, 1.0)


def _evidence(frames: np.ndarray, is_upper: np.ndarray) -> np.ndarray:
    evidence = np.zeros(6)
    for place, chosen in ((0, is_upper), (2, ~is_upper)):
        count = int(chosen.sum())
        if count > _EDGE_FRAMES:
            # Each utterance by itself: quiet frames of several recordings are not alike.
            evidence[place : place + 2] = count * np.log(frames[chosen].var(axis=0) + 1e-3).mean(), count
    ends = is_upper[:_EDGE_FRAMES].mean() + is_upper[-_EDGE_FRAMES:].mean()
    evidence[4:] = ends - 2 * is_upper.mean(), 1.0
    return evidence


def _heard(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which frames repeat a neighbour exactly, and which are not even near such; both of shape ``(T,)``."""
    same = (features[1:] == features[:-1]).all(axis=1)
    repeated = np.concatenate([[False], same]) | np.concatenate([same, [False]])
    near = np.convolve(repeated, np.ones(2 * _PARTLY_REPEATED + 1), mode="full")
    return repeated, near[_PARTLY_REPEATED : _PARTLY_REPEATED + len(features)] < 0.5


def _standardize(features: np.ndarray) -> np.ndarray:
    frames = features.astype(np.float64)
    if len(frames):
        frames -= frames.mean(axis=0)
    for _ in range(2):  # the first time outliers are in the deviation
        deviation = np.sqrt((frames**2).mean(axis=0)) if len(frames) else np.ones(frames.shape[1])
        frames = np.clip(frames / np.maximum(deviation, 1e-10), -_CLIP, _CLIP)
    return frames


def _smooth(frames: np.ndarray) -> np.ndarray:
    if len(frames) < _MIN_FRAMES:
        return frames
    half = _WINDOW // 2
    sums = np.cumsum(np.pad(frames, ((half + 1, half), (0, 0)), mode="edge"), axis=0)
    return (sums[_WINDOW:] - sums[:-_WINDOW]) / _WINDOW


def _two_gaussians(values: np.ndarray) -> np.ndarray:
    """Log-likelihood ratios of the upper to the lower of two Gaussians fitted by EM."""
    means = np.percentile(values, [10, 90])
    variances = np.full(2, max(values.var() / 4, 1e-10))
    weights = np.full(2, 0.5)
    floor = _VARIANCE_FLOOR * values.var() + 1e-10
    for _ in range(_EM_ITERATIONS):
        ratio = _log_ratio(values, means, variances, weights)
        upper = 1 / (1 + np.exp(-np.clip(ratio, -50, 50)))
        posteriors = np.stack([1 - upper, upper])
        counts = posteriors.sum(axis=1) + 1e-3
        weights = counts / counts.sum()
        means = posteriors @ values / counts
        variances = np.maximum((posteriors * (values - means[:, None]) ** 2).sum(axis=1) / counts, floor)
    # Beyond the means the ratio would turn where one Gaussian is the wider.
    return _log_ratio(np.clip(values, means.min(), means.max()), means, variances, weights)


def _log_ratio(
    values: np.ndarray, means: np.ndarray, variances: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    scores = np.log(weights) - 0.5 * np.log(variances) - 0.5 * (values[:, None] - means) ** 2 / variances
    return scores[:, 1] - scores[:, 0]
