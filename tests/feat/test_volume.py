"""Data directories at other volumes."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from dkt.util.data_dir import DataDir
from dkt.util.text import read_keyed_lines
from tests.feat.copies_lab import UTTS, error_of, run, samples_of, source, table, tone, write_data

__all__ = ["source"]


def test_volumes_are_drawn_by_recording_and_written(source: Path, tmp_path: Path) -> None:
    out, told = tmp_path / "out", tmp_path / "reco2vol"
    assert run("perturb-volume", source, out, f"--write-reco2vol={told}") == 0
    factors = {utt: float(text) for utt, text in read_keyed_lines(told).items()}
    assert list(factors) == list(UTTS) and len(set(factors.values())) == 5
    assert all(0.125 <= factor <= 2 for factor in factors.values())
    for utt, samples in samples_of(out).items():
        np.testing.assert_allclose(samples, factors[utt] * samples_of(source)[utt], atol=0.51)
    data = DataDir(out)
    assert data.utt2spk == UTTS and data.text["a-1"] == "ONE" and not (out / "utt2uniq").exists()
    # The same for the same recordings of other data, and as told.
    (source / "wav.scp").write_text(f"b-1 {source}/b-1.wav\n")
    (source / "utt2spk").write_text("b-1 b\n")
    for options in ([], [f"--reco2vol={told}", "--scale-low=0.9", "--scale-high=0.9"]):
        assert run("perturb-volume", source, tmp_path / "part", *options) == 0
        assert np.array_equal(samples_of(tmp_path / "part")["b-1"], samples_of(out)["b-1"])


def test_all_utterances_of_a_recording_have_its_volume(tmp_path: Path) -> None:
    place = write_data(tmp_path / "train", {"r": tone(1, 8000)}, utt2spk={"a-1": "a", "a-2": "a"})
    (place / "segments").write_text("a-1 r 0.0 0.5\na-2 r 0.5 1.0\n")
    told = tmp_path / "vol"
    assert run("perturb-volume", place, tmp_path / "out", f"--write-reco2vol={told}") == 0
    ((name, factor),) = read_keyed_lines(told).items()
    found = samples_of(tmp_path / "out")
    assert name == "r"
    np.testing.assert_allclose(
        np.concatenate([found["a-1"], found["a-2"]]), float(factor) * tone(1, 8000), atol=0.51
    )


def test_what_is_too_loud_is_clipped_and_counted(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert run("perturb-volume", source, tmp_path / "out", "--scale-low=10", "--scale-high=10") == 0
    expected = {u: np.clip(10 * x, -32768, 32767) for u, x in samples_of(source).items()}
    found = samples_of(tmp_path / "out")
    assert all(np.array_equal(found[utt], expected[utt]) for utt in UTTS)
    count = sum(int((np.abs(10 * x) > 32767).sum()) for x in samples_of(source).values())
    assert f"{count} samples clipped, in 5 utterances" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scale-low=2", "--scale-high=1"], "--scale-low 2 is above --scale-high 1"),
        (["--scale-low=0"], "argument --scale-low: expected a number above 0"),
        (["--scale-high=loud"], "argument --scale-high: expected a number above 0"),
        (["--reco2vol=FILE"], "FILE: utterance 'a-2': has no volume"),
        (["--reco2vol=nowhere"], "nowhere"),
        (["--include-original=true"], "has utterances of these names already"),
    ],
)
def test_volumes_that_cannot_be(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    (tmp_path / "vol").write_text("a-1 0.5\n")
    file = str(tmp_path / "vol")
    assert run("perturb-volume", source, tmp_path / "out", *(o.replace("FILE", file) for o in options)) in (
        1,
        2,
    )
    assert message.replace("FILE", file) in error_of(capsys)
    (tmp_path / "vol").write_text("a-1 loud\n")
    assert run("perturb-volume", source, tmp_path / "out", f"--reco2vol={file}") == 1
    assert "utterance 'a-1': expected a number above 0" in error_of(capsys)


def test_speed_and_volume_together(source: Path, tmp_path: Path) -> None:
    """As Kaldi's recipes have them: names of the copies at other speeds stay."""
    assert run("perturb-speed", source, tmp_path / "sp", "--factors=0.9") == 0
    assert table(tmp_path / "sp", "utt2uniq")["sp0.9-a-1"] == "a-1"
    assert not (tmp_path / "sp/utt2dur").exists()
    assert run("perturb-volume", tmp_path / "sp", tmp_path / "vp") == 0
    assert DataDir(tmp_path / "vp").utt2spk == DataDir(tmp_path / "sp").utt2spk
    assert table(tmp_path / "vp", "utt2uniq") == table(tmp_path / "sp", "utt2uniq")
