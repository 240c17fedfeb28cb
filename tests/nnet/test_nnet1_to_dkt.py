"""Networks of nnet1 as networks of dkt: the same outputs, and the same components when they go back."""

from __future__ import annotations

import dataclasses
import gzip
import logging

import numpy as np
import pytest
import torch
from hypothesis import given

from dkt.base.errors import DktError
from dkt.feat.pipeline import FeatureOptions
from dkt.nnet.hidden_layer import HiddenLayer
from dkt.nnet.model_file import ModelInfo, build_network, load_model, save_model
from dkt.nnet.nnet1 import components as nnet1
from dkt.nnet.nnet1.components import read_nnet1, read_prototype
from dkt.nnet.nnet1.from_dkt import nnet1_of
from dkt.nnet.nnet1.modules import step_of
from dkt.nnet.nnet1.propagate import log_softmax, propagate
from dkt.nnet.nnet1.to_dkt import dkt_network_of
from dkt.nnet.nnet1.writer import write_nnet1, write_prototype
from dkt.nnet.scorer import logits_of
from dkt.util.table import read_matrices
from tests.mutation import FUZZ
from tests.nnet.test_nnet1_from_dkt import drawn_models, every_component, log_posteriors, with_ivectors
from tests.nnet.test_nnet3_from_dkt import features_of, model

CPU = torch.device("cpu")


def through_a_model_file(tmp_path, info, network):
    save_model(tmp_path / "final.pt", info, network)
    return load_model(tmp_path / "final.pt")


def outputs_of(info, network, features):
    return torch.log_softmax(logits_of(network, info, features, CPU), 1).numpy()


@pytest.mark.parametrize("as_it_is", [False, True])
@pytest.mark.parametrize(
    ("name", "kind", "layers"),
    [
        ("nnet1", "dnn", {"hidden_layers": 4, "hidden_dim": 512, "activation": "sigmoid"}),
        ("nnet1_lstm", "lstm", {"layers": 2, "cells": 320, "projection": 128, "target_delay": 5}),
    ],
)
def test_kaldis_networks_come_and_go(kaldi_fixtures, tmp_path, name, kind, layers, as_it_is):
    golden = kaldi_fixtures / "golden" / name
    transform = read_nnet1(golden / "final.feature_transform.txt")
    read = read_nnet1(golden / "final.nnet")
    made = dkt_network_of(transform, read, FeatureOptions(cmvn_opts=""), as_it_is)
    info, network = through_a_model_file(tmp_path, *made)
    assert (info.kind, info.feature_dim, info.num_pdfs) == ("nnet1" if as_it_is else kind, 40, 624)
    if not as_it_is:
        assert layers.items() <= info.network.items()
        assert (info.left_context, info.right_context) == ((5, 5) if kind == "dnn" else (0, 0))
    posteriors = dict(read_matrices(f"ark:{golden}/posteriors.ark"))
    for utt, features in read_matrices(f"ark:{golden.parent}/nnet1/input_cmn.ark"):
        found = np.exp(outputs_of(info, network, features))
        np.testing.assert_allclose(found, posteriors[utt], atol=2e-5, rtol=0)
    first, second = nnet1_of(info, network)
    assert write_nnet1(first, binary=False) == (golden / "final.feature_transform.txt").read_bytes()
    if kind == "dnn" and not as_it_is:
        # The output layer's rate of learning is the one thing that a dnn has no place for.
        assert read[-2].options["BiasLearnRateCoef"] == pytest.approx(0.1)
        assert second[-2].options["BiasLearnRateCoef"] == 1.0
        second[-2] = dataclasses.replace(second[-2], options=read[-2].options)
    assert write_nnet1(second) == (golden / "final.nnet").read_bytes()


@pytest.mark.parametrize("as_it_is", [False, True])
def test_seven_digits_of_a_text_stay_the_same(kaldi_fixtures, tmp_path, as_it_is):
    golden = kaldi_fixtures / "golden/nnet1_lstm"
    text = gzip.decompress((golden / "final.nnet.txt.gz").read_bytes())
    (tmp_path / "final.nnet").write_bytes(text)
    transform = read_nnet1(golden / "final.feature_transform.txt")
    made = dkt_network_of(transform, read_nnet1(tmp_path / "final.nnet"), FeatureOptions(), as_it_is)
    assert write_nnet1(nnet1_of(*made)[1], binary=False) == text


