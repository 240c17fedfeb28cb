"""Estimation of mixtures and transition probabilities against hand calculation and Kaldi's rules."""

from __future__ import annotations

import numpy as np
import pytest

from dkt.base.errors import DktError
from dkt.gmm import mle as gmm_estimation
from dkt.gmm.gmm import AmDiagGmm
from dkt.gmm.mle import (
    GmmStats,
    MleOptions,
    accumulate,
    mix_up,
    split_targets,
    update_gmm,
    update_transitions,
)
from dkt.hmm.topology import HmmState, HmmTopology
from dkt.hmm.transition_model import TransitionModel

DIM = 2
NO_LIMITS = MleOptions(min_gaussian_occupancy=0.0, min_gaussian_weight=0.0, min_variance=1e-8)


@pytest.fixture
def transitions() -> TransitionModel:
    """Two phones of one state: transition-ids 1 (loop), 2 (leave) of pdf 0 and 3, 4 of pdf 1."""
    states = [HmmState(0, 0, [(0, 0.75), (1, 0.25)]), HmmState()]
    topology = HmmTopology([states], {1: 0, 2: 0})
    return TransitionModel(topology, [(1, 0, 0, 0), (2, 0, 1, 1)])


def make_gmm(*mixtures: list[tuple[float, float]]) -> AmDiagGmm:
    """Mixtures of (weight, mean in both dimensions), unit variances."""
    weights = [w for mixture in mixtures for w, _ in mixture]
    means = np.array([[m] * DIM for mixture in mixtures for _, m in mixture])
    return AmDiagGmm(np.cumsum([0, *map(len, mixtures)]), np.array(weights), means, np.ones_like(means))


def stats_of(gmm: AmDiagGmm, occupancy: list[float], mean: float = 1.0, square: float = 3.0) -> GmmStats:
    counts = np.array(occupancy)
    moments = np.hstack([np.full((len(counts), DIM), mean), np.full((len(counts), DIM), square)])
    return GmmStats(counts, moments * counts[:, None], np.zeros(5), 0.0, int(counts.sum()))


def test_statistics_are_the_posterior_weighted_sums(
    transitions: TransitionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gmm_estimation, "_CHUNK_FRAMES", 7)
    gmm = make_gmm([(0.3, -1.0), (0.7, 1.0)], [(1.0, 0.5)])
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, DIM)).astype(np.float32)
    ids = rng.integers(1, 5, size=40)
    stats = accumulate(gmm, transitions, features, ids)

    occupancy, first, second, loglike = np.zeros(3), np.zeros((3, DIM)), np.zeros((3, DIM)), 0.0
    for frame, transition_id in zip(features.astype(np.float64), ids, strict=True):
        rows = [0, 1] if transition_id <= 2 else [2]
        likes = [
            gmm.weights[g] * np.exp(-0.5 * ((frame - gmm.means_invvars[g]) ** 2).sum()) / (2 * np.pi)
            for g in rows
        ]
        loglike += np.log(sum(likes))
        for g, like in zip(rows, likes, strict=True):
            share = like / sum(likes)
            occupancy[g] += share
            first[g] += share * frame
            second[g] += share * frame**2
    np.testing.assert_allclose(stats.occupancy, occupancy, rtol=1e-5)
    np.testing.assert_allclose(stats.moments, np.hstack([first, second]), rtol=1e-5)
    assert stats.loglike == pytest.approx(loglike, rel=1e-6)
    assert stats.num_frames == 40
    assert stats.transition_counts.tolist() == np.bincount(ids, minlength=5).tolist()
    assert stats.pdf_occupancies(gmm).tolist() == pytest.approx([(ids <= 2).sum(), (ids > 2).sum()])


def test_statistics_of_parts_add_up(transitions: TransitionModel) -> None:
    gmm = make_gmm([(0.3, -1.0), (0.7, 1.0)], [(1.0, 0.5)])
    rng = np.random.default_rng(1)
    features, ids = rng.normal(size=(40, DIM)), rng.integers(1, 5, size=40)
    whole = accumulate(gmm, transitions, features, ids)
    sums = GmmStats.zeros(gmm, transitions)
    for part in (slice(0, 13), slice(13, 40)):
        sums.add(accumulate(gmm, transitions, features[part], ids[part]))
    np.testing.assert_allclose(sums.moments, whole.moments, rtol=1e-10)
    np.testing.assert_allclose(sums.transition_counts, whole.transition_counts)
    assert (sums.num_frames, sums.loglike) == (40, pytest.approx(whole.loglike))


