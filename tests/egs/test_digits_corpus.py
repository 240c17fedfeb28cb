"""The corpora of egs/digits/s5: Kaldi data directories of connected digits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.egs.corpus_lab import (
    SIZES,
    SPLITS,
    assert_one_line_error,
    call_script,
    digest,
    modules_of,
    needs_espeak,
    read_table,
)
from tests.shell import ROOT

soundfile = pytest.importorskip("soundfile", reason="needs the package soundfile (dkt[standalone])")

LOCAL = ROOT / "egs/digits/s5/local"
SHARED = ROOT / "local/corpora"
FSDD_SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
RATE = 8000


@pytest.fixture(scope="module", autouse=True)
def local_on_path():
    with modules_of(LOCAL):
        yield


def run_script(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return call_script(LOCAL / name, *arguments)


def recording(digit: int, index: int) -> np.ndarray:
    """A tone that tells the digit, on a DC offset, with quiet ends."""
    size = 1200 + 100 * digit + 10 * index
    times = np.arange(size) / RATE
    samples = 8000 * np.sin(2 * np.pi * (300 + 300 * digit) * times)
    rng = np.random.default_rng((digit, index))
    samples[:200] = samples[-200:] = 0
    return (samples + 20 * rng.standard_normal(size) - 230).astype(np.int16)


def make_fsdd(corpus_dir: Path, extension: str = "wav", rate: int = RATE) -> Path:
    (corpus_dir / "recordings").mkdir(parents=True)
    for spk in FSDD_SPEAKERS:
        for digit in range(10):
            for index in range(2):
                path = corpus_dir / f"recordings/{digit}_{spk}_{index}.{extension}"
                soundfile.write(path, recording(digit, index), rate, subtype="PCM_16")
    return corpus_dir


@pytest.fixture(scope="module")
def fsdd(tmp_path_factory) -> Path:
    return make_fsdd(tmp_path_factory.mktemp("fsdd"))


@pytest.fixture(scope="module")
def fsdd_data(fsdd, tmp_path_factory) -> Path:
    data_dir = tmp_path_factory.mktemp("work") / "data"
    done = run_script("prepare_fsdd.py", "--corpus-dir", fsdd, *SIZES, data_dir)
    assert done.returncode == 0, done.stderr
    return data_dir


@pytest.fixture(scope="module")
def espeak_data(tmp_path_factory) -> Path:
    data_dir = tmp_path_factory.mktemp("work") / "data"
    done = run_script("prepare_espeak.py", *SIZES, data_dir)
    assert done.returncode == 0, done.stderr
    return data_dir


@pytest.fixture(params=["fsdd", pytest.param("espeak", marks=needs_espeak)])
def data_dir(request) -> Path:
    return request.getfixturevalue(f"{request.param}_data")


def test_data_directories_are_consistent(data_dir):
    for split, num_utts in zip(SPLITS, (9, 3, 4), strict=True):
        names = ("wav.scp", "text", "utt2spk", "spk2utt", "spk2gender")
        wavs, text, utt2spk, spk2utt, spk2gender = (read_table(data_dir / split / name) for name in names)
        assert len(wavs) == num_utts
        assert list(wavs) == list(text) == list(utt2spk)
        assert all(utt.startswith(f"{spk}-") for utt, spk in utt2spk.items())
        assert list(spk2utt) == list(spk2gender) == list(dict.fromkeys(utt2spk.values()))
        assert [utt for utts in spk2utt.values() for utt in utts.split()] == list(utt2spk)
        assert set(spk2gender.values()) <= {"m", "f"}
        assert all(3 <= len(words.split()) <= 7 for words in text.values())
        for utt, wav in wavs.items():
            assert wav == f"{data_dir}/local/audio/{split}/{utt}.wav"
            info = soundfile.info(wav)
            assert (info.samplerate, info.channels, info.subtype) == (RATE, 1, "PCM_16")


def test_no_speaker_is_in_two_splits(data_dir):
    speakers = [set(read_table(data_dir / split / "spk2utt")) for split in SPLITS]
    assert sum(map(len, speakers)) == len(set.union(*speakers))


def test_dictionary_covers_the_transcripts(data_dir):
    dict_dir = data_dir / "local/dict"
    lexicon = read_table(dict_dir / "lexicon.txt")
    silences, phones = (
        (dict_dir / f"{name}_phones.txt").read_text().split() for name in ("silence", "nonsilence")
    )
    assert lexicon["<UNK>"] == "SPN" and silences == ["SIL", "SPN"]
    assert (dict_dir / "optional_silence.txt").read_text() == "SIL\n"
    assert {phone for entry in lexicon.values() for phone in entry.split()} == {*phones, "SPN"}
    assert not set(phones) & set(silences)
    assert sorted((dict_dir / "extra_questions.txt").read_text().split()) == sorted(silences + phones)
    for split in SPLITS:
        words = {word for entry in read_table(data_dir / split / "text").values() for word in entry.split()}
        assert words <= set(lexicon)


def test_language_model_text_is_that_of_train_only(data_dir):
    lines = (data_dir / "local/lm_train.txt").read_text().splitlines()
    assert lines == list(read_table(data_dir / "train/text").values())


def test_no_sample_is_clipped_and_no_stretch_is_digital_silence(data_dir):
    for split in SPLITS:
        for wav in read_table(data_dir / split / "wav.scp").values():
            samples = soundfile.read(wav, dtype="int16")[0].astype(int)
            assert 300 < np.abs(samples).max() < 32767
            blocks = samples[: len(samples) // 80 * 80].reshape(-1, 80)
            assert (np.abs(blocks).max(axis=1) > 0).all()


def test_same_arguments_give_the_same_bytes(fsdd, fsdd_data, tmp_path):
    again = tmp_path / "data"
    assert run_script("prepare_fsdd.py", "--corpus-dir", fsdd, *SIZES, again).returncode == 0
    assert digest(again) == digest(fsdd_data)
    other = tmp_path / "other"
    assert run_script("prepare_fsdd.py", "--corpus-dir", fsdd, *SIZES, "--seed", "1", other).returncode == 0
    assert digest(other)["train/text"] != digest(fsdd_data)["train/text"]


@needs_espeak
def test_number_of_processes_does_not_change_the_synthesis(espeak_data, tmp_path):
    again = tmp_path / "data"
    assert run_script("prepare_espeak.py", *SIZES, "--nj", "1", again).returncode == 0
    assert digest(again) == digest(espeak_data)


def test_flac_gives_the_audio_of_wav(fsdd_data, tmp_path):
    flac = make_fsdd(tmp_path / "flac", "flac")
    assert run_script("prepare_fsdd.py", "--corpus-dir", flac, *SIZES, tmp_path / "data").returncode == 0
    hashes, expected = digest(tmp_path / "data"), digest(fsdd_data)
    wavs = [name for name in expected if name.endswith(".wav")]
    assert len(wavs) == 16
    assert [hashes[name] for name in wavs] == [expected[name] for name in wavs]


def test_joined_words_are_the_transcript_with_gaps_of_50_to_200_ms(fsdd_data):
    text = read_table(fsdd_data / "train/text")
    words = {"ZERO": 0, "ONE": 1, "TWO": 2, "THREE": 3, "FOUR": 4}
    words |= {"FIVE": 5, "SIX": 6, "SEVEN": 7, "EIGHT": 8, "NINE": 9}
    for utt, wav in read_table(fsdd_data / "train/wav.scp").items():
        samples = soundfile.read(wav, dtype="int16")[0].astype(float)
        loud = np.flatnonzero(np.abs(samples) > 400)
        breaks = np.flatnonzero(np.diff(loud) > 300)
        starts, ends = loud[[0, *(breaks + 1)]], loud[[*breaks, -1]] + 1
        # 200 samples of every recording are quiet at either end, and up to 10 of its tone are.
        gaps = np.array([starts[0] - 200, *(starts[1:] - ends[:-1] - 400), len(samples) - ends[-1] - 200])
        assert (gaps >= 400).all() and (gaps <= 1600 + 20).all()
        spoken = []
        for start, end in zip(starts, ends, strict=True):
            spectrum = np.abs(np.fft.rfft(samples[start:end]))
            spoken.append(round((spectrum.argmax() * RATE / (end - start) - 300) / 300))
        assert spoken == [words[word] for word in text[utt].split()]


def test_gaps_have_the_background_level_and_no_offset():
    import digit_strings

    joined = digit_strings.join_recordings([recording(3, 0), recording(4, 1)], np.random.default_rng(0))
    first_gap = joined[:400].astype(float)
    assert abs(first_gap.mean()) < 10
    assert 10 < first_gap.std() < 30  # the recordings' background has 20
    cleaned = np.concatenate([np.zeros(400), recording(3, 0), np.zeros(400)]).astype(np.int16)
    assert digit_strings.join_recordings([cleaned], np.random.default_rng(0))[:400].any()


def test_every_recording_is_used_before_any_is_used_again():
    from digit_strings import Deck

    deck = Deck(list(range(10)), np.random.default_rng(0))
    drawn = [item for size in (3, 7, 4, 6) for item in deck.draw(size)]
    assert sorted(drawn[:10]) == sorted(drawn[10:]) == list(range(10))
    assert drawn[:10] != drawn[10:]


@pytest.mark.parametrize(("rate_in", "rate_out"), [(22050, 8000), (8000, 16000)])
def test_resampling_keeps_the_passband_and_its_timing(rate_in, rate_out):
    from resample import resample

    times = np.arange(rate_in) / rate_in
    output = resample(np.sin(2 * np.pi * 1000 * times), rate_in, rate_out)
    assert output.shape == (rate_out,)
    expected = np.sin(2 * np.pi * 1000 * np.arange(rate_out) / rate_out)
    middle = slice(200, -200)
    assert output[middle] == pytest.approx(expected[middle], abs=1e-3)


def test_resampling_leaves_no_alias():
    from resample import resample

    times = np.arange(22050) / 22050
    for frequency in (4100, 5000, 9000):
        output = resample(np.sin(2 * np.pi * frequency * times), 22050, 8000)
        assert np.abs(output[200:-200]).max() < 1e-3


@needs_espeak
def test_unknown_voice_is_named():
    import espeak_ng

    from dkt.base.errors import DktError

    with pytest.raises(DktError, match="no voice 'en-us-mars'"):
        espeak_ng.Synthesiser(seed=1).set_voice("en-us-mars")


def test_second_run_does_nothing_and_another_corpus_is_refused(fsdd, tmp_path):
    data_dir = tmp_path / "data"
    arguments = ("--corpus-dir", fsdd, *SIZES)
    assert run_script("prepare_fsdd.py", *arguments, data_dir).returncode == 0
    before = {path: path.stat().st_mtime_ns for path in data_dir.rglob("*")}
    again = run_script("prepare_fsdd.py", *arguments, data_dir)
    assert again.returncode == 0 and "nothing to do" in again.stderr
    other = run_script("prepare_fsdd.py", *arguments, "--seed", "7", data_dir)
    assert_one_line_error(other, "prepare_fsdd.py", str(data_dir), "remove the directory")
    assert {path: path.stat().st_mtime_ns for path in data_dir.rglob("*")} == before


def test_data_of_unknown_origin_is_left_alone(fsdd, tmp_path):
    (tmp_path / "train").mkdir()
    done = run_script("prepare_fsdd.py", "--corpus-dir", fsdd, *SIZES, tmp_path)
    assert_one_line_error(done, "prepare_fsdd.py", "train", "choose another one")
    assert [path.name for path in tmp_path.iterdir()] == ["train"]


def test_bad_corpora_are_one_line_errors_and_leave_nothing(fsdd, tmp_path):
    def fail(corpus_dir: Path, *fragments: str) -> None:
        done = run_script("prepare_fsdd.py", "--corpus-dir", corpus_dir, *SIZES, tmp_path / "data")
        assert_one_line_error(done, "prepare_fsdd.py", *fragments)
        assert not any((tmp_path / "data").glob("*"))

    fail(tmp_path / "nowhere", "nowhere", "--corpus-dir")
    (tmp_path / "empty/recordings").mkdir(parents=True)
    fail(tmp_path / "empty", "no recordings")
    fast = make_fsdd(tmp_path / "fast", rate=16000)
    fail(fast, "16000 Hz", "8000", ".wav")
    poor = make_fsdd(tmp_path / "poor")
    for path in (poor / "recordings").glob("7_theo_*"):
        path.unlink()
    fail(poor, "theo", "SEVEN")
    (poor / "recordings/7_theo_0.wav").write_bytes(b"not audio")
    fail(poor, "7_theo_0.wav")


def test_missing_synthesiser_is_a_one_line_error(tmp_path):
    # A module that cannot be imported stands for a package that is not installed.
    (tmp_path / "espeakng_loader.py").write_text("raise ImportError('none')\n")
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    command = [sys.executable, str(LOCAL / "prepare_espeak.py"), *SIZES, str(tmp_path / "data")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert_one_line_error(done, "prepare_espeak.py", "pip install 'dkt[synthetic]'")
    assert not (tmp_path / "data").exists()


def test_real_recordings_make_a_corpus(corpora, tmp_path):
    if not (corpora / "fsdd/recordings").is_dir():
        pytest.skip(f"{corpora} holds no fsdd")
    done = run_script("prepare_fsdd.py", "--corpus-dir", corpora / "fsdd", *SIZES, tmp_path / "data")
    assert done.returncode == 0, done.stderr
    assert sorted(read_table(tmp_path / "data/train/spk2utt")) == ["george", "jackson", "lucas", "nicolas"]
    assert list(read_table(tmp_path / "data/test/spk2utt")) == ["theo"]
