"""Directories of nnet1: what Kaldi's scripts ask for is there, and computes what the model computes."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from dkt.base.errors import DktError
from dkt.export.nnet1 import nnet1_log_posteriors, write_nnet1_dir
from dkt.feat.pipeline import FeatureOptions, MatrixFile
from dkt.hmm.counts import load_counts, save_counts
from dkt.nnet.nnet1.components import read_nnet1
from dkt.nnet.nnet1.to_dkt import dkt_network_of
from dkt.nnet.scorer import logits_of
from dkt.util.table import read_matrices
from tests.nnet.test_nnet3_from_dkt import features_of, model, transform

CONFIG = {"layers": 1, "cells": 8, "projection": 4}


@pytest.fixture
def source(kaldi_fixtures, tmp_path):
    """The directory of a model of 624 pdfs, as a training leaves it."""
    made = tmp_path / "exp/lstm"
    made.mkdir(parents=True)
    for name in ("final.mdl", "tree", "phones.txt"):
        shutil.copy(kaldi_fixtures / "exp/tri2b_ali" / name, made)
    shutil.copy(kaldi_fixtures / "golden/nnet1/ali_train_pdf.counts", made)
    return made


def written(source, info, network, binary=True, raw_dim=None):
    out = source.parent / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    write_nnet1_dir(source, info, network, out, binary, raw_dim)
    return out


def content(directory):
    return {path.name for path in directory.iterdir()}


NETWORKS = {"final.nnet", "final.feature_transform", "feature_pipeline"}
COPIED = {"final.mdl", "tree", "phones.txt", "ali_train_pdf.counts"}


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(
    ("kind", "config", "context"),
    [
        ("dnn", {"hidden_layers": 2, "hidden_dim": 16, "batch_norm": True}, 3),
        ("lstm", CONFIG, 0),
        ("blstm", CONFIG, 0),
    ],
)
def test_a_directory_computes_what_the_model_computes(kaldi_fixtures, source, kind, config, context, binary):
    info, network = model(kind, config, 40, context, context, num_pdfs=624, cmvn_opts="")
    out = written(source, info, network, binary)
    assert content(out) == NETWORKS | COPIED | {"cmvn_opts"}
    assert (out / "cmvn_opts").read_text() == "--norm-means=true\n"
    for name in COPIED:
        assert (out / name).read_bytes() == (source / name).read_bytes()
    for name in ("final.nnet", "final.feature_transform"):
        assert (out / name).read_bytes().startswith(b"\0B<Nnet> " if binary else b"<Nnet> \n")
    for _, features in read_matrices(f"ark:{kaldi_fixtures}/golden/nnet1/input_cmn.ark"):
        found = nnet1_log_posteriors(out, features)
        logits = logits_of(network, info, features, torch.device("cpu"))
        np.testing.assert_allclose(found, torch.log_softmax(logits, 1).numpy(), atol=1e-4, rtol=0)


def test_option_files_are_of_what_stays_outside(source):
    stats = MatrixFile("global", np.ones((2, 5)))
    pipeline = {
        "online_cmvn_opts": "--cmn-window=300",
        "global_cmvn_stats": stats,
        "delta_opts": "",
        "splice_opts": "--left-context=1 --right-context=1",
        "transform": transform(6, 36),
        "ivector_dim": 2,
    }
    info, network = model("lstm", CONFIG, 8, num_pdfs=624, **pipeline)
    save_counts(source / "prior_counts", np.arange(1.0, 625.0))
    out = written(source, info, network, raw_dim=4)
    options = {"online_cmvn_opts", "delta_opts", "ivector_dim", "global_cmvn_stats.mat", "prior_counts"}
    assert content(out) == NETWORKS | COPIED | options
    assert load_counts(out / "prior_counts").tolist() == list(range(1, 625))
    # What Kaldi's scripts do by these files, and nothing that is in the network.
    read = FeatureOptions.of_nnet_dir(out)
    assert read == info.feature_options.replace(
        splice_opts=None, transform=None, delta_opts="--delta-order=2"
    )
    assert "splice" not in (out / "feature_pipeline").read_text()
    assert nnet1_log_posteriors(out, features_of(14)).shape == (23, 624)
    with pytest.raises(DktError, match="takes 14 inputs, it is given 13"):
        nnet1_log_posteriors(out, features_of(13))


@pytest.mark.parametrize("name", ["final.mdl", "tree", "phones.txt", "ali_train_pdf.counts"])
def test_a_file_is_missing(source, name):
    (source / name).unlink()
    with pytest.raises(DktError, match=f"{name}: does not exist"):
        written(source, *model("lstm", CONFIG, 8, num_pdfs=624))


def test_parts_of_other_models(source):
    with pytest.raises(DktError, match=r"final.mdl: is of 624 pdfs, the network has 7"):
        written(source, *model("lstm", CONFIG, 8))
    save_counts(source / "ali_train_pdf.counts", np.ones(623))
    with pytest.raises(DktError, match=r"counts: is of 623 pdfs, the network has 624"):
        written(source, *model("lstm", CONFIG, 8, num_pdfs=624))


@pytest.mark.parametrize("name", ["final.nnet", "final.feature_transform"])
def test_files_that_are_cut_short(source, name):
    info, network = model("lstm", CONFIG, 3, num_pdfs=624)
    out = written(source, info, network, binary=False)
    whole = (out / name).read_bytes()
    features = features_of(3, 2)
    for end in range(0, len(whole) - 2, max(1, len(whole) // 60)):
        (out / name).write_bytes(whole[:end])
        with pytest.raises(DktError):
            nnet1_log_posteriors(out, features)


def test_networks_without_a_softmax_or_of_other_inputs(source):
    info, network = model("lstm", CONFIG, 3, num_pdfs=624)
    out = written(source, info, network, binary=False)
    whole = (out / "final.nnet").read_text()
    (out / "final.nnet").write_text(whole.replace("<Softmax>", "<Sigmoid>"))
    with pytest.raises(DktError, match="does not end with a layer and its <Softmax>"):
        nnet1_log_posteriors(out, features_of(3))
    (out / "final.nnet").write_text(whole)
    (out / "final.feature_transform").write_text("<Nnet> <Copy> 4 3 [ 1 2 3 3 ] </Nnet>")
    with pytest.raises(DktError, match=r"has 3 inputs, final\.feature_transform beside it 4 outputs"):
        nnet1_log_posteriors(out, features_of(3))


@pytest.mark.parametrize("as_it_is", [False, True])
@pytest.mark.parametrize("name", ["nnet1", "nnet1_lstm"])
def test_kaldis_networks_through_dkt(kaldi_fixtures, source, name, as_it_is):
    golden = kaldi_fixtures / "golden" / name
    read = [read_nnet1(golden / part) for part in ("final.feature_transform.txt", "final.nnet")]
    out = written(source, *dkt_network_of(*read, FeatureOptions(cmvn_opts=""), as_it_is))
    posteriors = dict(read_matrices(f"ark:{golden}/posteriors.ark"))
    for utt, features in read_matrices(f"ark:{golden.parent}/nnet1/input_cmn.ark"):
        found = nnet1_log_posteriors(out, features)
        seen = posteriors[utt] > 1e-6
        np.testing.assert_allclose(found[seen], np.log(posteriors[utt][seen]), atol=1e-4)
        np.testing.assert_allclose(np.exp(found), posteriors[utt], atol=2e-5)
