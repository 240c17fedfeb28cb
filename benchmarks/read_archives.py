"""How fast archives are read: dkt with each back end, plain kaldiio, and ``readinto`` of the same bytes.

Usage: python benchmarks/read_archives.py [--utts N] [--repeats R] [--check]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import kaldiio
import numpy as np

from dkt.matrix.compressed import BACKENDS, VARIABLE
from dkt.util.table import IntVectorWriter, MatrixWriter, read_int_vectors, read_matrices

DIM = 40
MEAN_FRAMES = 300
CHUNK = 1 << 20
#: Integer vectors are to be read this many times faster than by kaldiio.
INT_RATIO = 5.0

Table = Iterable[tuple[str, np.ndarray]]


def make_archives(folder: Path, num_utts: int) -> list[int]:
    """Write features, plain and compressed, and alignments, plain and gz; returns the utterances' lengths."""
    rng = np.random.default_rng(0)
    lengths: list[int] = rng.integers(MEAN_FRAMES // 2, 3 * MEAN_FRAMES // 2, num_utts).tolist()
    with (
        MatrixWriter(f"ark,scp:{folder}/float.ark,{folder}/float.scp") as floats,
        MatrixWriter(f"ark,scp:{folder}/packed.ark,{folder}/packed.scp", compression_method=2) as packed,
        IntVectorWriter(f"ark:{folder}/ali.ark") as plain,
        IntVectorWriter(f"ark:| gzip -c > {folder}/ali.gz") as zipped,
    ):
        for number, length in enumerate(lengths):
            key = f"speaker{number // 10:04d}-utterance{number:06d}"
            features = rng.normal(size=(length, DIM)).astype(np.float32)
            floats.write(key, features)
            packed.write(key, features)
            ids = np.sort(rng.integers(1, 5000, length))
            plain.write(key, ids)
            zipped.write(key, ids)
    return lengths


def consume(table: Table) -> int:
    """Read a table to its end; returns the number of frames."""
    return sum(len(value) for _, value in table)


def by_dkt(backend: str, read: Callable[[str], Iterator[Any]], rspecifier: str) -> Callable[[], int]:
    """Read by dkt with the back end of that name."""

    def run() -> int:
        os.environ[VARIABLE] = backend
        return consume(read(rspecifier))

    return run


def by_kaldiio(load: Callable[[str], Table], name: str) -> Callable[[], int]:
    """Read by kaldiio alone."""
    return lambda: consume(load(name))


def by_readinto(path: Path) -> Callable[[], int]:
    """The bytes alone, into one block of memory: as fast as a file can be read."""

    def run() -> int:
        block = bytearray(CHUNK)
        with path.open("rb", buffering=0) as file:
            while file.readinto(block):
                pass
        return 0

    return run


def by_readinto_arrays(path: Path, lengths: list[int]) -> Callable[[], int]:
    """The bytes into a new array per utterance: as fast as arrays of one's own can be filled."""

    def run() -> int:
        frame = path.stat().st_size // sum(lengths)
        with path.open("rb", buffering=0) as file:
            for length in lengths:
                file.readinto(np.empty(length * frame, dtype=np.uint8).data)
        return 0

    return run


def methods(folder: Path, lengths: list[int]) -> dict[str, dict[str, Callable[[], int]]]:
    """What is read, to the ways of reading it; ratios refer to kaldiio's ``load_ark``."""
    found: dict[str, dict[str, Callable[[], int]]] = {}
    for name, title in (("float", "float32 matrices"), ("packed", "compressed matrices (method 2)")):
        ark, scp = str(folder / f"{name}.ark"), str(folder / f"{name}.scp")
        found[title] = {
            **{f"dkt ark ({b})": by_dkt(b, read_matrices, f"ark:{ark}") for b in BACKENDS},
            **{f"dkt scp ({b})": by_dkt(b, read_matrices, f"scp:{scp}") for b in BACKENDS},
            "kaldiio load_scp_sequential": by_kaldiio(kaldiio.load_scp_sequential, scp),
            "kaldiio load_ark": by_kaldiio(kaldiio.load_ark, ark),
            "readinto, an array per utterance": by_readinto_arrays(Path(ark), lengths),
            "readinto, one block": by_readinto(Path(ark)),
        }
    ark, gz = str(folder / "ali.ark"), f"gunzip -c {folder}/ali.gz |"
    found["int32 alignments"] = {
        "dkt ark": by_dkt("kaldiio", read_int_vectors, f"ark:{ark}"),
        "kaldiio load_ark": by_kaldiio(kaldiio.load_ark, ark),
        "readinto, one block": by_readinto(Path(ark)),
    }
    found["int32 alignments, gz"] = {
        "dkt ark": by_dkt("kaldiio", read_int_vectors, f"ark:{gz}"),
        "kaldiio load_ark": lambda: consume(kaldiio.load_ark(kaldiio.open_like_kaldi(gz, "rb"))),
    }
    return found


def measure(runs: dict[str, Callable[[], int]], repeats: int, num_frames: int) -> dict[str, list[float]]:
    """Seconds of every repeat of every run, in turns, after one that warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            frames = run()
            if repeat:
                seconds[name].append(time.perf_counter() - start)
            assert frames in (0, num_frames), f"{name} read {frames} frames of {num_frames}"
    return seconds


def report(title: str, seconds: dict[str, list[float]], num_frames: int) -> float:
    """Print a table; returns how many times as fast as kaldiio dkt is, by the best of each."""
    best = {name: min(times) for name, times in seconds.items()}
    kaldiio_best = best["kaldiio load_ark"]
    print(f"\n{title}: {num_frames} frames")
    print(f"{'':34}{'best':>9}{'median':>9}{'frames/s':>13}{'to kaldiio':>12}")
    for name, times in seconds.items():
        print(
            f"{name:34}{1e3 * best[name]:7.1f}ms{1e3 * statistics.median(times):7.1f}ms"
            f"{num_frames / best[name]:13.3g}{kaldiio_best / best[name]:11.2f}x"
        )
    return kaldiio_best / min(value for name, value in best.items() if name.startswith("dkt"))


def main() -> int:
    """Measure and print; with ``--check`` fail where integer vectors are too slow."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--utts", type=int, default=2000, help="utterances (2000)")
    parser.add_argument("--repeats", type=int, default=5, help="repeats of each (5)")
    parser.add_argument("--check", action="store_true", help="exit 1 unless the stated ratio holds")
    args = parser.parse_args()
    ratios = {}
    with tempfile.TemporaryDirectory() as folder:
        lengths = make_archives(Path(folder), args.utts)
        for title, runs in methods(Path(folder), lengths).items():
            ratios[title] = report(title, measure(runs, args.repeats, sum(lengths)), sum(lengths))
    failed = False
    for title in ("int32 alignments", "int32 alignments, gz"):
        holds = ratios[title] >= INT_RATIO
        failed |= not holds
        verdict = "holds" if holds else "does NOT hold"
        print(f"\n{title}: {ratios[title]:.1f} times kaldiio; at least {INT_RATIO:g} {verdict}")
    return int(args.check and failed)


if __name__ == "__main__":
    sys.exit(main())
