"""Networks of dkt as files of ONNX: the same outputs in every frame, however the frames come."""

from __future__ import annotations

import dataclasses
import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx", reason="needs the package onnx (dkt[onnx])")
pytest.importorskip("onnxruntime", reason="needs the package onnxruntime (dkt[onnx])")

from onnx import numpy_helper

from dkt.base.errors import DktError
from dkt.export import onnx_graph
from dkt.export.onnx import onnx_of
from dkt.export.onnx_features import options_before_onnx
from dkt.export.onnx_session import UNKNOWN_LENGTH, OnnxSession, onnx_log_posteriors
from dkt.feat.functions import add_deltas, apply_transform, splice
from dkt.feat.online_cmvn import apply_online_cmvn
from dkt.feat.pipeline import FeatureOptions, MatrixFile
from dkt.nnet.networks import NETWORKS
from dkt.nnet.pdf_prior import log_priors
from dkt.nnet.scorer import logits_of
from dkt.util.table import read_matrices
from tests.nnet.test_nnet3_from_dkt import P, model, transform

F = 6
COUNTS = np.array([0.0, 1.0, 5.0, 10.0, 100.0, 7.0, 3.0])
DNN = {"hidden_layers": 2, "hidden_dim": 8}
BLSTM = {"layers": 2, "cells": 5, "projection": 4}
LSTM = BLSTM | {"target_delay": 3}


def utterance(dim=F, frames=23, seed=0):
    return np.random.default_rng(seed).normal(size=(frames, dim)).astype(np.float32)


def stats(dim=F):
    """Global CMVN statistics of 50 frames of a mean of 0.5 and a variance of 2."""
    frames = np.random.default_rng(9).normal(0.5, 2**0.5, (50, dim))
    return MatrixFile(
        "global", np.stack([np.append(frames.sum(0), 50.0), np.append((frames**2).sum(0), 0.0)])
    )


def grown(frames, ivector_dim):
    """An i-vector that is another one in every frame, as online ones are."""
    return np.outer(np.linspace(1.0, 2.0, frames), np.ones(ivector_dim) / 2).astype(np.float32)


def expected_of(info, network, features):
    """dkt's own log-posteriors of what a graph takes: the rest of the pipeline, then the network."""
    options, ivectors = info.feature_options, features[:, features.shape[1] - info.ivector_dim :]
    features = features[:, : features.shape[1] - info.ivector_dim]
    if not options.speaker_transforms:
        online = options.parse_online_cmvn("")
        if online is not None and not online[1]:
            features = apply_online_cmvn(features, options.global_cmvn_stats.values, online[0])
        delta, spliced = options.parse_deltas(""), options.parse_splice("")
        if delta is not None:
            features = add_deltas(features, delta.delta_order, delta.delta_window)
        if spliced is not None:
            features = splice(features, spliced.left_context, spliced.right_context)
        if options.transform is not None:
            features = apply_transform(features, options.transform.values)
    frames = np.concatenate([features, ivectors], axis=1).astype(np.float32)
    return torch.log_softmax(logits_of(network, info, frames, torch.device("cpu")), 1).numpy()


def exported(tmp_path, info, network, counts=None, raw_dim=None):
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_of(info, network, counts, raw_dim).SerializeToString())
    return path


def assert_same(outputs, expected, tolerance=1e-5):
    assert outputs.shape == expected.shape and outputs.dtype == np.float32
    np.testing.assert_allclose(outputs, expected, atol=tolerance, rtol=0)


