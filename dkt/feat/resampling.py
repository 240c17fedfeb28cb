"""Recordings at another sample rate, as Kaldi's ``--allow-downsample`` has it (``feat/resample.cc``)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

_ZERO_CROSSINGS = 6
_PASSBAND = 0.99


def resample(samples: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """A recording at another sample rate, by a sinc filter in a Hann window (``ResampleWaveform``).

    Args:
        samples: shape ``(num_samples,)``.
        rate: their rate in Hz.
        new_rate: that of the result, in Hz.

    Returns:
        float32 of shape ``(ceil(num_samples * new_rate / rate),)``.
    """
    if rate == new_rate:
        return samples.astype(np.float32)
    common = math.gcd(rate, new_rate)
    step, phases = rate // common, new_rate // common
    cutoff = _PASSBAND * 0.5 * min(rate, new_rate)
    width = _ZERO_CROSSINGS / (2.0 * cutoff)  # seconds on each side
    reach = math.ceil(width * rate) + 1
    return filter_phases(
        samples, (step, phases), reach, lambda places: _filter(places / rate, cutoff, width) / rate
    )


def filter_phases(
    samples: np.ndarray, ratio: tuple[int, int], reach: int, taps_at: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Samples at other places: ``phases`` of them for every ``step`` there are, each phase with its taps.

    Args:
        samples: shape ``(num_samples,)``.
        ratio: step and phases.
        reach: samples on each side that a result is made of.
        taps_at: gives the taps for the distances of ``2 reach + 1`` samples, in samples, from a result.

    Returns:
        float32 of shape ``(ceil(num_samples * phases / step),)``.
    """
    step, phases = ratio
    length = -(-len(samples) * phases // step)
    padded = np.pad(samples.astype(np.float64), (reach, reach + step))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)
    result = np.empty(length, dtype=np.float32)
    for phase in range(min(phases, length)):
        first, rest = divmod(phase * step, phases)
        count = len(range(phase, length, phases))
        taps = taps_at(np.arange(-reach, reach + 1) - rest / phases)
        result[phase::phases] = windows[first::step][:count] @ taps
    return result


def _filter(times: np.ndarray, cutoff: float, width: float) -> np.ndarray:
    """The filter at times in seconds from its middle (``LinearResample::FilterFunc``)."""
    window = 0.5 * (1.0 + np.cos(2.0 * np.pi * cutoff / _ZERO_CROSSINGS * times))
    return np.where(np.abs(times) < width, 2.0 * cutoff * np.sinc(2.0 * cutoff * times) * window, 0.0)
