"""Noise of several kinds, and its mixing into speech."""

from __future__ import annotations

import numpy as np
import pytest

from dkt.feat import noise
from dkt.feat.augment import Added, add_noises
from dkt.feat.draws import generator_of
from dkt.feat.noise_sources import SnrChoice, Sound

RATE = 8000


@pytest.mark.parametrize("kind", ["white", "pink", "hum", "speech_shaped", "babble"])
@pytest.mark.parametrize("snr_db", [0.0, 12.5, 20.0])
def test_mixture_has_the_signal_to_noise_ratio_asked_for(kind: str, snr_db: float) -> None:
    rng = np.random.default_rng(0)
    speech = (3000 * rng.standard_normal(RATE)).astype(np.int16)
    added = noise.make_noise(kind, RATE, RATE, rng.standard_normal((4, 3 * RATE)), rng)
    residue = noise.mix(speech, added, snr_db) - speech
    measured = 10 * np.log10(noise.mean_power(speech) / noise.mean_power(residue))
    assert measured == pytest.approx(snr_db, abs=0.1)


def test_pink_noise_falls_3_db_an_octave() -> None:
    power = np.abs(np.fft.rfft(noise.pink(16 * RATE, np.random.default_rng(0)))) ** 2
    octaves = [power[low : 2 * low].mean() for low in (2000, 4000, 8000, 16000)]
    assert 10 * np.log10(np.divide(octaves[:-1], octaves[1:])) == pytest.approx([3.01] * 3, abs=0.3)


def test_noises_are_added_as_wav_reverberate_adds_them() -> None:
    """Against featbin/wav-reverberate.cc, written out: AddNoise of each, then --normalize-output."""
    rng = np.random.default_rng(1)
    speech = rng.normal(0, 900, 1000).astype(np.float32)
    background, early, late = rng.normal(0, 3, 1000), rng.normal(0, 50, 200), rng.normal(0, 7, 400)
    noises = [(background, 0, 10.0), (early, 100, 0.0), (late, 800, -5.0), (early, 5000, 3.0)]
    power = np.mean(speech.astype(np.float64) ** 2)
    total = np.zeros(1000)
    for samples, start, snr in noises:
        scale = np.sqrt(10 ** (-snr / 10) * power / np.mean(samples**2))
        for place, value in enumerate(samples, start):
            if place < 1000:
                total[place] += scale * value
    expected = speech + total
    expected *= np.sqrt(power / np.mean(expected**2))
    added = [Added(Sound("x", samples), start, snr) for samples, start, snr in noises]
    found, snr_db = add_noises(speech, added)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert snr_db == pytest.approx(10 * np.log10(power / np.mean(total**2)))


@pytest.mark.parametrize("text", ["", "a", "5:", "20..5", "1..2..3", "nan", "1e9", "5 10"])
def test_ratios_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        SnrChoice.parse(text)


def test_ratios_are_drawn_from_a_list_or_a_range() -> None:
    rng = np.random.default_rng(0)
    listed = SnrChoice.parse("20:-5:2.5")
    assert {listed.draw(rng) for _ in range(100)} == {20.0, -5.0, 2.5}
    drawn = [SnrChoice.parse("-5..15").draw(rng) for _ in range(400)]
    assert -5 <= min(drawn) < -4 and 14 < max(drawn) <= 15 and np.mean(drawn) == pytest.approx(5, abs=1)


def test_draws_depend_on_seed_and_name_alone() -> None:
    draws = {(seed, name): generator_of(seed, name).integers(1 << 60) for seed in (0, 1) for name in "abü"}
    assert len(set(draws.values())) == 6
    assert draws[0, "a"] == generator_of(0, "a").integers(1 << 60)
