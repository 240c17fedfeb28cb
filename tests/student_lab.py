"""A small laboratory for students: data, alignments, a teacher and its soft targets."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from dkt.bin import main
from dkt.nnet.model_file import load_model
from tests.hmm.test_transitions import two_phone_model
from tests.synthetic import random_corpus, write_ali_dir, write_data_dir

DNN = {
    "features": {"splice": 3},
    "network": {"hidden_layers": 1, "hidden_dim": 32, "activation": "tanh"},
    "optimizer": {"minibatch_size": 32},
    "schedule": {"learn_rate": 0.01, "max_iters": 2},
}
LSTM = {
    "network": {"layers": 1, "cells": 24, "projection": 12, "target_delay": 3},
    "batches": {"num_streams": 4, "chunk": 10},
    "schedule": {"learn_rate": 0.01, "max_iters": 3},
    "fine_tuning": {"learn_rate": 0.005, "max_iters": 1},
}
CPU = ["--num-threads=1", "--use-gpu=no"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Data, alignments, a teacher and its soft targets (all 3 pdfs of dev, 2 of train)."""
    path = tmp_path_factory.mktemp("lab")
    for name, prefix, seed, num in [("train", "t", 1, 60), ("dev", "d", 2, 20)]:
        features, alignments = random_corpus(seed, prefix, num)
        write_data_dir(path / name, features)
        write_ali_dir(path / f"ali_{name}", two_phone_model(), alignments)
    (path / "dnn.yaml").write_text(yaml.safe_dump(DNN))
    (path / "lstm.yaml").write_text(yaml.safe_dump(LSTM))
    places = [str(path / name) for name in ("train", "dev", "ali_train", "ali_dev", "dnn")]
    assert main(["train-dnn", f"--config={path}/dnn.yaml", *CPU, *places]) == 0
    for part in ("train", "dev"):
        soft_targets(path / "dnn", path / part, path / f"soft_{part}")
    return path


def soft_targets(teacher: Path, data: Path, directory: Path, *options: str) -> None:
    """Keep two of the three posteriors of a teacher."""
    places = [str(teacher / "final.pt"), str(data), str(directory)]
    assert main(["make-soft-targets", *CPU, "--top-k=2", *options, *places]) == 0


def taught(lab: Path) -> list[str]:
    """The options that name its soft targets."""
    return [f"--soft-targets={lab}/soft_train", f"--soft-targets-dev={lab}/soft_dev"]


def train(
    lab: Path, directory: Path, *options: str, ali: tuple[str | Path, ...] = ("ali_train", "ali_dev")
) -> int:
    """Train a student; the exit status."""
    places = [str(lab / name) for name in ("train", "dev", *ali)]
    return main(["train-lstm", f"--config={lab}/lstm.yaml", *CPU, *options, *places, str(directory)])


def weights(directory: Path) -> dict[str, torch.Tensor]:
    """Those of a model."""
    return load_model(directory / "final.pt")[1].state_dict()


def same_weights(first: Path, second: Path) -> bool:
    """Whether two models are the same to the last bit."""
    return all(torch.equal(value, weights(second)[name]) for name, value in weights(first).items())


@pytest.fixture(scope="module")
def soft(lab, tmp_path_factory):
    """A student of temperature 2."""
    directory = tmp_path_factory.mktemp("exp") / "soft"
    assert train(lab, directory, "--mode=soft", "--temperature=2", *taught(lab)) == 0
    return directory
