"""Small data directories and alignments that several test modules train on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dkt.feat.functions import cmvn_stats
from dkt.hmm.transition_model import TransitionModel, write_transition_model
from dkt.util.object_io import ObjectWriter
from dkt.util.table import IntVectorWriter, MatrixWriter

FEATURE_DIM = 6


def write_matrices(path: Path, name: str, matrices: dict[str, np.ndarray]) -> None:
    """Write ``name.ark`` and ``name.scp`` in the directory ``path``."""
    with MatrixWriter(f"ark,scp:{path}/{name}.ark,{path}/{name}.scp") as writer:
        for key, matrix in matrices.items():
            writer.write(key, matrix)


def write_data_dir(path: Path, features: dict[str, np.ndarray]) -> None:
    """A data directory of one speaker a letter before the dash of the utterance-id."""
    path.mkdir(parents=True, exist_ok=True)
    speakers: dict[str, np.ndarray] = {}
    for utt, frames in features.items():
        speaker = utt.split("-")[0]
        speakers[speaker] = speakers.get(speaker, 0) + cmvn_stats(frames)
    write_matrices(path, "feats", features)
    write_matrices(path, "cmvn", speakers)
    (path / "utt2spk").write_text("".join(f"{utt} {utt.split('-')[0]}\n" for utt in features))


def write_ali_dir(path: Path, model: TransitionModel, alignments: dict[str, np.ndarray]) -> None:
    """An alignment directory of one job."""
    path.mkdir(parents=True, exist_ok=True)
    writer = ObjectWriter()
    write_transition_model(writer, model)
    writer.save(path / "final.mdl")
    (path / "num_jobs").write_text("1\n")
    (path / "phones.txt").write_text("<eps> 0\nSIL 1\nA 2\n")
    with IntVectorWriter(f"ark:| gzip -c > '{path}/ali.1.gz'") as ali:
        for utt, ids in alignments.items():
            ali.write(utt, ids)


def _path(rng: np.random.Generator) -> np.ndarray:
    """A path through the two-phone model: eight phones, each state of two to five frames."""
    arcs = {1: [(1, 2)], 2: [(3, 4), (5, 6)]}
    visits = [visit for phone in rng.integers(1, 3, 8) for visit in arcs[int(phone)]]
    ids = [i for loop, leave in visits for i in [*[loop] * rng.integers(1, 5), leave]]
    return np.array(ids, dtype=np.int32)


def random_corpus(seed: int, prefix: str, num: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Features of shape ``(T, 6)`` and transition-ids of the two-phone model that depend on each other.

    The pdf of a frame decides the mean of the frame two later, so that a network needs context to see it.
    """
    rng = np.random.default_rng(seed)
    means = np.random.default_rng(99).normal(0.0, 2.0, (7, FEATURE_DIM))
    features, alignments = {}, {}
    for number in range(num):
        ids = _path(rng)
        frames = means[np.roll(ids, 2)] + rng.normal(0.0, 0.7, (len(ids), FEATURE_DIM))
        utt = f"{prefix}{number % 3}-{number:03d}"
        features[utt], alignments[utt] = frames.astype(np.float32), ids
    return dict(sorted(features.items())), dict(sorted(alignments.items()))
