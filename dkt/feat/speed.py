"""Change of the speed of a recording, tempo and pitch together, by resampling (sox's ``speed``)."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from dkt.base.ranges import SPEED
from dkt.feat.resampling import filter_phases

_ZERO_CROSSINGS = 16  # of the sinc, on each side
_PASSBAND = 0.95  # the window smears the edge of the filter by about the rest
_MAX_DENOMINATOR = 1000


def check_factor(factor: float) -> None:
    """Raise DktError unless recordings can be played ``factor`` times as fast."""
    SPEED.check(factor, "speed")


def change_speed(samples: np.ndarray, factor: float) -> np.ndarray:
    """Play a recording ``factor`` times as fast: its length is divided and its frequencies multiplied by it.

    Sample n of the result is the band-limited signal at time ``n * factor``, by a sinc filter in a Hann
    window (Smith, "Digital Audio Resampling", https://ccrma.stanford.edu/~jos/resample). What would come
    out above half the sampling rate is filtered out first.

    Args:
        samples: shape ``(num_samples,)``.
        factor: above 1 is faster; taken as the nearest fraction with a denominator up to 1000.

    Returns:
        float32, shape ``(ceil(num_samples / factor),)``.

    Raises:
        DktError: the factor is out of range.
    """
    check_factor(factor)
    ratio = Fraction(factor).limit_denominator(_MAX_DENOMINATOR)
    if ratio == 1:
        return samples.astype(np.float32)
    step, phases = ratio.numerator, ratio.denominator
    cutoff = _PASSBAND * min(1.0, phases / step)  # as a share of half the sampling rate
    reach = int(np.ceil(_ZERO_CROSSINGS / cutoff))
    return filter_phases(samples, (step, phases), reach, lambda places: _sinc_filter(places, cutoff, reach))


def _sinc_filter(times: np.ndarray, cutoff: float, reach: int) -> np.ndarray:
    window = np.where(np.abs(times) < reach, 0.5 + 0.5 * np.cos(np.pi * times / reach), 0.0)
    return cutoff * np.sinc(cutoff * times) * window