@FUZZ
@given(drawn_models())
def test_what_dkt_exported_comes_back(tmp_path_factory, drawn):
    info, network, features = drawn
    first, second = nnet1_of(info, network)
    outside = info.feature_options.replace(splice_opts=None, transform=None)
    made = dkt_network_of(first, second, outside)
    info_of_read, read = through_a_model_file(tmp_path_factory.mktemp("back"), *made)
    # Splicing of a pipeline, or its transform, is nothing that dkt's own kinds hold.
    inside = info.splice_opts is not None or "transform" in info.matrices
    if not inside:
        assert info_of_read.kind == info.kind
    frames = with_ivectors(features, info.ivector_dim)
    expected = log_posteriors(info, network, features)
    np.testing.assert_allclose(outputs_of(info_of_read, read, frames), expected, atol=1e-4, rtol=0)
    again = nnet1_of(info_of_read, read)
    if info_of_read.kind == "dnn":
        # A transform without offsets becomes one with offsets of zero.
        first = [with_bias(component) for component in first]
    assert [write_nnet1(part) for part in again] == [write_nnet1(part) for part in (first, second)]


def with_bias(component):
    if component.marker != "<LinearTransform>":
        return component
    zeros = np.zeros(component.output_dim, np.float32)
    return dataclasses.replace(component, marker="<AffineTransform>", bias=zeros)


def lstm_parts(seed=0):
    """An LSTM with a delay of two frames, as nnet1."""
    config = {"layers": 1, "cells": 5, "projection": 4, "target_delay": 2}
    info, network = model("lstm", config, 6)
    return nnet1_of(info, network)


def dnn_parts(**config):
    info, network = model("dnn", {"hidden_layers": 2, "hidden_dim": 5} | config, 6, left=1, right=2)
    return nnet1_of(info, network)


def affine(outputs, inputs, marker="<AffineTransform>"):
    rng = np.random.default_rng(outputs * inputs)
    weight = rng.normal(size=(outputs, inputs)).astype(np.float32)
    bias = rng.normal(size=outputs).astype(np.float32) if marker == "<AffineTransform>" else None
    # More digits than the text form has.
    options = {name: float(np.float32(1 / 3)) for name in nnet1.RATES[marker]}
    return nnet1.Affine(marker, inputs, outputs, weight, bias, options=options)


def with_tanh(transform, network):
    """As Kaldi's make_lstm_proto.py has it."""
    return transform, [*network[:-2], nnet1.Component("<Tanh>", 4, 4), *network[-2:]]


def with_both_directions(transform, network):
    one = dataclasses.replace(network[0].directions[0], w_gifo_x=affine(20, 4).weight)
    both = nnet1.LstmComponent("<BlstmProjected>", 4, 8, 50.0, (one, one), options=network[0].options)
    return transform, [network[0], both, affine(7, 8), network[-1]]


def with_bottleneck(transform, network):
    return transform, [*network[:-2], affine(3, 5, "<LinearTransform>"), affine(7, 3), network[-1]]


def with_two_activations(transform, network):
    return transform, [*network[:1], nnet1.Component("<Tanh>", 5, 5), *network[2:]]


def with_slopes(transform, network):
    slopes = np.full(5, 1.0, np.float32), np.full(5, 0.01, np.float32)
    return transform, [*network[:3], nnet1.ParametricRelu("<ParametricRelu>", 5, 5, *slopes), *network[4:]]


def with_offsets(transform, *offsets):
    return [dataclasses.replace(transform[0], offsets=np.array(offsets, np.int32)), *transform[1:]]


def with_holes(transform, network):
    return with_offsets(transform, -4, -1, 0, 2), network


def with_scale_first(transform, network):
    return [*transform[:-2], transform[-1], transform[-2]], network


def with_negative_delay(transform, network):
    return with_offsets(transform, -2), network


def with_clip_of_one_layer(transform, network):
    layer = network[0]
    second = (
        affine(20, 4).weight,
        affine(20, 4).weight,
        affine(20, 4).bias,
        affine(3, 5).weight,
        affine(4, 5).weight,
    )
    other = dataclasses.replace(
        layer,
        input_dim=4,
        directions=(nnet1.LstmWeights(*second),),
        cell_clip=0.5,
        options=layer.options | {"CellClip": 0.5},
    )
    return transform, [layer, other, *network[1:]]


