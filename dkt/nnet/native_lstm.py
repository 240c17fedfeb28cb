"""The recurrence of an LSTM layer by the kernel in C++: the same values as ``dkt.nnet.torch_lstm``.

T frames, N streams, C cells, R outputs. Streams do not depend on each other: threads share them.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch

from dkt.nnet import native, threads
from dkt.nnet.torch_lstm import Activations, Clips, Weights

_SUFFIXES = {torch.float32: ("f32", ctypes.c_float), torch.float64: ("f64", ctypes.c_double)}
# Fewer streams per thread than this would each read the weights for too little work. Sums over streams are
# first those of a group, in however many threads: their number changes no bit.
_STREAMS_PER_GROUP = 4
# Gradients that are summed over frames and streams: of four biases and three peepholes per cell.
_NUM_SUMS = 7


def serves(tensor: torch.Tensor) -> bool:
    """Whether the kernel can compute with such a tensor here."""
    if tensor.device.type != "cpu" or tensor.dtype not in _SUFFIXES:
        return False
    return native.load() is not None


def run(made: Activations, weights: Weights, clips: Clips) -> None:
    """Fill the activations frame by frame; ``gifo`` comes with the input products and leaves as the gates."""
    packed_r = _packed(weights.w_gifo_r.t())
    packed_m = None if weights.w_r_m is None else _packed(weights.w_r_m.t())
    peepholes = None if weights.peepholes is None else weights.peepholes.contiguous()
    arrays = [packed_r, peepholes, packed_m, *made]
    _in_threads("lstm_forward", made, (clips.cell,), arrays)


def run_back(
    made: Activations, weights: Weights, clips: Clips, d_r: torch.Tensor, d_c: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """As ``torch_lstm.run_back``: gradients of sums ``(T, N, 4C)``, bias ``(4C,)``, peepholes ``(3, C)``."""
    cells = made.c.shape[2]
    packed_r = _packed(weights.w_gifo_r)
    packed_m = None if weights.w_r_m is None else _packed(weights.w_r_m)
    peepholes = None if weights.peepholes is None else weights.peepholes.contiguous()
    d_gifo, d_m = torch.empty_like(made.gifo), torch.empty_like(d_c)
    sums = d_c.new_zeros(_num_groups(made), _NUM_SUMS, cells)
    arrays = [packed_r, peepholes, packed_m, made.gifo, made.c, made.h, d_r, d_c, d_m, d_gifo, sums]
    _in_threads("lstm_backward", made, clips, arrays)
    total = sums.sum(0)
    return d_gifo, total[:4].flatten(), total[4:]


def _packed(weight: torch.Tensor) -> torch.Tensor:
    """Weights ``(K, M)``, of any strides, as the kernel reads them."""
    suffix, _ = _SUFFIXES[weight.dtype]
    depth, columns = weight.shape
    library = native.load()
    assert library is not None
    size = getattr(library, f"dkt_packed_size_{suffix}")
    packed = weight.new_empty(size(ctypes.c_int64(depth), ctypes.c_int64(columns)))
    numbers = (depth, columns, *weight.stride())
    getattr(library, f"dkt_pack_{suffix}")(
        _pointer(weight), *(ctypes.c_int64(n) for n in numbers), _pointer(packed)
    )
    return packed


def _pointer(tensor: torch.Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def _num_groups(made: Activations) -> int:
    return max(1, made.gifo.shape[1] // _STREAMS_PER_GROUP)


def _in_threads(
    name: str, made: Activations, clips: tuple[float, ...], arrays: list[torch.Tensor | None]
) -> None:
    """Call a kernel with its share of the groups of streams in each thread."""
    suffix, real = _SUFFIXES[made.gifo.dtype]
    function = getattr(native.load(), f"dkt_{name}_{suffix}")
    num_frames, num_streams, _ = made.gifo.shape
    sizes = (num_frames, num_streams, made.c.shape[2], made.r.shape[2])
    groups = _num_groups(made)
    number = min(threads.count(), groups)

    def call(thread: int) -> None:
        bounds = (groups * thread // number, groups * (thread + 1) // number)
        numbers: list[Any] = [ctypes.c_int64(n) for n in (*sizes, groups, *bounds)]
        function(*numbers, *map(real, clips), *map(_pointer, arrays))

    threads.run_shares(call, number)
