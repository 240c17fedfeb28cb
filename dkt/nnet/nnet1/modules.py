"""Components of nnet1 as modules of PyTorch, which run and train on utterances side by side.

T frames, N utterances, I and O the dimensions of input and output. A module maps ``(T, N, I)`` to
``(T, N, O)``; ``last``, shape ``(N,)``, is the number of the last frame of each utterance: what is beyond is
padding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from dkt.nnet.blstm import reordered, reversed_rows
from dkt.nnet.lstm_layer import LstmLayer
from dkt.nnet.nnet1 import components as nnet1
from dkt.nnet.products import Linear
from dkt.nnet.torch_lstm import Clips

#: What Kaldi's ``InitData`` sets an option to that is not told.
_DIFF_CLIP = 1.0


class Step(nn.Module):
    """One component.

    Args:
        component: what it is; its parameters are copied.
    """

    def __init__(self, component: nnet1.Component) -> None:
        super().__init__()
        self.head = component

    def component(self) -> nnet1.Component:
        """The component with the parameters of now."""
        return self.head

    def forward(self, frames: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """Outputs ``(T, N, O)`` of inputs ``(T, N, I)``."""
        return _PLAIN[self.head.marker](frames)


def _with(head: nnet1.Component, **parameters: Any) -> nnet1.Component:
    """A component, of a class that has them, with other parameters."""
    return replace(head, **parameters)


def _length_norm(frames: torch.Tensor) -> torch.Tensor:
    return frames / frames.norm(dim=-1, keepdim=True)


def _softmax(frames: torch.Tensor) -> torch.Tensor:
    return torch.softmax(frames, dim=-1)


_PLAIN: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "<Sigmoid>": torch.sigmoid,
    "<Tanh>": torch.tanh,
    "<Softmax>": _softmax,
    "<HiddenSoftmax>": _softmax,
    "<LengthNormComponent>": _length_norm,
}


class _Dropout(Step):
    def forward(self, frames: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        # nnet-forward sets the rate to zero.
        return functional.dropout(frames, nnet1.dropout_rate(self.head), self.training)


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)


def _array(values: torch.Tensor) -> np.ndarray:
    return values.detach().cpu().numpy().copy()


def _parameter(values: np.ndarray, component: nnet1.Component, option: str) -> nn.Parameter:
    """A parameter, which a rate of zero keeps as it is (``LearnRateCoef``)."""
    rate = component.options.get(option, 1.0) if component.options else 0.0
    return nn.Parameter(_tensor(values), requires_grad=rate != 0.0)


class _Affine(Step):
    def __init__(self, component: nnet1.Affine) -> None:
        super().__init__(replace(component, weight=_NOTHING, bias=None))
        self.linear: nn.Linear = Linear(component.input_dim, component.output_dim)
        self.linear.weight = _parameter(component.weight, component, "LearnRateCoef")
        bias = component.bias
        given = None if bias is None else _parameter(bias, component, "BiasLearnRateCoef")
        self.linear.register_parameter("bias", given)

    def component(self) -> nnet1.Component:
        """As ``Step.component``."""
        bias = None if self.linear.bias is None else _array(self.linear.bias)
        return _with(self.head, weight=_array(self.linear.weight), bias=bias)

    def forward(self, frames: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """As ``Step.forward``."""
        if self.linear.bias is None:
            return functional.linear(frames, self.linear.weight)
        outputs: torch.Tensor = self.linear(frames)
        return outputs


class _PerDimension(Step):
    def __init__(self, component: nnet1.PerDimension) -> None:
        super().__init__(replace(component, values=_NOTHING))
        self.values = _parameter(component.values, component, "LearnRateCoef")

    def component(self) -> nnet1.Component:
        return _with(self.head, values=_array(self.values))

    def forward(self, frames: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        return frames + self.values if self.head.marker == "<AddShift>" else frames * self.values


class _ParametricRelu(Step):
    def __init__(self, component: nnet1.ParametricRelu) -> None:
        super().__init__(replace(component, above=_NOTHING, below=_NOTHING))
        self.above = _parameter(component.above, component, "AlphaLearnRateCoef")
        self.below = _parameter(component.below, component, "BetaLearnRateCoef")

    def component(self) -> nnet1.Component:
        return _with(self.head, above=_array(self.above), below=_array(self.below))

    def forward(self, frames: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        return frames * torch.where(frames >= 0.0, self.above, self.below)


class _Splice(Step):
    def __init__(self, component: nnet1.Splice) -> None:
        super().__init__(component)
        self._offsets = component.offsets.tolist()

    def forward(self, frames: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        rows = torch.arange(len(frames), device=frames.device)[:, None]
        beside = [(rows + offset).clamp_min(0).minimum(last) for offset in self._offsets]
        return torch.cat([reordered(frames, seen) for seen in beside], dim=2)


class _Copy(Step):
    indices: torch.Tensor

    def __init__(self, component: nnet1.Copy) -> None:
        super().__init__(component)
        indices = torch.tensor(component.indices.astype(np.int64))
        self.register_buffer("indices", indices, persistent=False)

    def forward(self, frames: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        return frames[:, :, self.indices]


class _BlockSoftmax(Step):
    def __init__(self, component: nnet1.BlockSoftmax) -> None:
        super().__init__(component)
        self._blocks = component.blocks.tolist()

    def forward(self, frames: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        return torch.cat([_softmax(block) for block in frames.split(self._blocks, dim=2)], dim=2)


class _Lstm(Step):
    def __init__(self, component: nnet1.LstmComponent) -> None:
        super().__init__(replace(component, directions=()))
        options = component.options
        diff = options.get("DiffClip", _DIFF_CLIP), options.get("CellDiffClip", 0.0)
        clips = Clips(component.cell_clip, *diff)
        self.directions = nn.ModuleList(_direction(weights, clips) for weights in component.directions)
        for name, parameter in self.named_parameters():
            option = "LearnRateCoef" if name.rpartition(".")[2].startswith("w_") else "BiasLearnRateCoef"
            parameter.requires_grad_(options.get(option, 1.0) != 0.0)

    def component(self) -> nnet1.Component:
        directions = tuple(
            nnet1.LstmWeights(**{name: _array(value) for name, value in layer.named_parameters()})
            for layer in self.directions
        )
        return _with(self.head, directions=directions)

    def forward(self, frames: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        ahead, *others = self.directions
        outputs = [_outputs(ahead, frames)]
        for back in others:
            # The second direction begins at the end of each utterance.
            reversal = reversed_rows(len(frames), last)
            outputs.append(reordered(_outputs(back, reordered(frames, reversal)), reversal))
        return torch.cat(outputs, dim=2)


def _direction(weights: nnet1.LstmWeights, clips: Clips) -> LstmLayer:
    outputs, cells = weights.w_r_m.shape
    layer = LstmLayer(weights.w_gifo_x.shape[1], cells, outputs, True, clips)
    layer.load_state_dict({name: _tensor(value) for name, value in vars(weights).items()})
    return layer


def _outputs(layer: nn.Module, frames: torch.Tensor) -> torch.Tensor:
    assert isinstance(layer, LstmLayer)
    outputs, _ = layer(frames, layer.zero_state(frames.shape[1]))
    return outputs


_NOTHING = np.zeros(0, np.float32)
_STEPS: dict[type, type[Step]] = {
    nnet1.Affine: _Affine,
    nnet1.PerDimension: _PerDimension,
    nnet1.ParametricRelu: _ParametricRelu,
    nnet1.Splice: _Splice,
    nnet1.Copy: _Copy,
    nnet1.BlockSoftmax: _BlockSoftmax,
    nnet1.LstmComponent: _Lstm,
}


def step_of(component: nnet1.Component) -> Step:
    """The module of a component."""
    kind = _Dropout if component.marker == "<Dropout>" else _STEPS.get(type(component), Step)
    return kind(component)
