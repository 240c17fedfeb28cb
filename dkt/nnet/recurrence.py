"""The recurrence of one LSTM layer over a chunk of frames, with its gradient written out.

T frames, N streams, F inputs, C cells, R outputs. The frames' input products are one matrix product, and so
is the gradient of each weight matrix; what is left in the loop is the matrix product of the recurrence and a
few element-wise operations. On a CPU that loop is a kernel in C++ (``dkt.nnet.native_lstm``) where there is a
compiler; elsewhere ``dkt.nnet.torch_lstm`` gives the same values.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from dkt.nnet import native_lstm, torch_lstm
from dkt.nnet.products import product
from dkt.nnet.torch_lstm import Activations, Clips, Weights


class Recurrence(torch.autograd.Function):
    """A whole chunk of ``PlainLstmLayer``.

    The gradient's equations are those of Kaldi's ``LstmProjected::BackpropagateFnc``; but a clipped cell
    passes no gradient on.
    """

    @staticmethod
    def forward(
        ctx: Any,
        inputs: torch.Tensor,
        w_gifo_x: torch.Tensor,
        w_gifo_r: torch.Tensor,
        bias: torch.Tensor,
        peepholes: torch.Tensor | None,
        w_r_m: torch.Tensor | None,
        cell: torch.Tensor,
        recurrent: torch.Tensor,
        clips: Clips,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs ``(T, N, R)`` and the last cell ``(N, C)``."""
        # Mixed precision is for products of all frames; the recurrence, whose errors add up, stays as it is.
        ctx.half = torch.is_autocast_enabled(inputs.device.type)
        num_frames, inputs = len(inputs), inputs.to(cell.dtype)
        gifo = product(inputs.flatten(0, 1), w_gifo_x, bias, ctx.half).view(num_frames, len(cell), -1)
        h = cell.new_empty(num_frames, *cell.shape)
        c = cell.new_empty(num_frames + 1, *cell.shape)
        r = recurrent.new_empty(num_frames + 1, *recurrent.shape)
        c[0], r[0] = cell, recurrent
        m = r[1:] if w_r_m is None else torch.empty_like(h)
        made, weights = Activations(gifo, c, h, m, r), Weights(w_gifo_r, peepholes, w_r_m)
        run = native_lstm.run if native_lstm.serves(gifo) else torch_lstm.run
        with torch.autocast(inputs.device.type, enabled=False):
            run(made, weights, clips)
        ctx.save_for_backward(inputs, w_gifo_x, *weights, *made)
        ctx.clips = clips
        return r[1:], c[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: torch.Tensor, d_cell: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Gradients of all arguments of ``forward``."""
        inputs, w_gifo_x, *saved = ctx.saved_tensors
        weights, made = Weights(*saved[:3]), Activations(*saved[3:])
        d_r, d_c = d_outputs.clone(memory_format=torch.contiguous_format), d_cell.clone()
        run_back = native_lstm.run_back if native_lstm.serves(d_r) else torch_lstm.run_back
        d_gifo, d_bias, d_peepholes = run_back(made, weights, ctx.clips, d_r, d_c)
        # Down the frames of all streams; transposed, because ``product`` takes rows with rows.
        across, half = d_gifo.flatten(0, 1).t(), ctx.half
        d_inputs = product(across.t(), w_gifo_x.t(), half=half) if ctx.needs_input_grad[0] else None
        d_projection = None
        if weights.w_r_m is not None:
            d_projection = product(d_r.flatten(0, 1).t(), made.m.flatten(0, 1).t(), half=half)
        return (
            None if d_inputs is None else d_inputs.view_as(inputs),
            product(across, inputs.flatten(0, 1).t(), half=half),
            product(across, made.r[:-1].flatten(0, 1).t(), half=half),
            d_bias,
            None if weights.peepholes is None else d_peepholes,
            d_projection,
            d_c,
            d_gifo[0] @ weights.w_gifo_r if ctx.needs_input_grad[7] else None,
            None,
        )
