"""Intervals and tests against closed forms, and against cases that can be enumerated by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from dkt.score.significance import (
    bootstrap_p,
    holm,
    interval,
    mean_rates,
    resample_rates,
    seed_weights,
    sign_flip_p,
)


def shares(values: np.ndarray) -> dict[float, float]:
    """How often each value is there."""
    found, counts = np.unique(values.round(6), return_counts=True)
    return dict(zip(found.tolist(), (counts / len(values)).tolist(), strict=True))


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        # Signs (+,+) (+,-) (-,+) (-,-): sums 4, 2, -2, -4.
        ([3, 1], 2 / 4),
        ([3, -1], 4 / 4),
        ([0, 5], 1.0),
        ([0, 0], 1.0),
        ([2, 2, 2], 2 / 8),
        ([-2, -2, -2], 2 / 8),
        # Sums 6 4 2 0 and the same below: of eight, those from 4 on.
        ([3, 2, -1], 4 / 8),
        ([], 1.0),
    ],
)
def test_sign_flips_that_are_enumerated_by_hand(differences, p):
    assert sign_flip_p(np.array(differences, dtype=np.int64)) == pytest.approx(p, abs=1e-12)


def test_sign_flips_of_equal_differences_are_the_binomial_sign_test():
    for n, ups in ((5, 5), (12, 10), (30, 21), (400, 230)):
        tail = sum(math.comb(n, k) for k in range(max(ups, n - ups), n + 1)) / 2**n
        differences = np.array([1] * ups + [-1] * (n - ups))
        assert sign_flip_p(7 * differences) == pytest.approx(min(1.0, 2 * tail), rel=1e-9)


def test_sign_flips_are_those_of_all_patterns():
    draws = np.random.default_rng(0)
    for _ in range(50):
        differences = draws.integers(-6, 7, size=draws.integers(1, 10))
        sums = [
            abs(np.dot(signs, differences)) for signs in itertools.product((1, -1), repeat=len(differences))
        ]
        expected = np.mean(np.array(sums) >= abs(differences.sum()))
        assert sign_flip_p(differences) == pytest.approx(expected, abs=1e-12)


def test_holm_multiplies_the_smallest_by_all_of_them_and_never_decreases():
    # As R's p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm").
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.04, 0.01]) == pytest.approx([0.04, 0.02])
    assert holm([0.5, 0.6, 0.7]) == [1.0, 1.0, 1.0]
    assert holm([]) == []


def test_two_speakers_are_drawn_in_four_ways():
    """Both once (twice as often), or one of them twice; a rate is errors of all over words of all."""
    rates = resample_rates(np.array([[1, 9]]), np.array([10, 30]), 40_000)[:, 0]
    assert shares(rates) == {
        10.0: pytest.approx(0.25, abs=0.01),
        25.0: pytest.approx(0.5, abs=0.01),
        30.0: pytest.approx(0.25, abs=0.01),
    }
    assert interval(rates) == (10.0, 30.0)


def test_the_spread_is_that_of_a_mean():
    """Units of equal length: the variance of a mean of K draws is that of the units by K."""
    errors = np.random.default_rng(1).integers(0, 30, size=(1, 60))
    rates = resample_rates(errors, np.full(60, 100), 20_000)[:, 0]
    assert rates.mean() == pytest.approx(errors.mean(), abs=0.05)
    assert rates.std() == pytest.approx(errors.std() / math.sqrt(60), rel=0.02)
    low, high = interval(rates)
    assert high - low == pytest.approx(2 * 1.96 * errors.std() / math.sqrt(60), rel=0.04)


def test_runs_are_resampled_together_and_every_call_draws_the_same():
    errors = np.random.default_rng(2).integers(0, 9, size=(2, 2000))
    words = np.full(2000, 10)
    rates = resample_rates(np.vstack([errors, errors[:1]]), words, 3000)
    assert (rates[:, 0] == rates[:, 2]).all() and (rates[:, 0] != rates[:, 1]).any()
    assert (resample_rates(errors, words, 3000) == rates[:, :2]).all()
    assert (resample_rates(errors, words, 3000, seed=1) != rates[:, :2]).any()


def test_units_without_words_make_no_rate():
    rates = resample_rates(np.array([[2, 1]]), np.array([10, 0]), 1000)[:, 0]
    assert np.isnan(rates).any() and set(np.unique(rates[~np.isnan(rates)])) == {20.0, 30.0}
    assert interval(rates) == (20.0, 30.0)
    assert np.isnan(interval(np.full(3, np.nan))).all()


def test_seeds_are_drawn_beside_the_units():
    """Seeds whose rates do not depend on the speakers: of three two are drawn, of two one."""
    rates = np.tile([10.0, 20.0, 60.0], (40_000, 1))
    found = shares(mean_rates(rates))
    both, twice = pytest.approx(2 / 9, abs=0.01), pytest.approx(1 / 9, abs=0.01)
    assert found == {10.0: twice, 15.0: both, 20.0: twice, 35.0: both, 40.0: both, 60.0: twice}
    # The variance is the unbiased one of a mean.
    assert mean_rates(rates).var() == pytest.approx(np.var([10, 20, 60], ddof=1) / 3, rel=0.02)
    assert set(shares(mean_rates(rates[:, :2]))) == {10.0, 20.0}
    one = np.arange(5.0)[:, None]
    assert (mean_rates(one) == one[:, 0]).all()
    assert np.allclose(seed_weights(3, 100).sum(axis=1), 1.0)


def test_p_of_a_bootstrap():
    assert bootstrap_p(np.zeros(1000)) == 1.0
    assert bootstrap_p(np.full(999, 0.1)) == pytest.approx(2 / 1000)
    assert bootstrap_p(np.full(999, -0.1)) == pytest.approx(2 / 1000)
    assert bootstrap_p(np.array([1.0] * 90 + [-1.0] * 9)) == pytest.approx(2 * 10 / 100)
    assert bootstrap_p(np.array([np.nan, 1.0, -1.0])) == 1.0


def test_systems_that_do_not_differ_are_seldom_told_apart():
    """Two systems of five trainings each that differ as trainings do: why both tests have to agree."""
    draws = np.random.default_rng(3)
    words = draws.integers(60, 140, size=20)
    found = []
    for number in range(150):
        seeds = draws.normal(0.0, 0.02, size=(10, 1))
        rates = np.clip(0.25 + seeds + draws.normal(0.0, 0.02, size=(1, 20)), 0.01, 0.9)
        errors = draws.binomial(words, rates)
        resampled = resample_rates(errors, words, 400, number)
        differences = mean_rates(resampled[:, :5] - resampled[:, 5:], number)
        found.append((sign_flip_p((errors[:5] - errors[5:]).sum(axis=0)), bootstrap_p(differences)))
    by_speakers, by_both = (np.array(found) <= 0.05).mean(axis=0)
    assert by_speakers > 0.12 and by_both < 0.08
