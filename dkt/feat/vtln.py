"""Vocal tract length normalisation: warping factors, and features whose mel filters are moved by them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import kaldi_native_fbank as knf
import numpy as np

from dkt.base.errors import DktError
from dkt.base.ranges import WARP
from dkt.util.symbols import read_texts

# Frames worked on at once.
_BLOCK = 4096
_LEAST = float(np.finfo(np.float32).eps)


@dataclass
class WarpFactors:
    """The warping factor of each utterance (``RandomAccessBaseFloatReaderMapped``).

    Args:
        factor: of all utterances, where there is no table.
        vtln_map: rspecifier of the factors of utterances or, with ``utt2spk``, of speakers; empty for none.
        utt2spk: rspecifier of the speakers of utterances; empty for none.

    Raises:
        DktError: a factor is none, or there is a table of speakers and none of factors.
    """

    factor: float = 1.0
    vtln_map: str = ""
    utt2spk: str = ""
    _factors: dict[str, float] = field(init=False, default_factory=dict)
    _speakers: dict[str, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        if self.utt2spk and not self.vtln_map:
            raise DktError("--utt2spk is of use with --vtln-map only", hint="give both, or neither")
        WARP.check(self.factor, "--vtln-warp")
        if self.vtln_map:
            for key, words in read_texts(self.vtln_map).items():
                self._factors[key] = _factor(words, self.vtln_map, key)
        if self.utt2spk:
            self._speakers = {utt: " ".join(words) for utt, words in read_texts(self.utt2spk).items()}

    def of(self, utt: str) -> float | None:
        """The factor of an utterance; None if the table has none."""
        if not self.vtln_map:
            return self.factor
        return self._factors.get(self._speakers.get(utt, "") if self.utt2spk else utt)


def _factor(words: list[str], path: str, key: str) -> float:
    try:
        [word] = words
        return WARP.parse(word)
    except ValueError:
        raise DktError(
            f"expected one warping factor, {WARP}, found '{' '.join(words)}'", path=path, utt=key
        ) from None


def warped_features(options: Any, samples: np.ndarray, warp: float) -> np.ndarray:
    """Filterbanks or MFCC with warped mel filters, which kaldi-native-fbank's own computer does not offer.

    Sources: ``feat/feature-window.cc``, ``feat/feature-fbank.cc``, ``feat/feature-mfcc.cc``.

    Args:
        options: of kaldi-native-fbank, ``FbankOptions`` or ``MfccOptions``.
        samples: of 16-bit size, at the rate of the options, shape ``(num_samples,)``.
        warp: the warping factor.

    Returns:
        float32 of shape ``(T, F)``; no rows where the samples do not fill a frame.

    Raises:
        DktError: the inflection points and the cutoffs do not go together.
    """
    frame_options = options.frame_opts
    try:
        filters = np.asarray(knf.MelBanks(options.mel_opts, frame_options, warp).get_matrix())
    except ValueError as error:
        raise DktError(f"impossible options for a warping factor of {warp:g}: {error}") from None
    samples = samples.astype(np.float64)
    count = _num_frames(frame_options, len(samples))
    blocks = [
        _features(
            options, _frames(frame_options, samples, np.arange(begin, min(begin + _BLOCK, count))), filters
        )
        for begin in range(0, count, _BLOCK)
    ]
    return np.concatenate(blocks).astype(np.float32) if blocks else np.empty((0, 0), dtype=np.float32)


def _features(options: Any, frames: np.ndarray, filters: np.ndarray) -> np.ndarray:
    frame_options = options.frame_opts
    is_fbank = isinstance(options, knf.FbankOptions)
    energy = _energy(frames)
    coefficient = frame_options.preemph_coeff
    frames -= coefficient * np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    frames *= np.asarray(knf.FeatureWindowFunction(frame_options).window)
    if not options.raw_energy:
        energy = _energy(frames)
    size = frames.shape[1]
    if frame_options.round_to_power_of_two:
        size = 1 << (size - 1).bit_length()
    spectrum = np.abs(np.fft.rfft(frames, size))
    mel = (spectrum if is_fbank and not options.use_power else spectrum**2) @ filters.T
    if not is_fbank or options.use_log_fbank:
        mel = np.log(np.maximum(mel, _LEAST))
    if options.energy_floor > 0.0:
        energy = np.maximum(energy, math.log(options.energy_floor))
    return (_with_energy if is_fbank else _cepstra)(options, mel, energy)


def _sizes(options: Any) -> tuple[int, int]:
    """Samples from one frame to the next, and of a frame."""
    rate = options.samp_freq * 0.001
    return int(rate * options.frame_shift_ms), int(rate * options.frame_length_ms)


def _num_frames(options: Any, num_samples: int) -> int:
    shift, length = _sizes(options)
    if options.snip_edges:
        return max(0, 1 + (num_samples - length) // shift)
    return (num_samples + shift // 2) // shift


def _frames(options: Any, samples: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Some frames, without their mean, dithered if the options say so: ``(n, samples of a frame)``."""
    shift, length = _sizes(options)
    first = 0 if options.snip_edges else shift // 2 - length // 2
    places = first + shift * numbers[:, None] + np.arange(length)
    # Beyond the ends the signal is reflected.
    places %= 2 * len(samples)
    frames = samples[np.minimum(places, 2 * len(samples) - 1 - places)]
    if options.dither:
        frames = frames + options.dither * np.random.default_rng().normal(size=frames.shape)
    return frames - frames.mean(axis=1, keepdims=True) if options.remove_dc_offset else frames


def _energy(frames: np.ndarray) -> np.ndarray:
    return np.log(np.maximum((frames**2).sum(axis=1), _LEAST))


def _with_energy(options: Any, mel: np.ndarray, energy: np.ndarray) -> np.ndarray:
    if not options.use_energy:
        return mel
    parts = [mel, energy[:, None]]
    return np.concatenate(parts if options.htk_compat else parts[::-1], axis=1)


def _cepstra(options: Any, mel: np.ndarray, energy: np.ndarray) -> np.ndarray:
    num_bins, order = mel.shape[1], np.arange(options.num_ceps)
    dct = np.sqrt(2.0 / num_bins) * np.cos(np.pi / num_bins * np.outer(order, np.arange(num_bins) + 0.5))
    dct[0] = np.sqrt(1.0 / num_bins)
    cepstra = mel @ dct.T
    lifter = options.cepstral_lifter
    if lifter:
        cepstra *= 1.0 + 0.5 * lifter * np.sin(np.pi * order / lifter)
    if options.use_energy:
        cepstra[:, 0] = energy
    if options.htk_compat:
        first = cepstra[:, :1] * (1.0 if options.use_energy else math.sqrt(2.0))
        cepstra = np.concatenate([cepstra[:, 1:], first], axis=1)
    return cepstra
