"""Networks of Kaldi's nnet1 in NumPy, as ``nnet-forward`` computes them: what written files are judged by.

It is written after Kaldi's ``PropagateFnc`` and shares nothing with the modules of PyTorch that run and train
the same components. T frames, I and O dimensions of input and output, C LSTM cells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from dkt.base.errors import DktError
from dkt.nnet.nnet1.components import (
    Affine,
    BlockSoftmax,
    Component,
    Copy,
    LstmComponent,
    LstmWeights,
    ParametricRelu,
    PerDimension,
    Splice,
)


def propagate(
    components: Sequence[Component], frames: np.ndarray, dtype: type[np.floating] = np.float64
) -> np.ndarray:
    """The outputs of a network for one whole utterance.

    Args:
        components: in their order; none is the identity.
        frames: shape ``(T, I)``, one frame at least.
        dtype: float64, or float32 as Kaldi computes.

    Returns:
        Shape ``(T, O)``, of ``dtype``.

    Raises:
        DktError: the frames are of another dimension, or a component is not known here.
    """
    values = np.asarray(frames, dtype)
    if values.ndim != 2 or not len(values):
        raise DktError(f"frames of shape {values.shape}, expected a row for each of one frame or more")
    for component in components:
        if values.shape[1] != component.input_dim:
            raise DktError(
                f"{component.marker} takes {component.input_dim} inputs, it is given {values.shape[1]}"
            )
        values = _step_of(component)(component, values)
    return values


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """The natural logarithm of the softmax over each row of ``(T, P)``."""
    below = logits - logits.max(axis=1, keepdims=True)
    return below - np.log(np.exp(below).sum(axis=1, keepdims=True))


_Step = Callable[..., np.ndarray]


def _step_of(component: Component) -> _Step:
    step = _BY_KIND.get(type(component)) or _BY_MARKER.get(component.marker)
    if step is None:
        raise DktError(f"{component.marker} is not a component of nnet1 that can be evaluated here")
    return step


def _parameters(values: np.ndarray, like: np.ndarray) -> np.ndarray:
    return np.asarray(values, like.dtype)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    # Of a large negative number exp() has none; tanh has values everywhere.
    return 0.5 * (1.0 + np.tanh(0.5 * values))


def _softmax(component: Component, x: np.ndarray) -> np.ndarray:
    return np.exp(log_softmax(x))


def _affine(component: Affine, x: np.ndarray) -> np.ndarray:
    product: np.ndarray = x @ _parameters(component.weight, x).T
    return product if component.bias is None else product + _parameters(component.bias, x)


def _per_dimension(component: PerDimension, x: np.ndarray) -> np.ndarray:
    values = _parameters(component.values, x)
    result: np.ndarray = x + values if component.marker == "<AddShift>" else x * values
    return result


def _parametric_relu(component: ParametricRelu, x: np.ndarray) -> np.ndarray:
    above, below = (_parameters(slopes, x) for slopes in (component.above, component.below))
    result: np.ndarray = above * np.maximum(x, 0.0) + below * np.minimum(x, 0.0)
    return result


def _splice(component: Splice, x: np.ndarray) -> np.ndarray:
    # Beyond the ends of the utterance its first and its last frame stand.
    rows = np.arange(len(x))
    return np.hstack([x[np.clip(rows + int(offset), 0, len(x) - 1)] for offset in component.offsets])


def _copy(component: Copy, x: np.ndarray) -> np.ndarray:
    return x[:, component.indices]


def _block_softmax(component: BlockSoftmax, x: np.ndarray) -> np.ndarray:
    blocks = np.split(x, np.cumsum(component.blocks)[:-1], axis=1)
    return np.hstack([np.exp(log_softmax(block)) for block in blocks])


def _lstm(component: LstmComponent, x: np.ndarray) -> np.ndarray:
    forward, *backward = component.directions
    outputs = [_in_time(forward, component.cell_clip, x)]
    outputs += [_in_time(weights, component.cell_clip, x[::-1])[::-1] for weights in backward]
    return np.hstack(outputs)


def _in_time(weights: LstmWeights, clip: float, x: np.ndarray) -> np.ndarray:
    """Outputs ``(T, R)`` of one direction, from the first row to the last."""
    w_x, w_r, bias, peepholes, w_r_m = (
        _parameters(values, x)
        for values in (weights.w_gifo_x, weights.w_gifo_r, weights.bias, weights.peepholes, weights.w_r_m)
    )
    of_i, of_f, of_o = peepholes
    r, c = np.zeros(len(w_r_m), x.dtype), np.zeros(w_r_m.shape[1], x.dtype)
    outputs = np.empty((len(x), len(r)), x.dtype)
    for t, from_input in enumerate(x @ w_x.T + bias):
        g, i, f, o = (from_input + w_r @ r).reshape(4, len(c))
        c = np.tanh(g) * _sigmoid(i + of_i * c) + c * _sigmoid(f + of_f * c)
        if clip > 0.0:
            c = np.clip(c, -clip, clip)
        # The output gate sees the cell of this frame.
        r = w_r_m @ (np.tanh(c) * _sigmoid(o + of_o * c))
        outputs[t] = r
    return outputs


_BY_KIND: dict[type, _Step] = {
    Affine: _affine,
    PerDimension: _per_dimension,
    ParametricRelu: _parametric_relu,
    Splice: _splice,
    Copy: _copy,
    BlockSoftmax: _block_softmax,
    LstmComponent: _lstm,
}
_BY_MARKER: dict[str, _Step] = {
    "<Sigmoid>": lambda component, x: _sigmoid(x),
    "<Tanh>": lambda component, x: np.tanh(x),
    "<Softmax>": _softmax,
    "<HiddenSoftmax>": _softmax,
    "<LengthNormComponent>": lambda component, x: x / np.linalg.norm(x, axis=1, keepdims=True),
    # nnet-forward sets its rate to zero.
    "<Dropout>": lambda component, x: x,
}