def compared(tmp_path, info, network, dim=F, raw_dim=None, tolerance=1e-5):
    """A session; its outputs are dkt's, of utterances of other lengths alone and side by side, in chunks."""
    path = exported(tmp_path, info, network, raw_dim=raw_dim)
    lengths = (23, 1, 4)
    utterances = [utterance(dim, length, length) for length in lengths]
    if info.ivector_dim:
        utterances = [np.hstack([frames, grown(len(frames), info.ivector_dim)]) for frames in utterances]
    expected = [expected_of(info, network, frames) for frames in utterances]
    session = OnnxSession(path)
    for sizes in ([1], [7], [100], [2, 1, 5]):
        together = session.outputs_of(utterances, sizes)
        for frames, result, wanted in zip(utterances, together, expected, strict=True):
            assert_same(result, wanted, tolerance)
            assert_same(onnx_log_posteriors(path, frames, sizes), wanted, tolerance)
        if not session.streaming:
            break
    return session


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("lda", [None, 5])
def test_a_dnn(tmp_path, activation, batch_norm, lda):
    config = DNN | {"activation": activation, "batch_norm": batch_norm, "dropout": 0.2}
    info, network = model("dnn", config, F, left=2, right=3, lda=lda)
    session = compared(tmp_path, info, network)
    assert (session.metadata["left_context"], session.metadata["right_context"]) == (2, 3)
    assert session.metadata["form"] == "whole" and session.states == [] and session.output_delay == 0


@pytest.mark.parametrize("peepholes", [True, False])
@pytest.mark.parametrize("projection", [None, 4])
@pytest.mark.parametrize("delay", [0, 3])
@pytest.mark.parametrize("clip", [0.0, 0.3])
def test_an_lstm(tmp_path, peepholes, projection, delay, clip):
    config = LSTM | {
        "projection": projection,
        "peepholes": peepholes,
        "target_delay": delay,
        "cell_clip": clip,
    }
    info, network = model("lstm", config, F)
    session = compared(tmp_path, info, network)
    assert session.metadata["target_delay"] == session.output_delay == delay
    names = {state.name: state.shape for state in session.states}
    assert names.items() >= {"c1": (5,), "r2": (projection or 5,)}.items()
    assert ("position" in names) == (delay > 0)
    if clip:
        # The limit is reached: without it the outputs are others.
        for layer in network.layers:
            layer.clips = layer.clips._replace(cell=0.0)
        assert (
            np.abs(expected_of(info, network, utterance()) - session.outputs_of([utterance()])[0]).max()
            > 0.01
        )


@pytest.mark.parametrize("delay", [0, 2])
def test_a_gru(tmp_path, delay):
    info, network = model("gru", {"layers": 2, "units": 5, "target_delay": delay}, F)
    session = compared(tmp_path, info, network)
    assert {"h1", "h2"} <= {state.name for state in session.states}


@pytest.mark.parametrize("peepholes", [True, False])
@pytest.mark.parametrize("projection", [None, 4])
def test_a_blstm(tmp_path, projection, peepholes):
    info, network = model("blstm", BLSTM | {"projection": projection, "peepholes": peepholes}, F)
    session = compared(tmp_path, info, network)
    assert session.metadata["form"] == "whole"


PIPELINES = [
    ({"delta_opts": ""}, 18),
    ({"delta_opts": "--delta-order=1 --delta-window=3"}, 12),
    ({"delta_opts": "--delta-order=0"}, 6),
    ({"splice_opts": "--left-context=1 --right-context=2"}, 24),
    ({"splice_opts": "--left-context=0 --right-context=2"}, 18),
    ({"splice_opts": "--left-context=2 --right-context=0", "transform": transform(5, 18)}, 5),
    ({"splice_opts": "", "transform": transform(5, 55)}, 5),
    ({"delta_opts": "", "splice_opts": "", "transform": transform(4, 162)}, 4),
    ({"cmvn_opts": "--norm-vars=true", "transform": transform(5, 7)}, 5),
    ({"paste": "feats.scp pitch.scp", "delta_opts": ""}, 18),
    ({"online_cmvn_opts": "", "global_cmvn_stats": stats()}, 6),
    (
        {
            "online_cmvn_opts": "--cmn-window=7 --speaker-frames=5 --global-frames=4 "
            "--norm-vars=true --skip-dims=1:3",
            "global_cmvn_stats": stats(),
            "delta_opts": "--delta-order=1",
        },
        12,
    ),
    ({"online_cmvn_opts": "--norm-means=false", "global_cmvn_stats": stats(), "splice_opts": ""}, 54),
]
KINDS = [
    ("dnn", DNN, 0, 0, 2),
    ("dnn", DNN, 2, 1, 0),
    ("lstm", LSTM | {"target_delay": 0}, 0, 0, 2),
    ("lstm", LSTM, 0, 0, 0),
    ("gru", {"layers": 1, "units": 5, "target_delay": 9}, 0, 0, 2),
    ("blstm", BLSTM, 0, 0, 0),
]