@pytest.mark.parametrize(
    ("parts", "change", "reason"),
    [
        (lstm_parts, with_tanh, "no <Tanh> with them"),
        (lstm_parts, with_both_directions, "no <BlstmProjected> with them"),
        (lstm_parts, with_negative_delay, "a <Splice> that no kind"),
        (lstm_parts, with_clip_of_one_layer, "a <LstmProjected> that no kind"),
        (dnn_parts, with_bottleneck, "one kind of activation"),
        (dnn_parts, with_two_activations, "one kind of activation"),
        (lambda: dnn_parts(activation="relu"), with_slopes, "a <ParametricRelu> that no kind"),
        (dnn_parts, with_holes, "parameters of shape|a <Splice> that no kind"),
        (dnn_parts, with_scale_first, "a <Rescale> that no kind"),
    ],
)
def test_other_networks_stay_what_they_are(tmp_path, caplog, parts, change, reason):
    caplog.set_level(logging.INFO)
    transform, network = change(*parts())
    made = dkt_network_of(transform, network, FeatureOptions())
    assert "stays what it is" in caplog.text
    assert any(text in caplog.text for text in reason.split("|")), caplog.text
    info, kept = through_a_model_file(tmp_path, *made)
    assert info.kind == "nnet1"
    for frames in (1, 2, 23):
        features = features_of(6, frames)
        expected = log_softmax(propagate(network[:-1], propagate(transform, features)))
        np.testing.assert_allclose(outputs_of(info, kept, features), expected, atol=1e-5)
    again = nnet1_of(info, kept)
    assert [write_nnet1(part) for part in again] == [write_nnet1(part) for part in (transform, network)]


def test_every_component_stays_what_it_is(tmp_path):
    network = [*every_component()[:-1], affine(5, 7), nnet1.Component("<Softmax>", 5, 5)]
    made = dkt_network_of([], network, FeatureOptions())
    info, kept = through_a_model_file(tmp_path, *made)
    first, second = nnet1_of(info, kept)
    assert first == [] and write_nnet1(second) == write_nnet1(network)


def test_utterances_side_by_side_are_as_alone():
    """Splices and LSTMs end where each utterance ends, whatever the padding."""
    network = [*every_component()[:-1], affine(5, 7), nnet1.Component("<Softmax>", 5, 5)]
    info, kept = dkt_network_of([], network, FeatureOptions())
    lengths = [19, 4, 11]
    alone = [features_of(4, 19)[::-1][:length].copy() for length in lengths]
    side_by_side = torch.full((19, 3, 4), 9.0)
    for place, features in enumerate(alone):
        side_by_side[: len(features), place] = torch.from_numpy(features)
    with torch.no_grad():
        logits, state = kept(side_by_side, None, torch.tensor(lengths))
    assert state == []
    for place, features in enumerate(alone):
        expected = logits_of(kept, info, features, CPU)
        np.testing.assert_allclose(logits[: len(features), place], expected, atol=1e-5)


def test_hidden_layers_and_what_a_stream_cannot_have():
    _, kept = dkt_network_of(*lstm_parts(), FeatureOptions(), as_it_is=True)
    layer = HiddenLayer(kept, None, "the network")
    with torch.no_grad():
        kept(torch.zeros(5, 2, 6))
    assert layer.number == 1 and layer.take().shape == (5, 2, 4)
    for call in (lambda: kept.zero_state(2), lambda: kept(torch.zeros(5, 2, 6), [])):
        with pytest.raises(DktError, match="no state can be carried on"):
            call()


def test_rates_of_zero_keep_parameters():
    network = lstm_parts()[1]
    frozen = dataclasses.replace(affine(4, 4), options={})
    _, kept = dkt_network_of([], [network[0], frozen, *network[1:]], FeatureOptions())
    trained = {name for name, parameter in kept.named_parameters() if parameter.requires_grad}
    assert trained == {
        *(f"steps.0.directions.0.{n}" for n in ("w_gifo_x", "w_gifo_r", "bias", "peepholes", "w_r_m")),
        *(f"steps.2.linear.{n}" for n in ("weight", "bias")),
    }
    layer = dataclasses.replace(network[0], options=network[0].options | {"LearnRateCoef": 0.0})
    _, kept = dkt_network_of([], [layer, *network[1:]], FeatureOptions(), as_it_is=True)
    kept(torch.ones(3, 1, 6))[0].sum().backward()
    learnt = {name for name, parameter in kept.named_parameters() if parameter.grad is not None}
    biases = {f"steps.0.directions.0.{n}" for n in ("bias", "peepholes")}
    assert learnt == biases | {f"steps.1.linear.{n}" for n in ("weight", "bias")}


