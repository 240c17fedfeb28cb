"""What the data path costs: memory as the corpus grows, waiting for data, time before training begins.

Usage: python benchmarks/data_path.py [--times N] [--utts N] [--data <train> <dev> <ali-train> <ali-dev>]
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dkt.feat.functions import cmvn_stats
from dkt.hmm.alignments import AlignmentDir
from dkt.hmm.topology import HmmState, HmmTopology
from dkt.hmm.transition_model import TransitionModel, initial_tuples, write_transition_model
from dkt.util.data_dir import DataDir
from dkt.util.object_io import ObjectWriter
from dkt.util.table import IntVectorWriter, MatrixTable, MatrixWriter

NETWORKS = {
    "train-dnn": ["--set=network.hidden_layers=2", "--set=network.hidden_dim=256"],
    "train-lstm": ["--set=network.layers=1", "--set=network.cells=64", "--set=network.projection=32"],
}
ONE_EPOCH = ["--set=schedule.max_iters=1", "--set=schedule.learn_rate=0.002"]
COMMON = ["--use-gpu=no", "--num-threads=1", "--max-dropped=1", *ONE_EPOCH]
#: A line of the log with one of these is the end of reading.
READY = ("INFO (dkt train-dnn) DNN of", "INFO (dkt train-lstm) LSTM of")
DIM, MEAN_FRAMES, PHONES = 40, 300, 32
_POLL_SECONDS = 0.01

Utterance = tuple[str, str, np.ndarray, np.ndarray]


@dataclass
class Run:
    """What was measured of one training: peaks in bytes, seconds, the share of an epoch waited for data."""

    rss_anon: int
    rss: int
    ready: float
    waiting: float


def small_model() -> TransitionModel:
    """Phones of one state each: two transition-ids and a pdf of every one."""
    states = [HmmState(0, 0, [(0, 0.5), (1, 0.5)]), HmmState()]
    topology = HmmTopology([states], dict.fromkeys(range(1, PHONES + 1), 0))
    pdfs = {(phone, 0): phone - 1 for phone in range(1, PHONES + 1)}
    return TransitionModel(topology, initial_tuples(topology, pdfs))


def synthetic(num_utts: int, seed: int) -> Iterator[Utterance]:
    """Utterance, speaker, features and transition-ids."""
    rng = np.random.default_rng(seed)
    means = np.random.default_rng(0).normal(size=(PHONES, DIM))
    for number in range(num_utts):
        # Whole phones: one frame in the loop, one that leaves it.
        phones = rng.integers(0, PHONES, rng.integers(MEAN_FRAMES // 4, 3 * MEAN_FRAMES // 4))
        ids = (2 * np.repeat(phones, 2) + np.tile([1, 2], len(phones))).astype(np.int32)
        features = rng.normal(size=(len(ids), DIM)) + means[np.repeat(phones, 2)]
        speaker = f"s{seed}{number // 10:05d}"
        yield f"{speaker}-{number:06d}", speaker, features.astype(np.float32), ids


def real(data: Path, ali: Path) -> Iterator[Utterance]:
    """The utterances of a data directory that are aligned, as of ``synthetic``."""
    directory = DataDir(data)
    ids = dict(AlignmentDir(ali).transition_ids())
    features = MatrixTable(f"scp:{data}/feats.scp")
    for utt, speaker in directory.utt2spk.items():
        if utt in ids and utt in features:
            yield utt, speaker, features[utt], ids[utt]


def write_corpus(folder: Path, utterances: list[Utterance], model: TransitionModel, times: int) -> None:
    """Write the utterances ``times`` times, under new names and speakers: ``data`` and ``ali``."""
    data, ali = folder / "data", folder / "ali"
    data.mkdir(parents=True)
    ali.mkdir()
    writer = ObjectWriter()
    write_transition_model(writer, model)
    writer.save(ali / "final.mdl")
    (ali / "num_jobs").write_text("1\n")
    stats: dict[str, np.ndarray] = {}
    with (
        (data / "utt2spk").open("w") as utt2spk,
        MatrixWriter(f"ark,scp:{data}/feats.ark,{data}/feats.scp") as feats,
        IntVectorWriter(f"ark:| gzip -1 -c > '{ali}/ali.1.gz'") as alignments,
    ):
        for copy in range(times):
            for utt, speaker, features, ids in utterances:
                utt2spk.write(f"c{copy:03d}{utt} c{copy:03d}{speaker}\n")
                feats.write(f"c{copy:03d}{utt}", features)
                alignments.write(f"c{copy:03d}{utt}", ids)
                key = f"c{copy:03d}{speaker}"
                stats[key] = stats.get(key, 0) + cmvn_stats(features)
    with MatrixWriter(f"ark,scp:{data}/cmvn.ark,{data}/cmvn.scp") as cmvn:
        for speaker, value in stats.items():
            cmvn.write(speaker, value)


def _status(pid: int) -> dict[str, int]:
    """Bytes of the lines of ``/proc/PID/status`` that tell sizes; none once the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    fields = (line.split() for line in lines)
    return {words[0].rstrip(":"): 1024 * int(words[1]) for words in fields if words[-1] == "kB"}


