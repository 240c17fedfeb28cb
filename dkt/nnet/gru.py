"""A recurrent network of gated recurrent units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import nn

from dkt.base import ranges
from dkt.nnet.network import SequenceNetwork, State


@dataclass
class GruConfig:
    """Sizes of the network; the input and output dimensions come from the data and ``final.mdl``.

    Attributes:
        layers: number of GRU layers.
        units: H, of each.
        target_delay: frames that the network sees beyond the frame that it labels.
        dropout: probability of zeroing an output of a layer in training, on its way up, not in time.
    """

    layers: Annotated[int, ranges.LAYERS] = 2
    units: Annotated[int, ranges.UNITS] = 256
    target_delay: Annotated[int, ranges.DELAY] = 5
    dropout: Annotated[float, ranges.NOT_ALL] = 0.0


class _Layer(nn.Module):
    """A layer of ``torch.nn.GRU`` (Cho et al., arXiv 1406.1078, the reset gate after the product)."""

    def __init__(self, input_dim: int, units: int) -> None:
        super().__init__()
        self.gru = nn.GRU(input_dim, units)

    def forward(self, inputs: torch.Tensor, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs ``(T, N, H)`` and the state ``(N, H)`` after the last frame, of inputs ``(T, N, D)``."""
        # As of the LSTM: the recurrence, whose errors add up, stays in single precision.
        with torch.autocast(inputs.device.type, enabled=False):
            outputs, last = self.gru(inputs.to(hidden.dtype), hidden[None])
        return outputs, last[0]


class Gru(SequenceNetwork):
    """Global normalisation, GRU layers, logits.

    Args:
        config: the sizes.
        input_dim: F.
        num_pdfs: P, the number of outputs.
    """

    Config = GruConfig
    sizes = "network.units or network.layers"

    def __init__(self, config: GruConfig, input_dim: int, num_pdfs: int) -> None:
        super().__init__(config, input_dim, num_pdfs)
        self._normalise(input_dim)
        dims = [input_dim] + [config.units] * config.layers
        self.layers = nn.ModuleList(_Layer(dim, config.units) for dim in dims[:-1])
        self.dropout = nn.Dropout(config.dropout)
        self.output = self._output(config.units)

    def hidden_layers(self) -> list[nn.Module]:
        """As ``Network.hidden_layers``."""
        return list(self.layers)

    def zero_state(self, num_streams: int) -> State:
        """The state of N streams that begin an utterance: of each layer the output ``(N, H)``."""
        return [(self.shift.new_zeros(num_streams, self.config.units),) for _ in self.layers]

    def forward(
        self, features: torch.Tensor, state: State | None = None, lengths: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, State]:
        """As ``SequenceNetwork``; what follows the end of a sequence changes nothing before it."""
        begun = self.zero_state(features.shape[1]) if state is None else state
        ended: State = []
        outputs = (features + self.shift) * self.scale
        for layer, (hidden,) in zip(self.layers, begun, strict=True):
            outputs, hidden = layer(outputs, hidden)
            outputs = self.dropout(outputs)
            ended.append((hidden,))
        return self.output(outputs), ended
