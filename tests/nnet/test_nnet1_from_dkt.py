"""Networks of dkt as networks of nnet1: the same outputs in every frame, and what cannot be expressed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dkt.base.errors import DktError
from dkt.feat.functions import apply_transform, splice
from dkt.nnet.nnet1 import components as nnet1
from dkt.nnet.nnet1.components import read_nnet1
from dkt.nnet.nnet1.from_dkt import nnet1_of
from dkt.nnet.nnet1.modules import step_of
from dkt.nnet.nnet1.propagate import log_softmax, propagate
from dkt.nnet.nnet1.writer import write_nnet1
from dkt.nnet.scorer import logits_of
from dkt.util.table import read_matrices
from tests.mutation import FUZZ, check_stands, damaged
from tests.nnet.test_nnet3_from_dkt import features_of, model, transform

IVECTOR = np.array([0.5, -1.0], np.float32)


def with_ivectors(features, ivector_dim):
    """Features with i-vectors that are others in every frame, as online ones are."""
    if not ivector_dim:
        return features
    grown = np.linspace(1.0, 2.0, len(features), dtype=np.float32)[:, None] * IVECTOR[:ivector_dim]
    return np.concatenate([features, grown], axis=1)


def log_posteriors(info, network, features):
    """Those of dkt, of features before splicing and transform of the pipeline, without i-vectors."""
    options = info.feature_options
    spliced = options.parse_splice("splice_opts")
    if spliced is not None:
        features = splice(features, spliced.left_context, spliced.right_context)
    if options.transform is not None:
        features = apply_transform(features, options.transform.values)
    frames = with_ivectors(features.astype(np.float32), info.ivector_dim)
    return torch.log_softmax(logits_of(network, info, frames, torch.device("cpu")), 1).numpy()


def compared(tmp_path, info, network, features, binary=True):
    """The components as they were written and read; their outputs are dkt's."""
    read = []
    for name, components in zip(("transform", "nnet"), nnet1_of(info, network), strict=True):
        (tmp_path / name).write_bytes(write_nnet1(components, binary))
        read.append(read_nnet1(tmp_path / name))
    first, second = read
    assert second[-1].marker == "<Softmax>"
    outputs = log_softmax(propagate(second[:-1], propagate(first, with_ivectors(features, info.ivector_dim))))
    expected = log_posteriors(info, network, features)
    assert outputs.shape == (len(features), info.num_pdfs)
    np.testing.assert_allclose(outputs, expected, atol=1e-4, rtol=0)
    return first, second


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("lda", [None, 5])
def test_a_dnn(tmp_path, activation, batch_norm, lda):
    config = {"hidden_layers": 2, "hidden_dim": 8, "activation": activation, "batch_norm": batch_norm}
    info, network = model("dnn", config | {"dropout": 0.25}, left=2, right=3, lda=lda)
    first, second = compared(tmp_path, info, network, features_of(6))
    before = [] if lda is None else ["<AffineTransform>"]
    assert [c.marker for c in first] == ["<Splice>", *before, "<AddShift>", "<Rescale>"]
    assert first[0].offsets.tolist() == [-2, -1, 0, 1, 2, 3]
    squash = {"sigmoid": "<Sigmoid>", "tanh": "<Tanh>", "relu": "<ParametricRelu>"}[activation]
    hidden = ["<AffineTransform>", squash, "<Dropout>"]
    assert [c.marker for c in second] == [*hidden, *hidden, "<AffineTransform>", "<Softmax>"]
    # Kaldi goes on training the layers, and leaves the transform as it is.
    assert second[0].options == {"LearnRateCoef": 1.0, "BiasLearnRateCoef": 1.0, "MaxNorm": 0.0}
    assert second[2].options == {"DropoutRate": 0.25}
    assert all(not c.options for c in first)


