"""Audio in archives, as Kaldi's ``wav-copy`` writes it, and in all the forms that recipes give it."""

from __future__ import annotations

import io
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from dkt.base.errors import DktError
from dkt.bin import main
from dkt.feat.wave import Recordings, decode_audio, read_audio
from dkt.feat.wave_archive import WaveArchive
from dkt.util.table import MatrixTable, read_script

RATE = 8000
UTTS = ("a1", "a2", "b1")


def kaldi_wave(samples: np.ndarray) -> bytes:
    """As ``WaveData::Write`` in Kaldi's ``feat/wave-reader.cc``."""
    data = samples.astype("<i2").tobytes()
    parts = (36 + len(data), 16, 1, 1, RATE, 2 * RATE, 2, 16, len(data))
    riff, form, pcm, channels, rate, byte_rate, block, bits, size = (
        number.to_bytes(width, "little")
        for number, width in zip(parts, (4, 4, 2, 2, 4, 4, 2, 2, 4), strict=True)
    )
    head = b"RIFF" + riff + b"WAVEfmt " + form + pcm + channels + rate + byte_rate + block + bits
    return head + b"data" + size + data


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A data directory whose wav.scp points into an archive of three recordings of one second."""
    rng = np.random.default_rng(0)
    lines, archive = [], b""
    for utt in UTTS:
        archive += utt.encode() + b" "
        lines.append(f"{utt} {tmp_path}/w.ark:{len(archive)}\n")
        archive += kaldi_wave(rng.integers(-9999, 9999, RATE))
    (tmp_path / "w.ark").write_bytes(archive)
    (tmp_path / "wav.scp").write_text("".join(lines))
    (tmp_path / "utt2spk").write_text("".join(f"{utt} {utt[0]}\n" for utt in UTTS))
    (tmp_path / "spk2utt").write_text("a a1 a2\nb b1\n")
    (tmp_path / "text").write_text("".join(f"{utt} WORD\n" for utt in UTTS))
    return tmp_path


def samples_of(place: Path, utt: str) -> np.ndarray:
    data = (place / "w.ark").read_bytes()
    begin = data.index(utt.encode() + b" RIFF") + len(utt) + 1 + 44
    return np.frombuffer(data, "<i2", RATE, begin)


def features(place: Path, rspecifier: str, *options: str) -> MatrixTable:
    places = rspecifier, f"ark:{place}/feats.ark"
    assert main(["compute-fbank-feats", "--sample-frequency=8000", *options, *places]) == 0
    return MatrixTable(places[1])


def test_an_offset_is_the_recording_that_begins_there(place: Path) -> None:
    for utt, entry in read_script(str(place / "wav.scp")).items():
        samples, rate = read_audio(entry, utt)
        assert rate == RATE
        np.testing.assert_array_equal(samples, samples_of(place, utt))


def test_features_of_archives_are_those_of_files(place: Path) -> None:
    for utt in UTTS:
        soundfile.write(place / f"{utt}.wav", samples_of(place, utt), RATE)
    (place / "files.scp").write_text("".join(f"{utt} {place}/{utt}.wav\n" for utt in UTTS))
    expected = features(place, f"scp:{place}/files.scp")
    for rspecifier in ("scp:{}/wav.scp", "ark:{}/w.ark", "ark:cat {}/w.ark |", "ark,s,cs:{}/w.ark"):
        found = features(place, rspecifier.format(place))
        assert list(found) == list(expected)
        for utt in UTTS:
            np.testing.assert_array_equal(found[utt], expected[utt])


def test_segments_of_recordings_in_archives(place: Path) -> None:
    (place / "segments").write_text("a1-x a1 0.25 0.75\na1-y a1 0.5 -1\nb1-x b1 0 0.5\n")
    recordings = Recordings(read_script(str(place / "wav.scp")), place / "segments")
    np.testing.assert_array_equal(recordings.read("a1-x")[0], samples_of(place, "a1")[2000:6000])
    np.testing.assert_array_equal(recordings.read("a1-y")[0], samples_of(place, "a1")[4000:])
    np.testing.assert_array_equal(recordings.read("b1-x")[0], samples_of(place, "b1")[:4000])
    found = features(place, f"scp:{place}/wav.scp", f"--segments={place}/segments")
    assert list(found) == ["a1-x", "a1-y", "b1-x"]
    options = "--sample-frequency=8000", f"--segments={place}/segments"
    assert main(["compute-fbank-feats", *options, f"ark:{place}/w.ark", f"ark:{place}/f"]) == 1


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("w.ark:99999999", "offset 99999999 lies past the end of the file"),
        ("w.ark:4", "expected a wav file, found"),
        ("nowhere.ark:3", "nowhere.ark: utterance 'a1': does not exist"),
        ("head.ark:3", "cut short"),
    ],
)
def test_a_wrong_place_names_file_and_utterance(place: Path, entry: str, message: str) -> None:
    data = (place / "w.ark").read_bytes()[: 3 + 44 + 2 * RATE]
    (place / "head.ark").write_bytes(data[:40])
    with pytest.raises(DktError, match="utterance 'a1'") as error:
        read_audio(str(place / entry), "a1")
    assert message in str(error.value)


def test_an_archive_that_is_cut_short_is_used_as_far_as_it_goes(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (place / "w.ark").write_bytes((place / "w.ark").read_bytes()[:-20])
    expected = samples_of(place, "a1")
    for rspecifier in (f"scp:{place}/wav.scp", f"ark:{place}/w.ark"):
        caplog.clear()
        assert list(features(place, rspecifier)) == list(UTTS)
        assert "1 recording cut short (b1: 7990 samples of 8000): what is there is used" in caplog.text
    np.testing.assert_array_equal(read_audio(f"{place}/w.ark:3", "a1")[0], expected)


def test_an_empty_recording_takes_no_samples_of_those_behind_it(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = (place / "w.ark").read_bytes()
    empty = b"a0 " + kaldi_wave(np.zeros(0))
    (place / "w.ark").write_bytes(empty + whole)
    (place / "wav.scp").write_text(
        "".join(
            f"{utt} {place}/w.ark:{(empty + whole).index(utt.encode() + b' ') + 3}\n" for utt in ("a0", *UTTS)
        )
    )
    for rspecifier in (f"ark:{place}/w.ark", f"scp:{place}/wav.scp"):
        caplog.clear()
        assert list(features(place, rspecifier, "--max-dropped=0.5")) == list(UTTS)
        assert "'a0'" in caplog.text or "a0:" in caplog.text
    # A program that writes to a pipe leaves sizes of 0.
    streamed = kaldi_wave(np.ones(RATE))
    streamed = streamed[:4] + bytes(4) + streamed[8:40] + bytes(4) + streamed[44:]
    (place / "s.ark").write_bytes(b"s " + streamed)
    assert [len(WAVES.read(utt)[0]) for WAVES in [WaveArchive(f"{place}/s.ark")] for utt in WAVES] == [RATE]


def test_the_archive_behind_a_recording_is_not_read(place: Path) -> None:
    with (place / "w.ark").open("r+b") as archive:
        archive.truncate(1 << 32)  # takes no space on the disk
    begin = time.process_time()
    for _ in range(20):
        read_audio(f"{place}/w.ark:3", "a1")
    assert time.process_time() - begin < 2.0


def test_an_archive_that_is_damaged_keeps_what_came_before(
    place: Path, capsys: pytest.CaptureFixture
) -> None:
    whole = (place / "w.ark").read_bytes()
    (place / "w.ark").write_bytes(whole + b"c1 RIFX no wave at all")
    options = "--sample-frequency=8000", f"ark:{place}/w.ark", f"ark:{place}/feats.ark"
    assert main(["compute-fbank-feats", *options]) == 1
    assert "w.ark: utterance 'c1': expected a wav file" in capsys.readouterr().err
    assert list(MatrixTable(f"ark:{place}/feats.ark")) == list(UTTS)
    (place / "w.ark").write_bytes(whole + whole)
    assert main(["compute-fbank-feats", *options]) == 1
    assert "utterance 'a1': duplicate key" in capsys.readouterr().err


FORMS = [
    ("PCM_U8", "WAV", 260.0),
    ("PCM_16", "WAV", 1.0),
    ("PCM_24", "WAV", 1.0),
    ("PCM_32", "WAV", 1.0),
    ("FLOAT", "WAV", 1.0),
    ("DOUBLE", "WAV", 1.0),
    ("ULAW", "WAV", 1100.0),
    ("PCM_24", "WAVEX", 1.0),
    ("PCM_16", "FLAC", 1.0),
    ("PCM_24", "FLAC", 1.0),
]


@pytest.mark.parametrize(("subtype", "form", "error"), FORMS)
def test_forms_of_audio_from_files_pipes_and_archives(
    place: Path, subtype: str, form: str, error: float
) -> None:
    wanted = samples_of(place, "a2")
    # An odd number of bytes, and so a byte of padding, where a sample is one.
    stream = io.BytesIO()
    soundfile.write(stream, wanted[:-1] / 32768.0, RATE, subtype=subtype, format=form)
    (place / "audio").write_bytes(stream.getvalue())
    sources = [f"{place}/audio", f"cat {place}/audio |"]
    if form != "FLAC":
        # Other chunks may follow the samples.
        chunk = b"LIST\x05\0\0\0INFOx\0"
        wave = stream.getvalue() + chunk
        size = int.from_bytes(wave[4:8], "little") + len(chunk)
        wave = wave[:4] + size.to_bytes(4, "little") + wave[8:]
        (place / "x.ark").write_bytes(b"u " + wave + b"v " + kaldi_wave(wanted))
        sources.append(f"{place}/x.ark:2")
        archive = WaveArchive(f"{place}/x.ark")
        found = {utt: archive.read(utt)[0] for utt in archive}
        assert np.abs(found["u"] - wanted[:-1]).max() <= error
        np.testing.assert_array_equal(found["v"], wanted)
    for source in sources:
        found_samples, rate = read_audio(source, "u")
        assert rate == RATE and len(found_samples) == RATE - 1
        assert np.abs(found_samples - wanted[:-1]).max() <= error


def test_a_data_directory_of_archives_is_checked_and_perturbed(place: Path) -> None:
    assert main(["check", "--no-feats", str(place)]) == 0
    assert main(["perturb-speed", "--factors=1.1", str(place), str(place / "sp")]) == 0
    entries = read_script(str(place / "sp/wav.scp"))
    assert entries["a1"] == f"{place}/w.ark:3" and len(entries) == 6
    assert len(read_audio(entries["sp1.1-a1"], "sp1.1-a1")[0]) == 7273


def flac_of(samples: np.ndarray, promised: int) -> bytes:
    """A FLAC file whose header promises so many samples; 0 is a stream's, which does not know."""
    stream = io.BytesIO()
    soundfile.write(stream, samples, RATE, format="FLAC")
    flac = bytearray(stream.getvalue())
    # The last 36 of these 64 bits of STREAMINFO are the number of samples; then comes their checksum.
    facts = int.from_bytes(flac[18:26], "big")
    assert facts % (1 << 36) == len(samples)
    flac[18:26] = (facts >> 36 << 36 | promised).to_bytes(8, "big")
    flac[26:42] = bytes(16)
    return bytes(flac)


