"""Networks of Kaldi's nnet1, run with PyTorch on one utterance at a time.

T is the number of frames; every component maps ``(T, I)`` to ``(T, O)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from dkt.nnet.lstm_layer import LstmLayer
from dkt.nnet.nnet1 import components as nnet1
from dkt.nnet.torch_lstm import Clips

Run = Callable[[torch.Tensor], torch.Tensor]


class Nnet1:
    """A network of components.

    Args:
        components: in their order; none is the identity, as in Kaldi.
        path: where they were read, for errors.
        device: where to compute.
    """

    def __init__(
        self, components: Sequence[nnet1.Component], path: str | Path, device: torch.device | str = "cpu"
    ) -> None:
        self.components = list(components)
        self.path = str(path)
        self._steps = [_runner(component, torch.device(device)) for component in components]
        self._device = device

    @classmethod
    def read(cls, path: str | Path, device: torch.device | str = "cpu") -> Nnet1:
        """Read a file of Kaldi's, text or binary.

        Raises:
            DktError: as ``dkt.nnet.nnet1.components.read_nnet1``.
        """
        return cls(nnet1.read_nnet1(path), path, device)

    @property
    def input_dim(self) -> int | None:
        """The dimension of its input; None if any will do."""
        return self.components[0].input_dim if self.components else None

    @property
    def output_dim(self) -> int | None:
        """The dimension of its output; None if it is that of the input."""
        return self.components[-1].output_dim if self.components else None

    @torch.inference_mode()
    def __call__(self, frames: np.ndarray) -> torch.Tensor:
        """Outputs ``(T, O)`` of the frames ``(T, I)``, at least one, of one whole utterance."""
        values = torch.from_numpy(np.ascontiguousarray(frames, np.float32)).to(self._device)
        for step in self._steps:
            values = step(values)
        return values


def _runner(component: nnet1.Component, device: torch.device) -> Run:
    if type(component) is nnet1.Component:
        return _PLAIN[component.marker]
    return _WITH_PARAMETERS[type(component)](component, device)


def _length_norm(frames: torch.Tensor) -> torch.Tensor:
    return frames / frames.norm(dim=1, keepdim=True)


def _softmax(frames: torch.Tensor) -> torch.Tensor:
    return torch.softmax(frames, dim=1)


_PLAIN: dict[str, Run] = {
    "<Sigmoid>": torch.sigmoid,
    "<Tanh>": torch.tanh,
    "<Softmax>": _softmax,
    "<HiddenSoftmax>": _softmax,
    "<LengthNormComponent>": _length_norm,
    # nnet-forward sets the rate to zero.
    "<Dropout>": lambda frames: frames,
}


def _affine(component: nnet1.Affine, device: torch.device) -> Run:
    weight = torch.from_numpy(component.weight).to(device)
    bias = None if component.bias is None else torch.from_numpy(component.bias).to(device)
    return lambda frames: functional.linear(frames, weight, bias)


def _per_dimension(component: nnet1.PerDimension, device: torch.device) -> Run:
    values = torch.from_numpy(component.values).to(device)
    if component.marker == "<AddShift>":
        return lambda frames: frames + values
    return lambda frames: frames * values


def _parametric_relu(component: nnet1.ParametricRelu, device: torch.device) -> Run:
    above, below = (torch.from_numpy(slope).to(device) for slope in (component.above, component.below))
    return lambda frames: frames * torch.where(frames >= 0.0, above, below)


def _splice(component: nnet1.Splice, device: torch.device) -> Run:
    offsets = torch.from_numpy(component.offsets.astype(np.int64)).to(device)

    def run(frames: torch.Tensor) -> torch.Tensor:
        rows = torch.arange(len(frames), device=device)[:, None] + offsets
        return frames[rows.clamp(0, len(frames) - 1)].flatten(1)

    return run


def _copy(component: nnet1.Copy, device: torch.device) -> Run:
    indices = torch.from_numpy(component.indices.astype(np.int64)).to(device)
    return lambda frames: frames[:, indices]


def _block_softmax(component: nnet1.BlockSoftmax, device: torch.device) -> Run:
    blocks = component.blocks.tolist()
    return lambda frames: torch.cat([_softmax(block) for block in frames.split(blocks, dim=1)], dim=1)


def _lstm(component: nnet1.LstmComponent, device: torch.device) -> Run:
    layers = [_layer(weights, component.cell_clip).to(device) for weights in component.directions]

    def run(frames: torch.Tensor) -> torch.Tensor:
        # The second direction begins at the end of the utterance.
        inputs = [frames, frames.flip(0)][: len(layers)]
        outputs = [_outputs(layer, x) for layer, x in zip(layers, inputs, strict=True)]
        return torch.cat([outputs[0], *(output.flip(0) for output in outputs[1:])], dim=1)

    return run


def _layer(weights: nnet1.LstmWeights, cell_clip: float) -> LstmLayer:
    outputs, cells = weights.w_r_m.shape
    layer = LstmLayer(weights.w_gifo_x.shape[1], cells, outputs, True, Clips(cell_clip))
    layer.load_state_dict({name: torch.from_numpy(value) for name, value in vars(weights).items()})
    return layer.eval()


def _outputs(layer: LstmLayer, frames: torch.Tensor) -> torch.Tensor:
    outputs, _ = layer(frames[:, None], layer.zero_state(1))
    return outputs[:, 0]


_WITH_PARAMETERS: dict[type, Callable[..., Run]] = {
    nnet1.Affine: _affine,
    nnet1.PerDimension: _per_dimension,
    nnet1.ParametricRelu: _parametric_relu,
    nnet1.Splice: _splice,
    nnet1.Copy: _copy,
    nnet1.BlockSoftmax: _block_softmax,
    nnet1.LstmComponent: _lstm,
}
