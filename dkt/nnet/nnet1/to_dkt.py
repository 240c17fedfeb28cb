"""Networks of nnet1 as networks of dkt: DNN, LSTM and BLSTM as its own kinds, all others as they are.

A candidate of dkt's own kind is made and told back as nnet1: only where that gives the components as they
stood in the files is it taken. So nothing of a network is ever left out.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from dkt.base.errors import DktError
from dkt.feat.pipeline import FeatureOptions
from dkt.nnet.blstm import Blstm
from dkt.nnet.dnn import Dnn
from dkt.nnet.lstm import Lstm
from dkt.nnet.lstm_layer import LstmLayer
from dkt.nnet.model_file import ModelInfo, build_network
from dkt.nnet.network import Network
from dkt.nnet.nnet1 import components as nnet1
from dkt.nnet.nnet1.as_it_is import Nnet1AsItIs
from dkt.nnet.nnet1.from_dkt import nnet1_of, without_identities

logger = logging.getLogger(__name__)

_ACTIVATIONS = {"<Sigmoid>": "sigmoid", "<Tanh>": "tanh", "<ParametricRelu>": "relu"}
_RECURRENT = {"<LstmProjected>": "lstm", "<BlstmProjected>": "blstm"}
# Options of an LSTM that dkt has, and what they are where a file does not tell (``nnet-lstm-projected.h``).
_CLIPS = {"DiffClip": 1.0, "CellDiffClip": 0.0}

_Components = Sequence[nnet1.Component]


def dkt_network_of(
    transform: _Components, network: _Components, pipeline: FeatureOptions, as_it_is: bool = False
) -> tuple[ModelInfo, Network]:
    """A network of nnet1 as one of dkt, in evaluation mode.

    A DNN, an LSTM or a BLSTM becomes one of dkt's own kinds, which every format of ``dkt export`` knows: what
    is only of Kaldi's trainings, rates of learning, ``MaxNorm`` and ``GradClip``, has no place there. Any
    other network stays what it is, see ``dkt.nnet.nnet1.as_it_is``.

    Args:
        transform: of ``final.feature_transform``; it may have no components.
        network: of ``final.nnet``.
        pipeline: what Kaldi's scripts do before: CMVN, deltas and i-vectors.
        as_it_is: a DNN, an LSTM and a BLSTM stay what they are, too.

    Raises:
        DktError: the two do not go together, or the network does not end with a softmax.
    """
    _check_ends(transform, network)
    if not as_it_is:
        try:
            return _own_kind(transform, network, pipeline)
        except DktError as reason:
            logger.info("the network of nnet1 stays what it is: %s", reason)
    made = Nnet1AsItIs.of(transform, network)
    return _info("nnet1", [*transform, *network], pipeline, asdict(made.config)), made.eval()


def _info(
    kind: str,
    whole: _Components,
    pipeline: FeatureOptions,
    config: dict[str, Any],
    left: int = 0,
    right: int = 0,
) -> ModelInfo:
    return ModelInfo.with_features(
        pipeline,
        kind=kind,
        feature_dim=whole[0].input_dim,
        num_pdfs=whole[-1].output_dim,
        left_context=left,
        right_context=right,
        network=config,
    )


def _own_kind(
    transform: _Components, network: _Components, pipeline: FeatureOptions
) -> tuple[ModelInfo, Network]:
    """As ``dkt_network_of``, of dkt's own kinds.

    The feature transform is the splicing of a DNN or the delay of an LSTM, a linear transform of a DNN and
    the normalisation, in this order, each of which may be missing.

    Raises:
        DktError: no kind of dkt's is exactly this network; the reason is told.
    """
    of_input = _Input(transform)
    layers = [component for component in network[:-1] if component.marker != "<Dropout>"]
    if layers[-1].marker != "<AffineTransform>":
        raise DktError(
            f"the output layer of dkt's own kinds is an <AffineTransform>, not {layers[-1].marker}"
        )
    kind = _RECURRENT.get(layers[0].marker, "dnn")
    config = (_dnn_config if kind == "dnn" else _lstm_config)(layers[:-1])
    if kind == "lstm":
        config["target_delay"] = of_input.right
    config["dropout"] = _dropout(network)
    context = (of_input.left, of_input.right) if kind == "dnn" else (0, 0)
    info = _info(kind, [*transform, *network], pipeline, config, *context)
    made = build_network(info, of_input.state())
    with torch.no_grad():
        _fill(made, layers, of_input)
    first, second = nnet1_of(info, made)
    _check_same([*map(_with_bias, without_identities(transform))], first, "the feature transform")
    _check_same(network, second, "the network")
    return replace(info, network=asdict(made.config)), made.eval()


def _check_ends(transform: _Components, network: _Components) -> None:
    if len(network) < 2 or network[-1].marker != "<Softmax>":
        raise DktError("the network does not end with a layer and its <Softmax>, it gives no posteriors")
    if transform and transform[-1].output_dim != network[0].input_dim:
        raise DktError(
            f"the feature transform has {transform[-1].output_dim} outputs, the network "
            f"{network[0].input_dim} inputs"
        )


class _Input:
    """What a feature transform may do for a network of dkt's.

    Attributes:
        left, right: frames of context; for a delay right is its frames.
        lda: the linear transform; None for none.
        normalisation: shift and scale, each None for none.
    """

    def __init__(self, transform: _Components) -> None:
        kept: dict[str, Any] = {component.marker: component for component in without_identities(transform)}
        offsets = kept["<Splice>"].offsets if "<Splice>" in kept else np.zeros(1, np.int32)
        self.left, self.right = max(0, -int(offsets[0])), max(0, int(offsets[-1]))
        self.lda: nnet1.Affine | None = kept.get("<AffineTransform>", kept.get("<LinearTransform>"))
        self.normalisation = [kept.get(marker) for marker in ("<AddShift>", "<Rescale>")]

    def state(self) -> dict[str, torch.Tensor] | None:
        """What decides the shape of a DNN."""
        return None if self.lda is None else {"lda.weight": torch.from_numpy(self.lda.weight)}


def _dnn_config(hidden: _Components) -> dict[str, Any]:
    affines, activations = hidden[::2], hidden[1::2]
    kinds = {component.marker for component in activations}
    known = len(kinds) == 1 and kinds <= set(_ACTIVATIONS)
    if not known or {c.marker for c in affines} != {"<AffineTransform>"} or len(affines) != len(activations):
        raise DktError(
            "a dnn has layers of an <AffineTransform> and one kind of activation, the network has "
            + " ".join(component.marker for component in hidden)
        )
    return {
        "hidden_layers": len(affines),
        "hidden_dim": affines[0].output_dim,
        "activation": _ACTIVATIONS[kinds.pop()],
    }


def _lstm_config(hidden: _Components) -> dict[str, Any]:
    layers = [component for component in hidden if isinstance(component, nnet1.LstmComponent)]
    if {component.marker for component in hidden} != {layers[0].marker}:
        other = next(component.marker for component in hidden if component.marker != layers[0].marker)
        raise DktError(f"dkt's own recurrent networks have one kind of LSTM layers, no {other} with them")
    first = layers[0]
    outputs, cells = first.directions[0].w_r_m.shape
    directions = [direction for layer in layers for direction in layer.directions]
    # A projection as wide as the cells is none at all, or one that dkt does not have.
    plain = all(np.array_equal(direction.w_r_m, np.eye(cells)) for direction in directions)
    clips = {name: first.options.get(name, default) for name, default in _CLIPS.items()}
    return {
        "layers": len(layers),
        "cells": cells,
        "projection": None if plain else outputs,
        "peepholes": True,
        "cell_clip": first.cell_clip,
        "diff_clip": clips["DiffClip"],
        "cell_diff_clip": clips["CellDiffClip"],
    }


def _dropout(network: _Components) -> float:
    """The probability that a unit is zeroed in training."""
    found = (component for component in network if component.marker == "<Dropout>")
    return max(map(nnet1.dropout_rate, found), default=0.0)


def _fill(made: Network, layers: _Components, of_input: _Input) -> None:
    """Copy the parameters of a network and of what is before it."""
    for buffer, component in zip((made.shift, made.scale), of_input.normalisation, strict=True):
        if component is not None:
            _copy(buffer, component.values)
    weights = cast(list[nnet1.Affine], [c for c in layers if isinstance(c, nnet1.Affine)])
    if isinstance(made, Dnn):
        if isinstance(made.lda, nn.Linear) and of_input.lda is not None:
            _copy_affine(made.lda, of_input.lda)
        affines = [module for module in made.hidden if isinstance(module, nn.Linear)]
        for affine, component in zip([*affines, made.output], weights, strict=True):
            _copy_affine(affine, component)
        return
    assert isinstance(made, Lstm | Blstm)
    _copy_affine(made.output, weights[-1])
    for layer, recurrent in zip(made.layers, layers[:-1], strict=True):
        modules: list[Any] = [layer] if isinstance(made, Lstm) else [layer.ahead, layer.back]
        for module, direction in zip(modules, cast(nnet1.LstmComponent, recurrent).directions, strict=True):
            _copy_lstm(module, direction)


def _copy_lstm(layer: LstmLayer, weights: nnet1.LstmWeights) -> None:
    for name, parameter in layer.named_parameters():
        _copy(parameter, getattr(weights, name))


def _copy_affine(module: nn.Linear, component: nnet1.Affine) -> None:
    _copy(module.weight, component.weight)
    _copy(module.bias, np.zeros(component.output_dim) if component.bias is None else component.bias)


def _copy(tensor: torch.Tensor, values: np.ndarray) -> None:
    if tuple(tensor.shape) != values.shape:
        raise DktError(
            f"layers differ in size: parameters of shape {values.shape}, not {tuple(tensor.shape)}"
        )
    tensor.copy_(torch.from_numpy(values))


def _check_same(found: _Components, remade: _Components, what: str) -> None:
    """Raise DktError unless components are the same, but for options that are only of Kaldi's trainings."""
    for ours, theirs in zip(remade, found, strict=False):
        if _facts(ours).keys() != _facts(theirs).keys() or not all(
            np.array_equal(value, _facts(theirs)[name]) for name, value in _facts(ours).items()
        ):
            raise DktError(f"{what} has a {theirs.marker} that no kind of dkt's has there")
    if len(found) != len(remade):
        markers = " ".join(component.marker for component in found)
        raise DktError(f"{what} is not one of a kind of dkt's: {markers}")


def _with_bias(component: nnet1.Component) -> nnet1.Component:
    """A linear transform as the affine one that it is."""
    if not isinstance(component, nnet1.Affine) or component.bias is not None:
        return component
    return replace(component, marker="<AffineTransform>", bias=np.zeros(component.output_dim))


def _facts(component: nnet1.Component) -> dict[str, Any]:
    """What a component computes, and how dkt would train it."""
    facts: dict[str, Any] = {**vars(component)}
    options = facts.pop("options")
    if isinstance(component, nnet1.LstmComponent):
        facts |= {name: options.get(name, default) for name, default in _CLIPS.items()}
        for number, direction in enumerate(facts.pop("directions")):
            facts |= {f"{name}.{number}": value for name, value in vars(direction).items()}
    return facts
