"""Matrix products of all frames, by the library of PyTorch's that is fast on this processor.

B frames, K inputs, M outputs. PyTorch gives float32 products to MKL, which on AMD processors uses half of the
width that AVX-512 has; oneDNN, which is in PyTorch too, uses all of it. Which one is taken depends on the
processor alone, and threads share a product where that changes no bit: results are reproducible on one
machine.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from dkt.base.native import KERNELS_VARIABLE
from dkt.nnet import threads


@functools.cache
def _onednn() -> Any:
    """The product of oneDNN, of ``(B, K)`` and ``(M, K)``, where it is faster; else None."""
    if os.environ.get(KERNELS_VARIABLE) == "torch" or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return None
    if not torch.backends.mkldnn.is_available() or _made_by_intel():
        return None
    # Not documented by PyTorch, whose compiler uses it: it may be gone one day.
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)


def _made_by_intel() -> bool:
    try:
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True


def _fits(*tensors: torch.Tensor) -> bool:
    return all(t.dtype == torch.float32 and t.device.type == "cpu" for t in tensors) and _onednn() is not None


def product(
    left: torch.Tensor, right: torch.Tensor, bias: torch.Tensor | None = None, half: bool = False
) -> torch.Tensor:
    """``left @ right.t() + bias``, no gradient: ``(B, K)``, ``(M, K)`` and ``(M,)`` to ``(B, M)``.

    With ``half`` factors and products are rounded to bfloat16, but not the sums inside, nor the bias.
    """
    if half:
        rounded = product(left.bfloat16(), right.bfloat16()).to(left.dtype)
        return rounded if bias is None else rounded.add_(bias)
    if not _fits(left, right) or 0 in left.shape:
        return threads.shared_product(lambda: functional.linear(left, right, bias), left, right)
    return threads.shared_product(lambda: _onednn()(left, right, bias, "none", [], ""), left, right)


class Linear(nn.Linear):
    """``torch.nn.Linear`` by the fastest product."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Inputs ``(..., K)`` to ``(..., M)``."""
        if inputs.device.type != "cpu":
            return functional.linear(inputs, self.weight, self.bias)
        factors: tuple[torch.Tensor, ...] = (inputs.reshape(-1, inputs.shape[-1]), self.weight, self.bias)
        if torch.is_autocast_enabled("cpu"):
            # As autocast does it for ``functional.linear``.
            factors = tuple(factor.to(torch.get_autocast_dtype("cpu")) for factor in factors)
        flat = _Linear.apply(*factors)
        return flat.view(*inputs.shape[:-1], self.out_features)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(inputs, weight)
        return product(inputs, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        inputs, weight = ctx.saved_tensors
        return (
            product(d_outputs, weight.t()) if ctx.needs_input_grad[0] else None,
            product(d_outputs.t(), inputs.t()) if ctx.needs_input_grad[1] else None,
            d_outputs.sum(0) if ctx.needs_input_grad[2] else None,
        )