def test_what_is_no_network_for_speech():
    transform, network = lstm_parts()
    with pytest.raises(DktError, match="does not end with a layer and its <Softmax>"):
        dkt_network_of(transform, network[:-1], FeatureOptions())
    with pytest.raises(DktError, match="does not end with a layer and its <Softmax>"):
        dkt_network_of(transform, network[-1:], FeatureOptions())
    with pytest.raises(DktError, match="the feature transform has 24 outputs, the network 6 inputs"):
        dkt_network_of(dnn_parts()[0], network, FeatureOptions())


def info_of(config, feature_dim=6, num_pdfs=7):
    return ModelInfo("nnet1", feature_dim, num_pdfs, 0, 0, None, None, config)


def test_prototypes_are_checked():
    prototype = [*map(write_prototype, lstm_parts())]
    config = dict(zip(("transform", "components"), prototype, strict=True))
    build_network(info_of(config))
    for changes, message in (
        ({"components": []}, "told by its components, the last a <Softmax>"),
        ({"transform": []}, None),
        ({"transform": ["<Tanh> 5 5"]}, "do not go together: 6 to 5 values"),
        ({"components": config["components"][1:]}, "do not go together: 6 to 4 values"),
        ({"components": ["<Colour> 5 5", *config["components"]]}, "'<Colour>' is not a component of nnet1"),
        ({"transform": ["<Splice> 12 6 [ 0 ]"]}, "<Splice> of 1 frames has 12 outputs"),
        ({"transform": ["<Tanh> 6 6 <Tanh> 6 6"]}, "expected one component in a line"),
        ({"transform": [""]}, "cut short"),
        ({"transform": [3]}, "'network.transform' is 3, expected str"),
        (
            {
                "components": [
                    "<AffineTransform> 2000000000 6",
                    "<LinearTransform> 6 2000000000",
                    *config["components"],
                ]
            },
            "26000 million weights",
        ),
    ):
        if message is None:
            build_network(info_of(config | changes))
            continue
        with pytest.raises(DktError, match=message):
            build_network(info_of(config | changes))
    with pytest.raises(DktError, match="8 values"):
        build_network(info_of(config, num_pdfs=8))


def test_prototypes_keep_every_option():
    components = [*every_component(), affine(5, 7)]
    lines = write_prototype(components)
    assert all("\n" not in line and "EndOf" not in line for line in lines)
    read = read_prototype(lines)
    assert [c.options for c in read] == [c.options for c in components]
    assert [(c.marker, c.input_dim, c.output_dim) for c in read] == [
        (c.marker, c.input_dim, c.output_dim) for c in components
    ]
    assert write_prototype(read) == lines


def test_a_model_file_of_other_weights_is_refused(tmp_path):
    info, kept = dkt_network_of(*with_tanh(*lstm_parts()), FeatureOptions())
    wider = [
        line.replace("<AffineTransform> 7 4", "<AffineTransform> 7 5") for line in info.network["components"]
    ]
    for components in (wider, info.network["components"][:-1], []):
        other = dataclasses.replace(info, network=info.network | {"components": components})
        save_model(tmp_path / "final.pt", other, kept)
        with pytest.raises(DktError, match="is not a model of this dkt"):
            load_model(tmp_path / "final.pt")


@pytest.mark.parametrize(
    ("options", "share"), [({}, 0.5), ({"DropoutRate": 0.2}, 0.2), ({"DropoutRetention": 0.9}, 0.1)]
)
def test_dropout_of_a_training_is_kaldis(options, share):
    """Kaldi's ``Dropout`` begins with a rate of 0.5, which a file may say nothing of."""
    component = nnet1.Component("<Dropout>", 1000, 1000, options=options)
    torch.manual_seed(0)
    outputs = step_of(component).train()(torch.ones(20, 1, 1000), torch.tensor([19]))
    assert (outputs == 0.0).double().mean() == pytest.approx(share, abs=0.02)
    assert outputs.max() == pytest.approx(1.0 / (1.0 - share))
