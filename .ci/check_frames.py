"""Holds the forward pass of networks against what their trainings measured: another delay or CMVN would show.

check_frames.py <data-dev> <ali-dev> <exp-dir>...
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import dkt
from dkt.train.history import load_history

#: In percent. The two differ by the order of sums alone.
TOLERANCE = 0.05


def frame_accuracy(directory: str, data: str, labels: dict[str, np.ndarray]) -> float:
    """The share of frames, in percent, whose label is the network's best pdf."""
    model = dkt.load_model(directory)
    right = total = 0
    for utt, features in model.features(data):
        if utt in labels:
            best = model.logits(features).argmax(axis=1)
            right += int((best[: len(labels[utt])] == labels[utt]).sum())
            total += len(labels[utt])
    return 100.0 * right / total


def main() -> int:
    """Print both accuracies of each network; the exit status is 1 if they differ."""
    data, ali, *directories = sys.argv[1:]
    labels = dict(dkt.AlignmentDir(ali).read_pdfs())
    failed = 0
    for directory in directories:
        rows = load_history(Path(directory) / "history.csv")
        measured = [row["cv_frame_acc"] for row in rows if row["accepted"]][-1]
        found = frame_accuracy(directory, data, labels)
        good = abs(found - measured) <= TOLERANCE
        failed += not good
        print(
            f"{'ok  ' if good else 'FAIL'} {directory}: {found:.3f} % of frames, in training {measured:.3f}"
        )
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
