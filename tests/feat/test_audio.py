"""Recordings that are cut short or were streamed, and segments that do not fit them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from dkt.base.errors import DktError
from dkt.bin import main
from dkt.feat.wave import Recordings, read_audio
from dkt.util.table import read_matrices

RATE = 8000
SAMPLES = np.random.default_rng(0).integers(-9999, 9999, 2 * RATE).astype(np.int16)
UNKNOWN = b"\xff\xff\xff\xff"


def encode(form: str = "WAV", samples: np.ndarray = SAMPLES, **options: str) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, RATE, format=form, **options)
    return stream.getvalue()


def read(tmp_path: Path, data: bytes, pipe: bool) -> np.ndarray:
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    return read_audio(f"cat '{path}' |" if pipe else str(path), "u1")[0]


def with_sizes(riff: bytes, data: bytes) -> bytes:
    wav = encode()
    assert wav[36:40] == b"data"
    return wav[:4] + riff + wav[8:40] + data + wav[44:]


@pytest.mark.parametrize("pipe", [False, True])
@pytest.mark.parametrize("options", [{}, {"subtype": "PCM_24"}, {"endian": "BIG"}, {"form": "WAVEX"}])
def test_of_a_wav_that_is_cut_short_is_used_what_is_there(
    tmp_path: Path, pipe: bool, options: dict[str, str]
) -> None:
    whole = encode(**options)
    assert len(read(tmp_path, whole, pipe)) == len(SAMPLES)
    size = 3 if "subtype" in options else 2
    for lost in (1, size, size * 999 + 1, size * 15900):
        left = len(SAMPLES) - -(-lost // size)
        np.testing.assert_array_equal(read(tmp_path, whole[:-lost], pipe), read(tmp_path, whole, pipe)[:left])


def test_a_wav_without_a_whole_sample_is_an_error(tmp_path: Path) -> None:
    for lost in (2 * len(SAMPLES) - 1, 2 * len(SAMPLES)):
        with pytest.raises(DktError, match=r"utterance 'u1': holds no samples"):
            read(tmp_path, encode()[:-lost], pipe=False)


def test_recordings_that_are_cut_short_are_told_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wav_scp = {}
    for number in range(9):
        wav_scp[f"u{number}"] = str(tmp_path / f"u{number}.wav")
        (tmp_path / f"u{number}.wav").write_bytes(encode()[: -2000 * number or None])
    recordings = Recordings(wav_scp)
    caplog.set_level("INFO")
    assert [len(recordings.read(utt)[0]) for utt in recordings] == [16000 - 1000 * n for n in range(9)]
    recordings.tell_cut()
    listed = [record.getMessage() for record in caplog.records if record.levelname == "INFO"]
    assert len(listed) == 8 and listed[7] == f"{tmp_path}/u8.wav: 'u8' is cut short: 8000 samples of 16000"
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning == (
        "8 recordings cut short (u1: 15000 samples of 16000, u2: 14000 samples of 16000, "
        "u3: 13000 samples of 16000, u4: 12000 samples of 16000, u5: 11000 samples of 16000, ... "
        "all in the log): what is there is used"
    )


def test_features_of_a_corpus_with_recordings_that_are_cut_short(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.wav").write_bytes(encode())
    (tmp_path / "b.wav").write_bytes(encode()[:-2001])
    (tmp_path / "wav.scp").write_text(f"a {tmp_path}/a.wav\nb cat {tmp_path}/b.wav |\n")
    (tmp_path / "fbank.conf").write_text("--sample-frequency=8000\n")
    conf = f"--config={tmp_path}/fbank.conf"
    assert main(["compute-fbank-feats", conf, f"scp:{tmp_path}/wav.scp", f"ark:{tmp_path}/feats.ark"]) == 0
    assert "1 recording cut short (b: 14999 samples of 16000)" in caplog.text
    lengths = {utt: len(features) for utt, features in read_matrices(f"ark:{tmp_path}/feats.ark")}
    assert lengths == {"a": 198, "b": 185}


@pytest.mark.parametrize("pipe", [False, True])
@pytest.mark.parametrize(
    ("riff", "size"),
    [
        (UNKNOWN, UNKNOWN),  # ffmpeg
        (b"\x24\xf0\xff\x7f", b"\x00\xf0\xff\x7f"),  # sox
        (b"\xff\xff\xff\x7f", b"\xff\xff\xff\x7f"),
        (b"\x00\x00\x00\x00", b"\x00\x00\x00\x00"),
        (b"\x24\x00\x00\x00", b"\x00\x00\x00\x00"),
    ],
)
def test_a_streamed_wav_is_read_to_its_end(tmp_path: Path, pipe: bool, riff: bytes, size: bytes) -> None:
    np.testing.assert_array_equal(read(tmp_path, with_sizes(riff, size), pipe), SAMPLES)


def test_chunks_around_the_samples_do_no_harm(tmp_path: Path) -> None:
    wav = encode()
    chunk = b"LIST" + (5).to_bytes(4, "little") + b"INFOx\0"
    np.testing.assert_array_equal(read(tmp_path, wav[:36] + chunk + wav[36:] + chunk, pipe=False), SAMPLES)
    np.testing.assert_array_equal(read(tmp_path, wav[:36] + chunk + wav[36:-2], pipe=False), SAMPLES[:-1])
    # A byte too many is no sample.
    np.testing.assert_array_equal(read(tmp_path, wav + b"x", pipe=False), SAMPLES)


def test_other_formats_are_left_to_the_library(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read(tmp_path, encode("FLAC"), pipe=False), SAMPLES)
    for size in range(0, 46, 5):
        with pytest.raises(DktError, match="utterance 'u1'"):
            read(tmp_path, encode()[:size], pipe=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recording of two seconds."""
    (tmp_path / "rec.wav").write_bytes(encode())
    (tmp_path / "wav.scp").write_text(f"rec {tmp_path}/rec.wav\n")
    return tmp_path


