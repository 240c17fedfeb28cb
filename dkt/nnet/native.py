"""The kernel in C++ of the LSTM's recurrence."""

from __future__ import annotations

import ctypes
from pathlib import Path

from dkt.base.native import Kernel, load_kernel

_LSTM = Kernel(
    Path(__file__).with_name("kernels") / "lstm.cpp",
    "the LSTM is computed by PyTorch alone, which is slower",
    returns=tuple((f"dkt_packed_size_{real}", ctypes.c_int64) for real in ("f32", "f64")),
)


def load() -> ctypes.CDLL | None:
    """The compiled kernel; None where there is none."""
    return load_kernel(_LSTM)
