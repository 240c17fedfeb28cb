"""LDA against Kaldi's est-lda, and what any LDA must do."""

from __future__ import annotations

import logging
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from dkt.base.errors import DktError
from dkt.feat.functions import splice
from dkt.transform.lda import LdaAccumulator, accumulate_spliced
from dkt.transform.lda_files import load_accumulator, save_accumulator
from tests.shell import ROOT

# Inputs, and what Kaldi's LdaEstimate (acc-lda) and est-lda wrote for them. The last pdf has no frames.
GOLDEN = np.load(ROOT / "tests/data/lda_golden.npz")
NUM_PDFS, DIM = 12, 10


def golden_stats(features: np.ndarray = GOLDEN["features"]) -> LdaAccumulator:
    stats = LdaAccumulator(int(GOLDEN["num_pdfs"]), features.shape[1])
    stats.accumulate(features, GOLDEN["pdfs"], GOLDEN["weights"])
    return stats


def assert_rows_equal(ours: np.ndarray, kaldi: np.ndarray) -> None:
    """Row by row up to the sign, which Kaldi leaves to its SVD."""
    assert ours.dtype == np.float32 and ours.shape == kaldi.shape
    signs = np.sign((ours * kaldi).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(ours * signs, kaldi, rtol=1e-4, atol=1e-6 * np.abs(kaldi).max())


@pytest.mark.parametrize("binary", [True, False])
def test_statistics_are_written_byte_for_byte_as_by_kaldi(binary: bool, tmp_path: Path) -> None:
    golden = GOLDEN["accumulator_binary" if binary else "accumulator_text"].tobytes()
    save_accumulator(tmp_path / "ours.acc", golden_stats(), binary)
    assert (tmp_path / "ours.acc").read_bytes() == golden
    (tmp_path / "kaldi.acc").write_bytes(golden)
    read, direct = load_accumulator(tmp_path / "kaldi.acc"), golden_stats()
    np.testing.assert_allclose(read.counts, direct.counts)
    np.testing.assert_allclose(read.first, direct.first, rtol=1e-6)
    np.testing.assert_allclose(read.second, direct.second, rtol=1e-6)


@pytest.mark.parametrize("remove_offset", [False, True])
@pytest.mark.parametrize("factor", ["1", "0.5"])
def test_transform_equals_kaldi(factor: str, remove_offset: bool) -> None:
    ours = golden_stats().estimate(4, float(factor), remove_offset)
    assert_rows_equal(ours, GOLDEN[f"lda_{factor}_{str(remove_offset).lower()}"])


def test_full_transform_and_singular_values_equal_kaldi(caplog: pytest.LogCaptureFixture) -> None:
    transform, variances = golden_stats().estimate_full()
    # Five directions tell six classes apart; in the sixth they do not differ.
    assert_rows_equal(transform, GOLDEN["lda_full"])
    np.testing.assert_allclose(variances, GOLDEN["singular_values"], rtol=1e-5, atol=1e-9)
    with caplog.at_level(logging.INFO):
        golden_stats().estimate(4)
    assert "LDA singular values are 4.28969 2.37893 1.08245 0.233526" in caplog.text
    assert "Sum of all singular values is 8.07" in caplog.text
    assert "Sum of selected singular values is 7.98" in caplog.text


def test_constant_feature_is_smoothed_as_kaldi_does(caplog: pytest.LogCaptureFixture) -> None:
    features = GOLDEN["features"].copy()
    features[:, 3] = 7
    assert_rows_equal(golden_stats(features).estimate(4), GOLDEN["lda_constant_feature"])
    assert "singular" in caplog.text


def draw(num_frames: int = 6000, num_informative: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames ``(T, F)`` whose classes differ in a few directions only, pdfs, and the mixing matrix."""
    rng = np.random.default_rng(8)
    means = np.zeros((NUM_PDFS, DIM))
    means[:, :num_informative] = rng.normal(size=(NUM_PDFS, num_informative)) * [6.0, 4.0, 2.0]
    pdfs = rng.integers(NUM_PDFS, size=num_frames)
    mixing = rng.normal(size=(DIM, DIM)) * np.geomspace(1.0, 30.0, DIM)[:, None]
    frames = (means[pdfs] + rng.normal(size=(num_frames, DIM))) @ mixing.T + 50.0
    return frames, pdfs, mixing


def stats_of(frames: np.ndarray, pdfs: np.ndarray) -> LdaAccumulator:
    stats = LdaAccumulator(NUM_PDFS, frames.shape[1])
    stats.accumulate(frames, pdfs)
    return stats


def test_the_discriminative_subspace_is_found_under_any_mixing() -> None:
    frames, pdfs, mixing = draw()
    transform = stats_of(frames, pdfs).estimate(3).astype(np.float64)
    # In the unmixed space the rows look at the informative coordinates only.
    rows = np.linalg.qr((transform @ mixing).T)[0]
    cosines = np.linalg.svd(rows[:3], compute_uv=False)
    assert cosines.min() > 0.999
    largest = frames - frames.mean(axis=0)
    principal = np.linalg.svd(largest, full_matrices=False)[2][:3]
    assert np.linalg.svd(np.linalg.qr((principal @ mixing).T)[0][:3], compute_uv=False).min() < 0.9


def covariances(frames: np.ndarray, pdfs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Within and between classes, straight from the definition."""
    means = np.stack([frames[pdfs == pdf].mean(axis=0) for pdf in range(NUM_PDFS)])[pdfs]
    return np.cov((frames - means).T, bias=True), np.cov(means.T, bias=True)


def test_within_class_covariance_becomes_the_identity() -> None:
    frames, pdfs, _ = draw()
    transform, variances = stats_of(frames, pdfs).estimate_full()
    within, between = covariances(frames @ transform.T, pdfs)
    np.testing.assert_allclose(within, np.eye(DIM), atol=1e-4)
    np.testing.assert_allclose(between, np.diag(variances), atol=1e-3)
    assert (np.diff(variances) <= 0).all() and variances[2] > 1.0 > 100 * variances[3]
    assert (transform[np.arange(DIM), np.abs(transform).argmax(axis=1)] > 0).all()


def test_within_class_factor_and_offset() -> None:
    frames, pdfs, _ = draw()
    _, variances = stats_of(frames, pdfs).estimate_full()
    transform = stats_of(frames, pdfs).estimate(6, within_class_factor=0.1, remove_offset=True)
    projected = np.hstack([frames, np.ones((len(frames), 1))]) @ transform.T
    np.testing.assert_allclose(projected.var(axis=0), 0.1 + variances[:6], rtol=1e-4)
    np.testing.assert_allclose(projected.mean(axis=0), 0.0, atol=1e-3)


def test_statistics_of_parts_add_up_and_a_weight_counts_repetitions() -> None:
    frames, pdfs, _ = draw(300)
    repeats = np.random.default_rng(0).integers(0, 4, size=300)
    whole = stats_of(np.repeat(frames, repeats, axis=0), np.repeat(pdfs, repeats))
    sums = LdaAccumulator(NUM_PDFS, DIM)
    for part in (slice(0, 0), slice(0, 120), slice(120, 300)):
        piece = LdaAccumulator(NUM_PDFS, DIM)
        piece.accumulate(frames[part], pdfs[part], repeats[part].astype(np.float32))
        sums.add(piece)
    for name in ("counts", "first", "second"):
        np.testing.assert_allclose(getattr(sums, name), getattr(whole, name), rtol=1e-10)
    second = (frames * repeats[:, None]).T @ frames
    np.testing.assert_allclose(whole.second, second, rtol=1e-10)


def test_utterances_are_spliced_one_by_one() -> None:
    frames, pdfs, _ = draw(40)
    features, offsets = frames.astype(np.float32), np.array([0, 7, 7, 40])
    weights = np.linspace(0.0, 1.0, 40)
    parts = [slice(a, b) for a, b in pairwise(offsets)]
    utterances = ((features[part], pdfs[part]) for part in parts)
    stats = accumulate_spliced(utterances, DIM, 2, 1, NUM_PDFS, (weights[part] for part in parts))
    spliced = np.concatenate([splice(features[:7], 2, 1), splice(features[7:], 2, 1)])
    expected = LdaAccumulator(NUM_PDFS, 4 * DIM)
    expected.accumulate(spliced, pdfs, weights)
    for name in ("counts", "first", "second"):
        np.testing.assert_allclose(getattr(stats, name), getattr(expected, name), rtol=1e-10)


FRAMES, PDFS, _MIXING = draw(200)
NOT_A_NUMBER = np.where(np.arange(DIM) == 3, np.nan, FRAMES)


@pytest.mark.parametrize(
    ("features", "pdfs", "weights", "message"),
    [
        (FRAMES[:, :9], PDFS, None, r"shape \(200, 9\), expected \(frames, 10\)"),
        (FRAMES[:, 0], PDFS, None, r"shape \(200,\)"),
        (FRAMES, PDFS[:199], None, r"pdfs of shape \(199,\) for 200 frames"),
        (FRAMES, PDFS, np.ones(3), r"weights of shape \(3,\)"),
        (FRAMES, PDFS + 1, None, "pdfs from 1 to 12, expected 0 to 11"),
        (FRAMES, PDFS - 1, None, "pdfs from -1 to 10"),
        (NOT_A_NUMBER, PDFS, None, "not a number"),
        (FRAMES, PDFS, np.full(200, -1.0), "negative"),
        (FRAMES, PDFS, np.full(200, np.inf), "not a number"),
    ],
)
def test_bad_frames_are_refused_and_leave_no_trace(
    features: np.ndarray, pdfs: np.ndarray, weights: np.ndarray | None, message: str
) -> None:
    stats = LdaAccumulator(NUM_PDFS, DIM)
    with pytest.raises(DktError, match=message):
        stats.accumulate(features, pdfs, weights)
    assert stats.counts.sum() == 0 and not stats.first.any() and not stats.second.any()


@pytest.mark.parametrize(
    ("dim", "allow", "message"),
    [
        (0, True, "expected 1 to 10"),
        (11, True, "LDA to 11 dimensions, expected 1 to 10"),
        (4, False, "4 classes with frames, of 12, differ in at most 3 - .*--allow-large-dim"),
    ],
)
def test_too_many_dimensions_are_refused(dim: int, allow: bool, message: str) -> None:
    stats = stats_of(FRAMES, PDFS % 4)
    with pytest.raises(DktError, match=message):
        stats.estimate(dim, allow_large_dim=allow)
    assert stats.estimate(4, allow_large_dim=True).shape == (4, DIM)
    assert stats.estimate(3).shape == (3, DIM)


def test_frames_that_determine_nothing_are_refused() -> None:
    with pytest.raises(DktError, match=r"of 15 frames of \d+ pdfs: too few for dimension 10"):
        stats_of(FRAMES[:15], PDFS[:15]).estimate(3)
    with pytest.raises(DktError, match="do not vary"):
        stats_of(np.full_like(FRAMES, 3.0), PDFS).estimate(3)
    with pytest.raises(DktError, match="classes with frames"):
        LdaAccumulator(NUM_PDFS, DIM).estimate(3)
    with pytest.raises(DktError, match="within-class-factor"):
        stats_of(FRAMES, PDFS).estimate(3, within_class_factor=-1.0)
    impossible = stats_of(FRAMES, PDFS)
    impossible.second[2, 2] -= 1e6
    with pytest.raises(DktError, match=r"covariance is not one|do not vary"):
        impossible.estimate(3)


def test_statistics_of_another_model_are_not_added() -> None:
    with pytest.raises(DktError, match="12 pdfs and dimension 9, those before have 12 pdfs and dimension 10"):
        LdaAccumulator(NUM_PDFS, DIM).add(LdaAccumulator(NUM_PDFS, 9))
