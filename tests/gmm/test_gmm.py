"""Gaussian mixture models: Kaldi's files, and likelihoods against the textbook formula."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dkt.base.errors import DktError
from dkt.gmm import gmm as gmm_module
from dkt.gmm.gmm import AmDiagGmm, load_gmm, read_gmm, save_gmm, write_gmm
from dkt.util.object_io import ObjectReader, ObjectWriter
from dkt.util.table import read_matrices

SIZES = (1, 3, 2)
DIM = 4


@pytest.fixture
def gmm() -> AmDiagGmm:
    """Three pdfs of one, three and two Gaussians."""
    rng = np.random.default_rng(1)
    inv_vars = rng.uniform(0.2, 3.0, (sum(SIZES), DIM))
    weights = np.concatenate([rng.dirichlet(np.ones(size)) for size in SIZES])
    means = rng.normal(size=(sum(SIZES), DIM))
    return AmDiagGmm(np.cumsum([0, *SIZES]), weights, means * inv_vars, inv_vars)


def textbook_loglikes(gmm: AmDiagGmm, features: np.ndarray) -> np.ndarray:
    """log sum_g w_g N(x; mu_g, var_g), in double precision and one pdf after another."""
    columns = []
    for pdf in range(gmm.num_pdfs):
        rows = gmm.gaussians(pdf)
        variances = 1.0 / gmm.inv_vars[rows].astype(np.float64)
        means = gmm.means_invvars[rows] * variances
        distance = ((features[:, None] - means) ** 2 / variances).sum(axis=2)
        log_norm = -0.5 * np.log(2 * np.pi * variances).sum(axis=1)
        columns.append(np.logaddexp.reduce(np.log(gmm.weights[rows]) + log_norm - 0.5 * distance, axis=1))
    return np.stack(columns, axis=1)


def as_file(text: str, path: str = "model") -> ObjectReader:
    return ObjectReader(text.encode(), path)


def test_kaldi_model_is_written_back_to_the_byte(kaldi_fixtures: Path, tmp_path: Path) -> None:
    source = kaldi_fixtures / "exp" / "tri2b" / "final.mdl"
    transitions, model = load_gmm(source)
    assert (model.num_pdfs, model.dim) == (624, 40)
    save_gmm(tmp_path / "final.mdl", transitions, model)
    assert (tmp_path / "final.mdl").read_bytes() == source.read_bytes()


def test_constants_are_kaldis(kaldi_fixtures: Path) -> None:
    _, model = load_gmm(kaldi_fixtures / "exp" / "tri2b" / "final.mdl")
    anew = AmDiagGmm(model.offsets, model.weights, model.means_invvars, model.inv_vars)
    np.testing.assert_allclose(anew.gconsts, model.gconsts, rtol=1e-6, atol=1e-4)


def test_loglikes_of_a_kaldi_model(kaldi_fixtures: Path) -> None:
    _, model = load_gmm(kaldi_fixtures / "exp" / "tri2b" / "final.mdl")
    _, features = next(read_matrices(f"ark:{kaldi_fixtures}/golden/features/mfcc_cmn_lda.ark"))
    loglikes = model.loglikes(features[:30])
    np.testing.assert_allclose(loglikes, textbook_loglikes(model, features[:30]), rtol=2e-6, atol=2e-3)


@pytest.mark.parametrize("chunk", [1, 17, 10**6])
def test_loglikes_in_chunks(gmm: AmDiagGmm, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(gmm_module, "_CHUNK_SCORES", chunk)
    features = np.random.default_rng(2).normal(size=(23, DIM)).astype(np.float32)
    loglikes = gmm.loglikes(features)
    assert loglikes.dtype == np.float32
    np.testing.assert_allclose(loglikes, textbook_loglikes(gmm, features), atol=1e-4)


def test_loglikes_of_some_pdfs(gmm: AmDiagGmm) -> None:
    features = np.random.default_rng(3).normal(size=(5, DIM)).astype(np.float32)
    some = gmm.loglikes(features, np.array([0, 2]))
    np.testing.assert_allclose(some, gmm.loglikes(features)[:, [0, 2]], atol=1e-5)


def test_boost_scales_the_likelihood_of_its_pdfs_only(gmm: AmDiagGmm) -> None:
    features = np.random.default_rng(4).normal(size=(5, DIM)).astype(np.float32)
    change = gmm.boost([1], 1.5).loglikes(features) - gmm.loglikes(features)
    np.testing.assert_allclose(change, np.log([[1.0, 1.5, 1.0]] * 5), atol=1e-5)


@pytest.mark.parametrize("binary", [True, False])
def test_round_trip(gmm: AmDiagGmm, binary: bool) -> None:
    writer = ObjectWriter(binary)
    write_gmm(writer, gmm)
    again = read_gmm(ObjectReader(writer.getvalue(), "model"))
    assert again.offsets.tolist() == [0, 1, 4, 6]
    for name in ("weights", "means_invvars", "inv_vars", "gconsts"):
        np.testing.assert_allclose(getattr(again, name), getattr(gmm, name), rtol=0 if binary else 1e-6)


def test_text_form() -> None:
    model = AmDiagGmm(np.array([0, 1]), np.ones(1), np.array([[2.0, -1.0]]), np.array([[1.0, 4.0]]))
    writer = ObjectWriter(binary=False)
    write_gmm(writer, model)
    assert writer.getvalue().decode() == (
        "<DIMENSION> 2 <NUMPDFS> 1 <DiagGMM> \n<GCONSTS>  [ -3.26973 ]\n<WEIGHTS>  [ 1 ]\n"
        "<MEANS_INVVARS>  [\n  2 -1 ]\n<INV_VARS>  [\n  1 4 ]\n</DiagGMM> \n"
    )


def test_early_kaldi_form_without_constants() -> None:
    model = read_gmm(
        as_file(
            "<DIMENSION> 2 <NUMPDFS> 1 <DiagGMMBegin> <WEIGHTS> [ 1 ] <MEANS_INVVARS> [\n 2 -1 ]\n"
            "<INV_VARS> [\n 1 4 ]\n<DiagGMMEnd>"
        )
    )
    assert model.gconsts == pytest.approx(-np.log(2 * np.pi) + np.log(2.0) - 0.5 * (4.0 + 0.25))


def test_wrong_constants_are_computed_anew(caplog: pytest.LogCaptureFixture) -> None:
    model = read_gmm(
        as_file(
            "<DIMENSION> 1 <NUMPDFS> 1 <DiagGMM> <GCONSTS> [ 5 ] <WEIGHTS> [ 1 ] <MEANS_INVVARS> [\n 0 ]\n"
            "<INV_VARS> [\n 1 ]\n</DiagGMM>"
        )
    )
    assert model.gconsts == pytest.approx(-0.5 * np.log(2 * np.pi))
    assert "GCONSTS" in caplog.text


@pytest.mark.parametrize(
    ("mixture", "message"),
    [
        ("<WEIGHTS> [ 1 ] <MEANS_INVVARS> [\n 0 0 ]\n<INV_VARS> [\n 1 ]\n", "expected (1, 1)"),
        ("<WEIGHTS> [ 1 ] <MEANS_INVVARS> [\n 0 ]\n<INV_VARS> [\n -1 ]\n", "not positive"),
        ("<WEIGHTS> [ -1 ] <MEANS_INVVARS> [\n 0 ]\n<INV_VARS> [\n 1 ]\n", "negative"),
        ("<WEIGHTS> [ 1 ] <MEANS_INVVARS> [\n nan ]\n<INV_VARS> [\n 1 ]\n", "not a number"),
        ("<WEIGHTS> [ ] <MEANS_INVVARS> [ ]\n<INV_VARS> [ ]\n", "0 weights"),
        ("<WEIGHTS> [ 1 ] <MEANS_INVVARS> [\n 0 ]\n", "expected <INV_VARS>"),
    ],
)
def test_malformed_mixture(mixture: str, message: str) -> None:
    with pytest.raises(DktError, match=r"bad\.mdl") as error:
        read_gmm(as_file(f"<DIMENSION> 1 <NUMPDFS> 1 <DiagGMM> {mixture} </DiagGMM>", "bad.mdl"))
    assert message in str(error.value)


def test_model_cut_short_is_named(kaldi_fixtures: Path, tmp_path: Path) -> None:
    data = (kaldi_fixtures / "exp" / "tri2b" / "final.mdl").read_bytes()
    path = tmp_path / "cut.mdl"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DktError, match=r"cut\.mdl.*cut short"):
        load_gmm(path)


def test_model_without_gmm_is_refused(kaldi_fixtures: Path) -> None:
    with pytest.raises(DktError, match="no GMM"):
        load_gmm(kaldi_fixtures / "golden" / "transition_model.bin")


def test_model_of_other_pdfs_is_refused(kaldi_fixtures: Path, tmp_path: Path, gmm: AmDiagGmm) -> None:
    transitions, _ = load_gmm(kaldi_fixtures / "exp" / "tri2b" / "final.mdl")
    save_gmm(tmp_path / "mixed.mdl", transitions, gmm)
    with pytest.raises(DktError, match="3 mixtures for the 624 pdfs"):
        load_gmm(tmp_path / "mixed.mdl")


def test_features_of_another_dimension_are_refused(gmm: AmDiagGmm) -> None:
    with pytest.raises(DktError, match="expects dimension 4"):
        gmm.loglikes(np.zeros((3, 5), dtype=np.float32))
