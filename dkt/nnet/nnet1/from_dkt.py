"""Networks of dkt as networks of nnet1: a feature transform and what Kaldi's ``nnet-train`` goes on with.

The feature transform begins where Kaldi's ``steps/nnet`` scripts end: after CMVN, deltas and i-vectors, see
``dkt.nnet.nnet1.feature_transform``. nnet1 repeats the first and the last frame of what a ``<Splice>`` is
given, as dkt does, and a delay is a ``<Splice>`` in both: the outputs are the same in every frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import nn

from dkt.base.errors import DktError
from dkt.nnet.batch_norm import folded
from dkt.nnet.blstm import Blstm
from dkt.nnet.dnn import Dnn
from dkt.nnet.lstm import Lstm
from dkt.nnet.lstm_layer import LstmLayer
from dkt.nnet.model_file import ModelInfo
from dkt.nnet.network import Network
from dkt.nnet.nnet1 import components as nnet1
from dkt.nnet.nnet1.as_it_is import Nnet1AsItIs
from dkt.nnet.nnet1.feature_transform import beyond_kaldi, feature_transform, spliced_context
from dkt.nnet.pipeline_window import pipeline_window

#: What the accumulated gradients of an LSTM are clipped at where nothing is told (``nnet-lstm-projected.h``).
GRAD_CLIP = 250.0

_Components = list[nnet1.Component]


def nnet1_of(
    info: ModelInfo, network: Network, raw_dim: int | None = None
) -> tuple[list[nnet1.Component], list[nnet1.Component]]:
    """The feature transform and the network, which ends with a softmax.

    A network that came from nnet1 as it is goes back as it came, with the options of Kaldi's trainings.
    Batch normalisation becomes a part of the affine transform before it. An LSTM without peepholes has some
    of zero, one without projection an identity: Kaldi changes both if it goes on training the network.

    Args:
        info: of the model file.
        network: a DNN, an LSTM or a BLSTM, or one of nnet1 as it is.
        raw_dim: dimension of the features on disk; None to find it out from the pipeline, see
            ``dkt.nnet.pipeline_window.pipeline_window``.

    Raises:
        DktError: nnet1 cannot express it; the reason is told.
    """
    reason = beyond_kaldi(info.feature_options)
    if reason is not None:
        raise DktError(
            f"{reason} are nothing that Kaldi's steps/nnet scripts could do for a network of nnet1"
        )
    window = pipeline_window(info, raw_dim)
    transform = feature_transform(info.feature_options, window.raw_dim)
    if isinstance(network, Nnet1AsItIs):
        first, layers = network.components()
        return without_identities(transform + first) if _changes(transform) else first, layers
    if isinstance(network, Dnn):
        dim = info.feature_dim - info.ivector_dim
        transform += spliced_context(dim, info.ivector_dim, info.left_context, info.right_context)
        transform += _lda(network)
        layers = _dnn(network)
    elif isinstance(network, Lstm | Blstm):
        delay = np.array([network.target_delay], np.int32)
        transform.append(nnet1.Splice("<Splice>", info.feature_dim, info.feature_dim, delay))
        layers = _lstm(network) if isinstance(network, Lstm) else _blstm(network)
    else:
        raise DktError(
            f"nnet1 has no form of a network of the kind {info.kind} here, it has of dnn, lstm and blstm"
        )
    transform += _normalisation(network)
    layers.append(_affine(network.output.weight, network.output.bias))
    layers.append(nnet1.Component("<Softmax>", network.num_pdfs, network.num_pdfs))
    return without_identities(transform), layers


def without_identities(transform: Sequence[nnet1.Component]) -> _Components:
    """Without splices and normalisations that change nothing; one stays if there is nothing else."""
    return [component for component in transform if not _is_identity(component)] or list(transform[:1])


def _changes(transform: _Components) -> bool:
    return not all(map(_is_identity, transform))


def _is_identity(component: nnet1.Component) -> bool:
    if isinstance(component, nnet1.Splice):
        return component.offsets.tolist() == [0]
    if isinstance(component, nnet1.PerDimension):
        return bool((component.values == (0.0 if component.marker == "<AddShift>" else 1.0)).all())
    return False


def _lda(network: Dnn) -> _Components:
    if not isinstance(network.lda, nn.Linear):
        return []
    return [_affine(network.lda.weight, network.lda.bias, trained=False)]


def _normalisation(network: Network) -> _Components:
    shift, scale = _array(network.shift), _array(network.scale)
    return [
        nnet1.PerDimension("<AddShift>", len(shift), len(shift), shift),
        nnet1.PerDimension("<Rescale>", len(scale), len(scale), scale),
    ]


def _dnn(network: Dnn) -> _Components:
    modules = list(network.hidden)
    made: _Components = []
    for module, following in zip(modules, [*modules[1:], None], strict=True):
        if isinstance(module, nn.Linear):
            weight, bias = (values.detach().cpu().double().numpy() for values in (module.weight, module.bias))
            if isinstance(following, nn.BatchNorm1d):
                weight, bias = folded(weight, bias, following)
            made.append(_affine(weight, bias))
        elif not isinstance(module, nn.BatchNorm1d):
            made += _activation(module, network.config.hidden_dim)
    return made


def _activation(module: nn.Module, dim: int) -> _Components:
    if isinstance(module, nn.Dropout):
        return _dropout(module, dim)
    if isinstance(module, nn.ReLU):
        # Above zero everything passes, below it nothing; Kaldi trains neither slope by default.
        one, zero = np.ones(dim, np.float32), np.zeros(dim, np.float32)
        return [nnet1.ParametricRelu("<ParametricRelu>", dim, dim, one, zero)]
    marker = {nn.Sigmoid: "<Sigmoid>", nn.Tanh: "<Tanh>"}[type(module)]
    return [nnet1.Component(marker, dim, dim)]


def _dropout(module: nn.Dropout, dim: int) -> _Components:
    if module.p == 0.0:
        return []
    return [nnet1.Component("<Dropout>", dim, dim, options={"DropoutRate": module.p})]


def _lstm(network: Lstm) -> _Components:
    made: _Components = []
    for layer in network.layers:
        made.append(_projected("<LstmProjected>", [cast(LstmLayer, layer)]))
        made += _dropout(network.dropout, made[-1].output_dim)
    return made


def _blstm(network: Blstm) -> _Components:
    made: _Components = []
    for layer in network.layers:
        made.append(
            _projected("<BlstmProjected>", [cast(LstmLayer, layer.ahead), cast(LstmLayer, layer.back)])
        )
        made += _dropout(network.dropout, made[-1].output_dim)
    return made


def _projected(marker: str, layers: list[LstmLayer]) -> nnet1.LstmComponent:
    first = layers[0]
    options = {
        "CellDim": float(first.cells),
        "LearnRateCoef": 1.0,
        "BiasLearnRateCoef": 1.0,
        "CellClip": first.clips.cell,
        "DiffClip": first.clips.diff,
        "CellDiffClip": first.clips.cell_diff,
        "GradClip": GRAD_CLIP,
    }
    return nnet1.LstmComponent(
        marker,
        first.w_gifo_x.shape[1],
        first.output_dim * len(layers),
        first.clips.cell,
        tuple(map(_direction, layers)),
        options=options,
    )


def _direction(layer: LstmLayer) -> nnet1.LstmWeights:
    zeros, identity = np.zeros((3, layer.cells), np.float32), np.eye(layer.cells, dtype=np.float32)
    return nnet1.LstmWeights(
        w_gifo_x=_array(layer.w_gifo_x),
        w_gifo_r=_array(layer.w_gifo_r),
        bias=_array(layer.bias),
        peepholes=zeros if layer.peepholes is None else _array(layer.peepholes),
        w_r_m=identity if layer.w_r_m is None else _array(layer.w_r_m),
    )


def _affine(
    weight: torch.Tensor | np.ndarray, bias: torch.Tensor | np.ndarray, trained: bool = True
) -> nnet1.Affine:
    options = dict(nnet1.RATES["<AffineTransform>"]) if trained else {}
    outputs, inputs = weight.shape
    return nnet1.Affine("<AffineTransform>", inputs, outputs, _array(weight), _array(bias), options=options)


def _array(values: torch.Tensor | np.ndarray) -> np.ndarray:
    """In single precision, as nnet1 keeps its parameters.

    Raises:
        DktError: one of them is not a number, which nnet1 refuses to read.
    """
    array = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else values
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise DktError("the network has a weight that is not a number, or too large for single precision")
    return array
