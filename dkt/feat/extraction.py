"""Filterbanks and MFCC with Kaldi's options, through kaldi-native-fbank."""

from __future__ import annotations

import logging
import operator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kaldi_native_fbank as knf
import numpy as np

from dkt.base.errors import DktError
from dkt.base.ranges import kaldi_number
from dkt.base.spelling import nearest
from dkt.feat.resampling import resample
from dkt.feat.vtln import warped_features
from dkt.util.option_text import read_option_lines, to_bool

logger = logging.getLogger(__name__)

#: Kaldi's option: its place in kaldi-native-fbank's options and its type.
_FRAME_OPTIONS: dict[str, tuple[str, type]] = {
    "sample-frequency": ("frame_opts.samp_freq", float),
    "frame-length": ("frame_opts.frame_length_ms", float),
    "frame-shift": ("frame_opts.frame_shift_ms", float),
    "dither": ("frame_opts.dither", float),
    "preemphasis-coefficient": ("frame_opts.preemph_coeff", float),
    "remove-dc-offset": ("frame_opts.remove_dc_offset", bool),
    "window-type": ("frame_opts.window_type", str),
    "round-to-power-of-two": ("frame_opts.round_to_power_of_two", bool),
    "blackman-coeff": ("frame_opts.blackman_coeff", float),
    "snip-edges": ("frame_opts.snip_edges", bool),
    "num-mel-bins": ("mel_opts.num_bins", int),
    "low-freq": ("mel_opts.low_freq", float),
    "high-freq": ("mel_opts.high_freq", float),
    "vtln-low": ("mel_opts.vtln_low", float),
    "vtln-high": ("mel_opts.vtln_high", float),
    "use-energy": ("use_energy", bool),
    "energy-floor": ("energy_floor", float),
    "raw-energy": ("raw_energy", bool),
    "htk-compat": ("htk_compat", bool),
}
_TYPE_OPTIONS: dict[str, dict[str, tuple[str, type]]] = {
    "fbank": {"use-log-fbank": ("use_log_fbank", bool), "use-power": ("use_power", bool)},
    "mfcc": {"num-ceps": ("num_ceps", int), "cepstral-lifter": ("cepstral_lifter", float)},
}
# What is done before the package sees the samples: another sample rate than that of the features.
_RATE_OPTIONS: dict[str, type] = {"allow-downsample": bool, "allow-upsample": bool}
# Of Kaldi's programs, and without effect here: what is logged, how memory is saved.
_WITHOUT_MEANING: dict[str, type] = {"debug-mel": bool, "max-feature-vectors": int}
# Kaldi's own defaults where the package differs; dither is random noise, which Kaldi adds and we do not.
_DEFAULTS = {"dither": "0.0", "window-type": "povey", "raw-energy": "true", "snip-edges": "true"}
_WINDOWS = ("hamming", "hanning", "povey", "rectangular", "blackman", "sine")


def option_types(kind: str) -> dict[str, type]:
    """The options of features of a kind, ``fbank`` or ``mfcc``, without dashes, and their types."""
    native = {name: of_type for name, (_, of_type) in (_FRAME_OPTIONS | _TYPE_OPTIONS[kind]).items()}
    return native | _RATE_OPTIONS | _WITHOUT_MEANING


def option_defaults(kind: str) -> dict[str, Any]:
    """The values that the options of a kind have unless given; those without effect have none."""
    extractor = FeatureExtractor(kind, {})
    places = _FRAME_OPTIONS | _TYPE_OPTIONS[kind]
    native = {name: operator.attrgetter(place)(extractor._native) for name, (place, _) in places.items()}
    return native | extractor._allowed


def read_config(path: str | Path) -> dict[str, str]:
    """Options of a Kaldi configuration file, as ``dkt.util.option_text.read_option_lines`` gives them.

    Raises:
        DktError: a line is not an option.
    """
    return {name: value or "" for _, name, value in read_option_lines(path)}


def convert(name: str, value: str, kind: type) -> Any:
    """The value of an option, by Kaldi's rules; empty is true.

    Raises:
        DktError: it is of another type.
    """
    try:
        if kind is bool:
            return to_bool(value)
        return value if kind is str else kind(kaldi_number(name, value))
    except ValueError as error:
        raise DktError(f"--{name}={value}: {error}") from None


