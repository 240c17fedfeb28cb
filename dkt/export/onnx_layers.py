"""The layers of dkt's networks as operators of ONNX.

T rows, N utterances or streams, C cells, R outputs. The LSTM operator of ONNX has no projection, and no
recurrent one has a beginning of its own in every stream: recurrences are a ``Scan``, whose body is one frame
as ``dkt.nnet.lstm_layer.PlainLstmLayer`` writes it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn

from dkt.export.onnx_frames import FrameGraph, Rows
from dkt.export.onnx_graph import OnnxGraph
from dkt.nnet.batch_norm import folded
from dkt.nnet.blstm import Blstm
from dkt.nnet.dnn import Dnn
from dkt.nnet.gru import Gru
from dkt.nnet.lstm import Lstm
from dkt.nnet.lstm_layer import PlainLstmLayer
from dkt.nnet.network import Network

_ACTIVATIONS = {"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu"}


def _array(tensor: Any) -> np.ndarray:
    values: torch.Tensor = tensor
    return values.detach().cpu().numpy()


def _normalised(graph: OnnxGraph, network: Network, values: str) -> str:
    shifted = graph.op("Add", values, graph.constant(_array(network.shift), "shift"))
    return graph.op("Mul", shifted, graph.constant(_array(network.scale), "scale"))


def dnn_layers(graph: OnnxGraph, network: Dnn, values: str) -> str:
    """The last hidden layer ``(T, N, D)`` of spliced features; batch normalisation is in the weights."""
    if isinstance(network.lda, nn.Linear):
        values = graph.affine(values, _array(network.lda.weight), _array(network.lda.bias), "lda")
    values = _normalised(graph, network, values)
    number = 0
    for module, following in pairwise([*network.hidden, None]):
        if not isinstance(module, nn.Linear):
            continue
        number += 1
        weight, bias = _array(module.weight), _array(module.bias)
        if isinstance(following, nn.BatchNorm1d):
            weight, bias = folded(weight, bias, following)
        values = graph.affine(values, weight, bias, f"dnn{number}")
        values = graph.op(_ACTIVATIONS[network.config.activation], values)
    return values


def recurrent_layers(frames: FrameGraph, network: Lstm | Gru | Blstm, rows: Rows) -> str:
    """The output ``(T, N, R)`` of the last layer."""
    graph = frames.graph
    values = _normalised(graph, network, rows.values)
    # Rows before the beginning of a stream, or behind the end of an utterance for what comes from there.
    inside = frames.inside(rows.late) if rows.late or isinstance(network, Blstm) else None
    for number, layer in enumerate(network.layers, 1):
        module: Any = layer
        if isinstance(network, Blstm):
            ahead = _lstm(frames, module.ahead, values, None, f"blstm{number}.ahead", None)
            back = _lstm(frames, module.back, values, inside, f"blstm{number}.back", None)
            values = graph.op("Concat", ahead, back, axis=2)
        elif isinstance(network, Gru):
            values = _gru(frames, module.gru, values, inside, number)
        else:
            values = _lstm(frames, module, values, inside, f"lstm{number}", number)
    return values


def _lstm(
    frames: FrameGraph,
    layer: PlainLstmLayer,
    values: str,
    inside: str | None,
    name: str,
    number: int | None,
) -> str:
    """Outputs of a layer.

    Args:
        frames: the graph.
        layer: the weights.
        values: its inputs.
        inside: 0 at rows at which the state is to stay at its beginning; None for none.
        name: of its weights.
        number: of its states; None for whole utterances, which then run from the end if ``inside`` is given.
    """
    graph, dims = frames.graph, {"c": layer.cells, "r": layer.output_dim}
    sums = graph.affine(values, _array(layer.w_gifo_x), _array(layer.bias), name)
    body = _lstm_frame(graph, layer, inside is not None, name)
    inputs = [sums] if inside is None else [sums, inside]
    if number is None:
        begun = [frames.zeros(frames.num_streams, graph.integers(dim)) for dim in dims.values()]
        return graph.scan(body, begun, inputs, reverse=inside is not None)[-1]
    begun = [frames.state(f"{state}{number}", dim) for state, dim in dims.items()]
    *ended, outputs = graph.scan(body, begun, inputs)
    for state, value in zip(dims, ended, strict=True):
        frames.keep(f"{state}{number}", value)
    return outputs


def _lstm_frame(outer: OnnxGraph, layer: PlainLstmLayer, masked: bool, name: str) -> OnnxGraph:
    """One frame: cell, output and input sums (and 0 where the state begins) to cell, output and output."""
    graph = OnnxGraph(name, outer)
    size, dim = layer.cells, layer.output_dim
    cell = graph.input("cell", "float32", ["N", size])
    recurrent = graph.input("recurrent", "float32", ["N", dim])
    sums = graph.input("sums", "float32", ["N", 4 * size])
    sums = graph.op("Gemm", recurrent, graph.constant(_array(layer.w_gifo_r).T, f"{name}.recurrent"), sums)
    g, i_f, o = graph.node("Split", [sums, graph.integers(size, 2 * size, size)], 3, axis=1)
    peepholes = None if layer.peepholes is None else _array(layer.peepholes)
    if peepholes is not None:
        twice = graph.op("Concat", cell, cell, axis=1)
        seen = graph.op("Mul", twice, graph.constant(peepholes[:2].reshape(-1), f"{name}.peepholes_i_f"))
        i_f = graph.op("Add", i_f, seen)
    i, f = graph.node("Split", [graph.op("Sigmoid", i_f), graph.integers(size, size)], 2, axis=1)
    cell = graph.op("Add", graph.op("Mul", i, graph.op("Tanh", g)), graph.op("Mul", f, cell))
    if layer.clips.cell > 0.0:
        limits = (graph.constant(np.array(limit)) for limit in (-layer.clips.cell, layer.clips.cell))
        cell = graph.op("Clip", cell, *limits)
    if peepholes is not None:
        o = graph.op("Add", o, graph.op("Mul", cell, graph.constant(peepholes[2], f"{name}.peepholes_o")))
    outputs = graph.op("Mul", graph.op("Sigmoid", o), graph.op("Tanh", cell))
    if layer.w_r_m is not None:
        outputs = graph.op("MatMul", outputs, graph.constant(_array(layer.w_r_m).T, f"{name}.projection"))
    _body_outputs(graph, {cell: size, outputs: dim}, masked)
    return graph


def _body_outputs(graph: OnnxGraph, states: dict[str, int], masked: bool) -> None:
    """The states after a frame, 0 where an input says so, and the last of them as the output."""
    values = list(states)
    if masked:
        inside = graph.input("inside", "float32", ["N", 1])
        values = [graph.op("Mul", value, inside) for value in values]
    for value, dim in zip([*values, values[-1]], [*states.values(), [*states.values()][-1]], strict=True):
        graph.output(value, "after", "float32", ["N", dim])


def _gru(frames: FrameGraph, layer: nn.GRU, values: str, inside: str | None, number: int) -> str:
    """Outputs of a layer of ``torch.nn.GRU``: gates r, z and n, r after the product."""
    graph, size, name = frames.graph, layer.hidden_size, f"gru{number}"
    weights = [
        _array(getattr(layer, f"{part}_l0")) for part in ("weight_ih", "bias_ih", "weight_hh", "bias_hh")
    ]
    sums = graph.affine(values, weights[0], weights[1], name)
    body = OnnxGraph(name, graph)
    hidden = body.input("hidden", "float32", ["N", size])
    inputs = body.input("sums", "float32", ["N", 3 * size])
    kernel = [body.constant(weights[2].T, f"{name}.recurrent"), body.constant(weights[3], f"{name}.bias")]
    parts = body.integers(2 * size, size)
    x_rz, x_n = body.node("Split", [inputs, parts], 2, axis=1)
    h_rz, h_n = body.node("Split", [body.op("Gemm", hidden, *kernel), parts], 2, axis=1)
    gates = body.op("Sigmoid", body.op("Add", x_rz, h_rz))
    r, z = body.node("Split", [gates, body.integers(size, size)], 2, axis=1)
    n = body.op("Tanh", body.op("Add", x_n, body.op("Mul", r, h_n)))
    hidden = body.op("Add", n, body.op("Mul", z, body.op("Sub", hidden, n)))
    _body_outputs(body, {hidden: size}, inside is not None)
    begun = [frames.state(f"h{number}", size)]
    ended, outputs = graph.scan(body, begun, [sums] if inside is None else [sums, inside])
    frames.keep(f"h{number}", ended)
    return outputs


def output_layer(graph: OnnxGraph, network: Any, values: str) -> str:
    """Log-posteriors ``(T, N, P)`` of the last hidden layer."""
    logits = graph.affine(values, _array(network.output.weight), _array(network.output.bias), "output")
    return graph.op("LogSoftmax", logits, axis=-1)
