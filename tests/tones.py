"""A corpus so small that the whole chain runs on it in seconds: three words, each one tone in noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

RATE = 8000
TONES = {"LOW": 300.0, "MID": 900.0, "HIGH": 2400.0}
PHONES = {"LOW": "L", "MID": "M", "HIGH": "H"}


def _word(rng: np.random.Generator, frequency: float, pitch: float) -> np.ndarray:
    time = np.arange(int(rng.uniform(0.18, 0.3) * RATE)) / RATE
    return 0.3 * np.sin(2 * np.pi * frequency * pitch * time) * np.hanning(len(time)) ** 0.3


def _utterance(rng: np.random.Generator, words: list[str], pitch: float) -> np.ndarray:
    pieces = [np.zeros(int(rng.uniform(0.08, 0.15) * RATE))]
    for word in words:
        pieces += [_word(rng, TONES[word], pitch), np.zeros(int(rng.uniform(0.08, 0.15) * RATE))]
    samples = np.concatenate(pieces)
    return samples + rng.normal(0.0, 0.01, len(samples))


def write_corpus(path: Path) -> None:
    """Write ``path/{train,dev,test}`` and ``path/local/dict``, as a recipe's data preparation does."""
    rng = np.random.default_rng(5)
    for part, speakers, num in [("train", 3, 14), ("dev", 2, 4), ("test", 2, 4)]:
        directory = path / part
        directory.mkdir(parents=True)
        tables: dict[str, list[str]] = {name: [] for name in ("wav.scp", "text", "utt2spk", "spk2utt")}
        for number in range(speakers):
            speaker = f"{part}{number}"
            utts = [f"{speaker}-{i:02d}" for i in range(num)]
            for utt in utts:
                words = [str(w) for w in rng.choice(list(TONES), rng.integers(2, 5))]
                wav = directory / f"{utt}.wav"
                soundfile.write(wav, _utterance(rng, words, rng.uniform(0.95, 1.05)), RATE)
                tables["wav.scp"].append(f"{utt} {wav}")
                tables["text"].append(f"{utt} {' '.join(words)}")
                tables["utt2spk"].append(f"{utt} {speaker}")
            tables["spk2utt"].append(f"{speaker} {' '.join(utts)}")
        for name, lines in tables.items():
            (directory / name).write_text("\n".join(lines) + "\n")
    _write_dict(path / "local/dict")
    texts = (path / "train/text").read_text().splitlines()
    (path / "local/lm_train.txt").write_text("".join(f"{line.split(maxsplit=1)[1]}\n" for line in texts))


def _write_dict(path: Path) -> None:
    path.mkdir(parents=True)
    lexicon = ["<UNK> SPN", *(f"{word} {phone}" for word, phone in PHONES.items())]
    (path / "lexicon.txt").write_text("\n".join(sorted(lexicon)) + "\n")
    (path / "silence_phones.txt").write_text("SIL\nSPN\n")
    (path / "optional_silence.txt").write_text("SIL\n")
    (path / "nonsilence_phones.txt").write_text("\n".join(sorted(PHONES.values())) + "\n")