@dataclass
class FeatureExtractor:
    """Computes the features of one kind.

    Args:
        kind: ``fbank`` (log-mel filterbanks) or ``mfcc``.
        options: Kaldi's options without dashes, as strings.

    Raises:
        DktError: an option is unknown, of another type or out of range, or some do not go together.
    """

    kind: str
    options: dict[str, str]

    def __post_init__(self) -> None:
        types = option_types(self.kind)
        places = _FRAME_OPTIONS | _TYPE_OPTIONS[self.kind]
        self._native = knf.FbankOptions() if self.kind == "fbank" else knf.MfccOptions()
        self._allowed = dict.fromkeys(_RATE_OPTIONS, False)
        for name, text in (_DEFAULTS | self.options).items():
            if name not in types:
                raise DktError(f"unknown option --{name} of {self.kind}", hint=nearest(name, types, "--{}"))
            value = convert(name, text, types[name])
            if name in _WITHOUT_MEANING:
                logger.warning("--%s is Kaldi's and without effect here", name)
            elif name in _RATE_OPTIONS:
                self._allowed[name] = value
            else:
                *parents, leaf = places[name][0].split(".")
                setattr(getattr(self._native, parents[0]) if parents else self._native, leaf, value)
        if self._native.frame_opts.window_type not in _WINDOWS:
            raise DktError(
                f"--window-type={self._native.frame_opts.window_type}: known are {', '.join(_WINDOWS)}"
            )
        self._check_together()

    def _check_together(self) -> None:
        """Refuse options that are possible one by one but not together."""
        frame = self._native.frame_opts
        for name, milliseconds, least in (
            ("frame-shift", frame.frame_shift_ms, 1),
            ("frame-length", frame.frame_length_ms, 2),
        ):
            if int(milliseconds * frame.samp_freq / 1000.0) < least:
                raise DktError(
                    f"--{name}={milliseconds:g}: at --sample-frequency={frame.samp_freq:g} less than {least} "
                    "samples, expected milliseconds"
                )
        try:
            self._maker(self._native)
        except ValueError as error:
            raise DktError(f"impossible options: {error}") from None

    @property
    def _maker(self) -> type:
        return knf.OnlineFbank if self.kind == "fbank" else knf.OnlineMfcc

    @property
    def sample_frequency(self) -> float:
        """The sample rate that the features are made for, in Hz."""
        return float(self._native.frame_opts.samp_freq)

    def compute(self, samples: np.ndarray, rate: int, path: str, utt: str, warp: float = 1.0) -> np.ndarray:
        """The features of one utterance.

        Args:
            samples: float32 of 16-bit size, shape ``(num_samples,)``.
            rate: their rate in Hz.
            path: the recording, for errors.
            utt: the utterance, for errors.
            warp: the factor that mel filters are warped by (VTLN).

        Returns:
            float32 of shape ``(T, F)``.

        Raises:
            DktError: another sample rate than the options say, or less than one frame of samples.
        """
        samples, frequency = self._at_rate(samples, rate, path, utt)
        features = (
            self._compute(samples, frequency) if warp == 1.0 else self._warped(samples, warp, path, utt)
        )
        if len(features) == 0:
            raise DktError(
                f"holds {len(samples)} samples, less than one frame",
                path=path,
                utt=utt,
                hint="remove the utterance from the data directory",
            )
        return features

    def _compute(self, samples: np.ndarray, rate: float) -> np.ndarray:
        computer = self._maker(self._native)
        computer.accept_waveform(rate, samples)
        computer.input_finished()
        frames = [computer.get_frame(i) for i in range(computer.num_frames_ready)]
        return np.stack(frames) if frames else np.empty((0, 0), dtype=np.float32)

    def _warped(self, samples: np.ndarray, warp: float, path: str, utt: str) -> np.ndarray:
        try:
            return warped_features(self._native, samples, warp)
        except DktError as error:
            raise DktError(str(error), path=path, utt=utt) from None

    def _at_rate(self, samples: np.ndarray, rate: int, path: str, utt: str) -> tuple[np.ndarray, float]:
        """Samples at the rate that the features are made for (``OfflineFeatureTpl::ComputeFeatures``)."""
        wanted = self.sample_frequency
        if rate == wanted:
            return samples, rate
        option = "allow-downsample" if rate > wanted else "allow-upsample"
        if not self._allowed[option]:
            raise DktError(
                f"is sampled at {rate} Hz, the feature configuration says {wanted:g} Hz",
                path=path,
                utt=utt,
                hint=f"resample it, give --{option}=true, or set --sample-frequency in the configuration",
            )
        # Kaldi's filter takes rates in whole numbers, too.
        return resample(samples, rate, int(wanted)), wanted
