"""A small data directory with alignments and a lang directory, all without fault, and ways to spoil it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dkt.base.findings import Level
from dkt.util.data_dir import DataDir
from dkt.validate.check import CheckOptions, Report, check
from tests.hmm.test_transitions import two_phone_model
from tests.synthetic import write_ali_dir, write_data_dir

UTTS = ("a-1", "a-2", "b-1", "b-2")
LENGTH = 20


def features() -> dict[str, np.ndarray]:
    """20 frames of each utterance, of dimension 3."""
    rng = np.random.default_rng(1)
    return {utt: rng.normal(size=(LENGTH, 3)).astype(np.float32) for utt in UTTS}


def labels(length: int = LENGTH) -> np.ndarray:
    """A path through the two-phone model: silence, a phone, silence."""
    return np.array([1, 1, 2, 3, 4, *[5] * (length - 8), 6, 1, 2], dtype=np.int32)


def write_fit_data(path: Path) -> None:
    """``data`` with most of the files there can be, ``ali`` and ``lang``."""
    data = path / "data"
    write_data_dir(data, features())
    write_ali_dir(path / "ali", two_phone_model(), {utt: labels() for utt in UTTS})
    (path / "lang").mkdir()
    (path / "lang/phones.txt").write_text("<eps> 0\nSIL 1\nA 2\n#0 3\n")
    (data / "spk2utt").write_text("a a-1 a-2\nb b-1 b-2\n")
    for name, values in {
        "text": ["ONE TWO"] * 4,
        "segments": [
            f"{utt[0]}_rec {start} {start + 0.225:.3f}" for utt, start in zip(UTTS, [0, 9.9] * 2, strict=True)
        ],
        "utt2num_frames": [LENGTH] * 4,
        "utt2dur": [0.225] * 4,
        "utt2lang": ["en"] * 4,
        "utt2uniq": UTTS,
        "utt2warp": [1.0] * 4,
        "vad.scp": ["vad.ark:4"] * 4,
    }.items():
        (data / name).write_text("".join(f"{u} {value}\n" for u, value in zip(UTTS, values, strict=True)))
    for name, lines in {
        "wav.scp": "a_rec a.wav\nb_rec sox b.flac -t wav - |\n",
        "reco2file_and_channel": "a_rec a A\nb_rec b A\n",
        "reco2dur": "a_rec 2.0\nb_rec 2.0\n",
        "spk2gender": "a m\nb f\n",
        "spk2warp": "a 0.9\nb 1.1\n",
    }.items():
        (data / name).write_text(lines)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with ``data``, ``ali`` and ``lang``."""
    write_fit_data(tmp_path)
    return tmp_path


def report_of(place: Path, options: CheckOptions | None = None) -> Report:
    """Check it all."""
    return check(DataDir(place / "data"), place / "ali", None, place / "lang", options)


def found(report: Report, *levels: Level) -> list[tuple[str, str]]:
    """(check, text) of what is wrong."""
    return [
        (row.check, row.text)
        for row in report.findings.rows
        if row.level in (levels or (Level.WARNING, Level.ERROR))
    ]