@pytest.mark.parametrize(("pipeline", "dim"), PIPELINES)
@pytest.mark.parametrize(("kind", "config", "left", "right", "ivector_dim"), KINDS)
def test_the_feature_pipeline_is_inside(tmp_path, kind, config, left, right, pipeline, dim, ivector_dim):
    info, network = model(kind, config, dim + ivector_dim, left, right, ivector_dim=ivector_dim, **pipeline)
    compared(tmp_path, info, network, raw_dim=F)


def test_contexts_are_told(tmp_path):
    options = {"delta_opts": "", "splice_opts": "--left-context=3 --right-context=1"}
    info, network = model("lstm", LSTM, 18 * 5, **options)
    session = compared(tmp_path, info, network)
    told = {name: session.metadata[name] for name in ("left_context", "right_context", "target_delay")}
    assert told == {"left_context": 7, "right_context": 5, "target_delay": 3}
    assert session.output_delay == 8


def test_what_is_of_a_speaker_is_done_before_the_graph(tmp_path):
    info, network = model("lstm", LSTM, 18, delta_opts="", cmvn_opts="--norm-vars=true")
    before = compared(tmp_path, info, network).metadata["features_before"]
    assert before["cmvn_opts"] == "--norm-vars=true" and "delta_opts" not in before
    # fMLLR follows deltas, which are not in the graph then.
    info, network = model("lstm", LSTM, 20, delta_opts="", speaker_transforms=True, ivector_dim=2)
    session = compared(tmp_path, info, network, 18)
    assert session.feature_dim == 18 and session.metadata["features_before"]["delta_opts"] == ""
    # CMVN that goes on with the speaker.
    online = {"online_cmvn_opts": "--spk2utt=ark:spk2utt", "global_cmvn_stats": stats()}
    info, network = model("dnn", DNN, F, **online)
    session = compared(tmp_path, info, network)
    assert session.metadata["features_before"]["global_cmvn_stats"] == [2, F + 1]
    assert options_before_onnx(FeatureOptions(**online)) == FeatureOptions(**online)
    assert (
        options_before_onnx(FeatureOptions(online_cmvn_opts="", global_cmvn_stats=stats()))
        == FeatureOptions()
    )


def test_a_stream_begins_another_utterance_while_others_go_on(tmp_path):
    info, network = model("lstm", LSTM, 12, delta_opts="--delta-order=1")
    session = OnnxSession(exported(tmp_path, info, network))
    first, second, third = (utterance(frames=frames, seed=frames) for frames in (9, 30, 16))
    delay = session.output_delay
    states, outputs = session.zero_states(2), []
    # In the first stream the third utterance follows the first one and its delay, in chunks that fit.
    filled = np.concatenate(
        [first, np.full((delay, F), 7, np.float32), third, np.zeros((delay, F), np.float32)]
    )
    others = np.concatenate([second, np.zeros((len(filled) - len(second), F), np.float32)])
    bounds = [0, 4, 9, 9 + delay, 9 + delay + 16, len(filled)]
    for begin, end in pairwise(bounds):
        if begin == 9 + delay:
            for values in states.values():
                values[0] = 0
        lengths = [{9: 9, 9 + delay + 16: 16}.get(begin, UNKNOWN_LENGTH), 30 if end > 30 else UNKNOWN_LENGTH]
        chunk = np.stack([filled[begin:end], others[begin:end]], axis=1)
        output, states = session.run(chunk, np.array(lengths), states, "log_posteriors")
        outputs.append(output)
    rows = np.concatenate(outputs)
    assert_same(rows[delay : delay + 9, 0], expected_of(info, network, first))
    assert_same(rows[9 + 2 * delay :, 0], expected_of(info, network, third))
    assert_same(rows[delay : delay + 30, 1], expected_of(info, network, second)[: len(rows) - delay])


