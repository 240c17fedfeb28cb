"""The recurrence of an LSTM layer in PyTorch: the form that needs no compiler, and that of GPUs.

T frames, N streams, C cells, R outputs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch


class Activations(NamedTuple):
    """What the forward pass of a chunk leaves: row t of c and r is the value before frame t."""

    gifo: torch.Tensor  # (T, N, 4C)
    c: torch.Tensor  # (T + 1, N, C)
    h: torch.Tensor  # (T, N, C), tanh of the cell
    m: torch.Tensor  # (T, N, C), before the projection
    r: torch.Tensor  # (T + 1, N, R)


class Clips(NamedTuple):
    """Limits, 0 for none: of cells, and of gradients as in Kaldi's nnet1."""

    cell: float = 0.0
    diff: float = 0.0
    cell_diff: float = 0.0


class Weights(NamedTuple):
    """What the recurrence needs of a layer."""

    w_gifo_r: torch.Tensor  # (4C, R)
    peepholes: torch.Tensor | None  # (3, C)
    w_r_m: torch.Tensor | None  # (R, C)


def _gates(gifo: torch.Tensor, which: int | slice) -> torch.Tensor:
    """The part of ``(T, N, 4C)`` of one gate, ``(T, N, C)``, or of several, ``(T, N, gates, C)``."""
    return gifo.unflatten(2, (4, -1))[:, :, which]


def _peepholes(made: Activations, weights: Weights) -> torch.Tensor:
    return made.h.new_zeros(3, made.h.shape[2]) if weights.peepholes is None else weights.peepholes


def run(made: Activations, weights: Weights, clips: Clips) -> None:
    """Fill the activations frame by frame; ``gifo`` comes with the input products and leaves as the gates."""
    # Many products with few rows: a transposed copy costs less than it saves.
    recurrence = weights.w_gifo_r.t().contiguous()
    projection = None if weights.w_r_m is None else weights.w_r_m.t().contiguous()
    peepholes = _peepholes(made, weights)
    peep_i_f, peep_o = peepholes[:2], peepholes[2]
    gifo, c, h, m, r = made
    tensors = [gifo, *(_gates(gifo, gate) for gate in (0, slice(1, 3), 1, 2, 3))]
    tensors += [c[:-1], c[:-1, :, None], c[1:], h, m, r[:-1], r[1:]]
    frames = zip(*(tensor.unbind() for tensor in tensors), strict=True)
    for sums, g, i_f, i, f, o, c_old, c_old_wide, c_new, h_new, m_new, r_old, r_new in frames:
        sums.addmm_(r_old, recurrence)
        i_f.addcmul_(c_old_wide, peep_i_f).sigmoid_()
        torch.mul(c_old, f, out=c_new).addcmul_(g.tanh_(), i)
        if clips.cell > 0.0:
            c_new.clamp_(-clips.cell, clips.cell)
        o.addcmul_(c_new, peep_o).sigmoid_()
        torch.mul(torch.tanh(c_new, out=h_new), o, out=m_new)
        if projection is not None:
            torch.mm(m_new, projection, out=r_new)


def _factors(made: Activations, peepholes: torch.Tensor, clips: Clips) -> tuple[torch.Tensor, ...]:
    """What a gradient is multiplied by on its way, for all frames at once.

    From m to the sum of o; from m to c(t); from c(t) to the sums of g, i and f; from c(t) to c(t-1), without
    the peepholes where gradients of sums are clipped. Each is a product with the derivative of its squashing
    function: y - y² for σ, 1 - y² for tanh.
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
    if clips.diff > 0.0:
        c_to_c = f.clone()
    else:
        c_to_c = torch.addcmul(f, c_to_i, peepholes[0]).addcmul_(c_to_f, peepholes[1])
    if clips.cell > 0.0 and torch.stack(made.c.aminmax()).abs().max() >= clips.cell:
        unclipped = made.c[1:].abs() < clips.cell
        c_to_g_i_f *= unclipped[:, :, None]
        c_to_c *= unclipped
    return m_to_o, m_to_c, c_to_g_i_f, c_to_c


def run_back(
    made: Activations, weights: Weights, clips: Clips, d_r: torch.Tensor, d_c: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The gradients of the gates' sums from the last frame to the first.

    Args:
        made: what ``run`` filled.
        weights, clips: as of ``run``.
        d_r: of the outputs, ``(T, N, R)``, to which the part through later frames is added.
        d_c: of the last cell, ``(N, C)``, left as that of the initial cell.

    Returns:
        Gradients of the sums ``(T, N, 4C)``, of the bias ``(4C,)`` and of the peepholes ``(3, C)``.
    """
    peepholes = _peepholes(made, weights)
    d_gifo, d_c_wide = torch.empty_like(made.gifo), d_c[:, None]
    d_i_f, d_o = _gates(d_gifo, slice(1, 3)), _gates(d_gifo, 3)
    tensors = [d_r, d_gifo, _gates(d_gifo, slice(0, 3)), d_i_f, d_o, *_factors(made, peepholes, clips)]
    frames = list(zip(*(tensor.unbind() for tensor in tensors), strict=True))
    later = None
    for d_out, d_sums, d_g_i_f, to_i_f, to_o, m_to_o, m_to_c, c_to_g_i_f, c_to_c in reversed(frames):
        if later is not None:
            d_out.addmm_(later, weights.w_gifo_r)
        d_m = d_out if weights.w_r_m is None else d_out.mm(weights.w_r_m)
        torch.mul(d_m, m_to_o, out=to_o)
        d_c.addcmul_(d_m, m_to_c)
        if clips.cell_diff > 0.0:
            d_c.clamp_(-clips.cell_diff, clips.cell_diff)
        torch.mul(d_c_wide, c_to_g_i_f, out=d_g_i_f)
        d_c.mul_(c_to_c)
        if clips.diff > 0.0:
            d_sums.clamp_(-clips.diff, clips.diff)
            d_c.add_((to_i_f * peepholes[:2]).sum(1))
        later = d_sums
    d_peepholes = [(d_i_f * made.c[:-1, :, None]).sum((0, 1)), (d_o * made.c[1:]).sum((0, 1))[None]]
    return d_gifo, d_gifo.sum((0, 1)), torch.cat(d_peepholes)
