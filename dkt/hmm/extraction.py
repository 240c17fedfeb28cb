"""Filterbanks and MFCC with Kaldi's options, through kaldi-native-fbank."""

from __future__ import annotations

import difflib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kaldi_native_fbank as knf
import numpy as np

from dkt.errors import DktError
from dkt.ranges import kaldi_number
from dkt.text import Content, read_lines

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
# Kaldi's own defaults where the package differs; dither is random noise, which Kaldi adds and we do not.
_DEFAULTS = {"dither": "0.0", "window-type": "povey", "raw-energy": "true", "snip-edges": "true"}
_WINDOWS = ("hamming", "hanning", "povey", "rectangular", "blackman", "sine")


def read_config(path: str | Path) -> dict[str, str]:
    """Options of a Kaldi configuration file: lines ``--name=value``, ``#`` begins a comment.

    Raises:
        DktError: a line is something else.
    """
    options = {}
    for number, line in enumerate(read_lines(path, Content.FREE), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        name, equals, value = text.removeprefix("--").partition("=")
        if not text.startswith("--") or not name:
            raise DktError(f"line {number}: expected '--name=value', found '{text}'", path=path)
        options[name.strip()] = value.strip() if equals else "true"
    return options


def _convert(name: str, value: str, kind: type) -> Any:
    try:
        if kind is bool:
            return {"true": True, "false": False}[value]
        return value if kind is str else kind(kaldi_number(name, value))
    except KeyError:
        raise DktError(f"--{name}={value}: expected true or false") from None
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
        known = _FRAME_OPTIONS | _TYPE_OPTIONS[self.kind]
        self._native = knf.FbankOptions() if self.kind == "fbank" else knf.MfccOptions()
        for name, value in (_DEFAULTS | self.options).items():
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                raise DktError(
                    f"unknown option --{name} of {self.kind}",
                    hint=f"did you mean --{near[0]}?" if near else f"known are {', '.join(sorted(known))}",
                )
            place, kind = known[name]
            *parents, leaf = place.split(".")
            target = getattr(self._native, parents[0]) if parents else self._native
            setattr(target, leaf, _convert(name, value, kind))
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

    def compute(self, samples: np.ndarray, rate: int, path: str, utt: str) -> np.ndarray:
        """The features of one utterance.

        Args:
            samples: float32 of 16-bit size, shape ``(num_samples,)``.
            rate: their rate in Hz.
            path: the recording, for errors.
            utt: the utterance, for errors.

        Returns:
            float32 of shape ``(T, F)``.

        Raises:
            DktError: another sample rate than the options say, or less than one frame of samples.
        """
        if rate != self.sample_frequency:
            raise DktError(
                f"is sampled at {rate} Hz, the feature configuration says {self.sample_frequency:g} Hz",
                path=path,
                utt=utt,
                hint="resample it, or set --sample-frequency in the configuration",
            )
        computer = self._maker(self._native)
        computer.accept_waveform(rate, samples)
        computer.input_finished()
        if computer.num_frames_ready == 0:
            raise DktError(
                f"holds {len(samples)} samples, less than one frame",
                path=path,
                utt=utt,
                hint="remove the utterance from the data directory",
            )
        return np.stack([computer.get_frame(i) for i in range(computer.num_frames_ready)])
