"""The feature pipeline against Kaldi's own output."""

from __future__ import annotations

import numpy as np
import pytest

from dkt.base.errors import DktError
from dkt.feat.functions import add_deltas, apply_cmvn, apply_transform, cmvn_stats, splice
from dkt.feat.pipeline import FeatureOptions
from dkt.feat.reader import FeatureReader
from dkt.util.data_dir import DataDir
from dkt.util.object_io import ObjectReader
from dkt.util.table import MatrixTable, MatrixWriter, read_matrices

RNG = np.random.default_rng(3)


def table(kaldi_fixtures, name, dtype=np.float32):
    return MatrixTable(f"ark:{kaldi_fixtures}/golden/features/{name}.ark", dtype)


def golden_cmn(kaldi_fixtures):
    raw, stats = table(kaldi_fixtures, "mfcc_raw"), table(kaldi_fixtures, "mfcc_cmvn", np.float64)
    utt2spk = dict(
        line.split() for line in (kaldi_fixtures / "golden/features/utt2spk").read_text().splitlines()
    )
    return {utt: (raw[utt], stats[utt2spk[utt]]) for utt in raw}


@pytest.mark.parametrize(("norm_vars", "name"), [(False, "mfcc_cmn"), (True, "mfcc_cmvn_vars")])
def test_cmvn_equals_kaldi(kaldi_fixtures, norm_vars, name):
    golden = table(kaldi_fixtures, name)
    for utt, (raw, stats) in golden_cmn(kaldi_fixtures).items():
        np.testing.assert_allclose(apply_cmvn(raw, stats, norm_vars), golden[utt], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "order", "window"), [("mfcc_cmn_deltas", 2, 2), ("mfcc_cmn_deltas_o1w3", 1, 3)]
)
def test_deltas_equal_kaldi(kaldi_fixtures, name, order, window):
    source, golden = table(kaldi_fixtures, "mfcc_cmn"), table(kaldi_fixtures, name)
    for utt in golden:
        np.testing.assert_allclose(add_deltas(source[utt], order, window), golden[utt], atol=1e-4)


def test_splice_and_lda_equal_kaldi(kaldi_fixtures):
    source, spliced = table(kaldi_fixtures, "mfcc_cmn"), table(kaldi_fixtures, "mfcc_cmn_splice3")
    lda = table(kaldi_fixtures, "mfcc_cmn_lda")
    transform = ObjectReader.open(kaldi_fixtures / "exp/tri2b/final.mat").matrix()
    for utt in spliced:
        ours = splice(source[utt], 3, 3)
        np.testing.assert_allclose(ours, spliced[utt], atol=1e-4)
        np.testing.assert_allclose(apply_transform(ours, transform), lda[utt], atol=1e-4)


def test_reader_follows_kaldis_option_files(kaldi_fixtures, tmp_path):
    features = kaldi_fixtures / "golden/features"
    utt2spk = (features / "utt2spk").read_text()
    utts = list(table(kaldi_fixtures, "mfcc_raw"))
    lines = [line for line in utt2spk.splitlines() if line.split()[0] in utts]
    (tmp_path / "utt2spk").write_text("\n".join(lines) + "\n")
    write_scp(
        tmp_path / "feats.scp", tmp_path / "feats.ark", dict(read_matrices(f"ark:{features}/mfcc_raw.ark"))
    )
    stats = dict(read_matrices(f"ark:{features}/mfcc_cmvn.ark", np.float64))
    write_scp(tmp_path / "cmvn.scp", tmp_path / "cmvn.ark", stats)
    # tri2b has an empty cmvn_opts, splice_opts of 3 and final.mat.
    options = FeatureOptions.of_gmm_dir(kaldi_fixtures / "exp/tri2b_ali")
    golden = table(kaldi_fixtures, "mfcc_cmn_lda")
    for utt, ours in FeatureReader(DataDir(tmp_path), options):
        np.testing.assert_allclose(ours, golden[utt], atol=1e-4)


def write_scp(scp, ark, matrices):
    with MatrixWriter(f"ark,scp:{ark},{scp}") as writer:
        for key, matrix in matrices.items():
            writer.write(key, matrix)


@pytest.fixture
def data(tmp_path):
    """Two utterances of one speaker, with CMVN statistics."""
    matrices = {f"s-{i}": RNG.normal(5.0, 3.0, (8, 4)).astype(np.float32) for i in range(2)}
    write_scp(tmp_path / "feats.scp", tmp_path / "feats.ark", matrices)
    write_scp(tmp_path / "cmvn.scp", tmp_path / "cmvn.ark", {"s": sum(map(cmvn_stats, matrices.values()))})
    (tmp_path / "utt2spk").write_text("s-0 s\ns-1 s\n")
    return tmp_path


