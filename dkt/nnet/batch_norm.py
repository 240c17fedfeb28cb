"""Batch normalisation as a part of the affine transform before it."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import nn


def folded(weight: np.ndarray, bias: np.ndarray, norm: nn.BatchNorm1d) -> tuple[np.ndarray, np.ndarray]:
    """An affine transform and the batch normalisation after it, in one; in double precision."""
    scales, offsets, mean, variance = (
        cast(torch.Tensor, part).detach().cpu().double().numpy()
        for part in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    )
    scale = scales / np.sqrt(variance + norm.eps)
    return weight * scale[:, None], (bias - mean) * scale + offsets
