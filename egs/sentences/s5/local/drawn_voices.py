"""Voices of eSpeak NG drawn at random: variant files, in a copy of its data folder made of links."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from kaldi_corpus import SPLITS

LANGUAGES = ("en", "en-us")
_VARIANTS = Path("voices/!v")
_SEED = 20261130  # of the voices of --seed 0


@dataclass(frozen=True)
class Voice:
    """A voice that was drawn.

    Args:
        name: as of ``espeak_ng.Synthesiser.set_voice``.
        gender: ``m`` or ``f``.
        variant: the text of its variant file.
    """

    name: str
    gender: str
    variant: str

    @property
    def file_name(self) -> str:
        """The name of the variant file."""
        return self.name.split("+")[1]


def draw_voices(seed: int, num_voices: dict[str, int], formant_spread: float) -> dict[str, list[Voice]]:
    """Voices of every split, women and men in turn.

    Args:
        seed: seed of all of them.
        num_voices: of every split.
        formant_spread: standard deviation of each formant about the speaker's vocal tract length, relative.
    """
    rng = np.random.default_rng(_SEED + seed)
    voices: dict[str, list[Voice]] = {}
    number = 0
    for split in SPLITS:
        voices[split] = []
        for index in range(num_voices[split]):
            number += 1
            gender = "fm"[index % 2]
            variant = _draw_variant(rng, f"draw{number:03d}", gender, formant_spread)
            language = rng.choice(LANGUAGES)
            voices[split].append(Voice(f"{language}+draw{number:03d}", gender, variant))
    return voices


def _draw_variant(rng: np.random.Generator, name: str, gender: str, formant_spread: float) -> str:
    # Keys and units are those of eSpeak NG's docs/voices.md; pitch in Hz, the others in per cent.
    if gender == "m":
        low, tract = rng.uniform(70, 125), rng.uniform(0.90, 1.08)
        high = low * rng.uniform(1.25, 1.6)
    else:
        low, tract = rng.uniform(140, 215), rng.uniform(1.04, 1.22)
        high = low * rng.uniform(1.2, 1.5)
    lines = [
        "language variant",
        f"name {name}",
        f"gender {'male' if gender == 'm' else 'female'}",
        f"pitch {low:.0f} {high:.0f}",
        f"flutter {rng.integers(0, 5)}",
        f"roughness {rng.integers(0, 4)}",
        f"voicing {rng.integers(80, 131)}",
        f"consonants {rng.integers(70, 131)} {rng.integers(70, 131)}",
    ]
    if rng.random() < 0.4:
        lines.append("breath 0 2 3 3 3 3 3 2")
    for formant in range(9):
        frequency = 100 * tract * (1 + formant_spread * rng.standard_normal()) if formant else 100
        height = 100 * 10 ** (rng.normal(0.0, 2.0) / 20)
        lines.append(f"formant {formant} {frequency:.0f} {height:.0f} {rng.uniform(80, 150):.0f}")
    return "\n".join(lines) + "\n"


def write_espeak_data(source: Path, target: Path, voices: list[Voice]) -> None:
    """Make a data folder of eSpeak NG with these voices beside its own, which are linked to, not copied."""
    (target / _VARIANTS).mkdir(parents=True)
    for folder in (Path(), Path("voices"), _VARIANTS):
        for path in (source / folder).iterdir():
            if not (target / folder / path.name).exists():
                (target / folder / path.name).symlink_to(path.absolute())
    for voice in voices:
        (target / _VARIANTS / voice.file_name).write_text(voice.variant, encoding="utf-8")
