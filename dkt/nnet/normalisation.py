"""Global normalisation of a network's input."""

from __future__ import annotations

from collections.abc import Iterable

import torch

_STD_FLOOR = 1.0e-5


@torch.no_grad()
def shift_and_scale(batches: Iterable[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """What gives frames zero mean and unit variance: ``(x + shift) * scale``.

    Args:
        batches: frames, each of shape ``(..., F)``, without padding.

    Returns:
        Two float64 tensors of shape ``(F,)``; a constant dimension is scaled as if its deviation were 1e-5.
    """
    count = 0
    total = squares = torch.zeros(())
    for batch in batches:
        frames = batch.flatten(0, -2).double()
        count += len(frames)
        total = total + frames.sum(dim=0)
        squares = squares + (frames**2).sum(dim=0)
    mean = total / count
    deviation = (squares / count - mean**2).clamp_min(0.0).sqrt().clamp_min(_STD_FLOOR)
    return -mean, 1.0 / deviation
