"""Frames a second of whole training steps with the update: dkt, PyTorch's modules, Kaldi and the limit.

Usage: python benchmarks/training_speed.py [--seconds S] [--json FILE]

Kaldi's nnet-train-frmshuff and nnet-train-multistream are measured if they are on PATH.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from dkt.nnet import threads
from dkt.nnet.dnn import Dnn, DnnConfig
from dkt.nnet.lstm import Lstm, LstmConfig
from dkt.nnet.products import product
from dkt.train import objectives
from dkt.train.metrics import Metrics
from dkt.train.optimizer import OptimizerConfig, Updates
from dkt.train.precision import Precision, mixed_precision
from dkt.util.table import MatrixWriter

Step = Callable[[], None]
PDFS, FBANK, SPLICED, MINIBATCH = 624, 40, 440, 256
RATE = 1e-5
#: Frames that Kaldi is given.
KALDI_UTTS, KALDI_FRAMES = 200, 300
_FPS = re.compile(r"processing ([0-9.e+]+) frames per sec")


class StepLoop(nn.Module):
    """An LSTM as many write it: ``torch.nn.LSTMCell`` frame by frame."""

    def __init__(self, inputs: int, cells: int) -> None:
        super().__init__()
        self.cells = nn.ModuleList([nn.LSTMCell(inputs, cells), nn.LSTMCell(cells, cells)])

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Features ``(T, N, F)`` to outputs ``(T, N, C)``."""
        outputs = features
        for layer in self.cells:
            state, frames = None, []
            for frame in outputs:
                state = layer(frame, state)
                frames.append(state[0])
            outputs = torch.stack(frames)
        return outputs, None


class Headed(nn.Module):
    """A recurrent module of PyTorch's with an output layer."""

    def __init__(self, body: nn.Module, outputs: int, pdfs: int) -> None:
        super().__init__()
        self.body, self.output = body, nn.Linear(outputs, pdfs)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits ``(T, N, P)`` of features ``(T, N, F)``."""
        return self.output(self.body(features)[0])


def peer_step(network: nn.Module, features: torch.Tensor, labels: torch.Tensor) -> Step:
    """A step as in PyTorch's tutorials: loss, gradient, SGD."""
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE)

    def step() -> None:
        logits = network(features).flatten(0, -2)
        loss = functional.cross_entropy(logits, labels, reduction="sum")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def our_step(
    network: Dnn | Lstm, features: torch.Tensor, labels: torch.Tensor, precision: Precision = "float32"
) -> Step:
    """A step as ``dkt train-dnn`` and ``dkt train-lstm`` make it, loss and frame accuracy counted too."""
    updates = Updates(network, OptimizerConfig("sgd"), len(labels))
    updates.set_learn_rate(RATE)
    metrics, mixed = Metrics(), mixed_precision(precision, torch.device("cpu"))
    of_peers = torch.get_num_threads()

    def step() -> None:
        threads.use(threads.Fixed(of_peers))
        with threads.step(len(labels)):
            with mixed():
                outputs = network(features)
            logits = (outputs[0] if isinstance(outputs, tuple) else outputs).float().flatten(0, -2)
            loss = objectives.hard(logits, labels)
            metrics.count_update(updates.apply(loss, len(labels)))
            metrics.add(loss.detach(), logits.detach(), labels)
        torch.set_num_threads(of_peers)

    return step