def test_overflow_is_an_error(transitions: TransitionModel) -> None:
    features = np.full((1, DIM), 1e200)
    with np.errstate(all="ignore"), pytest.raises(DktError, match="overflows"):
        accumulate(make_gmm([(1.0, 0.0)], [(1.0, 0.0)]), transitions, features, np.array([1]))


def test_one_gaussian_becomes_mean_and_variance_of_its_frames(transitions: TransitionModel) -> None:
    gmm = make_gmm([(1.0, 0.0)], [(1.0, 0.0)])
    features = np.random.default_rng(2).normal(3.0, 2.0, size=(200, DIM))
    ids = np.array([1, 3] * 100)
    updated, report = update_gmm(gmm, accumulate(gmm, transitions, features, ids))
    for pdf in (0, 1):
        own = features[pdf::2]
        np.testing.assert_allclose(1 / updated.inv_vars[pdf], own.var(axis=0), rtol=1e-5)
        np.testing.assert_allclose(
            updated.means_invvars[pdf] / updated.inv_vars[pdf], own.mean(axis=0), rtol=1e-5
        )
    # The auxiliary function of one Gaussian is the log-likelihood itself.
    gain = (
        accumulate(updated, transitions, features, ids).loglike
        - accumulate(gmm, transitions, features, ids).loglike
    )
    assert report.objf_change == pytest.approx(gain, rel=1e-4)


def test_em_raises_the_likelihood_by_at_least_the_auxiliary_function(transitions: TransitionModel) -> None:
    gmm = make_gmm([(0.5, -0.1), (0.5, 0.1)], [(1.0, 0.0)])
    rng = np.random.default_rng(3)
    features = rng.normal(size=(400, DIM)) + rng.choice([-4.0, 4.0], size=(400, 1))
    ids = np.ones(400, dtype=np.int64)
    previous = -np.inf
    for _ in range(12):
        stats = accumulate(gmm, transitions, features, ids)
        assert stats.loglike > previous - 1e-3
        gmm, report = update_gmm(gmm, stats)
        previous = stats.loglike + report.objf_change
    means = np.sort((gmm.means_invvars / gmm.inv_vars)[:2, 0])
    np.testing.assert_allclose(means, [-4.0, 4.0], atol=0.3)


def test_variances_are_floored() -> None:
    gmm = make_gmm([(1.0, 0.0)])
    updated, report = update_gmm(gmm, stats_of(gmm, [50.0], mean=2.0, square=4.0))
    np.testing.assert_allclose(updated.inv_vars, 1000.0, rtol=1e-6)
    assert report.num_floored == DIM


def test_each_pdf_may_have_floors_of_its_own() -> None:
    gmm = make_gmm([(0.5, 0.0), (0.5, 1.0)], [(1.0, 0.0)])
    floors = np.zeros((2, DIM))
    floors[0] = 0.5 + np.arange(DIM)
    updated, report = update_gmm(gmm, stats_of(gmm, [50.0] * 3, mean=2.0, square=4.25), floors=floors)
    expected = np.maximum(floors[0], 0.25)
    np.testing.assert_allclose(1 / updated.inv_vars, [expected, expected, [0.25] * DIM], rtol=1e-5)
    np.testing.assert_allclose(updated.means_invvars / updated.inv_vars, 2.0, rtol=1e-5)
    assert report.num_floored == 2 * DIM


def test_gaussian_of_few_frames_is_removed_and_weights_are_scaled() -> None:
    gmm = make_gmm([(0.2, 5.0), (0.5, 6.0), (0.3, 7.0)], [(1.0, 8.0)])
    updated, report = update_gmm(gmm, stats_of(gmm, [30.0, 9.0, 60.0, 11.0]))
    assert updated.offsets.tolist() == [0, 2, 3]
    np.testing.assert_allclose(updated.weights, [1 / 3, 2 / 3, 1.0], rtol=1e-6)
    assert report.num_removed == 1
    np.testing.assert_allclose(updated.means_invvars / updated.inv_vars, 1.0, rtol=1e-6)


def test_occupancy_must_exceed_the_limit() -> None:
    gmm = make_gmm([(0.5, 5.0), (0.5, 6.0)])
    updated, _ = update_gmm(gmm, stats_of(gmm, [10.0, 10.1]))
    assert updated.num_gauss == 1
    updated, _ = update_gmm(gmm, stats_of(gmm, [10.0, 10.1]), MleOptions(min_gaussian_occupancy=3.0))
    assert updated.num_gauss == 2


