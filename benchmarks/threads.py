"""What the default number of threads is worth: its speed over one thread's, on an idle and on a busy machine.

Usage: python benchmarks/threads.py [--seconds S] [--only WHAT] [--json FILE]

Trainings and forward passes of a DNN and of an LSTM with the default number of threads and with one, in
turns: while nothing else runs, while one processor is kept busy, and while as many other jobs compute as
there are processors.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dkt.nnet.threads import Policy

KINDS = ("dnn training", "lstm training", "dnn forward", "lstm forward")
#: The number of threads: what is measured, and against what.
NAMES = ("default", "one")
PDFS, FBANK, SPLICED, MINIBATCH = 624, 40, 440, 256
# Of the forward pass: utterances at hand in a file.
UTTS, FRAMES = 200, 300
_SPIN = "while True: sum(range(10000))"


def _policy(name: str) -> Policy:
    """As of a command of ``dkt`` without ``--num-threads``, or with ``--num-threads=1``."""
    from dkt.bin.common.devices import add_device_options, thread_policy

    parser = argparse.ArgumentParser()
    add_device_options(parser)
    args = parser.parse_args([] if name == "default" else ["--num-threads=1"])
    return thread_policy(args.num_threads)[0]


def _training(kind: str) -> Callable[[], int]:
    """A step of a training, which returns its frames."""
    import torch

    from dkt.nnet import threads
    from dkt.nnet.dnn import Dnn, DnnConfig
    from dkt.nnet.lstm import Lstm, LstmConfig
    from dkt.train import objectives
    from dkt.train.metrics import Metrics
    from dkt.train.optimizer import OptimizerConfig, Updates

    torch.manual_seed(0)
    if kind == "dnn":
        network: torch.nn.Module = Dnn(DnnConfig(), SPLICED, PDFS)
        features, labels = torch.randn(MINIBATCH, SPLICED), torch.randint(PDFS, (MINIBATCH,))
    else:
        network = Lstm(LstmConfig(), FBANK, PDFS)
        features, labels = torch.randn(20, 16, FBANK), torch.randint(PDFS, (320,))
    updates = Updates(network, OptimizerConfig("adam", max_grad_norm=5.0), len(labels))
    updates.set_learn_rate(1e-5)

    def step() -> int:
        with threads.step(len(labels)):
            outputs = network(features)
            logits = (outputs[0] if isinstance(outputs, tuple) else outputs).flatten(0, -2)
            loss = objectives.hard(logits, labels)
            updates.apply(loss, len(labels))
            Metrics().add(loss.detach(), logits.detach(), labels)
        return len(labels)

    return step


def _forward(kind: str) -> Callable[[], int]:
    """Log-posteriors of some utterances; returns their frames."""
    import numpy as np
    import torch

    from dkt.nnet import threads
    from dkt.nnet.dnn import Dnn, DnnConfig
    from dkt.nnet.lstm import Lstm, LstmConfig

    torch.manual_seed(0)
    network = Dnn(DnnConfig(), SPLICED, PDFS) if kind == "dnn" else Lstm(LstmConfig(), FBANK, PDFS)
    dim = SPLICED if kind == "dnn" else FBANK
    utterances = list(np.random.default_rng(0).normal(size=(20, FRAMES, dim)).astype(np.float32))

    @torch.inference_mode()
    def output(features: np.ndarray) -> np.ndarray:
        frames = torch.from_numpy(features)
        logits = network(frames) if kind == "dnn" else network(frames[:, None])[0][:, 0]
        return torch.log_softmax(logits, dim=1).numpy()

    return lambda: sum(map(len, threads.map_in_order(output, utterances)))


def work(kind: str, seconds: float, turn: float) -> None:
    """Measure one thing in this process; print frames per second by default and in one thread, and the ratio.

    They take turns, as on a machine that others use too no two minutes are alike; the ratio is the median of
    those of neighbouring turns.
    """
    from dkt.bin import set_thread_variables

    set_thread_variables()
    from dkt.nnet import threads

    policies = {name: _policy(name) for name in NAMES}
    network, what = kind.split()
    step = (_training if what == "training" else _forward)(network)
    step()
    rates: dict[str, list[float]] = {name: [] for name in NAMES}
    for _ in range(max(1, round(seconds / turn / len(NAMES)))):
        for name, policy in policies.items():
            threads.use(policy)
            begin, frames = time.perf_counter(), 0
            while time.perf_counter() < begin + turn:
                frames += step()
            rates[name].append(frames / (time.perf_counter() - begin))
    ratio = median(ours / one for ours, one in zip(*rates.values(), strict=True))
    print(*map(mean, rates.values()), ratio)


def measure(kind: str, seconds: float, turn: float) -> list[float]:
    """What ``work`` prints, in a new process."""
    arguments = [sys.executable, __file__, "--work", kind, f"--seconds={seconds}", f"--turn={turn}"]
    clean = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run(arguments, env=clean, stdout=subprocess.PIPE, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


@contextlib.contextmanager
def company(number: int, pinned: bool) -> Iterator[None]:
    """So many other programs that compute all the time, each on a processor of its own if ``pinned``."""
    allowed = sorted(os.sched_getaffinity(0))
    others = [subprocess.Popen([sys.executable, "-c", _SPIN]) for _ in range(number)]
    try:
        for other, processor in zip(others, allowed, strict=False):
            if pinned:
                os.sched_setaffinity(other.pid, {processor})
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def compare(kinds: Sequence[str], seconds: float, turn: float) -> dict[str, float]:
    """Print tables; returns the ratios of default and one thread."""
    processors = len(os.sched_getaffinity(0))
    conditions = {"idle": 0, "one processor busy": 1, "as many other jobs as processors": processors}
    ratios = {}
    for condition, others in conditions.items():
        print(f"\n{condition} (load before: {os.getloadavg()[0]:.1f} on {processors} processors)")
        with company(others, pinned=others == 1):
            for kind in kinds:
                default, one, ratio = measure(kind, seconds, turn)
                print(
                    f"  {kind:16}{default:9.0f} frames/s, one thread{one:9.0f}, ratio{ratio:6.2f}", flush=True
                )
                ratios[f"{kind}, {condition}: default over one thread"] = round(ratio, 3)
    return ratios


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=24.0, help="of each measurement (24)")
    parser.add_argument("--turn", type=float, default=1.0, help="seconds of a turn (1)")
    parser.add_argument("--only", choices=KINDS, help="measure one thing (all)")
    parser.add_argument("--json", type=Path, help="where ratios are written")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(args.work, args.seconds, args.turn)
        return
    ratios = compare([args.only] if args.only else KINDS, args.seconds, args.turn)
    print()
    for name, ratio in ratios.items():
        print(f"{name:70}{ratio:6.2f}")
    if args.json is not None:
        args.json.write_text(json.dumps(ratios, indent=2) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