def products_only(dims: list[int], multiply: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Step:
    """The matrix products of a DNN's step and nothing else; the first layer's input has no gradient.

    ``multiply`` takes ``(B, K)`` and ``(M, K)`` to ``(B, M)``.
    """
    shapes = list(pairwise(dims))
    inputs = [torch.randn(MINIBATCH, i) for i, _ in shapes]
    weights = [torch.randn(o, i) for i, o in shapes]
    outputs = [torch.randn(MINIBATCH, o) for _, o in shapes]

    def step() -> None:
        for number, (x, w, d) in enumerate(zip(inputs, weights, outputs, strict=True)):
            multiply(x, w)
            multiply(d.t(), x.t())
            if number:
                multiply(d, w.t())

    return step


def measure(steps: dict[str, Step], frames: int, seconds: float) -> dict[str, float]:
    """Frames a second of each, the best of short rounds that they take in turns."""
    best = dict.fromkeys(steps, float("inf"))
    for step in steps.values():
        step()
        step()
    end = time.monotonic() + seconds * len(steps)
    while time.monotonic() < end:
        for name, step in steps.items():
            start = time.perf_counter()
            for _ in range(5):
                step()
            best[name] = min(best[name], (time.perf_counter() - start) / 5)
    return {name: frames / value for name, value in best.items()}


def projected_lstm(seconds: float) -> dict[str, float]:
    """40 -> 2x320(128) -> 624, 16 streams of 20 frames."""
    features, labels = torch.randn(20, 16, FBANK), torch.randint(PDFS, (320,))
    theirs = Headed(nn.LSTM(FBANK, 320, 2, proj_size=128), 128, PDFS)
    ours = {name: Lstm(LstmConfig(), FBANK, PDFS) for name in ("dkt", "dkt bfloat16")}
    steps = {
        "torch.nn.LSTM(proj_size)": peer_step(theirs, features, labels),
        "dkt": our_step(ours["dkt"], features, labels),
        "dkt bfloat16": our_step(ours["dkt bfloat16"], features, labels, "bfloat16"),
    }
    return measure(steps, 320, seconds) | kaldi("nnet-train-multistream", FBANK, LSTM_PROTO)


def plain_lstm(seconds: float) -> dict[str, float]:
    """40 -> 2x512 -> 1000, 16 streams of 100 frames."""
    features, labels = torch.randn(100, 16, FBANK), torch.randint(1000, (1600,))
    bare = LstmConfig(cells=512, projection=None, peepholes=False, cell_clip=0.0)
    steps = {
        "a loop of torch.nn.LSTMCell": peer_step(Headed(StepLoop(FBANK, 512), 512, 1000), features, labels),
        "torch.nn.LSTM": peer_step(Headed(nn.LSTM(FBANK, 512, 2), 512, 1000), features, labels),
        "dkt": our_step(Lstm(bare, FBANK, 1000), features, labels),
        "dkt, peepholes and clipping": our_step(
            Lstm(LstmConfig(cells=512, projection=None), FBANK, 1000), features, labels
        ),
    }
    return measure(steps, 1600, seconds)


def dnn(hidden_dim: int, seconds: float) -> dict[str, float]:
    """440 -> 4 sigmoid layers -> 624, mini-batches of 256."""
    features, labels = torch.randn(MINIBATCH, SPLICED), torch.randint(PDFS, (MINIBATCH,))
    dims = [SPLICED, *[hidden_dim] * 4, PDFS]
    layers: list[nn.Module] = []
    for i, o in pairwise(dims[:-1]):
        layers += [nn.Linear(i, o), nn.Sigmoid()]
    config = DnnConfig(hidden_dim=hidden_dim)
    steps = {
        "torch.nn": peer_step(nn.Sequential(*layers, nn.Linear(hidden_dim, PDFS)), features, labels),
        "dkt": our_step(Dnn(config, SPLICED, PDFS), features, labels),
        "dkt bfloat16": our_step(Dnn(config, SPLICED, PDFS), features, labels, "bfloat16"),
        "its matrix products alone": products_only(dims, product),
        "these by torch.mm": products_only(dims, lambda left, right: torch.mm(left, right.t())),
    }
    return measure(steps, MINIBATCH, seconds) | kaldi("nnet-train-frmshuff", SPLICED, dnn_proto(dims))


INITIAL = "<BiasMean> 0 <BiasRange> 0 <ParamStddev> 0.1"
LSTM_PROTO = [
    f"<LstmProjected> <InputDim> {FBANK} <OutputDim> 128 <CellDim> 320",
    "<LstmProjected> <InputDim> 128 <OutputDim> 128 <CellDim> 320",
    f"<AffineTransform> <InputDim> 128 <OutputDim> {PDFS} {INITIAL}",
    f"<Softmax> <InputDim> {PDFS} <OutputDim> {PDFS}",
]


def dnn_proto(dims: list[int]) -> list[str]:
    """The network as nnet-initialize takes it."""
    lines = []
    for i, o in pairwise(dims):
        lines.append(f"<AffineTransform> <InputDim> {i} <OutputDim> {o} {INITIAL}")
        lines.append(f"<Sigmoid> <InputDim> {o} <OutputDim> {o}")
    return [*lines[:-1], f"<Softmax> <InputDim> {dims[-1]} <OutputDim> {dims[-1]}"]


def kaldi(program: str, dim: int, proto: list[str]) -> dict[str, float]:
    """Frames a second that a program of Kaldi's reports, the better of two runs; empty without it."""
    if shutil.which(program) is None or shutil.which("nnet-initialize") is None:
        return {}
    options = {"nnet-train-frmshuff": [f"--minibatch-size={MINIBATCH}", "--randomizer-size=32768"]}
    given = options.get(program, ["--num-streams=16", "--batch-size=20"])
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        _write_data(place, dim)
        (place / "proto").write_text("\n".join(proto) + "\n", encoding="ascii")
        _run_kaldi("nnet-initialize", str(place / "proto"), str(place / "in"))
        data = [f"ark:{place}/feats", f"ark:{place}/post", str(place / "in"), str(place / "out")]
        logs = [_run_kaldi(program, f"--learn-rate={RATE}", *given, *data) for _ in range(2)]
    return {f"Kaldi {program}": max(float(_FPS.findall(log)[-1]) for log in logs)}


def _write_data(place: Path, dim: int) -> None:
    rng = np.random.default_rng(0)
    with MatrixWriter(f"ark:{place}/feats") as feats, (place / "post").open("w", encoding="ascii") as post:
        for number in range(KALDI_UTTS):
            feats.write(f"utt{number:04d}", rng.normal(size=(KALDI_FRAMES, dim)).astype(np.float32))
            labels = " ".join(f"[ {label} 1 ]" for label in rng.integers(0, PDFS, KALDI_FRAMES))
            post.write(f"utt{number:04d} {labels}\n")


def _run_kaldi(*command: str) -> str:
    threads = str(torch.get_num_threads())
    env = os.environ | {"OPENBLAS_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stderr


#: Ratio: the measurement, what is compared, with what.
RATIOS = {
    "lstm_projected_over_torch": ("lstm_projected", "dkt", "torch.nn.LSTM(proj_size)"),
    "lstm_projected_over_kaldi": ("lstm_projected", "dkt", "Kaldi nnet-train-multistream"),
    "lstm_over_torch": ("lstm", "dkt", "torch.nn.LSTM"),
    "lstm_over_step_loop": ("lstm", "dkt", "a loop of torch.nn.LSTMCell"),
    "lstm_with_peepholes_over_torch": ("lstm", "dkt, peepholes and clipping", "torch.nn.LSTM"),
    "dnn_512_over_torch": ("dnn_512", "dkt", "torch.nn"),
    "dnn_512_over_kaldi": ("dnn_512", "dkt", "Kaldi nnet-train-frmshuff"),
    "dnn_512_bfloat16_over_torch": ("dnn_512", "dkt bfloat16", "torch.nn"),
    "dnn_512_bfloat16_over_kaldi": ("dnn_512", "dkt bfloat16", "Kaldi nnet-train-frmshuff"),
    "dnn_1024_over_its_matrix_products": ("dnn_1024", "dkt", "its matrix products alone"),
    "dnn_1024_over_torch_mm": ("dnn_1024", "dkt", "these by torch.mm"),
    "dnn_1024_over_torch": ("dnn_1024", "dkt", "torch.nn"),
}


def run(seconds: float) -> dict[str, float]:
    """Measure all, print tables; returns the ratios, without those of programs that are not there."""
    warnings.filterwarnings("ignore", message="LSTM with projections is not supported with oneDNN")
    found = {
        "lstm_projected": projected_lstm(seconds),
        "lstm": plain_lstm(seconds),
        "dnn_512": dnn(512, seconds),
        "dnn_1024": dnn(1024, seconds),
    }
    for name, rates in found.items():
        print(f"\n{name}")
        for peer, rate in rates.items():
            print(f"  {peer:32}{rate:9.0f} frames/s")
    ratios = {
        name: round(found[what][ours] / found[what][theirs], 3)
        for name, (what, ours, theirs) in RATIOS.items()
        if theirs in found[what]
    }
    if len(ratios) < len(RATIOS):
        print(
            "\nnot compared with Kaldi, whose nnet-train-frmshuff and nnet-train-multistream are not on PATH"
        )
    return ratios


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4.0, help="for each of what is compared (4)")
    parser.add_argument("--threads", type=int, default=1, help="(1)")
    parser.add_argument("--json", type=Path, help="where ratios are written")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    ratios = run(args.seconds)
    print()
    for name, ratio in ratios.items():
        print(f"{name:40}{ratio:7.2f}")
    if args.json is not None:
        args.json.write_text(json.dumps(ratios, indent=2) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
