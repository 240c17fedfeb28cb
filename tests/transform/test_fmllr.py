"""fMLLR: transforms that undo what a speaker does to the features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dkt.base.errors import DktError
from dkt.feat.pipeline import FeatureOptions
from dkt.feat.reader import FeatureReader
from dkt.gmm.gmm import AmDiagGmm
from dkt.hmm.topology import HmmState, HmmTopology
from dkt.hmm.transition_model import TransitionModel
from dkt.transform.fmllr import FmllrStats, apply_affine, estimate
from dkt.transform.fmllr_features import FmllrModel, estimate_transforms, write_transformed
from dkt.util.data_dir import DataDir
from dkt.util.table import MatrixWriter, read_matrices

DIM = 3
SILENCE = 1


@pytest.fixture
def gmm() -> AmDiagGmm:
    """Four pdfs of two Gaussians each."""
    rng = np.random.default_rng(1)
    means, variances = rng.normal(scale=4.0, size=(8, DIM)), rng.uniform(0.5, 2.0, size=(8, DIM))
    return AmDiagGmm(np.arange(0, 9, 2), np.full(8, 0.5), means / variances, 1.0 / variances)


@pytest.fixture
def transitions() -> TransitionModel:
    states = [HmmState(0, 0, [(0, 0.8), (1, 0.2)]), HmmState()]
    topology = HmmTopology([states], dict.fromkeys(range(1, 5), 0))
    return TransitionModel(topology, [(phone, 0, phone - 1, phone - 1) for phone in range(1, 5)])


def draw(gmm: AmDiagGmm, num_frames: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Frames of the model, shape ``(T, F)``, and their pdfs."""
    rng = np.random.default_rng(seed)
    chosen = rng.integers(gmm.num_gauss, size=num_frames)
    means, deviations = gmm.means_invvars / gmm.inv_vars, gmm.inv_vars**-0.5
    frames = means[chosen] + deviations[chosen] * rng.normal(size=(num_frames, DIM))
    return frames.astype(np.float32), chosen // 2


def distort(features: np.ndarray) -> np.ndarray:
    """What the speaker does: an affine map not far from the identity."""
    matrix = np.array([[1.2, 0.2, 0.0], [-0.1, 0.9, 0.1], [0.0, 0.1, 0.8]])
    return (features @ matrix.T + [0.5, -1.0, 0.3]).astype(np.float32)


def total_loglike(gmm: AmDiagGmm, features: np.ndarray, pdfs: np.ndarray, transform: np.ndarray) -> float:
    loglikes = gmm.loglikes(apply_affine(features, transform))[np.arange(len(pdfs)), pdfs]
    return float(loglikes.sum() + len(pdfs) * np.linalg.slogdet(transform[:, :-1])[1])


def test_the_transform_undoes_the_distortion(gmm: AmDiagGmm) -> None:
    clean, pdfs = draw(gmm, 20000)
    heard = distort(clean)
    transform = np.eye(DIM, DIM + 1, dtype=np.float32)
    for _ in range(8):  # the Gaussians' posteriors are those of the last transform
        stats = FmllrStats.zeros(DIM)
        stats.accumulate(gmm, apply_affine(heard, transform), pdfs)
        step = estimate(stats)
        transform = np.column_stack(
            [step[:, :-1] @ transform[:, :-1], apply_affine(transform[None, :, -1], step)[0]]
        )
    np.testing.assert_allclose(apply_affine(heard, transform), clean, atol=0.15)


def test_one_estimate_is_a_maximum_of_its_auxiliary_function(gmm: AmDiagGmm) -> None:
    clean, pdfs = draw(gmm, 3000)
    heard = distort(clean)
    stats = FmllrStats.zeros(DIM)
    stats.accumulate(gmm, heard, pdfs)
    transform = estimate(stats).astype(np.float64)

    def objective(candidate: np.ndarray) -> float:
        quadratic = sum(row @ g @ row for row, g in zip(candidate, stats.quadratic, strict=True))
        log_det = np.linalg.slogdet(candidate[:, :-1])[1]
        return float(stats.count * log_det + (candidate * stats.linear).sum() - 0.5 * quadratic)

    rng = np.random.default_rng(2)
    for _ in range(20):
        assert objective(transform) >= objective(transform + 1e-3 * rng.normal(size=transform.shape))
    identity = np.eye(DIM, DIM + 1)
    assert total_loglike(gmm, heard, pdfs, transform) > total_loglike(gmm, heard, pdfs, identity) + 100


