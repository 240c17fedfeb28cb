"""A data directory to make copies of, and what tells what they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from dkt.bin import main
from dkt.feat.wave import read_audio
from dkt.util.data_dir import DataDir
from dkt.util.text import read_keyed_lines

RATE = 8000
UTTS = {"a-1": "a", "a-2": "a", "b-1": "b", "b-2": "b", "c-1": "c"}


def tone(number: int, num_samples: int = 4000) -> np.ndarray:
    """A tone that tells which it is, loud enough that 16 bits do not matter."""
    return (6000 * np.sin(2 * np.pi * (200 + 150 * number) / RATE * np.arange(num_samples))).astype(np.int16)


def write_data(path: Path, sounds: dict[str, np.ndarray], rate: int = RATE, **tables: dict[str, str]) -> Path:
    path.mkdir(parents=True)
    for name, samples in sounds.items():
        soundfile.write(path / f"{name}.wav", samples, rate)
    tables.setdefault("utt2spk", {name: name.split("-")[0] for name in sounds})
    tables["wav.scp"] = {name: f"{path / name}.wav" for name in sounds}
    for name, table in tables.items():
        (path / name).write_text("".join(f"{k} {v}\n" for k, v in table.items()))
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_data(
        tmp_path / "train",
        {utt: tone(number, 4000 + 100 * number) for number, utt in enumerate(UTTS)},
        text=dict.fromkeys(UTTS, "ONE"),
        spk2gender={"a": "f", "b": "m", "c": "f"},
        utt2dur=dict.fromkeys(UTTS, "0.5"),
        utt2num_frames=dict.fromkeys(UTTS, "48"),
    )


@pytest.fixture
def noises(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    sizes = {"short": 700, "long": 30000}
    return write_data(
        tmp_path / "noises", {n: rng.normal(0, 300, size).astype(np.int16) for n, size in sizes.items()}
    )


def table(path: Path, name: str) -> dict[str, str]:
    return read_keyed_lines(path / name)


def samples_of(path: Path) -> dict[str, np.ndarray]:
    return {utt: read_audio(entry, utt)[0] for utt, entry in DataDir(path).wav_scp.items()}


def run(command: str, source: Path, target: Path, *options: str) -> int:
    try:
        return main([command, *options, str(source), str(target)])
    except SystemExit as error:
        return int(str(error.code))


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    lines = [x for x in capsys.readouterr().err.splitlines() if not x.startswith(("INFO", "WARNING"))]
    return lines[-1]
