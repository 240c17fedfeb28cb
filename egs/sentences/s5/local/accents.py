"""Accents: a speaker's own substitutions of phonemes, each of which he makes more often than not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import espeak_ng
import numpy as np

# Pairs of eSpeak NG's English phonemes: what is meant, and what is said in its place. They are such as
# learners of English make: vowels of another length or height, fricatives as stops, devoicing.
RULES = (
    ("i:", "I"), ("I", "i:"), ("E", "a"), ("a", "E"), ("V", "a"), ("V", "0"), ("U", "u:"), ("u:", "U"),
    ("0", "O:"), ("oU", "O:"), ("eI", "E"), ("3:", "E"), ("D", "d"), ("D", "z"), ("T", "t"), ("T", "s"),
    ("T", "f"), ("w", "v"), ("v", "w"), ("v", "b"), ("r", "l"), ("l", "r"), ("l", "w"), ("z", "s"),
    ("dZ", "tS"), ("dZ", "j"), ("b", "p"), ("d", "t"), ("g", "k"), ("S", "s"), ("s", "S"), ("tS", "S"),
    ("N", "n"), ("n", "N"), ("aU", "a"), ("O:", "oU"), ("I2", "i:"), ("@", "V"), ("@", "E"), ("aI", "a"),
    ("f", "p"), ("t", "d"), ("k", "g"), ("p", "b"), ("m", "n"),
)  # fmt: skip
STRESS_MARKS = "',%="
MIN_RATE = 0.5


@dataclass(frozen=True)
class Accent:
    """The accent of one speaker.

    Args:
        seed: draws the speaker's rules, and when he follows them.
        share: the probability with which each of ``RULES`` is his.
    """

    seed: tuple[int, ...]
    share: float

    def __call__(self, synthesiser: espeak_ng.Synthesiser, texts: Sequence[str]) -> list[str]:
        """Texts as phonemes, as of ``synthesiser.synthesise``, said with this accent."""
        rng = np.random.default_rng(self.seed)
        rules = draw_rules(rng, self.share)
        spoken = []
        for text in texts:
            words = [substitute(word, rules, rng) for word in synthesiser.phonemes(text)]
            # The bar keeps apart what would make one phoneme: t and S.
            spoken.append(f"[[{' '.join('|'.join(filter(None, word)) for word in words)}]]")
        return spoken


def draw_rules(rng: np.random.Generator, share: float) -> dict[str, tuple[str, float]]:
    """The rules of one speaker: what is said in place of a phoneme, and with which probability (0.5 to 1)."""
    rules = {}
    for meant, said in RULES:
        if rng.random() < share:
            rules[meant] = (said, rng.uniform(MIN_RATE, 1.0))
    return rules


def substitute(
    word: Sequence[str], rules: dict[str, tuple[str, float]], rng: np.random.Generator
) -> list[str]:
    """The phonemes of a word as somebody with these rules says them, stressed as before."""
    said = []
    for marked in word:
        phoneme = marked.lstrip(STRESS_MARKS)
        marks = marked[: len(marked) - len(phoneme)]
        if phoneme in rules and rng.random() < rules[phoneme][1]:
            phoneme = rules[phoneme][0]
        said.append(marks + phoneme)
    return said
