"""One LSTM layer with peepholes, cell clipping and recurrent projection, in a plain and in a fast form.

Shapes: T frames, N streams, F inputs, C cells, R outputs (the projection, or the cells where there is none).
Weights lie as in Kaldi's ``LstmProjected``: gates in the order g, i, f, o.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

# PyTorch says so once on every CPU; there is nothing that a user could do.
warnings.filterwarnings("ignore", message="LSTM with projections is not supported with oneDNN")

LayerState = tuple[torch.Tensor, torch.Tensor]

# The default of Kaldi's LstmProjected.
_PARAM_RANGE = 0.1
# Forget gates begin mostly open, at σ(1) = 0.73; at σ(0) a memory halves with every frame and hardly outlives
# a target delay (Jozefowicz, Zaremba, Sutskever 2015).
_FORGET_BIAS = 1.0


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
        cell_clip: cells are kept within ± this; 0 for no clipping.
    """

    def __init__(
        self, input_dim: int, cells: int, projection: int | None, peepholes: bool, cell_clip: float
    ) -> None:
        super().__init__()
        self.cells = cells
        self.output_dim = projection or cells
        self.cell_clip = cell_clip
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
        cell = torch.sigmoid(i) * torch.tanh(g) + torch.sigmoid(f) * cell
        if self.cell_clip > 0.0:
            cell = cell.clamp(-self.cell_clip, self.cell_clip)
        if self.peepholes is not None:
            o = o + self.peepholes[2] * cell
        memory = torch.sigmoid(o) * torch.tanh(cell)
        return cell, memory if self.w_r_m is None else functional.linear(memory, self.w_r_m)


