"""Data directories with noise added, as Kaldi's ``steps/data/augment_data_dir.py``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dkt.base.errors import DktError
from dkt.base.tally import Tally
from dkt.feat.data_copies import DataCopies, Naming
from dkt.feat.draws import generator_of
from dkt.feat.noise import mean_power
from dkt.feat.noise_sources import Babble, Background, NoiseDir, SnrChoice, Sound, generated
from dkt.util.fix_data import Table

# As Kaldi's recipes mix babble, of speech.
_TALKERS = (3, 4, 5, 6, 7)
_SNRS = SnrChoice((20.0, 10.0, 0.0))


@dataclass(frozen=True)
class AugmentOptions:
    """What noise is added; names and defaults are those of Kaldi's script.

    Attributes:
        bg_noise_dir, fg_noise_dir: data directories of noises that sound all along, and of those that come
            one after the other.
        bg_noise_types: kinds of ``GENERATED_KINDS``, one of them for each utterance, instead of the former.
        bg_snrs, fg_snrs: the ratios to the power of the whole utterance, for each noise anew.
        num_bg_noises: how many of the former sound at a time; None for one, of babble for 3 to 7.
        fg_interval: seconds between the end of one of the latter and the beginning of the next.
        random_seed: of all draws.
    """

    bg_noise_dir: str | None = None
    fg_noise_dir: str | None = None
    bg_noise_types: tuple[str, ...] = ()
    bg_snrs: SnrChoice = _SNRS
    fg_snrs: SnrChoice = _SNRS
    num_bg_noises: tuple[int, ...] | None = None
    fg_interval: float = 0.0
    random_seed: int = 123


@dataclass(frozen=True)
class Added:
    """A noise as it is added to an utterance.

    Attributes:
        sound: the noise.
        start: the sample of the utterance at which it begins.
        snr_db: power of the utterance over power of the noise, both of all their samples.
    """

    sound: Sound
    start: int
    snr_db: float


def add_noises(speech: np.ndarray, noises: Sequence[Added]) -> tuple[np.ndarray, float]:
    """``speech`` with noises added and scaled to the power that it had (``featbin/wav-reverberate.cc``).

    Args:
        speech: ``(num_samples,)``, not silent.
        noises: what goes on behind its end is left out.

    Returns:
        float64 of the same shape; power of the speech over power of all that was added, dB.
    """
    clean = speech.astype(np.float64)
    power = mean_power(clean)
    added = np.zeros_like(clean)
    for noise in noises:
        piece = noise.sound.samples[: max(len(clean) - noise.start, 0)]
        gain = np.sqrt(power * 10.0 ** (-noise.snr_db / 10.0) / mean_power(noise.sound.samples))
        added[noise.start : noise.start + len(piece)] += gain * piece
    noise_power, mixed = mean_power(added), clean + added
    mixed_power = mean_power(mixed)
    snr_db = 10.0 * np.log10(power / noise_power) if noise_power > 0 else np.inf
    return mixed * np.sqrt(power / mixed_power) if mixed_power > 0 else mixed, float(snr_db)


class _Augmenter:
    """Adds noise to utterance by utterance, each by draws of its own."""

    def __init__(self, copies: DataCopies, options: AugmentOptions) -> None:
        self._options = options
        self._namings = copies.namings
        self._background: list[Background] = []
        if options.bg_noise_dir:
            self._background.append(NoiseDir(options.bg_noise_dir))
        self._background += generated(options.bg_noise_types, copies.data, copies.recordings)
        self._foreground = NoiseDir(options.fg_noise_dir) if options.fg_noise_dir else None
        self.snrs: Table = {}
        self.noises: Table = {}

    def __call__(self, utt: str, samples: np.ndarray, rate: int) -> list[np.ndarray] | str:
        """The copies of an utterance."""
        if not samples.any():
            return "it is silent: no signal-to-noise ratio can be had"
        copies = []
        for naming in self._namings:
            name = naming.utt(utt)
            rng = generator_of(self._options.random_seed, name)
            noises = self._draw_background(utt, len(samples), rate, rng)
            noises += self._draw_foreground(len(samples), rate, rng)
            copy, snr_db = add_noises(samples, noises)
            self.snrs[name] = f"{snr_db:.2f}"
            self.noises[name] = " ".join(f"{noise.sound.name}:{noise.snr_db:g}" for noise in noises)
            copies.append(copy)
        return copies

    def _draw_background(self, utt: str, size: int, rate: int, rng: np.random.Generator) -> list[Added]:
        if not self._background:
            return []
        kind = self._background[rng.integers(len(self._background))]
        counts = self._options.num_bg_noises or (_TALKERS if isinstance(kind, Babble) else (1,))
        sounds = kind.draw(utt, size, rate, counts[rng.integers(len(counts))], rng)
        return [Added(sound, 0, self._options.bg_snrs.draw(rng)) for sound in sounds]

    def _draw_foreground(self, size: int, rate: int, rng: np.random.Generator) -> list[Added]:
        noises: list[Added] = []
        start = 0
        while self._foreground is not None and start < size:
            sound = self._foreground.draw_whole(rate, rng)
            noises.append(Added(sound, start, self._options.fg_snrs.draw(rng)))
            start += len(sound.samples) + round(self._options.fg_interval * rate)
        return noises


def augment(
    source: str | Path,
    target: str | Path,
    namings: Sequence[Naming],
    options: AugmentOptions,
    *,
    include_original: bool = False,
    max_dropped: float = 0.0,
) -> None:
    """Write a data directory with noisy copies of the utterances of another.

    What is drawn for a copy depends on the seed and its name. ``utt2snr`` tells the ratio of each copy in dB,
    ``utt2noise`` what was added and the ratio of each of it.

    Args:
        source: with ``wav.scp`` and ``utt2spk``, and what else ``DataCopies.plan`` takes.
        target: the directory to write, with its recordings in ``wav``.
        namings: of the copies of each utterance.
        options: what noise is added.
        include_original: whether the utterances as they were are in it too.
        max_dropped: the share of utterances of which there may be no copy: unreadable or silent ones.

    Raises:
        DktError: no noise is given, one cannot be read or has another sampling rate, too many utterances are
            lost, or as ``DataCopies``.
    """
    if options.bg_noise_dir and options.bg_noise_types:
        raise DktError("--bg-noise-dir and --bg-noise-types are both of the background: give one of them")
    if not (options.bg_noise_dir or options.bg_noise_types or options.fg_noise_dir):
        raise DktError("there is nothing to add: give --bg-noise-dir, --fg-noise-dir or --bg-noise-types")
    copies = DataCopies.plan(source, target, namings, include_original)
    augmenter = _Augmenter(copies, options)
    more = {"utt2snr": augmenter.snrs, "utt2noise": augmenter.noises}
    copies.write(augmenter, Tally("augment", max_dropped), more)