def segment(folder: Path, times: str) -> np.ndarray:
    (folder / "segments").write_text(f"u1 rec {times}\n")
    return Recordings({"rec": f"{folder}/rec.wav"}, folder / "segments").read("u1")[0]


@pytest.mark.parametrize(
    ("times", "begin", "end"),
    [
        ("0 1", 0, 8000),
        ("0.5 -1", 4000, 16000),
        ("0.5 -1.0", 4000, 16000),
        ("1.0 2.5", 8000, 16000),  # as much beyond the end as is cut off
        ("0.0000625 0.0001875", 1, 2),  # halves are rounded up
    ],
)
def test_segments_are_cut_as_by_kaldi(folder: Path, times: str, begin: int, end: int) -> None:
    np.testing.assert_array_equal(segment(folder, times), SAMPLES[begin:end])


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ("-0.5 1", "from -0.5 to 1 s is impossible"),
        ("1 1", "from 1 to 1 s is impossible"),
        ("1.5 1", "from 1.5 to 1 s is impossible"),
        ("0.5 -2", "from 0.5 to -2 s is impossible"),
        ("0 0", "from 0 to 0 s is impossible"),
        ("nan 1", "expected '<recording> <start> <end>', found 'rec nan 1'"),
        ("0 nan", "expected '<recording> <start> <end>', found 'rec 0 nan'"),
        ("inf -1", "expected '<recording> <start> <end>', found 'rec inf -1'"),
        ("0 inf", "expected '<recording> <start> <end>', found 'rec 0 inf'"),
        ("0_1 2", "expected '<recording> <start> <end>', found 'rec 0_1 2'"),
        ("٠.1 2", "expected '<recording> <start> <end>', found 'rec ٠.1 2'"),
        ("1 2.6", "from 1 to 2.6 s is not within recording 'rec' of 2 s - mend or remove"),
        ("2 2.4", "from 2 to 2.4 s is not within"),
        ("3 -1", "from 3 to 2 s is not within"),
        ("0", "expected '<recording> <start> <end>', found 'rec 0'"),
    ],
)
def test_impossible_segments_name_the_file_and_the_utterance(folder: Path, times: str, message: str) -> None:
    with pytest.raises(DktError) as error:
        segment(folder, times)
    assert str(error.value).startswith(f"{folder}/segments: utterance 'u1': ")
    assert message in str(error.value)


def test_a_segment_beyond_the_end_is_a_loss_that_is_counted(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    (folder / "segments").write_text("u1 rec 0 1\nu2 rec 1 9\n")
    command = ["compute-fbank-feats", "--sample-frequency=8000", f"--segments={folder}/segments"]
    command += [f"scp:{folder}/wav.scp", f"ark:{folder}/feats.ark"]
    assert main(command) == 1
    assert "segments: utterance 'u2': the segment from 1 to 9 s is not within" in capsys.readouterr().err
    assert main([*command[:1], "--max-dropped=0.5", *command[1:]]) == 0