@pytest.mark.parametrize("peepholes", [True, False])
@pytest.mark.parametrize("projection", [None, 4])
@pytest.mark.parametrize("delay", [0, 3, 40])
def test_an_lstm(tmp_path, peepholes, projection, delay):
    config = {"layers": 2, "cells": 5, "projection": projection, "peepholes": peepholes}
    info, network = model("lstm", config | {"target_delay": delay})
    first, second = compared(tmp_path, info, network, features_of(6))
    assert [c.marker for c in first] == ["<Splice>"] * (delay > 0) + ["<AddShift>", "<Rescale>"]
    assert [c.output_dim for c in second] == [projection or 5, projection or 5, 7, 7]
    assert list(second[0].options) == [
        "CellDim", "LearnRateCoef", "BiasLearnRateCoef", "CellClip", "DiffClip", "CellDiffClip", "GradClip"
    ]  # fmt: skip


def test_clips_are_those_of_the_layers(tmp_path):
    config = {"layers": 1, "cells": 5, "projection": 3, "target_delay": 0}
    features = features_of(6)
    outputs = []
    for clips in ({"cell_clip": 0.25, "diff_clip": 1.0, "cell_diff_clip": 2.0}, {"cell_clip": 0.0}):
        info, network = model("lstm", config | clips)
        torch.manual_seed(1)
        with torch.no_grad():
            for parameter in network.layers.parameters():
                parameter.normal_()
        _, second = compared(tmp_path, info, network, features)
        options = second[0].options
        assert (options["CellClip"], options["DiffClip"]) == (clips["cell_clip"], clips.get("diff_clip", 0.0))
        assert options["CellDiffClip"] == clips.get("cell_diff_clip", 0.0)
        outputs.append(propagate(second[:1], features))
    assert np.abs(outputs[0] - outputs[1]).max() > 0.05


@pytest.mark.parametrize("projection", [None, 3])
def test_a_blstm(tmp_path, projection):
    config = {"layers": 2, "cells": 4, "projection": projection, "dropout": 0.5, "cell_clip": 0.5}
    info, network = model("blstm", config)
    _, second = compared(tmp_path, info, network, features_of(6))
    markers = ["<BlstmProjected>", "<Dropout>"] * 2
    assert [c.marker for c in second] == [*markers, "<AffineTransform>", "<Softmax>"]


PIPELINES = [
    ({"delta_opts": "--delta-order=1"}, 4, 4),
    ({"splice_opts": "--left-context=1 --right-context=2"}, 3, 12),
    ({"splice_opts": "", "transform": transform(5, 27)}, 3, 5),
    ({"splice_opts": "", "transform": transform(5, 28)}, 3, 5),
    ({"transform": transform(5, 4)}, 4, 5),
]


@pytest.mark.parametrize(("pipeline", "dim", "feature_dim"), PIPELINES)
@pytest.mark.parametrize(
    ("kind", "config", "left", "right"),
    [
        ("dnn", {"hidden_layers": 1, "hidden_dim": 6}, 0, 0),
        ("dnn", {"hidden_layers": 1, "hidden_dim": 6}, 2, 1),
        ("lstm", {"layers": 1, "cells": 4, "projection": 3, "target_delay": 2}, 0, 0),
        ("blstm", {"layers": 1, "cells": 4, "projection": 3}, 0, 0),
    ],
)
@pytest.mark.parametrize("ivector_dim", [0, 2])
def test_the_pipeline_after_deltas_is_inside(
    tmp_path, kind, config, left, right, pipeline, dim, feature_dim, ivector_dim
):
    info, network = model(
        kind, config, feature_dim + ivector_dim, left, right, ivector_dim=ivector_dim, **pipeline
    )
    compared(tmp_path, info, network, features_of(dim))


def test_a_transform_with_an_offset_and_no_splicing_asks_for_the_dimension():
    info, network = model("dnn", {"hidden_layers": 1}, 5, transform=transform(5, 5))
    assert nnet1_of(info, network)[0][0].input_dim == 5
    first, _ = nnet1_of(info, network, 4)
    assert first[0].input_dim == 4
    np.testing.assert_array_equal(
        first[0].bias, info.feature_options.transform.values[:, 4].astype(np.float32)
    )
    with pytest.raises(DktError, match="features of dimension 3 does not give 5 dimensions"):
        nnet1_of(info, network, 3)


