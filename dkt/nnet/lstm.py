"""The recurrent network on single frames: the student."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

import torch
from torch import nn

from dkt.base import ranges
from dkt.nnet.lstm_layer import LstmLayer, PlainLstmLayer, check_projection
from dkt.nnet.network import SequenceNetwork, State
from dkt.nnet.torch_lstm import Clips


@dataclass
class LstmConfig:
    """Sizes of the network; the input and output dimensions come from the data and ``final.mdl``.

    Attributes:
        layers: number of LSTM layers.
        cells: C, memory cells of each.
        projection: R, outputs of each layer, which are also what recurs; null for no projection (R = C).
        peepholes: whether the gates see the cell.
        cell_clip: cells are kept within ± this; 0 for no clipping.
        diff_clip, cell_diff_clip: gradients of the gates' sums and of the cells are kept within ± this at
            every frame, as nnet1's <DiffClip> and <CellDiffClip>; 0 for no clipping.
        target_delay: frames that the network sees beyond the frame that it labels.
        dropout: probability of zeroing an output of a layer in training, on its way up, not in time.
    """

    layers: Annotated[int, ranges.LAYERS] = 2
    cells: Annotated[int, ranges.UNITS] = 320
    projection: Annotated[int | None, ranges.UNITS] = 128
    peepholes: bool = True
    cell_clip: Annotated[float, ranges.CLIP] = 50.0
    target_delay: Annotated[int, ranges.DELAY] = 5
    dropout: Annotated[float, ranges.NOT_ALL] = 0.0
    diff_clip: Annotated[float, ranges.CLIP] = 0.0
    cell_diff_clip: Annotated[float, ranges.CLIP] = 0.0

    def __post_init__(self) -> None:
        check_projection(self.projection, self.cells)


class Lstm(SequenceNetwork):
    """Global normalisation, LSTM layers, logits.

    Args:
        config: the sizes.
        input_dim: F.
        num_pdfs: P, the number of outputs.
        layer: the form of the layers; both have the same weights and give the same output.
    """

    Config = LstmConfig
    sizes = "network.cells or network.layers"

    def __init__(
        self, config: LstmConfig, input_dim: int, num_pdfs: int, layer: type[PlainLstmLayer] = LstmLayer
    ) -> None:
        super().__init__(config, input_dim, num_pdfs)
        self._normalise(input_dim)
        dims = [input_dim] + [config.projection or config.cells] * config.layers
        clips = Clips(config.cell_clip, config.diff_clip, config.cell_diff_clip)
        sizes = (config.cells, config.projection, config.peepholes, clips)
        self.layers = nn.ModuleList(layer(dim, *sizes) for dim in dims[:-1])
        self.dropout = nn.Dropout(config.dropout)
        self.output = self._output(dims[-1])

    def hidden_layers(self) -> list[nn.Module]:
        """As ``Network.hidden_layers``."""
        return list(self.layers)

    def zero_state(self, num_streams: int) -> State:
        """The state at the beginning of N utterances: of each layer cell ``(N, C)`` and output ``(N, R)``."""
        return [cast(PlainLstmLayer, layer).zero_state(num_streams) for layer in self.layers]

    def forward(
        self, features: torch.Tensor, state: State | None = None, lengths: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, State]:
        """Logits of features.

        Args:
            features: shape ``(T, N, F)``, the target delay applied.
            state: at which the streams go on; None for streams that begin an utterance.
            lengths: of no effect: what follows the end of a sequence changes nothing before it.

        Returns:
            Logits of shape ``(T, N, P)`` and the state after the last frame.
        """
        begun = self.zero_state(features.shape[1]) if state is None else state
        ended: State = []
        outputs = (features + self.shift) * self.scale
        for layer, layer_state in zip(self.layers, begun, strict=True):
            outputs, layer_state = layer(outputs, layer_state)
            outputs = self.dropout(outputs)
            ended.append(layer_state)
        return self.output(outputs), ended
