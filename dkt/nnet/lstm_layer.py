"""One LSTM layer with peepholes, cell clipping and recurrent projection, in a plain and in a fast form.

Shapes: T frames, N streams, F inputs, C cells, R outputs (the projection, or the cells where there is none).
Weights lie as in Kaldi's ``LstmProjected``: gates in the order g, i, f, o.
"""

from __future__ import annotations

import warnings

import torch
from torch import nn
from torch.nn import functional

from dkt.base.errors import DktError
from dkt.nnet import native_lstm
from dkt.nnet.recurrence import Recurrence
from dkt.nnet.torch_lstm import Clips

# PyTorch says so once on every CPU; there is nothing that a user could do.
warnings.filterwarnings("ignore", message="LSTM with projections is not supported with oneDNN")

LayerState = tuple[torch.Tensor, torch.Tensor]

# The default of Kaldi's LstmProjected.
_PARAM_RANGE = 0.1
# Forget gates begin mostly open, at σ(1) = 0.73; at σ(0) a memory halves with every frame and hardly outlives
# a target delay (Jozefowicz, Zaremba, Sutskever 2015).
_FORGET_BIAS = 1.0


def check_projection(projection: int | None, cells: int) -> None:
    """Raise DktError if the projection of a configuration is not narrower than its cells; None is none."""
    if projection is not None and not 0 < projection < cells:
        raise DktError(
            f"'network.projection' is {projection}, expected less than network.cells ({cells})",
            hint="write null for no projection",
        )


class PlainLstmLayer(nn.Module):
    """The equations as they are written, one frame at a time: the reference, and the form for exporters.

    With x the input, c the cell, r the output and ⊙ the element-wise product::

        g = tanh(Wgx x(t) + Wgr r(t-1) + bg)
        i =    σ(Wix x(t) + Wir r(t-1) + pi ⊙ c(t-1) + bi)
        f =    σ(Wfx x(t) + Wfr r(t-1) + pf ⊙ c(t-1) + bf)
        c(t) = clip(i ⊙ g + f ⊙ c(t-1))
        o =    σ(Wox x(t) + Wor r(t-1) + po ⊙ c(t) + bo)
        r(t) = Wrm (o ⊙ tanh c(t))

    Source: Sak, Senior, Beaufays (2014), equations 7 to 13; Kaldi's ``nnet/nnet-lstm-projected.h``.

    Args:
        input_dim: F.
        cells: C.
        projection: R; None for no projection.
        peepholes: whether the gates see the cell.
        clips: limits of cells and of gradients.
    """

    def __init__(
        self, input_dim: int, cells: int, projection: int | None, peepholes: bool, clips: Clips
    ) -> None:
        super().__init__()
        self.cells = cells
        self.output_dim = projection or cells
        self.clips = clips
        self.w_gifo_x = nn.Parameter(torch.empty(4 * cells, input_dim))
        self.w_gifo_r = nn.Parameter(torch.empty(4 * cells, self.output_dim))
        self.bias = nn.Parameter(torch.empty(4 * cells))
        # The rows belong to i, f and o.
        self.peepholes = nn.Parameter(torch.empty(3, cells)) if peepholes else None
        self.w_r_m = nn.Parameter(torch.empty(projection, cells)) if projection else None
        self._initialise()

    def _initialise(self) -> None:
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -_PARAM_RANGE, _PARAM_RANGE)
        with torch.no_grad():
            self.bias[2 * self.cells : 3 * self.cells].add_(_FORGET_BIAS)

    def zero_state(self, num_streams: int) -> LayerState:
        """The state at the beginning of an utterance: cell ``(N, C)`` and output ``(N, R)``."""
        return (
            self.bias.new_zeros(num_streams, self.cells),
            self.bias.new_zeros(num_streams, self.output_dim),
        )

    def forward(self, inputs: torch.Tensor, state: LayerState) -> tuple[torch.Tensor, LayerState]:
        """Outputs ``(T, N, R)`` and the state after the last frame, of inputs ``(T, N, F)``."""
        cell, recurrent = state
        outputs = []
        for frame in inputs:
            cell, recurrent = self._step(frame, cell, recurrent)
            outputs.append(recurrent)
        return torch.stack(outputs), (cell, recurrent)

    def _step(self, frame: torch.Tensor, cell: torch.Tensor, recurrent: torch.Tensor) -> LayerState:
        sums = functional.linear(frame, self.w_gifo_x, self.bias)
        g, i, f, o = (sums + functional.linear(recurrent, self.w_gifo_r)).chunk(4, dim=1)
        if self.peepholes is not None:
            i = i + self.peepholes[0] * cell
            f = f + self.peepholes[1] * cell
        g, i, f = (_clip_gradient(gate, self.clips.diff) for gate in (g, i, f))
        cell = torch.sigmoid(i) * torch.tanh(g) + torch.sigmoid(f) * cell
        if self.clips.cell > 0.0:
            cell = cell.clamp(-self.clips.cell, self.clips.cell)
        cell = _clip_gradient(cell, self.clips.cell_diff)
        memory = torch.sigmoid(self._output_gate(o, cell)) * torch.tanh(cell)
        return cell, memory if self.w_r_m is None else functional.linear(memory, self.w_r_m)

    def _output_gate(self, o: torch.Tensor, cell: torch.Tensor) -> torch.Tensor:
        if self.peepholes is None:
            return _clip_gradient(o, self.clips.diff)
        # The gradient is clipped on its way to weights and to frames before, but not to this frame's cell.
        peephole = self.peepholes[2]
        clipped = _clip_gradient(o + peephole * cell.detach(), self.clips.diff)
        return clipped + peephole.detach() * (cell - cell.detach())


def _clip_gradient(values: torch.Tensor, limit: float) -> torch.Tensor:
    """The values; their gradient is kept within ± ``limit``, 0 for none."""
    if limit > 0.0 and values.requires_grad:
        values.register_hook(lambda gradient: gradient.clamp(-limit, limit))
    return values


class LstmLayer(PlainLstmLayer):
    """The same layer, fast: the form for training and scoring."""

    def forward(self, inputs: torch.Tensor, state: LayerState) -> tuple[torch.Tensor, LayerState]:
        """Outputs ``(T, N, R)`` and the state after the last frame, of inputs ``(T, N, F)``."""
        if self.peepholes is None and not any(self.clips) and not native_lstm.serves(inputs):
            return self._torch_lstm(inputs, state)
        outputs, cell = Recurrence.apply(
            inputs, self.w_gifo_x, self.w_gifo_r, self.bias, self.peepholes, self.w_r_m, *state, self.clips
        )
        return outputs, (cell, outputs[-1])

    def _torch_lstm(self, inputs: torch.Tensor, state: LayerState) -> tuple[torch.Tensor, LayerState]:
        # The function of torch.nn.LSTM, which has two biases and orders the gates i, f, g, o.
        weights = [_ifgo(self.w_gifo_x), _ifgo(self.w_gifo_r), _ifgo(self.bias), torch.zeros_like(self.bias)]
        if self.w_r_m is not None:
            weights.append(self.w_r_m)
        cell, recurrent = state
        outputs, recurrent, cell = torch.lstm(
            inputs,
            (recurrent[None], cell[None]),
            weights,
            has_biases=True,
            num_layers=1,
            dropout=0.0,
            train=self.training,
            bidirectional=False,
            batch_first=False,
        )
        return outputs, (cell[0], recurrent[0])


def _ifgo(gifo: torch.Tensor) -> torch.Tensor:
    g, i, f, o = gifo.chunk(4)
    return torch.cat([i, f, g, o])