@pytest.mark.parametrize("kind", ["dnn", "lstm"])
def test_priors(tmp_path, kind):
    info, network = model(kind, DNN if kind == "dnn" else LSTM, F)
    made = onnx_of(info, network, COUNTS)
    (tmp_path / "model.onnx").write_bytes(made.SerializeToString())
    session = OnnxSession(tmp_path / "model.onnx")
    (loglikes,) = session.outputs_of([utterance()], output="loglikes")
    expected = expected_of(info, network, utterance()) - log_priors(COUNTS)
    np.testing.assert_allclose(loglikes, expected, rtol=1e-5)
    assert loglikes[:, 0].max() < -1e18  # never seen: disabled
    (priors,) = (tensor for tensor in made.graph.initializer if tensor.name == session.metadata["log_priors"])
    np.testing.assert_array_equal(numpy_helper.to_array(priors), log_priors(COUNTS))
    with pytest.raises(DktError, match=r"counts of shape \(3,\) for a model of 7 pdfs"):
        onnx_of(info, network, COUNTS[:3])
    plain = OnnxSession(exported(tmp_path, info, network))
    with pytest.raises(DktError, match=r"has no output loglikes, it has log_posteriors$"):
        plain.outputs_of([utterance()], output="loglikes")


def test_metadata_and_the_form_of_the_file(tmp_path):
    info, network = model("lstm", LSTM, 18, delta_opts="", cmvn_opts="--norm-means=true")
    made = onnx_of(info, network)
    assert [opset.version for opset in made.opset_import] == [17] and made.ir_version == 8
    metadata = {entry.key: entry.value for entry in made.metadata_props}
    assert metadata["model_type"] == "dkt_lstm" and metadata["kind"] == "lstm"
    assert metadata["num_pdfs"] == metadata["vocab_size"] == str(P) and metadata["feature_dim"] == "6"
    assert json.loads(metadata["feature_pipeline"])["delta_opts"] == ""
    assert json.loads(metadata["feature_pipeline"])["cmvn_opts"] == "--norm-means=true"
    states = {state["name"]: [state["dtype"], *state["shape"]] for state in json.loads(metadata["states"])}
    assert states["c1"] == ["float32", 5] and states["r1"] == ["float32", 4]
    assert states["position"] == ["int64"] and states["delta_context"] == ["float32", 8, 6]
    inputs = [value.name for value in made.graph.input]
    outputs = [value.name for value in made.graph.output]
    assert inputs == ["features", "lengths", *states]
    assert outputs == ["log_posteriors", *(f"{name}_out" for name in states)]
    axes = [axis.dim_param or axis.dim_value for axis in made.graph.input[0].type.tensor_type.shape.dim]
    assert axes == ["T", "N", 6]


def _options(draw, dim):
    """A pipeline of features of a dimension, and the dimension of what it gives."""
    pipeline = {}
    if draw(st.booleans()):
        order = draw(st.integers(0, 2))
        pipeline["delta_opts"] = f"--delta-order={order} --delta-window={draw(st.integers(1, 3))}"
        dim *= order + 1
    if draw(st.booleans()):
        left, right = draw(st.integers(0, 3)), draw(st.integers(0, 3))
        pipeline["splice_opts"] = f"--left-context={left} --right-context={right}"
        dim *= left + 1 + right
    if draw(st.booleans()):
        pipeline["transform"] = transform(4, dim + draw(st.integers(0, 1)))
        dim = 4
    return pipeline, dim


