"""Mixed precision: products of matrices rounded to bfloat16, everything else in single precision."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal

import torch

logger = logging.getLogger(__name__)

Precision = Literal["float32", "bfloat16"]


def mixed_precision(precision: Precision, device: torch.device) -> Callable[[], AbstractContextManager]:
    """What the forward pass of a training is run in.

    Weights, updates, losses and the recurrence of an LSTM stay in single precision, and so does evaluation.

    Args:
        precision: of the factors of matrix products.
        device: where they are computed; a warning tells of a processor that bfloat16 slows down.
    """
    if precision == "float32":
        return contextlib.nullcontext
    if not _is_fast(device):
        logger.warning("this processor has no instructions for bfloat16: float32 is faster")
    return lambda: torch.autocast(device.type, torch.bfloat16)


def _is_fast(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # What inductor asks too; where it cannot be asked nobody is warned.
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return supported is None or bool(supported())