def test_frames_left_out_do_not_count(gmm: AmDiagGmm) -> None:
    frames, pdfs = draw(gmm, 1000)
    some, rest = FmllrStats.zeros(DIM), FmllrStats.zeros(DIM)
    keep = np.arange(1000) % 3 > 0
    some.accumulate(gmm, frames, np.where(keep, pdfs, -1))
    rest.accumulate(gmm, frames[keep], pdfs[keep])
    assert some.count == rest.count == keep.sum()
    np.testing.assert_allclose(some.quadratic, rest.quadratic, rtol=1e-5)
    np.testing.assert_allclose(some.linear, rest.linear, rtol=1e-4, atol=1e-2)


def write_data(path: Path, features: dict[str, np.ndarray]) -> DataDir:
    path.mkdir()
    with MatrixWriter(f"ark,scp:{path}/feats.ark,{path}/feats.scp") as writer:
        for utt, frames in features.items():
            writer.write(utt, frames)
    (path / "utt2spk").write_text("".join(f"{utt} {utt[0]}\n" for utt in features))
    return DataDir(path)


def test_each_speaker_has_a_transform_of_its_own(
    gmm: AmDiagGmm, transitions: TransitionModel, tmp_path: Path
) -> None:
    features, alignments = {}, {}
    for seed, utt in enumerate(["a1", "a2", "b1", "b2", "c1"]):
        frames, pdfs = draw(gmm, 40 if utt == "c1" else 1000, seed)
        features[utt] = distort(frames) if utt[0] == "a" else frames
        if utt != "b2":
            alignments[utt] = (2 * pdfs + 1).astype(np.int32)
    alignments["z9"] = np.ones(7, dtype=np.int32)
    reader = FeatureReader(write_data(tmp_path / "data", features), FeatureOptions())
    model = FmllrModel(gmm, transitions, frozenset([SILENCE]), min_count=100)
    transforms = estimate_transforms(model, reader, alignments.items(), "ali")
    identity = np.eye(DIM, DIM + 1)
    assert (transforms["c"] == identity).all()
    assert np.abs(transforms["b"] - identity).max() < 0.2 < np.abs(transforms["a"] - identity).max()
    with MatrixWriter(f"ark:{tmp_path}/out.ark") as writer:
        write_transformed(reader, transforms, writer)
    written = dict(read_matrices(f"ark:{tmp_path}/out.ark"))
    assert list(written) == list(features)
    np.testing.assert_allclose(written["a2"], apply_affine(features["a2"], transforms["a"]), rtol=1e-6)
    np.testing.assert_array_equal(written["c1"], features["c1"])


def test_alignments_of_another_model_are_refused(
    gmm: AmDiagGmm, transitions: TransitionModel, tmp_path: Path
) -> None:
    reader = FeatureReader(write_data(tmp_path / "data", {"a1": draw(gmm, 10)[0]}), FeatureOptions())
    model = FmllrModel(gmm, transitions, frozenset([SILENCE]))
    with pytest.raises(DktError, match="a1"):
        estimate_transforms(model, reader, [("a1", np.full(10, 99, dtype=np.int32))], "ali")


@pytest.mark.parametrize("num_frames", [2, 3, 600])
def test_frames_that_do_not_determine_a_transform_leave_the_features(gmm: AmDiagGmm, num_frames: int) -> None:
    frames, pdfs = draw(gmm, num_frames)
    if num_frames > DIM + 1:
        frames[:, 1] = 0.25
    stats = FmllrStats.zeros(DIM)
    stats.accumulate(gmm, frames, pdfs)
    np.testing.assert_array_equal(estimate(stats, min_count=1.0), np.eye(DIM, DIM + 1))