class LstmLayer(PlainLstmLayer):
    """The same layer, fast: the form for training and scoring."""

    def forward(self, inputs: torch.Tensor, state: LayerState) -> tuple[torch.Tensor, LayerState]:
        """Outputs ``(T, N, R)`` and the state after the last frame, of inputs ``(T, N, F)``."""
        if self.peepholes is None and self.cell_clip == 0.0:
            return self._torch_lstm(inputs, state)
        peepholes = self.bias.new_zeros(3, self.cells) if self.peepholes is None else self.peepholes
        outputs, cell = _Recurrence.apply(
            inputs, self.w_gifo_x, self.w_gifo_r, self.bias, peepholes, self.w_r_m, *state, self.cell_clip
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


class _Activations(NamedTuple):
    """What the forward pass of a chunk leaves: row t of c and r is the value before frame t."""

    gifo: torch.Tensor  # (T, N, 4C)
    c: torch.Tensor  # (T + 1, N, C)
    h: torch.Tensor  # (T, N, C), tanh of the cell
    m: torch.Tensor  # (T, N, C), before the projection
    r: torch.Tensor  # (T + 1, N, R)


class _Recurrence(torch.autograd.Function):
    """A whole chunk of ``PlainLstmLayer`` with its gradient written out.

    The frames' input products are one matrix product, and so is the gradient of each weight matrix; what is
    left in the loops is the matrix product of the recurrence and a few element-wise operations in place.
    The gradient's equations are those of Kaldi's ``LstmProjected::BackpropagateFnc`` without its clipping;
    a clipped cell passes no gradient on.
    """

    @staticmethod
    def forward(
        ctx: Any,
        inputs: torch.Tensor,
        w_gifo_x: torch.Tensor,
        w_gifo_r: torch.Tensor,
        bias: torch.Tensor,
        peepholes: torch.Tensor,
        w_r_m: torch.Tensor | None,
        cell: torch.Tensor,
        recurrent: torch.Tensor,
        cell_clip: float,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs ``(T, N, R)`` and the last cell ``(N, C)``."""
        gifo = functional.linear(inputs, w_gifo_x, bias)
        num_frames = len(inputs)
        h = cell.new_empty(num_frames, *cell.shape)
        c = cell.new_empty(num_frames + 1, *cell.shape)
        r = recurrent.new_empty(num_frames + 1, *recurrent.shape)
        c[0], r[0] = cell, recurrent
        m = r[1:] if w_r_m is None else torch.empty_like(h)
        made = _Activations(gifo, c, h, m, r)
        _run(made, w_gifo_r, peepholes, w_r_m, cell_clip)
        ctx.save_for_backward(inputs, w_gifo_x, w_gifo_r, peepholes, w_r_m, *made)
        ctx.cell_clip = cell_clip
        return r[1:], c[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: torch.Tensor, d_cell: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Gradients of all arguments of ``forward``."""
        inputs, w_gifo_x, w_gifo_r, peepholes, w_r_m, *activations = ctx.saved_tensors
        made = _Activations(*activations)
        d_gifo, d_r, d_c = torch.empty_like(made.gifo), d_outputs.clone(), d_cell.clone()
        _run_back((d_gifo, d_r, d_c), _factors(made, peepholes, ctx.cell_clip), w_gifo_r, w_r_m)
        d_i_f, d_o = _gates(d_gifo, slice(1, 3)), _gates(d_gifo, 3)
        d_peepholes = [(d_i_f * made.c[:-1, :, None]).sum((0, 1)), (d_o * made.c[1:]).sum((0, 1))[None]]
        flat = d_gifo.flatten(0, 1)
        return (
            (flat @ w_gifo_x).view_as(inputs) if ctx.needs_input_grad[0] else None,
            flat.t() @ inputs.flatten(0, 1),
            flat.t() @ made.r[:-1].flatten(0, 1),
            flat.sum(0),
            torch.cat(d_peepholes),
            None if w_r_m is None else d_r.flatten(0, 1).t() @ made.m.flatten(0, 1),
            d_c,
            d_gifo[0] @ w_gifo_r,
            None,
        )


def _gates(gifo: torch.Tensor, which: int | slice) -> torch.Tensor:
    """The part of ``(T, N, 4C)`` of one gate, ``(T, N, C)``, or of several, ``(T, N, gates, C)``."""
    return gifo.unflatten(2, (4, -1))[:, :, which]


def _run(
    made: _Activations,
    w_gifo_r: torch.Tensor,
    peepholes: torch.Tensor,
    w_r_m: torch.Tensor | None,
    cell_clip: float,
) -> None:
    """Fill the activations frame by frame; ``gifo`` comes with the input products and leaves as the gates."""
    # Many products with few rows: a transposed copy costs less than it saves.
    recurrence = w_gifo_r.t().contiguous()
    projection = None if w_r_m is None else w_r_m.t().contiguous()
    peep_i_f, peep_o = peepholes[:2], peepholes[2]
    gifo, c, h, m, r = made
    tensors = [gifo, *(_gates(gifo, gate) for gate in (0, slice(1, 3), 1, 2, 3))]
    tensors += [c[:-1], c[:-1, :, None], c[1:], h, m, r[:-1], r[1:]]
    frames = zip(*(tensor.unbind() for tensor in tensors), strict=True)
    for sums, g, i_f, i, f, o, c_old, c_old_wide, c_new, h_new, m_new, r_old, r_new in frames:
        sums.addmm_(r_old, recurrence)
        i_f.addcmul_(c_old_wide, peep_i_f).sigmoid_()
        torch.mul(c_old, f, out=c_new).addcmul_(g.tanh_(), i)
        if cell_clip > 0.0:
            c_new.clamp_(-cell_clip, cell_clip)
        o.addcmul_(c_new, peep_o).sigmoid_()
        torch.mul(torch.tanh(c_new, out=h_new), o, out=m_new)
        if projection is not None:
            torch.mm(m_new, projection, out=r_new)


def _factors(made: _Activations, peepholes: torch.Tensor, cell_clip: float) -> tuple[torch.Tensor, ...]:
    """What a gradient is multiplied by on its way, for all frames at once.

    From m to the sum of o; from m to c(t); from c(t) to the sums of g, i and f; from c(t) to c(t-1). Each is
    a product with the derivative of its squashing function: y - y² for σ, 1 - y² for tanh.
    """
    g, i, f, o = made.gifo.chunk(4, dim=2)
    m_to_o = torch.addcmul(made.m, made.m, o, value=-1)
    m_to_c = torch.addcmul(o, made.m, made.h, value=-1).addcmul_(m_to_o, peepholes[2])
    c_to_g_i_f = made.h.new_empty(*g.shape[:2], 3, g.shape[2])
    c_to_g, c_to_i, c_to_f = c_to_g_i_f.unbind(2)
    i_g, f_c = i * g, f * made.c[:-1]
    torch.addcmul(i, i_g, g, value=-1, out=c_to_g)
    torch.addcmul(i_g, i_g, i, value=-1, out=c_to_i)
    torch.addcmul(f_c, f_c, f, value=-1, out=c_to_f)
    c_to_c = torch.addcmul(f, c_to_i, peepholes[0]).addcmul_(c_to_f, peepholes[1])
    if cell_clip > 0.0 and torch.stack(made.c.aminmax()).abs().max() >= cell_clip:
        unclipped = made.c[1:].abs() < cell_clip
        c_to_g_i_f *= unclipped[:, :, None]
        c_to_c *= unclipped
    return m_to_o, m_to_c, c_to_g_i_f, c_to_c


def _run_back(
    gradients: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    factors: tuple[torch.Tensor, ...],
    w_gifo_r: torch.Tensor,
    w_r_m: torch.Tensor | None,
) -> None:
    """Fill the gradient of the gates' sums from the last frame to the first.

    Args:
        gradients: of the sums, ``(T, N, 4C)``, to be filled; of the outputs, ``(T, N, R)``, to which the part
            through later frames is added; of the last cell, ``(N, C)``, left as that of the initial cell.
        factors: what ``_factors`` gives.
        w_gifo_r, w_r_m: the weights.
    """
    d_gifo, d_r, d_c = gradients
    d_c_wide = d_c[:, None]
    tensors = [d_r, d_gifo, _gates(d_gifo, slice(0, 3)), _gates(d_gifo, 3), *factors]
    frames = list(zip(*(tensor.unbind() for tensor in tensors), strict=True))
    later = None
    for d_out, d_sums, d_g_i_f, d_o, m_to_o, m_to_c, c_to_g_i_f, c_to_c in reversed(frames):
        if later is not None:
            d_out.addmm_(later, w_gifo_r)
        d_m = d_out if w_r_m is None else d_out.mm(w_r_m)
        torch.mul(d_m, m_to_o, out=d_o)
        d_c.addcmul_(d_m, m_to_c)
        torch.mul(d_c_wide, c_to_g_i_f, out=d_g_i_f)
        d_c.mul_(c_to_c)
        later = d_sums
