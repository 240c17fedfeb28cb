"""The options of ``compute-fbank-feats`` and ``compute-mfcc-feats`` as Kaldi's programs take them."""

from __future__ import annotations

from pathlib import Path

import kaldi_native_fbank as knf
import numpy as np
import pytest
import soundfile

from dkt.base.errors import DktError
from dkt.bin import main
from dkt.feat.extraction import FeatureExtractor, option_types
from dkt.feat.pipeline import FeatureOptions, parse_options
from dkt.feat.resampling import resample
from dkt.feat.vtln import warped_features
from dkt.feat.wave import read_audio
from dkt.util.table import MatrixTable

RATE = 8000


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Three recordings of 0.5 s at 8 kHz, and one of 0.1 s."""
    rng = np.random.default_rng(0)
    lines = []
    for name, length in (("u0", 4000), ("u1", 4000), ("u2", 4000), ("v", 800)):
        soundfile.write(tmp_path / f"{name}.wav", rng.normal(0, 0.1, length), RATE)
        lines.append(f"{name} {tmp_path}/{name}.wav\n")
    (tmp_path / "wav.scp").write_text("".join(lines))
    return tmp_path


def run(place: Path, *options: str, kind: str = "fbank", wavs: str = "") -> int:
    (place / "feats.ark").unlink(missing_ok=True)
    return main([f"compute-{kind}-feats", *options, wavs or f"scp:{place}/wav.scp", f"ark:{place}/feats.ark"])


def features(place: Path, *options: str, kind: str = "fbank") -> MatrixTable:
    assert run(place, "--sample-frequency=8000", *options, kind=kind) == 0
    return MatrixTable(f"ark:{place}/feats.ark")


def test_the_command_line_comes_after_the_configuration(place: Path) -> None:
    (place / "conf").write_text(
        "--Sample_Frequency=8000 # Hz\n\n--use_energy\n--num-mel-bins = 15\n--dither=0\n"
    )
    config = f"--config={place}/conf"
    assert features(place, config)["u0"].shape == (48, 16)
    for energy, dim in (
        ("--use_energy=f", 23),
        ("--use-energy=", 24),
        ("--USE-ENERGY=1", 24),
        ("--use-energy=0", 23),
    ):
        assert features(place, config, energy, "--num_mel_bins=23")["u0"].shape == (48, dim)
    assert features(place, config, "--snip-edges=false", "--frame-shift=5")["u0"].shape == (100, 16)
    assert features(place, "--num-ceps=7", kind="mfcc")["u0"].shape == (48, 7)


def test_every_feature_option_does_what_the_package_does(place: Path) -> None:
    samples, _ = read_audio(str(place / "u0.wav"), "u0")
    for kind, option, set_it in (
        ("fbank", "--use-log-fbank=F", lambda o: setattr(o, "use_log_fbank", False)),
        ("fbank", "--use-power=false", lambda o: setattr(o, "use_power", False)),
        ("fbank", "--window-type=hamming", lambda o: setattr(o.frame_opts, "window_type", "hamming")),
        ("fbank", "--low-freq=100", lambda o: setattr(o.mel_opts, "low_freq", 100)),
        ("mfcc", "--cepstral-lifter=0", lambda o: setattr(o, "cepstral_lifter", 0)),
        ("mfcc", "--htk-compat", lambda o: setattr(o, "htk_compat", True)),
        ("mfcc", "--use-energy=false", lambda o: setattr(o, "use_energy", False)),
    ):
        native = knf.FbankOptions() if kind == "fbank" else knf.MfccOptions()
        native.frame_opts.samp_freq, native.frame_opts.dither = RATE, 0.0
        plain = features(place, kind=kind)["u0"]
        set_it(native)
        computer = (knf.OnlineFbank if kind == "fbank" else knf.OnlineMfcc)(native)
        computer.accept_waveform(RATE, samples)
        found = features(place, option, kind=kind)["u0"]
        assert np.abs(found[7] - computer.get_frame(7)).max() < 1e-4
        assert np.abs(found - plain).max() > 1e-3, option


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--num-mel-bins=many"], "--num-mel-bins: expected an integer from 3 to 1000, got 'many'"),
        (["--num-mel-bins=1_0"], "--num-mel-bins: expected an integer from 3 to 1000, got '1_0'"),
        (["--channel=-2"], "--channel: expected an integer from -1 to 1023, got '-2'"),
        (["--vtln-warp=2"], "--vtln-warp: expected a number above 0.5, below 1.5, got '2'"),
        (["--vtln-warp=nan"], "--vtln-warp: expected a number above 0.5"),
        (["--min-duration=nan"], "--min-duration: expected a number from 0"),
        (["--snip-edges=yes"], "--snip-edges: expected true or false, got 'yes'"),
        (["--num-cep=13"], "unrecognized arguments: --num-cep=13"),
    ],
)
def test_options_that_are_none_are_wrong_calls(
    place: Path, capsys: pytest.CaptureFixture, options: list[str], message: str
) -> None:
    with pytest.raises(SystemExit):
        run(place, *options)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--output-format=htk"], "--output-format is 'htk', and only kaldi is written"),
        (["--window-type=hat"], "--window-type=hat: known are hamming"),
        (
            ["--channel=1", "--sample-frequency=8000"],
            "has 1 channel, counted from 0, and channel 1 is asked for",
        ),
        (["--utt2spk=ark:x"], "--utt2spk is of use with --vtln-map only"),
        (["--vtln-warp=1.1", "--sample-frequency=8000", "--vtln-low=5"], "for a warping factor of 1.1"),
        (["--allow-upsample", "--sample-frequency=7999"], "give --allow-downsample=true"),
        (["--allow-downsample=true"], "is sampled at 8000 Hz, the feature configuration says 16000 Hz"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(
    place: Path, capsys: pytest.CaptureFixture, options: list[str], message: str
) -> None:
    assert run(place, *options) == 1
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_options_about_the_utterances(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = features(
        place, f"--write-utt2dur=ark,t:{place}/utt2dur", f"--write-num-frames=ark,t:{place}/utt2num_frames"
    )
    assert (place / "utt2dur").read_text() == "u0 0.5 \nu1 0.5 \nu2 0.5 \nv 0.1 \n"
    assert (place / "utt2num_frames").read_text() == "u0 48 \nu1 48 \nu2 48 \nv 8 \n"
    centred = features(place, "--subtract-mean", "--debug-mel=true", "--max-feature-vectors=9")
    np.testing.assert_allclose(centred["u1"], whole["u1"] - whole["u1"].mean(axis=0), atol=1e-4)
    assert "--debug-mel is Kaldi's and without effect here" in caplog.text
    assert list(features(place, "--min-duration=0.2")) == ["u0", "u1", "u2"]
    assert "1 utterances shorter than --min-duration=0.2 have no features, the first 'v'" in caplog.text


def test_a_channel_is_picked(place: Path) -> None:
    pair = np.stack([soundfile.read(place / f"u{i}.wav")[0] for i in (0, 1)], axis=1)
    alone = features(place)["u1"]
    soundfile.write(place / "u2.wav", pair, RATE)
    (place / "wav.scp").write_text(f"u2 {place}/u2.wav\n")
    np.testing.assert_array_equal(features(place, "--channel=1")["u2"], alone)
    assert np.abs(features(place, "--channel=0")["u2"] - alone).max() > 1
    (place / "segments").write_text("u2-a u2 0 0.5 1\nu2-b u2 0 0.5\n")
    cut = features(place, f"--segments={place}/segments", "--channel=0")
    np.testing.assert_array_equal(cut["u2-a"], alone)
    assert np.abs(cut["u2-b"] - alone).max() > 1


def test_recordings_of_another_rate_are_resampled_where_that_is_allowed(place: Path) -> None:
    time = np.arange(16000) / 16000
    tone = 8000 * np.sin(2 * np.pi * 440 * time)
    for rate, option in (
        (16000, "--allow-downsample"),
        (4000, "--allow_upsample=t"),
        (11025, "--allow-downsample=1"),
    ):
        times = np.arange(rate) / rate
        soundfile.write(place / "u0.wav", (8000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16), rate)
        (place / "wav.scp").write_text(f"u0 {place}/u0.wav\n")
        found = features(place, option, "--high-freq=1800")["u0"]
        soundfile.write(place / "u0.wav", tone[::2].astype(np.int16), RATE)
        wanted = features(place, "--high-freq=1800")["u0"]
        assert found.shape == wanted.shape
        assert np.abs(found - wanted)[5:-5, wanted[20] > 12].max() < 0.05


def test_resampling_is_kaldis_filter() -> None:
    samples = np.random.default_rng(1).normal(size=300)
    for rate, new_rate in ((16000, 8000), (8000, 16000), (11025, 8000), (44100, 16000)):
        cutoff = 0.99 * 0.5 * min(rate, new_rate)
        found = resample(samples, rate, new_rate)
        assert len(found) == -(-300 * new_rate // rate)
        for n in (0, 1, len(found) // 2, len(found) - 1):
            t = np.arange(300) / rate - n / new_rate
            window = np.where(np.abs(t) < 3 / cutoff, 0.5 * (1 + np.cos(2 * np.pi * cutoff / 6 * t)), 0)
            with np.errstate(invalid="ignore"):
                sinc = np.where(t == 0, 2 * cutoff, np.sin(2 * np.pi * cutoff * t) / (np.pi * t))
            assert found[n] == pytest.approx((samples * window * sinc).sum() / rate, abs=1e-5)


OPTIONS = [
    {},
    {"snip-edges": "f", "use-energy": "", "energy-floor": "1e9"},
    {"use-energy": "1", "raw-energy": "0", "htk-compat": "T"},
    {"round-to-power-of-two": "false", "window-type": "hamming", "remove-dc-offset": "0"},
    {"use-energy": "false", "htk-compat": "true", "preemphasis-coefficient": "0"},
]


@pytest.mark.parametrize("kind", ["fbank", "mfcc"])
@pytest.mark.parametrize("options", OPTIONS)
def test_warped_features_without_a_warp_are_those_of_the_package(kind: str, options: dict[str, str]) -> None:
    samples = (3000 * np.random.default_rng(2).normal(size=9001)).astype(np.float32)
    extractor = FeatureExtractor(kind, options)
    plain = extractor.compute(samples, 16000, "p", "u")
    found = warped_features(extractor._native, samples, 1.0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, plain, atol=2e-3)
    assert np.abs(extractor.compute(samples, 16000, "p", "u", 1.1) - plain).max() > 0.3


def test_a_warp_of_the_speaker_moves_a_tone_to_another_filter(place: Path) -> None:
    tone = 0.3 * np.sin(2 * np.pi * 1000 * np.arange(4000) / RATE)
    for name in ("u0", "u1", "u2"):
        soundfile.write(place / f"{name}.wav", tone, RATE)
    (place / "spk2warp").write_text("slow 0.9\nfast 1.1\n")
    (place / "utt2spk").write_text("u0 slow\nu1 fast\nu2 nobody\nv slow\n")
    maps = [f"--vtln-map=ark:{place}/spk2warp", f"--utt2spk=ark:{place}/utt2spk", "--num-mel-bins=60"]
    found = features(place, *maps, "--max-dropped=0.3")
    assert list(found) == ["u0", "u1", "v"]
    peaks = [found[utt].mean(axis=0).argmax() for utt in ("u0", "u1")]
    # A filter at f is moved to f / warp: a smaller factor leaves a tone to lower filters.
    assert peaks[0] < features(place, "--num-mel-bins=60")["u0"].mean(axis=0).argmax() < peaks[1]
    same = features(place, "--vtln-warp=0.9", "--num-mel-bins=60")
    np.testing.assert_array_equal(same["u0"], found["u0"])
    (place / "spk2warp").write_text("slow none\n")
    assert run(place, *maps, "--sample-frequency=8000") == 1


def test_the_options_are_those_of_kaldis_programs() -> None:
    frame = [
        "sample-frequency",
        "frame-length",
        "frame-shift",
        "preemphasis-coefficient",
        "remove-dc-offset",
        "dither",
        "window-type",
        "blackman-coeff",
        "round-to-power-of-two",
        "snip-edges",
        "allow-downsample",
        "max-feature-vectors",
        "allow-upsample",
        "num-mel-bins",
        "low-freq",
        "high-freq",
        "vtln-low",
        "vtln-high",
        "debug-mel",
        "use-energy",
        "energy-floor",
        "raw-energy",
        "htk-compat",
    ]
    assert set(option_types("fbank")) == {*frame, "use-log-fbank", "use-power"}
    assert set(option_types("mfcc")) == {*frame, "num-ceps", "cepstral-lifter"}


def test_option_lines_of_model_directories_are_read_by_the_same_rules() -> None:
    read = {"norm_means": True, "norm_vars": False, "skip_dims": ()}
    for line, expected in (
        ("--norm_vars --norm-means=1", (True, True)),
        ("--Norm-Means=F --norm-vars=", (False, True)),
        ("--norm-means=t --verbose=2 --norm-vars=0 --print-args=false", (True, False)),
    ):
        found = parse_options(line, "cmvn_opts", **read)
        assert (found.norm_means, found.norm_vars) == expected, line
    deltas = FeatureOptions(delta_opts="--Delta_Order=1").parse_deltas("delta_opts")
    assert deltas is not None and deltas.delta_order == 1
    for line in ("--norm-means=maybe", "norm-means=true", "--norms=true", "--skip-dims", "--config=conf"):
        with pytest.raises(DktError, match="cmvn_opts"):
            parse_options(line, "cmvn_opts", **read)
