"""Data directories with noise added."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from dkt.base.errors import DktError
from dkt.bin import main
from dkt.feat.augment import AugmentOptions, augment
from dkt.feat.data_copies import Naming
from dkt.feat.noise_sources import SnrChoice
from dkt.util.data_dir import DataDir
from dkt.validate.data_info import data_facts
from tests.feat.copies_lab import (
    RATE,
    UTTS,
    error_of,
    noises,
    run,
    samples_of,
    source,
    table,
    tone,
    write_data,
)

__all__ = ["noises", "source"]


def measured_snr(clean: np.ndarray, noisy: np.ndarray) -> float:
    """The ratio in a written copy, which is ``g (clean + noise)`` at the power of ``clean``.

    The part of the noise that looks like the speech is told apart by the gain, found from the powers: with
    noise and speech uncorrelated the gain is their product over the power of the speech.
    """
    clean, noisy = clean.astype(np.float64), noisy.astype(np.float64)
    gain = noisy @ clean / (clean @ clean)
    rest = noisy / gain - clean
    return 10 * np.log10((clean @ clean) / (rest @ rest))


@pytest.mark.parametrize("snr", [20.0, 5.0, 0.0, -3.0])
def test_the_written_copies_have_the_ratio_and_the_power_of_their_originals(
    source: Path, tmp_path: Path, snr: float
) -> None:
    out = tmp_path / "noisy"
    options = ("--utt-prefix=n", "--bg-noise-types=white", f"--bg-snrs={snr:g}")
    assert run("augment-data", source, out, *options) == 0
    clean, noisy = samples_of(source), samples_of(out)
    assert list(noisy) == [f"n-{utt}" for utt in UTTS]
    for utt, samples in clean.items():
        copy = noisy[f"n-{utt}"]
        assert len(copy) == len(samples)
        assert np.mean(copy**2) == pytest.approx(np.mean(samples**2), rel=1e-3)
        # White noise of some thousand samples is correlated with a tone by a per cent or two.
        assert measured_snr(samples, copy) == pytest.approx(snr, abs=0.5)
        assert float(table(out, "utt2snr")[f"n-{utt}"]) == pytest.approx(snr, abs=0.01)


def test_the_ratio_is_exact_where_the_noise_is_known(source: Path, tmp_path: Path) -> None:
    """Least squares on speech and noise give both gains from the written samples."""
    hum = tone(-1, 640)  # 50 Hz, a whole number of periods
    noise_dir = write_data(tmp_path / "hum", {"hum": hum})
    options = AugmentOptions(bg_noise_dir=str(noise_dir), bg_snrs=SnrChoice.parse("3:9"))
    augment(source, tmp_path / "out", [Naming.of("n", "", True)], options)
    angles = 2 * np.pi * 50 / RATE * np.arange(5000)
    for utt, samples in samples_of(source).items():
        size = len(samples)
        parts = np.stack([samples, np.sin(angles[:size]), np.cos(angles[:size])])
        gains, *_ = np.linalg.lstsq(parts.T, samples_of(tmp_path / "out")[f"n-{utt}"], rcond=None)
        speech, noise = gains[0] * parts[0], gains[1:] @ parts[1:]
        found = 10 * np.log10(np.mean(speech**2) / np.mean(noise**2))
        drawn = float(table(tmp_path / "out", "utt2noise")[f"n-{utt}"].removeprefix("hum:"))
        assert drawn in (3, 9) and found == pytest.approx(drawn, abs=0.02)
        assert float(table(tmp_path / "out", "utt2snr")[f"n-{utt}"]) == pytest.approx(drawn, abs=0.01)


def test_the_files_are_those_of_kaldi(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--utt-prefix=n", "--bg-noise-types=pink", "--include-original=true")
    assert run("augment-data", source, out, *options) == 0
    data = DataDir(out)
    data.check_sorted()
    assert data.utt2spk == dict(sorted(UTTS.items()) + [(f"n-{u}", f"n-{s}") for u, s in UTTS.items()])
    assert (out / "spk2utt").read_text().splitlines()[:4:3] == ["a a-1 a-2", "n-a n-a-1 n-a-2"]
    assert table(out, "utt2uniq") == {u: u for u in UTTS} | {f"n-{u}": u for u in UTTS}
    assert table(out, "spk2gender")["n-b"] == "m" and data.text["n-c-1"] == "ONE"
    assert table(out, "utt2dur")["n-a-1"] == "0.5" and table(out, "utt2num_frames")["n-a-1"] == "48"
    # The originals are where they were.
    assert data.wav_scp["a-1"] == str(source / "a-1.wav")
    assert list(table(out, "utt2snr")) == list(table(out, "utt2noise")) == [f"n-{u}" for u in UTTS]
    assert soundfile.info(data.wav_scp["n-a-1"]).subtype == "PCM_16"
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert main(["fix-data", str(out)]) == 0
    assert before == {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert data_facts(out)["num_spk"] == 6


def test_a_suffix_keeps_the_speaker_and_copies_of_copies_their_original(source: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    options = ("--bg-noise-types=white", "--include-original=true")
    assert run("augment-data", source, first, "--utt-suffix=n", *options) == 0
    assert DataDir(first).utt2spk["a-1-n"] == "a" and len(DataDir(first).spk2utt) == 3
    assert run("augment-data", first, second, "--utt-suffix=m", *options) == 0
    assert table(second, "utt2uniq")["a-1-n-m"] == "a-1"
    assert len(DataDir(second).utt2spk) == 20


def test_several_copies_are_numbered_and_different(source: Path, tmp_path: Path) -> None:
    options = ("--utt-prefix=n", "--bg-noise-types=white", "--bg-snrs=5", "--num-replications=3")
    assert run("augment-data", source, tmp_path / "out", *options) == 0
    found = samples_of(tmp_path / "out")
    assert len(found) == 15 and DataDir(tmp_path / "out").utt2spk["n2-b-1"] == "n2-b"
    assert not np.array_equal(found["n1-a-1"], found["n2-a-1"])


@pytest.mark.parametrize("kind", ["white", "pink", "babble", "dir"])
def test_what_is_drawn_depends_on_seed_and_name_alone(
    source: Path, noises: Path, tmp_path: Path, kind: str
) -> None:
    how = (f"--bg-noise-types={kind}",) if kind != "dir" else (f"--bg-noise-dir={noises}",)
    options = ("--utt-prefix=n", "--bg-snrs=-5..15", *how)
    assert run("augment-data", source, tmp_path / "x", *options) == 0
    whole = samples_of(tmp_path / "x")
    assert run("augment-data", source, tmp_path / "y", *options) == 0
    assert all(np.array_equal(samples, samples_of(tmp_path / "y")[u]) for u, samples in whole.items())
    assert run("augment-data", source, tmp_path / "z", *options, "--random-seed=7") == 0
    assert not np.array_equal(whole["n-b-1"], samples_of(tmp_path / "z")["n-b-1"])
    if kind == "babble":
        return
    for name in ("wav.scp", "utt2spk"):
        lines = (source / name).read_text().splitlines(keepends=True)
        (source / name).write_text("".join(lines[2:]))
    assert run("augment-data", source, tmp_path / "part", *options) == 0
    part = samples_of(tmp_path / "part")
    assert len(part) == 3 and all(np.array_equal(whole[utt], part[utt]) for utt in part)


def test_babble_is_of_other_speakers_three_to_seven_at_a_time(source: Path, tmp_path: Path) -> None:
    options = ("--utt-prefix=n", "--bg-noise-types=babble", "--num-replications=20")
    assert run("augment-data", source, tmp_path / "out", *options) == 0
    counts = set()
    for copy, told in table(tmp_path / "out", "utt2noise").items():
        talkers = [word.rpartition(":")[0] for word in told.split()]
        assert len(set(talkers)) == len(talkers) and all(UTTS[t] != copy.split("-")[1] for t in talkers)
        counts.add(len(talkers))
    # There are three utterances of others for a and b, four for c.
    assert counts == {3, 4}
    assert run("augment-data", source, tmp_path / "two", *options, "--num-bg-noises=2") == 0
    assert {len(told.split()) for told in table(tmp_path / "two", "utt2noise").values()} == {2}


def test_babble_is_not_the_utterance_itself_at_another_speed(source: Path, tmp_path: Path) -> None:
    assert run("perturb-speed", source, tmp_path / "sp", "--factors=0.9") == 0
    options = ("--utt-prefix=n", "--bg-noise-types=babble", "--num-bg-noises=7")
    assert run("augment-data", tmp_path / "sp", tmp_path / "out", *options) == 0
    for copy, told in table(tmp_path / "out", "utt2noise").items():
        said = {word.rpartition(":")[0].removeprefix("sp0.9-") for word in told.split()}
        assert said and copy.removeprefix("n-").removeprefix("sp0.9-") not in said


def test_foreground_noises_come_one_after_the_other(source: Path, noises: Path, tmp_path: Path) -> None:
    (noises / "wav.scp").write_text(f"short {noises}/short.wav\n")
    options = (f"--fg-noise-dir={noises}", "--fg-interval=0.2", "--fg-snrs=0", "--utt-prefix=n")
    silence = np.zeros(8000, np.int16)
    silence[-1] = 9000
    soundfile.write(source / "a-1.wav", silence, RATE)
    assert run("augment-data", source, tmp_path / "out", *options) == 0
    # 700 samples of noise and 1600 of nothing, again and again.
    heard = samples_of(tmp_path / "out")["n-a-1"] != 0
    places = np.arange(7999) % 2300 < 700
    assert heard[:-1][~places].sum() == 0 and heard[:-1][places].mean() > 0.9
    told = table(tmp_path / "out", "utt2noise")["n-a-1"].split()
    assert told == ["short:0"] * 4


def test_background_and_foreground_together(source: Path, noises: Path, tmp_path: Path) -> None:
    options = (
        f"--fg-noise-dir={noises}",
        "--bg-noise-types=white",
        "--utt-prefix=n",
        "--fg-snrs=3",
        "--bg-snrs=7",
    )
    assert run("augment-data", source, tmp_path / "out", *options) == 0
    for told in table(tmp_path / "out", "utt2noise").values():
        first, *rest = told.split()
        assert first == "white:7" and rest and {word.rpartition(":")[2] for word in rest} == {"3"}


def test_noise_is_repeated_or_cut_and_begins_anywhere(source: Path, noises: Path, tmp_path: Path) -> None:
    for name in ("short", "long"):
        (noises / "wav.scp").write_text(f"{name} {noises / name}.wav\n")
        place = tmp_path / name
        options = ("--utt-prefix=n", f"--bg-noise-dir={noises}", "--bg-snrs=-100", "--num-replications=5")
        assert run("augment-data", source, place, *options) == 0
        recorded = soundfile.read(noises / f"{name}.wav", dtype="int16")[0].astype(np.float64)
        starts = set()
        for samples in (found for utt, found in samples_of(place).items() if utt.endswith("-a-1")):
            # Of speech 100 dB below the noise nothing is left in 16 bits.
            around = np.resize(recorded, len(recorded) + len(samples))
            windows = np.lib.stride_tricks.sliding_window_view(around, len(samples))[: len(recorded)]
            products = windows @ samples / np.linalg.norm(samples)
            scores = products / np.linalg.norm(windows, axis=1)
            assert scores.max() > 0.999
            starts.add(int(scores.argmax()))
        assert len(starts) == 5


def test_segments_and_channels(tmp_path: Path) -> None:
    place = tmp_path / "train"
    write_data(place, {"r": np.concatenate([tone(1), tone(5)])}, utt2spk={"a-1": "a", "b-1": "b"})
    (place / "segments").write_text("a-1 r 0.0 0.5\nb-1 r 0.5 1.0\n")
    stereo = np.stack([np.random.default_rng(0).normal(0, 500, 4000), np.zeros(4000)], 1).astype(np.int16)
    noise_dir = write_data(tmp_path / "stereo", {"n": stereo})
    options = (f"--bg-noise-dir={noise_dir}", "--bg-snrs=10", "--utt-prefix=n", "--include-original=true")
    assert run("augment-data", place, tmp_path / "out", *options) == 0
    found = samples_of(tmp_path / "out")
    assert not (tmp_path / "out/segments").exists() and list(found) == ["a-1", "b-1", "n-a-1", "n-b-1"]
    assert np.array_equal(found["b-1"], tone(5))
    assert measured_snr(tone(1), found["n-a-1"]) == pytest.approx(10, abs=0.5)


# --- what is wrong ---


def test_silent_empty_and_unreadable_recordings_are_counted(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(source / "a-1.wav", np.zeros(4000, np.int16), RATE)
    soundfile.write(source / "a-2.wav", np.zeros(0, np.int16), RATE)
    (source / "b-1.wav").write_bytes(b"no audio")
    out = tmp_path / "out"
    options = ("--utt-prefix=n", "--bg-noise-types=white", "--include-original=true")
    assert run("augment-data", source, out, *options) == 1
    error = error_of(capsys)
    assert (
        "3 of 5 utterances were dropped" in error and "it is silent" in error and "holds no samples" in error
    )
    assert not (out / "wav.scp").exists()
    assert run("augment-data", source, out, *options, "--max-dropped=0.6") == 0
    # Of what is silent the original is as good as before.
    assert list(DataDir(out).utt2spk) == ["a-1", "b-2", "c-1", "n-b-2", "n-c-1"]
    assert list(table(out, "utt2snr")) == ["n-b-2", "n-c-1"]


def test_samples_that_are_not_numbers(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(source / "a-1.wav", np.full(100, np.nan, np.float32), RATE, subtype="FLOAT")
    assert run("augment-data", source, tmp_path / "out", "--utt-prefix=n", "--bg-noise-types=white") == 1
    assert "it has samples that are not numbers" in error_of(capsys)
    assert run("perturb-volume", source, tmp_path / "out") == 1
    assert "it has samples that are not numbers" in error_of(capsys)
    assert run("perturb-speed", source, tmp_path / "out") == 1
    assert "it has samples that are not numbers" in error_of(capsys)


def test_short_utterances(source: Path, noises: Path, tmp_path: Path) -> None:
    for utt, size in (("a-1", 1), ("a-2", 2), ("b-1", 3)):
        soundfile.write(source / f"{utt}.wav", np.full(size, 500, np.int16), RATE)
    for kind in ("white", "pink", "babble"):
        options = ("--utt-prefix=n", f"--bg-noise-types={kind}", f"--fg-noise-dir={noises}")
        assert run("augment-data", source, tmp_path / kind, *options) == 0
        assert len(samples_of(tmp_path / kind)["n-a-1"]) == 1


FAULTY_NOISE = {
    "rate": "utterance 'rate': the noise has 16000 Hz, the speech 8000 Hz - resample it",
    "silent": "no sound in 100 noises drawn at random",
    "empty": "holds no samples",
    "text": "not readable audio",
    "missing": "does not exist - mend",
    "nan": "the noise has samples that are not numbers",
}


@pytest.mark.parametrize("side", ["bg", "fg"])
@pytest.mark.parametrize("fault", FAULTY_NOISE)
def test_noise_that_cannot_be_added_is_named(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str, side: str
) -> None:
    size = {"empty": 0}.get(fault, 900)
    place = write_data(
        tmp_path / "noises",
        {fault: np.full(size, fault != "silent", np.int16)},
        16000 if fault == "rate" else RATE,
    )
    if fault == "text":
        (place / "text.wav").write_text("no audio")
    if fault == "missing":
        (place / "missing.wav").unlink()
    if fault == "nan":
        soundfile.write(place / "nan.wav", np.full(9, np.nan, np.float32), RATE, subtype="FLOAT")
    out = tmp_path / "out"
    assert run("augment-data", source, out, "--utt-prefix=n", f"--{side}-noise-dir={place}") == 1
    error = error_of(capsys)
    assert FAULTY_NOISE[fault] in error and str(place) in error and "Traceback" not in error
    assert not (out / "wav.scp").exists()


def test_a_silent_noise_among_others_is_passed_over(source: Path, noises: Path, tmp_path: Path) -> None:
    soundfile.write(noises / "short.wav", np.zeros(700, np.int16), RATE)
    options = ("--utt-prefix=n", f"--bg-noise-dir={noises}")
    assert run("augment-data", source, tmp_path / "out", *options) == 0
    assert all(told.startswith("long:") for told in table(tmp_path / "out", "utt2noise").values())


CALLS = [
    ([], "there is nothing to add"),
    (["--bg-noise-types=white", "--bg-noise-dir=x"], "are both of the background"),
    (["--bg-noise-types=brown"], "expected some of white, pink, babble, got 'brown'"),
    (["--bg-noise-types=white", "--bg-snrs=loud"], "argument --bg-snrs: expected a number"),
    (["--bg-noise-types=white", "--bg-snrs=20,10"], "argument --bg-snrs: expected a number"),
    (["--bg-noise-types=white", "--num-bg-noises=0"], "argument --num-bg-noises"),
    (["--bg-noise-types=white", "--num-bg-noises=1:two"], "argument --num-bg-noises"),
    (["--bg-noise-types=white", "--utt-prefix=a", "--utt-suffix=b"], "both a prefix and a suffix"),
    (["--bg-noise-types=white", "--utt-prefix=a b"], "'a b' cannot be part of an utterance-id"),
    (
        ["--bg-noise-types=white", "--include-original=true"],
        "has utterances of these names already: a-1, a-2",
    ),
    (["--bg-noise-types=white", "--num-replications=2"], "has utterances of these names already"),
    (
        ["--bg-noise-types=white", "--utt-prefix=n", "--modify-spk-id=false", "--include-original=true"],
        "speaker 'a' would come after 'c' - give speakers the prefix too (--modify-spk-id true)",
    ),
    (
        ["--bg-noise-types=white", "--utt-suffix=n", "--modify-spk-id=true", "--include-original=true"],
        "speaker 'a' would come after 'a-n'",
    ),
    (["--bg-noise-dir=nowhere", "--utt-prefix=n"], "nowhere: not a directory"),
]


@pytest.mark.parametrize(("options", "message"), CALLS)
def test_calls_that_cannot_be(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    out = tmp_path / "out"
    assert run("augment-data", source, out, *options) in (1, 2)
    assert message in error_of(capsys)
    assert not [path for path in out.rglob("*") if path.is_file()]


def test_babble_needs_others(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (source / "utt2spk").write_text("a-1 a\na-2 a\n")
    (source / "wav.scp").write_text(f"a-1 {source}/a-1.wav\na-2 {source}/a-2.wav\n")
    assert run("augment-data", source, tmp_path / "out", "--utt-prefix=n", "--bg-noise-types=babble") == 1
    assert "1 speaker, babble is what others say" in error_of(capsys)


@pytest.mark.parametrize("name", ["utt2spk", "wav.scp"])
@pytest.mark.parametrize("command", ["augment-data", "perturb-volume"])
def test_missing_files_and_duplicate_ids(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, command: str
) -> None:
    options = ("--utt-prefix=n", "--bg-noise-types=white")[: 2 if command == "augment-data" else 1]
    text = (source / name).read_text()
    (source / name).write_text(text + text.splitlines()[-1] + "\n")
    assert run(command, source, tmp_path / "out", *options) == 1
    assert "c-1" in (error := error_of(capsys)) and "duplicate key" in error
    (source / name).unlink()
    assert run(command, source, tmp_path / "out", *options) == 1
    assert f"{source / name}: does not exist" in error_of(capsys)


def test_recordings_are_not_overwritten_by_copies_of_themselves(source: Path, tmp_path: Path) -> None:
    """A copy of a perturbed directory names recordings of the first."""
    assert run("perturb-volume", source, tmp_path / "first") == 0
    before = samples_of(tmp_path / "first")
    again = tmp_path / "again"
    again.mkdir()
    for name in ("wav.scp", "utt2spk"):
        (again / name).write_text((tmp_path / "first" / name).read_text())
    assert run("perturb-volume", again, tmp_path / "first") == 1
    assert all(np.array_equal(samples, samples_of(tmp_path / "first")[u]) for u, samples in before.items())
    assert run("perturb-volume", source, source) == 1


def test_what_an_earlier_directory_has_left_is_moved_away(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("augment-data", source, out, "--utt-prefix=n", "--bg-noise-types=white") == 0
    (out / "feats.scp").write_text("n-a-1 x.ark:5\n")
    (source / "spk2gender").unlink()
    assert run("perturb-volume", source, out) == 0
    names = {path.name for path in out.iterdir() if path.is_file() and not path.name.startswith(".")}
    assert names == {"wav.scp", "utt2spk", "spk2utt", "text", "utt2dur", "utt2num_frames"}
    assert {p.name for p in (out / ".backup").iterdir()} == {
        "feats.scp", "spk2gender", "utt2noise", "utt2snr", "utt2uniq"
    }  # fmt: skip


@pytest.mark.parametrize("command", ["augment-data", "perturb-volume"])
def test_a_full_disk_leaves_no_directory_that_would_pass_for_whole(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    options = ("--utt-prefix=n", "--bg-noise-types=white")[: 2 if command == "augment-data" else 1]
    out = tmp_path / "out"
    assert run(command, source, out, *options) == 0
    whole = {utt: path.read_bytes() for utt in UTTS for path in out.glob(f"wav/*{utt}.wav")}
    written = []

    def write_bytes(self: Path, data: bytes) -> int:
        written.append(self)
        if len(written) > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with self.open("wb") as stream:
            return stream.write(data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", write_bytes)
        assert run(command, source, out, *options) == 1
    assert "b-1.wav: cannot be written: No space left on device" in error_of(capsys)
    assert not (out / "wav.scp").exists() and not list(out.rglob("*.partial"))
    assert run(command, source, out, *options) == 0
    assert whole == {utt: path.read_bytes() for utt in UTTS for path in out.glob(f"wav/*{utt}.wav")}


def test_an_error_of_the_library_is_one_too(source: Path, tmp_path: Path) -> None:
    with pytest.raises(DktError, match="nothing to add"):
        augment(source, tmp_path / "out", [Naming.of("n", "", True)], AugmentOptions())
