"""CMVN as an online decoder does it: over a sliding window of frames gone by (``feat/online-feature.cc``)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dkt.base.errors import DktError
from dkt.feat.functions import apply_cmvn, fake_stats


@dataclass(frozen=True)
class OnlineCmvnOptions:
    """The options of ``apply-cmvn-online``, with its defaults.

    Attributes:
        cmn_window: frames of the sliding window, the present one included.
        speaker_frames: frames that earlier utterances of the speaker may fill up the window with.
        global_frames: frames that the global statistics may fill it up with.
        norm_means, norm_vars: what is normalised.
        skip_dims: dimensions that are left as they are.
    """

    cmn_window: int = 600
    speaker_frames: int = 600
    global_frames: int = 200
    norm_means: bool = True
    norm_vars: bool = False
    skip_dims: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.global_frames <= self.speaker_frames <= self.cmn_window:
            raise DktError(
                f"--global-frames={self.global_frames}, --speaker-frames={self.speaker_frames} and "
                f"--cmn-window={self.cmn_window}: expected above 0 and in ascending order"
            )
        if self.norm_vars and not self.norm_means:
            raise DktError("the variance cannot be normalised without the mean")


def window_stats(features: np.ndarray, cmn_window: int) -> np.ndarray:
    """CMVN statistics of the last ``cmn_window`` frames up to each frame (``ComputeStatsForFrame``).

    Args:
        features: shape ``(T, F)``.
        cmn_window: in frames.

    Returns:
        float64 of shape ``(T, 2, F + 1)``, each as ``dkt.feat.functions.cmvn_stats`` gives them.
    """
    num_frames, dim = features.shape
    sums = np.zeros((num_frames + 1, 2, dim + 1))
    sums[1:, 0, :dim] = features
    sums[1:, 0, dim] = 1.0
    sums[1:, 1, :dim] = features.astype(np.float64) ** 2
    np.cumsum(sums, axis=0, out=sums)
    ends = np.arange(1, num_frames + 1)
    return sums[ends] - sums[np.maximum(ends - cmn_window, 0)]


def smooth_stats(
    stats: np.ndarray, global_stats: np.ndarray, options: OnlineCmvnOptions, speaker_stats: np.ndarray | None
) -> np.ndarray:
    """Fill up windows that hold few frames with those of the speaker, then of everybody.

    Args:
        stats: shape ``(T, 2, F + 1)``.
        global_stats: shape ``(2, F + 1)``.
        options: how many frames of each.
        speaker_stats: of the speaker's earlier utterances, shape ``(2, F + 1)``; None for none.

    Returns:
        Shape ``(T, 2, F + 1)`` (``SmoothOnlineCmvnStats``).
    """
    result = stats.copy()
    sources = [(global_stats, options.global_frames)]
    if speaker_stats is not None and speaker_stats[0, -1] > 0.0:
        sources.insert(0, (speaker_stats, options.speaker_frames))
    for number, (source, limit) in enumerate(sources):
        room = np.maximum(options.cmn_window - result[:, 0, -1], 0.0)
        taken = np.minimum(room, limit)
        if number < len(sources) - 1:
            # A speaker cannot lend more frames than were heard of him; the global statistics are scaled up.
            taken = np.minimum(taken, source[0, -1])
        result += (taken / source[0, -1])[:, None, None] * source
    return result


def apply_online_cmvn(
    features: np.ndarray,
    global_stats: np.ndarray,
    options: OnlineCmvnOptions,
    speaker_stats: np.ndarray | None = None,
) -> np.ndarray:
    """Normalise every frame by the frames up to it (``OnlineCmvn::GetFrame``).

    Args:
        features: shape ``(T, F)``.
        global_stats: CMVN statistics of much speech, shape ``(2, F + 1)``.
        options: window and back-off.
        speaker_stats: those of the speaker's earlier utterances, shape ``(2, F + 1)``; None for none.

    Raises:
        DktError: the global statistics are of another dimension or hold no frame.
    """
    dim = features.shape[1]
    if global_stats.shape != (2, dim + 1) or not global_stats[0, -1] > 0.0:
        raise DktError(
            f"global CMVN statistics of shape {global_stats.shape} for features of dimension {dim}, "
            f"expected {(2, dim + 1)} and at least one frame"
        )
    if not options.norm_means:
        return features.astype(np.float32)
    raw = window_stats(features, options.cmn_window)
    stats = smooth_stats(raw, global_stats.astype(np.float64), options, speaker_stats)
    stats = fake_stats(stats, options.skip_dims)
    return apply_cmvn(features, stats, options.norm_vars)
