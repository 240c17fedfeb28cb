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
from dkt.train.metrics import Metrics
from dkt.train.trainer import Trainer

#: The steps that are profiled: enough of them, and not the first.
FIRST, LAST = 101, 160
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


class Window:
    """Profiles the training steps from ``FIRST`` to ``LAST``, and what goes on between them."""

    def __init__(self) -> None:
        self.profile = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
        self.steps = 0
        self.num_frames = 0
        self.began = 0.0

    def wrap(self, method: Any) -> Any:
        """The method ``_step`` of a training, watched."""

        def step(training: Any, *args: Any, **kwargs: Any) -> Any:
            self.steps += 1
            if self.steps == FIRST:
                self.profile.start()
                self.began = time.perf_counter()
            before = self._frames(args)
            result = method(training, *args, **kwargs)
            if FIRST <= self.steps <= LAST:
                self.num_frames += self._frames(args) - before
            if self.steps == LAST:
                seconds = time.perf_counter() - self.began
                self.profile.stop()
                report(self.profile, seconds, self.num_frames)
            return result

        return step

    @staticmethod
    def _frames(args: tuple[Any, ...]) -> int:
        return next(value.num_frames for value in args if isinstance(value, Metrics))


def report(profile: Any, seconds: float, num_frames: int) -> None:
    """Print the share of each kind of work."""
    times: dict[str, float] = defaultdict(float)
    for event in profile.key_averages():
        kind = next((kind for name, kind in KINDS.items() if event.key.startswith(name)), "other operators")
        times[kind] += event.self_cpu_time_total / 1e6
    times["Python, allocation and the rest"] = max(0.0, seconds - sum(times.values()))
    print(f"\n{LAST - FIRST + 1} steps, {num_frames} frames: {seconds:.2f} s under the profiler, of which:")
    for kind, value in sorted(times.items(), key=lambda item: -item[1]):
        print(f"| {kind:36} | {value:6.2f} s | {100 * value / seconds:5.1f} % |")


def main() -> int:
    """Run dkt's command with profiled steps."""
    Trainer._step = Window().wrap(Trainer._step)  # type: ignore[method-assign]
    return dkt(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