def test_a_normalisation_of_no_effect_is_left_out():
    info, network = model("lstm", {"layers": 1, "cells": 4, "projection": None, "target_delay": 0})
    with torch.no_grad():
        network.shift.zero_()
        network.scale.fill_(1.0)
    first, _ = nnet1_of(info, network)
    # A file without components is none that Kaldi's scripts are used to.
    assert [c.marker for c in first] == ["<Splice>"] and first[0].offsets.tolist() == [0]


@pytest.mark.parametrize(
    ("kind", "config", "pipeline", "reason"),
    [
        ("gru", {"layers": 1}, {}, "no form of a network of the kind gru"),
        ("dnn", {"hidden_layers": 1}, {"paste": "feats.scp pitch.scp"}, "pasted features"),
        ("dnn", {"hidden_layers": 1}, {"speaker_transforms": True}, "fMLLR"),
    ],
)
def test_what_cannot_be_expressed(kind, config, pipeline, reason):
    info, network = model(kind, config, **pipeline)
    with pytest.raises(DktError, match=reason):
        nnet1_of(info, network)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(value):
    info, network = model("dnn", {"hidden_layers": 1, "hidden_dim": 4})
    with torch.no_grad():
        network.hidden[0].weight[1, 2] = value
    with pytest.raises(DktError, match="not a number"):
        nnet1_of(info, network)


@st.composite
def drawn_models(draw):
    """A kind of network, its configuration, its context and a feature pipeline."""
    kind = draw(st.sampled_from(["dnn", "lstm", "blstm"]))
    pipeline, dim, feature_dim = draw(st.sampled_from([({}, 5, 5), *PIPELINES]))
    left = right = 0
    lda = None
    if kind == "dnn":
        left, right = draw(st.integers(0, 3)), draw(st.integers(0, 3))
        lda = draw(st.none() | st.integers(1, 6))
        config = {
            "hidden_layers": draw(st.integers(1, 4)),
            "hidden_dim": draw(st.integers(1, 9)),
            "activation": draw(st.sampled_from(["sigmoid", "tanh", "relu"])),
            "batch_norm": draw(st.booleans()),
        }
    else:
        cells = draw(st.integers(2, 9))
        config = {
            "layers": draw(st.integers(1, 3)),
            "cells": cells,
            "projection": draw(st.none() | st.integers(1, cells - 1)),
            "peepholes": draw(st.booleans()),
            "cell_clip": draw(st.sampled_from([0.0, 0.3, 50.0])),
        }
        if kind == "lstm":
            config["target_delay"] = draw(st.integers(0, 9))
    ivector_dim = draw(st.integers(0, 2))
    frames = draw(st.integers(1, 17))
    made = model(
        kind, config, feature_dim + ivector_dim, left, right, lda=lda, ivector_dim=ivector_dim, **pipeline
    )
    return *made, features_of(dim, frames)


@FUZZ
@given(drawn_models(), st.booleans())
def test_any_network_of_these_kinds(tmp_path_factory, drawn, binary):
    compared(tmp_path_factory.mktemp("any"), *drawn, binary=binary)


def test_the_interpreter_gives_kaldis_outputs(kaldi_fixtures):
    golden = kaldi_fixtures / "golden"
    for name, outputs in (("nnet1", "posteriors"), ("nnet1_lstm", "posteriors"), ("nnet1_lstm", "logits")):
        first = read_nnet1(golden / name / "final.feature_transform.txt")
        network = read_nnet1(golden / name / "final.nnet")
        expected = dict(read_matrices(f"ark:{golden}/{name}/{outputs}.ark"))
        for utt, features in read_matrices(f"ark:{golden}/nnet1/input_cmn.ark"):
            for dtype in (np.float64, np.float32):
                frames = propagate(first, features, dtype)
                found = propagate(network[:-1] if outputs == "logits" else network, frames, dtype)
                assert found.dtype == dtype
                np.testing.assert_allclose(found, expected[utt], atol=2e-5, rtol=0)


