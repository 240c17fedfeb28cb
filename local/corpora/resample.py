"""Resampling by a rational factor."""

from __future__ import annotations

import functools
import math

import numpy as np

_STOPBAND = 70.0  # attenuation in dB
_TRANSITION = 0.1  # share of the band below the lower of both Nyquist frequencies


def resample(samples: np.ndarray, rate_in: int, rate_out: int) -> np.ndarray:
    """Change the sampling rate, band-limited to the lower of both Nyquist frequencies.

    A polyphase interpolator (Crochiere and Rabiner, Multirate Digital Signal Processing, 1983, chapter 3)
    whose low-pass filter is a sinc under a Kaiser window, with the window's shape and length for 70 dB of
    attenuation as in Oppenheim and Schafer, Discrete-Time Signal Processing, 3rd edition, section 7.5.3.

    Args:
        samples: ``(num_samples,)`` at ``rate_in`` Hz.
        rate_in: sampling rate of the input, Hz.
        rate_out: sampling rate of the output, Hz.

    Returns:
        float64 ``(ceil(num_samples * rate_out / rate_in),)``; its sample 0 lies where the input's does.
    """
    divisor = math.gcd(rate_in, rate_out)
    num_phases, step = rate_out // divisor, rate_in // divisor
    starts, filters = _filter_bank(num_phases, step, min(1.0, rate_out / rate_in))
    num_taps = filters.shape[1]
    num_out = -(-len(samples) * num_phases // step)
    num_blocks = -(-num_out // num_phases)
    padded = np.zeros((num_blocks + 1) * step + 2 * num_taps)
    padded[num_taps : num_taps + len(samples)] = samples
    windows = np.lib.stride_tricks.sliding_window_view(padded, num_taps)
    output = np.empty((num_blocks, num_phases))
    for phase in range(num_phases):
        frames = windows[num_taps + starts[phase] :: step][:num_blocks]
        # einsum, not a matrix product: BLAS may sum in another order when it has other threads.
        output[:, phase] = np.einsum("bt,t->b", frames, filters[phase])
    return output.reshape(-1)[:num_out]


@functools.cache
def _filter_bank(num_phases: int, step: int, bandwidth: float) -> tuple[np.ndarray, np.ndarray]:
    """The first input sample and the filter taps of each output phase, times in input samples."""
    beta = 0.1102 * (_STOPBAND - 8.7)
    width = math.pi * _TRANSITION * bandwidth
    half = (_STOPBAND - 8.0) / (2.285 * width) / 2
    cutoff = bandwidth * (1.0 - _TRANSITION / 2)
    centres = np.arange(num_phases) * step / num_phases
    starts = np.floor(centres).astype(int) - math.ceil(half)
    offsets = starts[:, None] + np.arange(2 * math.ceil(half) + 2) - centres[:, None]
    window = np.i0(beta * np.sqrt(np.maximum(1.0 - (offsets / half) ** 2, 0.0))) / np.i0(beta)
    window[np.abs(offsets) > half] = 0.0
    filters = np.sinc(cutoff * offsets) * window
    return starts, filters / filters.sum(axis=1, keepdims=True)
