"""Connected-digit corpora: drawing digit strings, joining recordings, the dictionary and the text."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "local/corpora"))
from kaldi_corpus import SAMPLE_RATE, to_int16
from prepare_dict import write_dict

WORDS = ("ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE")
MIN_DIGITS, MAX_DIGITS = 3, 7
MIN_GAP, MAX_GAP = 0.05, 0.2  # seconds

_QUIET_FRAME = 0.02  # seconds

T = TypeVar("T")


class Deck(Generic[T]):
    """Items drawn at random, each of them once before any is drawn again."""

    def __init__(self, items: Sequence[T], rng: np.random.Generator) -> None:
        self._items = list(items)
        self._rng = rng
        self._left: list[int] = []

    def draw(self, count: int) -> list[T]:
        """The next ``count`` items."""
        drawn = []
        for _ in range(count):
            if not self._left:
                self._left = self._rng.permutation(len(self._items)).tolist()
            drawn.append(self._items[self._left.pop()])
        return drawn


def draw_length(rng: np.random.Generator) -> int:
    """The number of digits of one string."""
    return int(rng.integers(MIN_DIGITS, MAX_DIGITS + 1))


def join_recordings(recordings: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Join recordings of one speaker to an utterance, with a gap before, between and after them.

    Each recording loses its mean, because a recorder's DC offset would make a click of every join. The gaps
    hold noise with the level and the spectrum of the quietest 20 ms of these recordings: digital silence
    would tell a recogniser where the words end, and has no logarithm.

    Args:
        recordings: int16 arrays at ``SAMPLE_RATE``, none of them empty.
        rng: draws the lengths and the noise of the gaps.

    Returns:
        int16 ``(num_samples,)``.
    """
    centred = [recording - np.mean(recording, dtype=np.float64) for recording in recordings]
    quiet = _quietest_frame(centred)
    pieces = [_gap(quiet, rng)]
    for recording in centred:
        pieces += [recording, _gap(quiet, rng)]
    return to_int16(np.concatenate(pieces))


def _quietest_frame(recordings: Sequence[np.ndarray]) -> np.ndarray:
    quietest = []
    for recording in recordings:
        size = min(round(_QUIET_FRAME * SAMPLE_RATE), len(recording))
        frames = np.lib.stride_tricks.sliding_window_view(recording, size)[:: max(size // 2, 1)]
        powers = frames.var(axis=1)
        best = int(powers.argmin())
        quietest.append((powers[best], frames[best] - frames[best].mean()))
    return min(quietest, key=lambda pair: pair[0])[1]


def _gap(quiet: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    # White noise filtered by a frame has the frame's power spectrum; a power of at least 1 keeps some of the
    # rounded samples from zero where a recording was cleaned to digital silence.
    size = int(rng.integers(round(MIN_GAP * SAMPLE_RATE), round(MAX_GAP * SAMPLE_RATE) + 1))
    power = float(np.mean(quiet**2))
    if power < 1.0:
        return rng.standard_normal(size)
    white = rng.standard_normal(size + len(quiet) - 1)
    return np.convolve(white, quiet, mode="valid") / np.sqrt(len(quiet))


def write_lang(work_dir: Path) -> None:
    """Write the dictionary, and the transcripts of train as the text of the language model."""
    write_dict(work_dir / "local/dict")
    lines = (work_dir / "train/text").read_text(encoding="utf-8").splitlines()
    transcripts = [line.split(maxsplit=1)[1] + "\n" for line in lines]
    (work_dir / "local/lm_train.txt").write_text("".join(transcripts), encoding="utf-8")