def measure_run(command: list[str], history: Path) -> Run:
    """Run a training to its end, and look at its memory all the while.

    Raises:
        RuntimeError: it fails.
    """
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "dkt", *command], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    log: list[tuple[float, str]] = []
    assert process.stderr is not None
    stream = process.stderr
    reader = threading.Thread(target=lambda: log.extend((time.monotonic(), line) for line in stream))
    reader.start()
    peaks = {"RssAnon": 0, "VmRSS": 0}
    while process.poll() is None:
        found = _status(process.pid)
        peaks = {name: max(peak, found.get(name, 0)) for name, peak in peaks.items()}
        time.sleep(_POLL_SECONDS)
    reader.join()
    if process.returncode:
        raise RuntimeError("".join(line for _, line in log))
    ready = next((when for when, line in log if line.startswith(READY)), began) - began
    with history.open(newline="") as table:
        waiting = float(list(csv.DictReader(table))[-1]["waiting"]) / 100.0
    return Run(peaks["RssAnon"], peaks["VmRSS"], ready, waiting)


def run_size(folder: Path, dev: Path) -> dict[str, Run]:
    """All trainings on the corpus in ``folder``, the teacher's soft targets among them."""
    exp, runs = folder / "exp", {}

    def train(name: str, command: str, *options: str) -> None:
        places = [folder / "data", dev / "data", folder / "ali", dev / "ali", exp / name]
        arguments = [command, *COMMON, *NETWORKS[command], *options, *map(str, places)]
        runs[name] = measure_run(arguments, exp / name / "history.csv")

    train("dnn cold", "train-dnn")
    train("dnn", "train-dnn")
    train("lstm hard", "train-lstm")
    for part in (folder, dev):
        places = [str(exp / "dnn/final.pt"), str(part / "data"), str(exp / f"soft_{part.name}")]
        command = ["make-soft-targets", "--use-gpu=no", "--num-threads=1", *places]
        subprocess.run([sys.executable, "-m", "dkt", *command], check=True, stderr=subprocess.DEVNULL)
    soft = [f"--soft-targets={exp}/soft_{folder.name}", f"--soft-targets-dev={exp}/soft_{dev.name}"]
    train("lstm soft", "train-lstm", "--mode=soft", "--temperature=2", *soft)
    return runs


def report(runs: dict[int, dict[str, Run]]) -> dict[str, float]:
    """Print what was measured on the corpus once and many times as large, and the ratios that count."""
    small, large = sorted(runs)
    ratios: dict[str, float] = {}
    print(f"{'':12}{'RssAnon MB':>24}{'VmRSS MB':>18}{'waiting %':>16}{'begins after s':>18}")
    print(f"{'':12}{f'1x{large:>8}x':>16}{'ratio':>8}" + f"{f'1x{large:>8}x':>17}" * 3)
    for name, one in runs[small].items():
        many = runs[large][name]
        ratios[f"{name}: RssAnon {large}x over 1x"] = many.rss_anon / one.rss_anon
        ratios[f"{name}: waiting over epoch"] = max(one.waiting, many.waiting)
        print(
            f"{name:12}{one.rss_anon / 1e6:8.0f}{many.rss_anon / 1e6:8.0f}{many.rss_anon / one.rss_anon:8.2f}"
            f"{one.rss / 1e6:9.0f}{many.rss / 1e6:8.0f}{100 * one.waiting:9.2f}{100 * many.waiting:8.2f}"
            f"{one.ready:9.1f}{many.ready:8.1f}"
        )
    for size, found in runs.items():
        ratios[f"{size}x: start with a warm cache over a cold one"] = (
            found["dnn"].ready / found["dnn cold"].ready
        )
    return ratios


def measure(folder: Path, times: int, num_utts: int, data: list[Path] | None = None) -> dict[str, float]:
    """Measure it all.

    Args:
        folder: an empty one, for corpora and trainings.
        times: how much larger the large corpus is.
        num_utts: training utterances of the small one, at most.
        data: data and alignment directories, ``<data-train> <data-dev> <ali-train> <ali-dev>``; None for
            synthetic ones.

    Returns:
        Name to ratio: of peaks of RssAnon, of waiting to an epoch, of start-up times.
    """
    if data is None:
        model = small_model()
        train, dev = list(synthetic(num_utts, 1)), list(synthetic(max(2, num_utts // 10), 2))
    else:
        model = AlignmentDir(data[2]).transitions
        train, dev = list(real(data[0], data[2]))[:num_utts], list(real(data[1], data[3]))
    write_corpus(folder / "dev", dev, model, 1)
    runs = {}
    for size in (1, times):
        write_corpus(folder / f"train{size}", train, model, size)
        runs[size] = run_size(folder / f"train{size}", folder / "dev")
    return report(runs)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10, help="how much larger the large corpus is")
    parser.add_argument("--utts", type=int, default=1500, help="training utterances, at most")
    parser.add_argument("--data", nargs=4, type=Path, metavar="DIR", help="data and alignments to measure on")
    parser.add_argument("--json", type=Path, help="where ratios are written")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ratios = measure(Path(folder), args.times, args.utts, args.data)
    for name, ratio in ratios.items():
        print(f"{name}: {ratio:.3f}")
    if args.json is not None:
        args.json.write_text(json.dumps(ratios, indent=2) + "\n", encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main())