def every_component():
    rng = np.random.default_rng(2)

    def values(*shape):
        return rng.normal(size=shape).astype(np.float32)

    def weights(inputs, outputs):
        of_gates = values(20, inputs), values(20, outputs), values(20)
        return nnet1.LstmWeights(*of_gates, values(3, 5), values(outputs, 5))

    lstm = {"CellDim": 5.0, "CellClip": 0.4}
    return [
        nnet1.Splice("<Splice>", 4, 12, np.array([-2, 0, 3], np.int32)),
        nnet1.Copy("<Copy>", 12, 6, np.array([11, 0, 5, 5, 2, 7])),
        nnet1.PerDimension("<AddShift>", 6, 6, values(6)),
        nnet1.PerDimension("<Rescale>", 6, 6, values(6)),
        nnet1.Affine("<LinearTransform>", 6, 5, values(5, 6), None),
        nnet1.ParametricRelu("<ParametricRelu>", 5, 5, values(5), values(5)),
        nnet1.LstmComponent("<BlstmProjected>", 5, 8, 0.4, (weights(5, 4), weights(5, 4)), options=lstm),
        nnet1.Component("<LengthNormComponent>", 8, 8),
        nnet1.LstmComponent("<LstmProjected>", 8, 3, 0.4, (weights(8, 3),), options=lstm),
        nnet1.Component("<Dropout>", 3, 3, options={"DropoutRate": 0.5}),
        nnet1.Component("<Sigmoid>", 3, 3),
        nnet1.Affine("<AffineTransform>", 3, 7, values(7, 3), values(7)),
        nnet1.Component("<Tanh>", 7, 7),
        nnet1.Component("<HiddenSoftmax>", 7, 7),
        nnet1.BlockSoftmax("<BlockSoftmax>", 7, 7, np.array([3, 4])),
    ]


def test_interpreter_and_modules_agree_in_every_component():
    frames = features_of(4, 19)
    last = torch.tensor([len(frames) - 1])
    ours = frames
    for component in every_component():
        with torch.no_grad():
            theirs = step_of(component).eval()(torch.from_numpy(ours.astype(np.float32))[:, None], last)[:, 0]
        ours = propagate([component], ours)
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-6, rtol=1e-5, err_msg=component.marker)
    assert ours.dtype == np.float64
    np.testing.assert_allclose(propagate(every_component(), frames), ours)


def test_what_the_interpreter_refuses():
    frames = features_of(4)
    tanh = nnet1.Component("<Tanh>", 5, 5)
    with pytest.raises(DktError, match="<Tanh> takes 5 inputs, it is given 4"):
        propagate([tanh], frames)
    with pytest.raises(DktError, match="<Convolution> is not a component"):
        propagate([dataclasses.replace(tanh, marker="<Convolution>")], np.zeros((1, 5)))
    with pytest.raises(DktError, match="one frame or more"):
        propagate([tanh], frames[:0])


def test_a_sigmoid_at_its_ends():
    values = np.array([[-1e4, -30.0, 0.0, 30.0, 1e4]])
    with np.errstate(all="raise"):
        found = propagate([nnet1.Component("<Sigmoid>", 5, 5)], values)
    np.testing.assert_allclose(found, [[0.0, 0.0, 0.5, 1.0, 1.0]], atol=1e-12)


SEEDS = [write_nnet1(every_component(), binary) for binary in (True, False)]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_network_that_is_cut_short_is_refused(tmp_path, seed):
    path = tmp_path / "nnet"
    # Of a text the last token may lack the white space after it.
    for end in range(0, len(seed.rstrip()) - 1, 3):
        path.write_bytes(seed[:end])
        with pytest.raises(DktError):
            read_nnet1(path)


@FUZZ
@given(damaged(SEEDS))
def test_a_damaged_network_is_refused_or_runs(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "nnet"
    path.write_bytes(data)
    read = []
    check_stands(lambda: read.extend(read_nnet1(path)), len(data))
    if read:
        with np.errstate(all="ignore"):
            outputs = propagate(read, np.ones((2, read[0].input_dim)))
        assert outputs.shape == (2, read[-1].output_dim)
