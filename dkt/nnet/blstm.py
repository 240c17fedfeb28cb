"""A bidirectional LSTM: every frame sees its utterance from both ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import nn

from dkt.base import ranges
from dkt.nnet.lstm_layer import LstmLayer, check_projection
from dkt.nnet.network import SequenceNetwork, State
from dkt.nnet.torch_lstm import Clips


@dataclass
class BlstmConfig:
    """Sizes of the network; the input and output dimensions come from the data and ``final.mdl``.

    Attributes:
        layers: number of bidirectional layers.
        cells: C, memory cells of each layer and direction.
        projection: R, outputs of each layer and direction, which are also what recurs; null for no
            projection (R = C).
        peepholes: whether the gates see the cell.
        cell_clip: cells are kept within ± this; 0 for no clipping.
        dropout: probability of zeroing an output of a layer in training, on its way up, not in time.
        diff_clip, cell_diff_clip: as of the LSTM, nnet1's <DiffClip> and <CellDiffClip>; 0 for no clipping.
    """

    layers: Annotated[int, ranges.LAYERS] = 2
    cells: Annotated[int, ranges.UNITS] = 256
    projection: Annotated[int | None, ranges.UNITS] = 128
    peepholes: bool = True
    cell_clip: Annotated[float, ranges.CLIP] = 50.0
    dropout: Annotated[float, ranges.NOT_ALL] = 0.0
    diff_clip: Annotated[float, ranges.CLIP] = 0.0
    cell_diff_clip: Annotated[float, ranges.CLIP] = 0.0

    def __post_init__(self) -> None:
        check_projection(self.projection, self.cells)


class _Layer(nn.Module):
    """Two LSTM layers, one from each end, their outputs side by side (Kaldi's ``<BlstmProjected>``)."""

    def __init__(self, config: BlstmConfig, input_dim: int) -> None:
        super().__init__()
        clips = Clips(config.cell_clip, config.diff_clip, config.cell_diff_clip)
        sizes = (config.cells, config.projection, config.peepholes, clips)
        self.ahead = LstmLayer(input_dim, *sizes)
        self.back = LstmLayer(input_dim, *sizes)

    def forward(self, inputs: torch.Tensor, reversal: torch.Tensor) -> torch.Tensor:
        """Outputs ``(T, N, 2R)`` of inputs ``(T, N, D)``.

        Args:
            inputs: of all sequences.
            reversal: shape ``(T, N)``: row t is the number of the frame that is t frames before the last.
        """
        num_sequences = inputs.shape[1]
        ahead, _ = self.ahead(inputs, self.ahead.zero_state(num_sequences))
        back, _ = self.back(reordered(inputs, reversal), self.back.zero_state(num_sequences))
        return torch.cat([ahead, reordered(back, reversal)], dim=2)


def reversed_rows(num_frames: int, last: torch.Tensor) -> torch.Tensor:
    """Which row stands where sequences are read from their ends: shape ``(T, N)``; padding stays where it is.

    Args:
        num_frames: T.
        last: int64, shape ``(N,)``: the number of the last frame of each sequence.
    """
    rows = torch.arange(num_frames, device=last.device)[:, None]
    return torch.where(rows <= last, last - rows, rows)


def reordered(values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Of each sequence of ``values``, shape ``(T, N, D)``, the rows ``(T, N)`` in that order."""
    return values.gather(0, rows[:, :, None].expand_as(values))


class Blstm(SequenceNetwork):
    """Global normalisation, bidirectional LSTM layers, logits; Kaldi's BLSTM of nnet1.

    It cannot go on from a state, for one of its directions comes from the end: batches are whole utterances,
    or chunks that see frames on both sides of those that they learn.

    Args:
        config: the sizes.
        input_dim: F.
        num_pdfs: P, the number of outputs.
    """

    Config = BlstmConfig
    sizes = "network.cells or network.layers"
    batch_kinds = ("chunks", "utterances")
    no_streams = "a blstm sees an utterance from its end, which a stream has not reached"

    def __init__(self, config: BlstmConfig, input_dim: int, num_pdfs: int) -> None:
        super().__init__(config, input_dim, num_pdfs)
        self._normalise(input_dim)
        dims = [input_dim] + [2 * (config.projection or config.cells)] * config.layers
        self.layers = nn.ModuleList(_Layer(config, dim) for dim in dims[:-1])
        self.dropout = nn.Dropout(config.dropout)
        self.output = self._output(dims[-1])

    def hidden_layers(self) -> list[nn.Module]:
        """As ``Network.hidden_layers``."""
        return list(self.layers)

    def forward(
        self, features: torch.Tensor, state: State | None = None, lengths: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, State]:
        """As ``SequenceNetwork``, without any state.

        Args:
            features: shape ``(T, N, F)``.
            state: None.
            lengths: frames of each sequence, shape ``(N,)``; None for T.

        Raises:
            DktError: a state is given.
        """
        if state is not None:
            self.check_streams()
        num_frames, num_sequences, _ = features.shape
        last = features.new_full((num_sequences,), num_frames - 1, dtype=torch.long)
        reversal = reversed_rows(num_frames, last if lengths is None else lengths - 1)
        outputs = (features + self.shift) * self.scale
        for layer in self.layers:
            outputs = self.dropout(layer(outputs, reversal))
        return self.output(outputs), []