@st.composite
def models(draw):
    raw_dim, kind = draw(st.integers(1, 4)), draw(st.sampled_from([*NETWORKS]))
    pipeline, dim = _options(draw, raw_dim)
    config = {"layers": draw(st.integers(1, 3)), "target_delay": draw(st.integers(0, 4))}
    left = right = 0
    if kind == "dnn":
        left, right = draw(st.integers(0, 2)), draw(st.integers(0, 2))
        config = {
            "hidden_layers": draw(st.integers(1, 3)),
            "hidden_dim": draw(st.integers(1, 6)),
            "activation": draw(st.sampled_from(["sigmoid", "relu", "tanh"])),
            "batch_norm": draw(st.booleans()),
        }
    elif kind == "gru":
        config["units"] = draw(st.integers(1, 5))
    else:
        cells = draw(st.integers(2, 5))
        config |= {
            "cells": cells,
            "projection": draw(st.none() | st.integers(1, cells - 1)),
            "peepholes": draw(st.booleans()),
            "cell_clip": draw(st.sampled_from([0.0, 0.5])),
        }
        if kind == "blstm":
            del config["target_delay"]
    ivector_dim = draw(st.integers(0, 2))
    info, network = model(kind, config, dim + ivector_dim, left, right, ivector_dim=ivector_dim, **pipeline)
    return info, network, raw_dim


@settings(derandomize=True, database=None, deadline=None, max_examples=25)
@given(models(), st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_any_network(tmp_path_factory, made, sizes):
    info, network, raw_dim = made
    path = exported(tmp_path_factory.mktemp("any"), info, network, raw_dim=raw_dim)
    frames = np.hstack([utterance(raw_dim, 12), grown(12, info.ivector_dim)])
    assert_same(onnx_log_posteriors(path, frames, sizes), expected_of(info, network, frames), 2e-5)


def test_kaldis_features(kaldi_fixtures, tmp_path):
    info, network = model("lstm", {"layers": 2, "cells": 32, "projection": 16}, 120, 0, 0, 200, delta_opts="")
    path = exported(tmp_path, info, network)
    for _, features in read_matrices(f"ark:{kaldi_fixtures}/golden/nnet1/input_cmn.ark"):
        assert_same(onnx_log_posteriors(path, features), expected_of(info, network, features), 1e-4)


def test_a_damaged_file(tmp_path):
    info, network = model("lstm", LSTM, F)
    path = exported(tmp_path, info, network)
    whole = path.read_bytes()
    for size in [0, 1, *range(10, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(
            DktError, match=r"model\.onnx: is no model of ONNX that dkt wrote, or is cut short"
        ):
            OnnxSession(path)
    with pytest.raises(DktError, match="is not there"):
        OnnxSession(tmp_path / "none.onnx")


def test_a_model_of_somebody_else(tmp_path):
    made = onnx_of(*model("dnn", DNN, F))
    del made.metadata_props[:]
    (tmp_path / "model.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(DktError, match="metadata are not those of dkt"):
        OnnxSession(tmp_path / "model.onnx")


def test_features_of_another_dimension(tmp_path):
    session = OnnxSession(exported(tmp_path, *model("dnn", DNN, F)))
    for features in (utterance(5), np.zeros((0, F), np.float32)):
        with pytest.raises(DktError, match="expected frames of dimension 6"):
            session.outputs_of([utterance(), features])


def test_what_cannot_be_expressed(monkeypatch):
    info, network = model("dnn", DNN, 5, splice_opts="", transform=transform(5, 27))
    with pytest.raises(DktError, match="features of dimension 4 does not give 27 dimensions"):
        onnx_of(info, network, raw_dim=4)
    info, network = model("dnn", DNN, F)
    with pytest.raises(DktError, match="a network of the kind tdnn has no form in ONNX"):
        onnx_of(dataclasses.replace(info, kind="tdnn"), torch.nn.Linear(2, 2))
    with torch.no_grad():
        network.output.weight[0, 0] = torch.nan
    with pytest.raises(DktError, match=r"output\.weight of the network holds a value that is not a number"):
        onnx_of(info, network)
    monkeypatch.setattr(onnx_graph, "_MOST_BYTES", 1000)
    with pytest.raises(DktError, match="take more than 2 GB"):
        onnx_of(*model("lstm", LSTM, F))
