"""Speech and quiet frames are told apart in features whose columns nobody has described."""

from __future__ import annotations

import numpy as np
import pytest

from dkt.feat.speech_activity import correlations, leaning, main_direction, split

DIM = 8


def made_up_speech(
    rng: np.random.Generator, pauses: list[int], quiet_noise: float = 0.4
) -> tuple[np.ndarray, np.ndarray]:
    """Frames of shape ``(T, DIM)`` and which are speech: words of three to six sounds between the pauses."""
    parts, is_speech = [], []
    for number, length in enumerate(pauses):
        if number:
            for _ in range(rng.integers(3, 7)):
                centre = np.concatenate([[rng.uniform(3.0, 7.0)], rng.normal(0.0, 1.2, DIM - 1)])
                sound = centre + rng.normal(0.0, 0.5, (rng.integers(5, 12), DIM))
                parts.append(sound)
                is_speech += [True] * len(sound)
        parts.append(rng.normal(0.0, quiet_noise, (length, DIM)))
        is_speech += [False] * length
    return np.concatenate(parts), np.array(is_speech)


def accuracy(corpus: list[np.ndarray], truth: list[np.ndarray]) -> float:
    direction = main_direction(np.add.reduce([correlations(frames) for frames in corpus]))
    parted = [split(frames, direction) for frames in corpus]
    upper = leaning(np.add.reduce([each.evidence for each in parted])) >= 0
    found = np.concatenate([each.speech_scores(upper) > 0 for each in parted])
    return float((found == np.concatenate(truth)).mean())


@pytest.mark.parametrize("where", ["ends", "between", "both"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_any_columns_and_any_scale(where: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mixing = np.linalg.qr(rng.normal(size=(DIM, DIM)))[0]
    scale = rng.uniform(0.1, 10.0, DIM)
    corpus, truth = [], []
    for _ in range(10):
        lengths = rng.integers(5, 150, size=5).tolist()
        if where == "ends":
            lengths[1:-1] = [0, 0, 0]
        elif where == "between":
            lengths[0] = lengths[-1] = 0
        frames, is_speech = made_up_speech(rng, lengths, quiet_noise=rng.uniform(0.1, 0.5))
        level = rng.normal(0.0, 5.0, DIM)  # of the recording
        corpus.append(((frames + level) @ mixing * scale).astype(np.float32))
        truth.append(is_speech)
    assert accuracy(corpus, truth) > 0.93
    assert accuracy([-frames for frames in corpus], truth) > 0.93


def test_digital_silence_beside_noise() -> None:
    rng = np.random.default_rng(3)
    corpus, truth = [], []
    for _ in range(10):
        frames, is_speech = made_up_speech(rng, [20, 15, 20])
        nothing = np.full((150, DIM), -40.0)
        corpus.append(np.concatenate([nothing, frames, nothing]).astype(np.float32))
        truth.append(np.concatenate([np.zeros(150, bool), is_speech, np.zeros(150, bool)]))
    assert accuracy(corpus, truth) > 0.93


def test_a_few_frames_or_none() -> None:
    direction = np.ones(DIM) / np.sqrt(DIM)
    for num_frames in (0, 1, 3):
        frames = np.random.default_rng(0).normal(size=(num_frames, DIM)).astype(np.float32)
        assert correlations(frames).shape == (DIM, DIM)
        parted = split(frames, direction)
        assert parted.speech_scores(True).shape == (num_frames,)
        assert np.isfinite(parted.evidence).all() and np.isfinite(parted.speech_scores(False)).all()
    constant = split(np.ones((50, DIM), dtype=np.float32), direction)
    assert (constant.speech_scores(True) < 0).all()
