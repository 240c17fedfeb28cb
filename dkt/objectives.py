"""Training objectives as pure functions of tensors: B frames, P pdfs.

Each returns the sum over frames, in natural-log units; divide by the number of frames for Kaldi's AvgLoss.
"""

from __future__ import annotations

import torch
from torch.nn import functional


def hard(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy with one label a frame: the sum of -log p[y] (the "raw" objective).

    Args:
        logits: shape ``(B, P)``.
        labels: int64 pdf-ids, shape ``(B,)``.

    Returns:
        A scalar.
    """
    return functional.cross_entropy(logits, labels, reduction="sum")
