"""Holds what networks give for decoding against what their trainings measured, and against their labels.

check_frames.py <data-train> <ali-train> <data-dev> <ali-dev> <exp-dir>...

Another delay or CMVN than in training shows in the frames, other priors in the log-likelihoods.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

import dkt
from dkt.bin import main as dkt_command
from dkt.train.history import load_history

#: In percent. The two accuracies differ by the order of sums alone.
TOLERANCE = 0.05


def log_likelihoods(directory: str, data: str) -> dict[str, np.ndarray]:
    """What ``dkt forward`` gives a decoder."""
    counts = f"--class-frame-counts={directory}/ali_train_pdf.counts"
    with tempfile.TemporaryDirectory() as place:
        command = ["forward", "--no-softmax=true", "--use-gpu=no", counts, f"{directory}/final.pt", data]
        assert dkt_command([*command, f"ark:{place}/loglikes.ark"]) == 0
        return dict(dkt.read_matrices(f"ark:{place}/loglikes.ark"))


def check(directory: str, data: str, labels: dict[str, np.ndarray], counts: np.ndarray) -> bool:
    """Print what was found of one network, and whether it is as it should be."""
    model = dkt.load_model(directory)
    given = log_likelihoods(directory, data)
    right = total = 0
    error = 0.0
    for utt, features in model.features(data):
        logits = model.logits(features)
        # As dkt analyze-counts: half a count for every pdf. Of those that were not seen the floor decides.
        expected = logits - np.log(counts + 0.5)
        seen = counts > 0
        differences = (given[utt] - expected)[:, seen]
        error = max(error, float(np.abs(differences - differences.mean()).max()))
        if utt in labels:
            best = logits.argmax(axis=1)[: len(labels[utt])]
            right += int((best == labels[utt]).sum())
            total += len(best)
    found = 100.0 * right / total
    rows = load_history(Path(directory) / "history.csv")
    measured = [row["cv_frame_acc"] for row in rows if row["accepted"]][-1]
    good = abs(found - measured) <= TOLERANCE and error < 1e-3
    print(
        f"{'ok  ' if good else 'FAIL'} {directory}: {found:.3f} % of frames, in training {measured:.3f}; "
        f"log-likelihoods are logits less log-priors to {error:.1e}"
    )
    return good


def main() -> int:
    """The exit status is 1 if a network is not as it should be."""
    data_train, ali_train, data, ali_dev, *directories = sys.argv[1:]
    labels = dict(dkt.AlignmentDir(ali_dev).read_pdfs())
    training = dkt.AlignmentDir(ali_train)
    used = dkt.DataDir(data_train).utt2spk
    counts = np.zeros(training.num_pdfs)
    for utt, pdfs in training.read_pdfs():
        if utt in used:
            counts += np.bincount(pdfs, minlength=training.num_pdfs)
    good = [check(directory, data, labels, counts) for directory in directories]
    return int(not all(good))


if __name__ == "__main__":
    sys.exit(main())