def test_a_flac_stream_is_read_to_its_end(place: Path) -> None:
    samples = samples_of(place, "a1")
    (place / "a1.flac").write_bytes(flac_of(samples, 0))
    for source in (f"{place}/a1.flac", f"cat {place}/a1.flac |"):
        np.testing.assert_array_equal(read_audio(source, "a1")[0], samples)


@pytest.mark.parametrize("promised", [8001, 1 << 33, (1 << 36) - 1])
def test_a_header_that_promises_too_much_is_told_and_takes_no_memory(promised: int) -> None:
    flac = flac_of(np.arange(-4000, 4000, dtype=np.int16), promised)
    tracemalloc.start()
    with pytest.raises(DktError, match=rf"x.flac: utterance 'u': is cut short: 8000 samples of {promised}"):
        decode_audio(flac, "x.flac", "u")
    assert tracemalloc.get_traced_memory()[1] < 1 << 26
    tracemalloc.stop()


def test_long_recordings_are_read_to_their_end() -> None:
    samples = np.random.default_rng(3).integers(-999, 999, (1 << 20) + 5).astype(np.int16)
    stream = io.BytesIO()
    soundfile.write(stream, samples, RATE, format="WAV")
    np.testing.assert_array_equal(decode_audio(stream.getvalue(), "x", "u")[0], samples)