def test_pdf_keeps_its_last_gaussian_as_it_is() -> None:
    gmm = make_gmm([(0.6, 5.0), (0.4, 6.0)], [(1.0, 7.0)])
    updated, report = update_gmm(gmm, stats_of(gmm, [2.0, 1.0, 0.0]))
    assert updated.offsets.tolist() == [0, 1, 2]
    np.testing.assert_allclose(updated.means_invvars, [[6.0] * DIM, [7.0] * DIM])
    np.testing.assert_allclose(updated.weights, [1.0, 1.0])
    assert report.num_removed == 1


def test_gaussians_are_kept_if_told() -> None:
    gmm = make_gmm([(0.6, 5.0), (0.4, 6.0)])
    options = MleOptions(remove_low_count_gaussians=False)
    updated, _ = update_gmm(gmm, stats_of(gmm, [90.0, 0.0]), options)
    np.testing.assert_allclose(updated.weights, [1.0, 1e-5])
    np.testing.assert_allclose(updated.means_invvars[1], 6.0)


def test_transition_probabilities_are_relative_counts(transitions: TransitionModel) -> None:
    updated = update_transitions(transitions, np.array([0.0, 90.0, 10.0, 4.0, 0.0]))
    np.testing.assert_allclose(np.exp(updated.log_probs[1:3]), [0.9, 0.1], rtol=1e-6)
    # Fewer than 5 frames leave a state as it is.
    np.testing.assert_allclose(np.exp(updated.log_probs[3:]), [0.75, 0.25], rtol=1e-6)
    np.testing.assert_allclose(np.exp(transitions.log_probs[1:3]), [0.75, 0.25], rtol=1e-6)


def test_transition_probabilities_are_floored(transitions: TransitionModel) -> None:
    probs = np.exp(update_transitions(transitions, np.array([0.0, 1e6, 0.0, 5.0, 0.0])).log_probs[1:])
    # Kaldi scales and floors three times and ends with the floor.
    np.testing.assert_allclose(probs, [1 / 1.01, 0.01] * 2, rtol=2e-4)
    assert probs.min() == pytest.approx(0.01, rel=1e-6)


def test_split_targets_follow_the_power_of_the_counts() -> None:
    # With power 0.5 the weights are 40, 20, 10: splitting 40, 20, 20, 13.3, ... in turn.
    assert split_targets(np.array([1600.0, 400.0, 100.0]), 7, power=0.5).tolist() == [4, 2, 1]
    assert split_targets(np.array([1600.0, 400.0, 100.0]), 3, power=0.5).tolist() == [1, 1, 1]


def test_split_targets_respect_the_least_count() -> None:
    # A third Gaussian would leave 60 frames 20 each, and Kaldi wants more than that.
    assert split_targets(np.array([60.0, 61.0, 0.0]), 100, min_count=20.0).tolist() == [2, 3, 1]


def test_mixing_up_splits_the_heaviest_and_keeps_the_mean() -> None:
    gmm = make_gmm([(0.7, 5.0), (0.3, 6.0)], [(1.0, 7.0)])
    gmm.inv_vars[:] = 4.0
    mixed = mix_up(gmm, np.array([3, 1]), np.random.default_rng(0))
    assert mixed.offsets.tolist() == [0, 3, 4]
    np.testing.assert_allclose(mixed.weights, [0.35, 0.3, 0.35, 1.0], rtol=1e-6)
    np.testing.assert_allclose(
        (mixed.means_invvars[0] + mixed.means_invvars[2]) / 2, gmm.means_invvars[0], rtol=1e-6
    )
    shift = np.abs(mixed.means_invvars[0] - gmm.means_invvars[0])
    assert (shift > 0).all()
    # A hundredth of a standard deviation (which is 1/2) times a normal variable, over the variance.
    assert (shift < 0.01 * 2.0 * 4.0).all()
    np.testing.assert_allclose(mixed.inv_vars, 4.0)


def test_mixing_up_is_reproducible_and_leaves_full_pdfs_alone() -> None:
    gmm = make_gmm([(0.7, 5.0), (0.3, 6.0)], [(1.0, 7.0)])
    first, second = (mix_up(gmm, np.array([1, 4]), np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first.means_invvars, second.means_invvars)
    other = mix_up(gmm, np.array([1, 4]), np.random.default_rng(6))
    assert not np.array_equal(first.means_invvars, other.means_invvars)
    assert first.offsets.tolist() == [0, 2, 6]
    np.testing.assert_allclose(first.weights[2:], 0.25)
