"""Networks of dkt as networks of nnet3: the same outputs, and what cannot be expressed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from dkt.base.errors import DktError
from dkt.feat.pipeline import FeatureOptions, MatrixFile
from dkt.hmm.transition_model import load_transition_model
from dkt.nnet.dnn import DnnConfig
from dkt.nnet.model_file import ModelInfo, build_network
from dkt.nnet.nnet3.decodable import Nnet3Computer
from dkt.nnet.nnet3.from_dkt import log_posteriors_as_nnet3, nnet3_model_of, nnet3_of
from dkt.nnet.nnet3.model import Nnet3Model, encode_nnet3_model, read_nnet3_model
from dkt.util.table import read_matrices

P = 7


def model(kind, config, feature_dim=6, left=0, right=0, num_pdfs=P, lda=None, **pipeline):
    """A description and a network whose numbers are all of effect."""
    options = FeatureOptions(**pipeline)
    info = ModelInfo.with_features(
        options,
        kind=kind,
        feature_dim=feature_dim,
        num_pdfs=num_pdfs,
        left_context=left,
        right_context=right,
        network=config,
    )
    torch.manual_seed(len(str(config)) + feature_dim)
    network = build_network(
        info, None if lda is None else {"lda.weight": torch.randn(lda, info.spliced_dim + 1) / 5}
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(
                torch.randn_like(parameter) / (2 if parameter.ndim < 2 else parameter.shape[1] ** 0.5)
            )
        network.shift.normal_()
        network.scale.uniform_(0.5, 1.5)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.2, 2.0)
    return info, network.eval()


def features_of(dim, frames=23):
    return np.random.default_rng(3).normal(size=(frames, dim)).astype(np.float32)


def compared(tmp_path, info, network, features, ivector=None):
    """nnet3's outputs, those of dkt in nnet3's way the same; through a file."""
    path = tmp_path / "final.raw"
    path.write_bytes(encode_nnet3_model(Nnet3Model(nnet3_of(info, network, features.shape[1]))))
    outputs = Nnet3Computer(read_nnet3_model(path).network)(features, None, ivector)
    expected = log_posteriors_as_nnet3(info, network, features, ivector)
    assert outputs.shape == (len(features), info.num_pdfs)
    np.testing.assert_allclose(outputs, expected, atol=2e-5, rtol=0)
    return outputs


def plain_log_posteriors(info, network, frames):
    with torch.no_grad():
        logits = network.of_utterance(
            torch.from_numpy(frames), info.left_context, info.right_context, info.ivector_dim
        )
    return torch.log_softmax(logits, 1).numpy()


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("lda", [None, 5])
def test_a_dnn(tmp_path, activation, batch_norm, lda):
    config = {
        "hidden_layers": 2,
        "hidden_dim": 8,
        "activation": activation,
        "batch_norm": batch_norm,
        "dropout": 0.2,
    }
    info, network = model("dnn", config, left=2, right=3, lda=lda)
    features = features_of(6)
    outputs = compared(tmp_path, info, network, features)
    # Splicing repeats the first and the last frame in both: dkt's own scores are the same.
    np.testing.assert_allclose(outputs, plain_log_posteriors(info, network, features), atol=2e-5)


def test_batch_normalisation_can_stay_one():
    config = {"hidden_layers": 2, "hidden_dim": 8, "batch_norm": True}
    info, network = model("dnn", config, left=1, right=1)
    features = features_of(6)
    made = nnet3_of(info, network, fold_batch_norm=False)
    kinds = [component.kind for component in made.components.values()]
    assert kinds.count("BatchNormComponent") == kinds.count("ScaleAndOffsetComponent") == 2
    outputs = Nnet3Computer(made)(features)
    np.testing.assert_allclose(outputs, log_posteriors_as_nnet3(info, network, features), atol=2e-5)
    with torch.no_grad():
        network.hidden[1].weight[3] = 1e-6
    with pytest.raises(DktError, match="folded"):
        nnet3_of(info, network, fold_batch_norm=False)
    compared_again = Nnet3Computer(nnet3_of(info, network))(features)
    expected = log_posteriors_as_nnet3(info, network, features)
    np.testing.assert_allclose(compared_again, expected, atol=2e-5)


@pytest.mark.parametrize("peepholes", [True, False])
@pytest.mark.parametrize("projection", [None, 4])
@pytest.mark.parametrize("delay", [0, 3])
def test_an_lstm(tmp_path, peepholes, projection, delay):
    config = {
        "layers": 2,
        "cells": 5,
        "projection": projection,
        "peepholes": peepholes,
        "target_delay": delay,
    }
    info, network = model("lstm", config)
    features = features_of(6)
    outputs = compared(tmp_path, info, network, features)
    ours = plain_log_posteriors(info, network, features)
    if delay == 0:
        np.testing.assert_allclose(outputs, ours, atol=2e-5)
    else:
        # nnet3 has seen the first frames when it comes to its first output.
        assert np.abs(outputs - ours)[0].max() > 1e-3


@pytest.mark.parametrize("projection", [None, 4])
def test_a_blstm(tmp_path, projection):
    info, network = model("blstm", {"layers": 2, "cells": 5, "projection": projection})
    features = features_of(6)
    outputs = compared(tmp_path, info, network, features)
    np.testing.assert_allclose(outputs, plain_log_posteriors(info, network, features), atol=2e-5)


def transform(rows, columns):
    return MatrixFile("final.mat", np.random.default_rng(1).normal(size=(rows, columns)) / 3)


@pytest.mark.parametrize(
    ("pipeline", "dim"),
    [
        ({"delta_opts": ""}, 9),
        ({"delta_opts": "--delta-order=1 --delta-window=3"}, 6),
        ({"splice_opts": "--left-context=1 --right-context=2"}, 12),
        ({"splice_opts": "", "transform": transform(5, 27)}, 5),
        ({"splice_opts": "", "transform": transform(5, 28)}, 5),
        (
            {
                "delta_opts": "--delta-order=1",
                "splice_opts": "--left-context=1 --right-context=0",
                "transform": transform(4, 12),
            },
            4,
        ),
        ({"cmvn_opts": "--norm-vars=true", "transform": transform(5, 4)}, 5),
    ],
)
@pytest.mark.parametrize(
    ("kind", "config", "left", "right"),
    [
        ("dnn", {"hidden_layers": 1, "hidden_dim": 6}, 0, 0),
        ("dnn", {"hidden_layers": 1, "hidden_dim": 6}, 2, 1),
        ("lstm", {"layers": 1, "cells": 4, "projection": 3, "target_delay": 0}, 0, 0),
        ("lstm", {"layers": 1, "cells": 4, "projection": 3, "target_delay": 2}, 0, 0),
        ("lstm", {"layers": 1, "cells": 4, "projection": 3, "target_delay": 7}, 0, 0),
        ("blstm", {"layers": 1, "cells": 4, "projection": 3}, 0, 0),
    ],
)
@pytest.mark.parametrize("ivector_dim", [0, 2])
def test_the_feature_pipeline_is_inside(tmp_path, kind, config, left, right, pipeline, dim, ivector_dim):
    info, network = model(kind, config, dim + ivector_dim, left, right, ivector_dim=ivector_dim, **pipeline)
    ivector = np.array([0.5, -1.0], np.float32) if ivector_dim else None
    compared(tmp_path, info, network, features_of(3), ivector)


def test_a_complete_model_on_kaldis_features(kaldi_fixtures, tmp_path):
    golden = kaldi_fixtures / "golden"
    transitions = load_transition_model(golden / "transition_model.bin")
    config = {"layers": 2, "cells": 32, "projection": 16}
    info, network = model("lstm", config, 40, num_pdfs=624, cmvn_opts="")
    with torch.no_grad():
        for parameter in network.layers.parameters():
            parameter.div_(3.0)
    counts = np.arange(624.0)
    path = tmp_path / "final.mdl"
    for binary, tolerance in ((True, 1e-4), (False, 1e-3)):
        path.write_bytes(encode_nnet3_model(nnet3_model_of(info, network, transitions, counts), binary))
        read = read_nnet3_model(path)
        assert (read.left_context, read.right_context) == (0, 5)
        computer = Nnet3Computer(read.network)
        for _, features in read_matrices(f"ark:{golden}/nnet1/input_cmn.ark"):
            expected = log_posteriors_as_nnet3(info, network, features)
            np.testing.assert_allclose(computer(features), expected, atol=tolerance, rtol=0)
    log_priors = np.log(read.priors)
    np.testing.assert_allclose(log_priors[1:], np.log(counts[1:] / counts.sum()), rtol=1e-5)
    assert log_priors[0] > 60  # never seen: its score is far below all others
    with pytest.raises(DktError, match="7 outputs, the transition model 624 pdfs"):
        nnet3_model_of(*model("dnn", dataclasses.asdict(DnnConfig(1, 4))), transitions, np.ones(7))


@pytest.mark.parametrize("peepholes", [True, False])
@pytest.mark.parametrize("projection", [None, 3])
def test_cells_are_clipped_as_in_dkt(tmp_path, peepholes, projection):
    config = {"layers": 2, "cells": 5, "cell_clip": 0.5, "target_delay": 2}
    info, network = model("lstm", config | {"projection": projection, "peepholes": peepholes})
    features = features_of(6)
    clipped = compared(tmp_path, info, network, features)
    for layer in network.layers:
        layer.clips = layer.clips._replace(cell=0.0)
    assert np.abs(clipped - log_posteriors_as_nnet3(info, network, features)).max() > 1e-3
    # Without a limit it is nnet3's own nonlinearity, and computes what plain components do.
    kinds = {component.kind for component in nnet3_of(info, network).components.values()}
    assert "LstmNonlinearityComponent" in kinds and "ElementwiseProductComponent" not in kinds
    compared(tmp_path, info, network, features)


def test_a_transform_of_other_features():
    info, network = model("dnn", {"hidden_layers": 1}, 5, splice_opts="", transform=transform(5, 27))
    with pytest.raises(DktError, match="features of dimension 4 does not give 27 dimensions"):
        nnet3_of(info, network, 4)


@pytest.mark.parametrize(
    ("kind", "config", "pipeline", "reason"),
    [
        ("gru", {"layers": 1}, {}, "gru"),
        ("dnn", {"hidden_layers": 1}, {"paste": "feats.scp pitch.scp"}, "pasted"),
        ("dnn", {"hidden_layers": 1}, {"speaker_transforms": True}, "fMLLR"),
    ],
)
def test_what_cannot_be_expressed(kind, config, pipeline, reason):
    info, network = model(kind, config, **pipeline)
    with pytest.raises(DktError, match=reason):
        nnet3_of(info, network)
