r"""Where the time of an epoch goes: ``dkt train-dnn`` or ``dkt train-lstm`` under PyTorch's profiler.

Usage: python benchmarks/profile_epoch.py train-lstm --set schedule.max_iters=1 \
  data/train data/dev ali ali-dev exp/profiled
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from typing import Any

import torch

from dkt.bin import main as dkt
from dkt.train.frames import FrameTraining
from dkt.train.sequence import SequenceTraining

#: The beginning of an operator's name, to what it is of; the first that fits.
KINDS = {
    "mkldnn::_linear": "matrix products",
    "aten::mm": "matrix products",
    "aten::addmm": "matrix products",
    "aten::linear": "matrix products",
    "Recurrence": "recurrence (products and gates)",
    "_Recurrence": "recurrence (products and gates)",
    "aten::sigmoid": "element-wise",
    "aten::tanh": "element-wise",
    "aten::mul": "element-wise",
    "aten::addcmul": "element-wise",
    "aten::clamp": "element-wise",
    "aten::sub": "element-wise",
    "aten::sum": "sums (biases, peepholes)",
    "aten::_log_softmax": "loss and accuracy",
    "aten::nll_loss": "loss and accuracy",
    "aten::logsumexp": "loss and accuracy",
    "aten::argmax": "loss and accuracy",
    "aten::exp": "loss and accuracy",
    "Optimizer": "update",
    "aten::_foreach": "update",
    "aten::add_": "update",
    "aten::addcdiv": "update",
    "aten::sqrt": "update",
    "aten::lerp": "update",
    "aten::index": "lookups",
    "aten::gather": "lookups",
    "aten::scatter": "lookups",
    "aten::copy_": "copies",
    "aten::cat": "copies",
    "aten::stack": "copies",
}


def profiled(method: Any) -> Any:
    """The method ``train_epoch``, the first call of which is profiled and its table printed."""
    done = []

    def train_epoch(self: Any, *args: Any, **kwargs: Any) -> Any:
        if done:
            return method(self, *args, **kwargs)
        done.append(True)
        start = time.perf_counter()
        plain = method(self, *args, **kwargs)
        unprofiled = time.perf_counter() - start
        start = time.perf_counter()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            method(self, *args, **kwargs)
        report(profile, time.perf_counter() - start, unprofiled, plain.num_frames)
        return plain

    return train_epoch


def report(profile: Any, seconds: float, unprofiled: float, num_frames: int) -> None:
    """Print the share of each kind of work."""
    times: dict[str, float] = defaultdict(float)
    for event in profile.key_averages():
        kind = next((kind for name, kind in KINDS.items() if event.key.startswith(name)), "other operators")
        times[kind] += event.self_cpu_time_total / 1e6
    times["Python, allocation and the rest"] = max(0.0, seconds - sum(times.values()))
    print(
        f"\nOne epoch, {num_frames} frames: {unprofiled:.1f} s ({num_frames / unprofiled:.0f} frames/s), ",
        end="",
    )
    print(f"{seconds:.1f} s under the profiler, of which:")
    for kind, value in sorted(times.items(), key=lambda item: -item[1]):
        print(f"| {kind:36} | {value:6.2f} s | {100 * value / seconds:5.1f} % |")


def main() -> int:
    """Run dkt's command with profiled epochs."""
    for training in (FrameTraining, SequenceTraining):
        training.train_epoch = profiled(training.train_epoch)  # type: ignore[method-assign]
    return dkt(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
