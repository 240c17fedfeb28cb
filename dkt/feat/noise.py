"""Noise of several kinds, and its mixing into speech at a signal-to-noise ratio."""

from __future__ import annotations

import numpy as np

from dkt.base.errors import DktError

_HUM_FREQUENCIES = (50.0, 60.0)  # Hz, of the mains
_HUM_HARMONICS = 20
_HUM_HISS_DB = -10.0  # level of the white noise that comes with a hum


def white(size: int, rng: np.random.Generator) -> np.ndarray:
    """White Gaussian noise ``(size,)``."""
    return rng.standard_normal(size)


def pink(size: int, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise ``(size,)`` whose power falls as 1/f, 3 dB per octave."""
    spectrum = np.fft.rfft(rng.standard_normal(size))
    spectrum[0] = 0.0
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    return np.fft.irfft(spectrum, size)


def hum(size: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Mains hum ``(size,)``: harmonics of equal level in random phase, over a little white noise."""
    frequency = _HUM_FREQUENCIES[rng.integers(len(_HUM_FREQUENCIES))]
    harmonics = np.arange(1, _HUM_HARMONICS + 1)[:, None]
    phases = rng.uniform(0.0, 2 * np.pi, harmonics.shape)
    tone = np.sin(2 * np.pi * frequency / rate * harmonics * np.arange(size) + phases).sum(axis=0)
    return mix(tone, rng.standard_normal(size), -_HUM_HISS_DB)


def babble(size: int, talkers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Many voices at once ``(size,)``: each row of ``talkers`` from a place drawn at random, at equal levels.

    Args:
        size: number of samples to return.
        talkers: ``(num_talkers, num_samples)``, speech of one voice per row; it is repeated where it ends.
        rng: draws the places.
    """
    starts = rng.integers(talkers.shape[1], size=len(talkers))
    places = (starts[:, None] + np.arange(size)) % talkers.shape[1]
    levels = np.sqrt(np.mean(talkers**2, axis=1, keepdims=True))
    return (np.take_along_axis(talkers, places, axis=1) / levels).sum(axis=0)


def speech_shaped(size: int, talkers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Steady noise ``(size,)`` with the spectrum of ``babble``, made by giving that random phases."""
    level = np.abs(np.fft.rfft(babble(size, talkers, rng)))
    return np.fft.irfft(level * np.exp(1j * rng.uniform(0.0, 2 * np.pi, len(level))), size)


def make_noise(kind: str, size: int, rate: int, talkers: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise ``(size,)`` of one of the kinds of this module, at any level.

    Args:
        kind: the name of a function above.
        size: number of samples to return.
        rate: sampling rate, Hz.
        talkers: see ``babble``.
        rng: draws the noise.

    Raises:
        DktError: there is no such kind.
    """
    match kind:
        case "white":
            return white(size, rng)
        case "pink":
            return pink(size, rng)
        case "hum":
            return hum(size, rate, rng)
        case "babble":
            return babble(size, talkers, rng)
        case "speech_shaped":
            return speech_shaped(size, talkers, rng)
    raise DktError(f"there is no noise of the kind '{kind}'")


def mean_power(samples: np.ndarray) -> float:
    """The mean of the squares of samples ``(num_samples,)``, over all of them as in ``wav-reverberate``."""
    return float(np.mean(np.square(samples, dtype=np.float64)))


def mix(speech: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """``speech`` with ``noise`` added so that their powers, means over all samples, are ``snr_db`` dB apart.

    The ratio is that of Kaldi's wav-reverberate (featbin/wav-reverberate.cc).

    Args:
        speech: ``(num_samples,)``, in any unit.
        noise: ``(num_samples,)``, at any level above zero.
        snr_db: power of the speech over power of the noise, dB.
    """
    power = mean_power(speech) / mean_power(noise)
    return speech + noise * np.sqrt(power * 10.0 ** (-snr_db / 10.0))