def test_speaker_normalisation_gives_zero_mean_and_unit_variance(data):
    options = FeatureOptions(cmvn_opts="--norm-vars=true")
    frames = np.concatenate([f for _, f in FeatureReader(DataDir(data), options)])
    np.testing.assert_allclose(frames.mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(frames.std(axis=0), 1.0, atol=1e-5)


def test_none_means_no_cmvn_and_empty_means_the_default(data, tmp_path):
    raw = dict(read_matrices(f"scp:{data}/feats.scp"))
    for utt, features in FeatureReader(DataDir(data), FeatureOptions()):
        np.testing.assert_array_equal(features, raw[utt])
    frames = np.concatenate([f for _, f in FeatureReader(DataDir(data), FeatureOptions(cmvn_opts=""))])
    np.testing.assert_allclose(frames.mean(axis=0), 0.0, atol=1e-5)
    assert frames.std() > 2.0


def test_gmm_directory_without_option_files_means_cmvn_and_deltas(tmp_path):
    assert FeatureOptions.of_gmm_dir(tmp_path) == FeatureOptions(cmvn_opts="", delta_opts="")
    (tmp_path / "final.mat").write_text("[ 1 0\n 0 1 ]\n")
    options = FeatureOptions.of_gmm_dir(tmp_path)
    assert options.delta_opts is None and options.splice_opts == "" and options.transform


def _missing_speaker(data):
    (data / "utt2spk").write_text("s-0 s\ns-1 other\n")


def _other_dimension(data):
    matrices = dict(read_matrices(f"scp:{data}/feats.scp"))
    matrices["s-1"] = matrices["s-1"][:, :3]
    write_scp(data / "feats.scp", data / "feats.ark", matrices)


def _not_a_number(data):
    matrices = dict(read_matrices(f"scp:{data}/feats.scp"))
    matrices["s-1"][3, 2] = np.nan
    write_scp(data / "feats.scp", data / "feats.ark", matrices)


def _no_cmvn(data):
    (data / "cmvn.scp").unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_missing_speaker, r"cmvn\.scp: utterance 's-1': .*speaker 'other'"),
        (_other_dimension, r"feats\.scp: utterance 's-1': features of dimension 3"),
        (_not_a_number, r"feats\.scp: utterance 's-1': .*not a number"),
        (_no_cmvn, r"cmvn\.scp: does not exist - make it with"),
    ],
)
def test_bad_input_names_file_and_utterance(data, spoil, message):
    spoil(data)
    with pytest.raises(DktError, match=message):
        list(FeatureReader(DataDir(data), FeatureOptions(cmvn_opts="")))


def test_a_bare_boolean_option_means_true(data):
    frames = np.concatenate([f for _, f in FeatureReader(DataDir(data), FeatureOptions("--norm-vars"))])
    np.testing.assert_allclose(frames.std(axis=0), 1.0, atol=1e-5)


def test_damaged_statistics_and_an_impossible_window_are_refused(data):
    stats = dict(read_matrices(f"scp:{data}/cmvn.scp", np.float64))
    stats["s"][0, 1] = np.nan
    write_scp(data / "cmvn.scp", data / "cmvn.ark", stats)
    with pytest.raises(DktError, match=r"feats\.scp: utterance 's-0': CMVN statistics .*not a number"):
        list(FeatureReader(DataDir(data), FeatureOptions(cmvn_opts="")))
    with pytest.raises(DktError, match="--delta-window: expected"):
        list(FeatureReader(DataDir(data), FeatureOptions(delta_opts="--delta-window=0")))
    with pytest.raises(DktError, match="--left-context: expected"):
        FeatureReader(DataDir(data), FeatureOptions(splice_opts="--left-context=-1"))


@pytest.mark.parametrize("opts", ["--norm-means=perhaps", "--norm-var=true", "nonsense"])
def test_unknown_options_are_refused(data, opts):
    with pytest.raises(DktError, match="cmvn_opts"):
        FeatureReader(DataDir(data), FeatureOptions(cmvn_opts=opts))


def test_transform_of_another_dimension_is_refused(data):
    with pytest.raises(DktError, match=r"shape \(2, 9\)"):
        apply_transform(np.zeros((3, 4), np.float32), np.zeros((2, 9), np.float32))
