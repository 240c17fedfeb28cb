"""Copies of utterances at other speeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from dkt.base.errors import DktError
from dkt.bin import main
from dkt.feat.speed import change_speed
from dkt.feat.speed_perturb import perturb_speed
from dkt.feat.wave import read_audio
from dkt.util.data_dir import DataDir

RATE = 16000


def tone(frequency: float, num_samples: int) -> np.ndarray:
    return 1000 * np.sin(2 * np.pi * frequency / RATE * np.arange(num_samples))


def data_dir(path: Path, segments: str = "") -> Path:
    path.mkdir()
    names = ["a", "b"] if not segments else ["r"]
    for name in names:
        soundfile.write(path / f"{name}.wav", tone(440, RATE).astype(np.int16), RATE)
    (path / "wav.scp").write_text("".join(f"{name} {path / name}.wav\n" for name in names))
    (path / "utt2spk").write_text("a s1\nb s2\n")
    (path / "text").write_text("a ONE\nb TWO THREE\n")
    (path / "spk2gender").write_text("s1 f\ns2 m\n")
    if segments:
        (path / "segments").write_text(segments)
    return path


@pytest.mark.parametrize("factor", [0.8, 0.9, 1.1, 1.25, 1.0])
def test_a_tone_comes_out_at_the_new_frequency(factor: float) -> None:
    fast = change_speed(tone(440, RATE), factor)
    assert len(fast) == int(np.ceil(RATE / factor - 1e-9))
    inner = slice(200, -200)
    np.testing.assert_allclose(fast[inner], tone(440 * factor, len(fast))[inner], atol=0.1)


def test_what_would_alias_is_filtered_out() -> None:
    assert np.abs(change_speed(tone(7600, RATE), 1.25)[200:-200]).max() < 1
    # Slower, nothing is lost below the old half sampling rate and nothing is mirrored above it.
    np.testing.assert_allclose(np.abs(change_speed(tone(6800, RATE), 0.8)).max(), 1000, rtol=0.02)


def test_short_recordings_keep_at_least_a_sample() -> None:
    assert len(change_speed(np.ones(1), 2.0)) == 1
    assert len(change_speed(np.ones(3), 0.9)) == 4


def test_a_directory_with_its_copies(tmp_path: Path) -> None:
    source = data_dir(tmp_path / "train")
    assert main(["perturb-speed", "--factors=0.9 1.1", str(source), str(tmp_path / "sp")]) == 0
    data = DataDir(tmp_path / "sp")
    data.check_sorted()
    assert list(data.utt2spk.items()) == [
        ("a", "s1"),
        ("b", "s2"),
        ("sp0.9-a", "sp0.9-s1"),
        ("sp0.9-b", "sp0.9-s2"),
        ("sp1.1-a", "sp1.1-s1"),
        ("sp1.1-b", "sp1.1-s2"),
    ]
    assert data.text["sp1.1-b"] == "TWO THREE"
    assert data.wav_scp["a"] == str(source / "a.wav")
    assert "sp0.9-s2 m\n" in (data.path / "spk2gender").read_text()
    assert "sp1.1-s1 sp1.1-a\n" in (data.path / "spk2utt").read_text()
    samples, rate = read_audio(data.wav_scp["sp1.1-a"], "sp1.1-a")
    assert rate == RATE
    np.testing.assert_allclose(samples[200:-200], tone(484, len(samples))[200:-200], atol=1.6)


def test_segments_are_cut_out(tmp_path: Path) -> None:
    source = data_dir(tmp_path / "train", "a r 0.0 0.5\nb r 0.5 0.75\n")
    perturb_speed(source, tmp_path / "sp", ["0.8"])
    data = DataDir(tmp_path / "sp")
    assert not (data.path / "segments").exists()
    lengths = {utt: len(read_audio(path, utt)[0]) for utt, path in data.wav_scp.items()}
    assert lengths == {"a": 8000, "b": 4000, "sp0.8-a": 10000, "sp0.8-b": 5000}


def test_an_unreadable_recording_is_told_and_leaves_no_directory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = data_dir(tmp_path / "train")
    perturb_speed(source, tmp_path / "sp", ["0.9"])
    (source / "b.wav").write_bytes(b"no audio")
    assert main(["perturb-speed", "--factors=0.9", str(source), str(tmp_path / "sp")]) == 1
    assert "1 of 2 utterances were dropped" in capsys.readouterr().err
    assert not (tmp_path / "sp" / "wav.scp").exists()
    perturb_speed(source, tmp_path / "sp", ["0.9"], max_dropped=0.5)
    assert list(DataDir(tmp_path / "sp").utt2spk) == ["a", "sp0.9-a"]


@pytest.mark.parametrize("factors", ["", "fast", "0.9 0.90", "1.0", "0.9 3"])
def test_factors_that_make_no_sense(tmp_path: Path, factors: str) -> None:
    try:
        status = main(["perturb-speed", f"--factors={factors}", str(tmp_path / "a"), str(tmp_path / "b")])
    except SystemExit as error:
        status = error.code
    assert status
    assert not (tmp_path / "b").exists()


def test_ids_with_a_slash_make_no_directories(tmp_path: Path) -> None:
    source = data_dir(tmp_path / "train")
    for name in ("wav.scp", "utt2spk", "text", "spk2gender"):
        text = (source / name).read_text().replace("a ", "../a/1 ", 1).replace("b ", "b%2F1 ", 1)
        (source / name).write_text(text)
    perturb_speed(source, tmp_path / "sp", ["0.9"])
    made = DataDir(tmp_path / "sp")
    assert sorted(made.wav_scp) == sorted(["../a/1", "b%2F1", "sp0.9-../a/1", "sp0.9-b%2F1"])
    assert {path.name for path in (tmp_path / "sp/wav").iterdir()} == {
        "sp0.9-..%2Fa%2F1.wav",
        "sp0.9-b%252F1.wav",
    }
    for utt, path in made.wav_scp.items():
        assert len(read_audio(path, utt)[0])


def test_an_id_that_no_file_can_be_named_by_is_told(tmp_path: Path) -> None:
    source = data_dir(tmp_path / "train")
    long = "a" * 300
    for name in ("wav.scp", "utt2spk", "text"):
        (source / name).write_text((source / name).read_text().replace("a ", f"{long} ", 1))
    with pytest.raises(DktError, match=f"utterance '{long}': .*cannot be written: File name too long"):
        perturb_speed(source, tmp_path / "sp", ["0.9"])


def test_the_source_is_not_overwritten(tmp_path: Path) -> None:
    source = data_dir(tmp_path / "train")
    with pytest.raises(DktError, match="is the directory to perturb"):
        perturb_speed(source, source, ["0.9"])


def test_an_utterance_without_recording_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = data_dir(tmp_path / "train")
    (source / "wav.scp").write_text((source / "wav.scp").read_text().splitlines()[0] + "\n")
    places = [str(source), str(tmp_path / "sp")]
    assert main(["perturb-speed", "--factors=0.9", *places]) == 1
    assert "it has no recording" in capsys.readouterr().err
    assert main(["perturb-speed", "--factors=0.9", "--max-dropped=0.5", *places]) == 0
