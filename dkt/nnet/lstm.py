"""The recurrent network on single frames: the student."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, cast

import torch
from torch import nn

from dkt.base import ranges
from dkt.base.errors import DktError
from dkt.nnet.lstm_layer import LayerState, LstmLayer, PlainLstmLayer
from dkt.nnet.normalisation import shift_and_scale
from dkt.nnet.products import Linear
from dkt.nnet.torch_lstm import Clips

#: The state of each layer: cell ``(N, C)`` and output ``(N, R)``.
State = list[LayerState]


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
        if self.projection is not None and not 0 < self.projection < self.cells:
            raise DktError(
                f"'network.projection' is {self.projection}, expected less than network.cells ({self.cells})",
                hint="write null for no projection",
            )


class Lstm(nn.Module):
    """Global normalisation, LSTM layers, logits.

    The target delay is not inside: batches apply it to the features (``delayed``).

    Args:
        config: the sizes.
        input_dim: F.
        num_pdfs: P, the number of outputs.
        layer: the form of the layers; both have the same weights and give the same output.
    """

    def __init__(
        self, config: LstmConfig, input_dim: int, num_pdfs: int, layer: type[PlainLstmLayer] = LstmLayer
    ) -> None:
        super().__init__()
        self.shift: torch.Tensor
        self.scale: torch.Tensor
        self.config = config
        self.input_dim = input_dim
        self.num_pdfs = num_pdfs
        self.register_buffer("shift", torch.zeros(input_dim))
        self.register_buffer("scale", torch.ones(input_dim))
        dims = [input_dim] + [config.projection or config.cells] * config.layers
        clips = Clips(config.cell_clip, config.diff_clip, config.cell_diff_clip)
        sizes = (config.cells, config.projection, config.peepholes, clips)
        self.layers = nn.ModuleList(layer(dim, *sizes) for dim in dims[:-1])
        self.dropout = nn.Dropout(config.dropout)
        self.output = Linear(dims[-1], num_pdfs)
        # Small output weights: training begins from nearly equal posteriors.
        nn.init.normal_(self.output.weight, std=0.01)
        nn.init.zeros_(self.output.bias)

    @torch.no_grad()
    def fit_normalisation(self, batches: Iterable[torch.Tensor]) -> None:
        """Set shift and scale so that the input has zero mean and unit variance over ``batches``.

        Args:
            batches: features, each of shape ``(..., F)``, without padding.
        """
        shift, scale = shift_and_scale(batches)
        self.shift.copy_(shift)
        self.scale.copy_(scale)

    def zero_state(self, num_streams: int) -> State:
        """The state of N streams that begin an utterance."""
        return [cast(PlainLstmLayer, layer).zero_state(num_streams) for layer in self.layers]

    def forward(self, features: torch.Tensor, state: State | None = None) -> tuple[torch.Tensor, State]:
        """Logits of features.

        Args:
            features: shape ``(T, N, F)``, the target delay applied.
            state: at which the streams go on; None for streams that begin an utterance.

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


def delayed(features: torch.Tensor, target_delay: int) -> torch.Tensor:
    """The input of one whole utterance: row t is x(min(t + d, T - 1)), as Kaldi's nnet1 ``<Splice> [ d ]``.

    Args:
        features: shape ``(T, ...)``.
        target_delay: d, in frames.
    """
    rows = torch.arange(len(features), device=features.device) + target_delay
    return features[rows.clamp_max(len(features) - 1)]


def detach_state(state: State) -> State:
    """The same values, without the graph that made them: back-propagation ends there."""
    return [(cell.detach(), recurrent.detach()) for cell, recurrent in state]


def reset_state(state: State, mask: torch.Tensor) -> State:
    """The state with zeros for the streams of ``mask``, shape ``(N,)``, that begin an utterance."""
    begins = mask[:, None]
    return [(cell.masked_fill(begins, 0.0), recurrent.masked_fill(begins, 0.0)) for cell, recurrent in state]


def select_state(state: State, streams: torch.Tensor) -> State:
    """The state of some streams only, in the order of the indices ``streams``."""
    return [(cell[streams], recurrent[streams]) for cell, recurrent in state]


@torch.no_grad()
def store_state(state: State, streams: torch.Tensor, new: State) -> None:
    """Overwrite the state of the streams of the indices ``streams`` with ``new``, detached."""
    for (cell, recurrent), (new_cell, new_recurrent) in zip(state, new, strict=True):
        cell[streams] = new_cell
        recurrent[streams] = new_recurrent
