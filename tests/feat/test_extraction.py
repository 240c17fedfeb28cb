"""Filterbanks, MFCC and CMVN statistics from audio, against Kaldi's own, and unreadable audio."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
import soundfile

from dkt.base.errors import DktError
from dkt.bin import main
from dkt.feat.extraction import FeatureExtractor, read_config
from dkt.feat.wave import Recordings, read_audio
from dkt.matrix.matrix_io import encode_matrix, read_matrix
from dkt.util.table import MatrixTable, read_script


def ours_and_kaldis(kaldi_fixtures, corpora, kind, **options):
    """Pairs of features of the same six utterances."""
    folder = corpora / "speechocean762"
    wav_scp = {u: str(folder / f) for u, f in read_script(str(folder / "dev/wav.scp")).items()}
    features = kaldi_fixtures / "golden/features"
    table = MatrixTable(f"ark:{features}/{kind}_raw.ark")
    extractor = FeatureExtractor(kind, read_config(features / f"{kind}.conf") | options)
    assert len(table) == 6
    for utt in table:
        yield extractor.compute(*read_audio(wav_scp[utt], utt), wav_scp[utt], utt), table[utt]


def test_filterbanks_equal_kaldi_from_the_flac_files(kaldi_fixtures, corpora):
    for ours, golden in ours_and_kaldis(kaldi_fixtures, corpora, "fbank"):
        # Kaldi's went through its lossy compression: so must ours; a value on the edge of a step may fall
        # to either side.
        ours = read_matrix(io.BytesIO(encode_matrix(ours, compression_method=2)))
        assert (np.abs(ours - golden) < 0.01).mean() > 0.999
        assert np.abs(ours - golden).max() < 0.2


def test_mfcc_equal_kaldi_from_the_flac_files(kaldi_fixtures, corpora):
    for ours, golden in ours_and_kaldis(kaldi_fixtures, corpora, "mfcc"):
        # Kaldi's hold its dither (random, felt in quiet frames) and the steps of compression (up to 0.4).
        assert ours.shape == golden.shape
        loud = golden[:, 0] > np.percentile(golden[:, 0], 90)
        assert np.abs(ours - golden)[loud].mean() < 0.2
    for ours, golden in ours_and_kaldis(kaldi_fixtures, corpora, "mfcc", **{"window-type": "hamming"}):
        loud = golden[:, 0] > np.percentile(golden[:, 0], 90)
        assert np.abs(ours - golden)[loud].mean() > 0.3


def test_cmvn_statistics_equal_kaldi(kaldi_fixtures, tmp_path, monkeypatch):
    monkeypatch.chdir(kaldi_fixtures)
    assert main(["compute-cmvn-stats", "data/dev", f"ark:{tmp_path}/cmvn.ark"]) == 0
    ours, golden = MatrixTable(f"ark:{tmp_path}/cmvn.ark", np.float64), MatrixTable("scp:data/dev/cmvn.scp")
    assert sorted(ours) == sorted(golden)
    for speaker in ours:
        np.testing.assert_allclose(ours[speaker], golden[speaker], rtol=1e-4)


def test_cmvn_statistics_need_no_package_for_audio(kaldi_fixtures, tmp_path, monkeypatch):
    monkeypatch.chdir(kaldi_fixtures)
    for name in ("soundfile", "kaldi_native_fbank", "dkt.feat.wave", "dkt.feat.compute"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["compute-cmvn-stats", "data/dev", f"ark:{tmp_path}/cmvn.ark"]) == 0


@pytest.fixture
def wavs(tmp_path):
    """A wav.scp of three readable recordings of one second at 8 kHz."""
    rng = np.random.default_rng(0)
    lines = []
    for i in range(3):
        soundfile.write(tmp_path / f"{i}.wav", rng.normal(0, 0.1, 8000), 8000)
        lines.append(f"u{i} {tmp_path}/{i}.wav\n")
    (tmp_path / "wav.scp").write_text("".join(lines))
    (tmp_path / "fbank.conf").write_text("--sample-frequency=8000 # telephone\n\n--num-mel-bins=20\n")
    return tmp_path


def fbank(wavs, *options):
    tables = [f"scp:{wavs}/wav.scp", f"ark,scp:{wavs}/feats.ark,{wavs}/feats.scp"]
    return main(["compute-fbank-feats", f"--config={wavs}/fbank.conf", *options, *tables])


def test_shape_lengths_and_determinism(wavs):
    assert fbank(wavs, f"--write-num-frames={wavs}/utt2num_frames") == 0
    first = (wavs / "feats.ark").read_bytes()
    assert MatrixTable(f"scp:{wavs}/feats.scp")["u1"].shape == (98, 20)
    assert (wavs / "utt2num_frames").read_text() == "u0 98\nu1 98\nu2 98\n"
    assert fbank(wavs) == 0
    assert (wavs / "feats.ark").read_bytes() == first


def _missing(wavs):
    (wavs / "1.wav").unlink()


def _no_samples(wavs):
    soundfile.write(wavs / "1.wav", np.zeros(0), 8000)


def _zero_bytes(wavs):
    (wavs / "1.wav").write_bytes(b"")


def _other_rate(wavs):
    soundfile.write(wavs / "1.wav", np.zeros(16000), 16000)


def _stereo(wavs):
    soundfile.write(wavs / "1.wav", np.zeros((8000, 2)), 8000)


def _short(wavs):
    soundfile.write(wavs / "1.wav", np.zeros(100), 8000)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_missing, "1.wav: utterance 'u1': does not exist - mend wav.scp"),
        (_no_samples, "1.wav: utterance 'u1': holds no samples - remove the utterance"),
        (_zero_bytes, "1.wav: utterance 'u1': not readable audio"),
        (
            _other_rate,
            "1.wav: utterance 'u1': is sampled at 16000 Hz, the feature configuration says 8000 Hz",
        ),
        (_stereo, "1.wav: utterance 'u1': has 2 channels, expected one"),
        (_short, "1.wav: utterance 'u1': holds 100 samples, less than one frame"),
    ],
)
def test_a_bad_recording_is_an_error_and_the_others_are_written(wavs, capsys, spoil, message):
    spoil(wavs)
    assert fbank(wavs) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("ERROR (dkt compute-fbank-feats)") and message in error
    assert list(MatrixTable(f"scp:{wavs}/feats.scp")) == ["u0", "u2"]
    assert fbank(wavs, "--max-dropped=0.34") == 0


def test_pipes_and_segments(wavs):
    (wavs / "wav.scp").write_text(f"rec cat {wavs}/0.wav |\n")
    (wavs / "segments").write_text("rec-a rec 0.25 0.75\nrec-b rec 0.5 -1\n")
    recordings = Recordings(read_script(f"{wavs}/wav.scp"), wavs / "segments")
    whole, _ = read_audio(f"{wavs}/0.wav", "rec")
    np.testing.assert_array_equal(recordings.read("rec-a")[0], whole[2000:6000])
    np.testing.assert_array_equal(recordings.read("rec-b")[0], whole[4000:])
    (wavs / "segments").write_text("rec-a other 0.25 0.75\n")
    with pytest.raises(DktError, match=r"'other' is not in wav\.scp"):
        Recordings(read_script(f"{wavs}/wav.scp"), wavs / "segments")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--num-mel-bin=40", "did you mean --num-mel-bins"),
        ("--num-mel-bins=many", "expected an integer from 3 to 1000"),
        ("num-mel-bins 40", "expected '--name=value'"),
        ("--window-type=hat", "known are hamming"),
    ],
)
def test_wrong_configurations(wavs, capsys, line, message):
    (wavs / "fbank.conf").write_text(line + "\n")
    assert fbank(wavs) == 1
    assert message in capsys.readouterr().err
