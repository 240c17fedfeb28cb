"""Trainings that go on from networks of Kaldi's nnet1."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml

from dkt.bin import main
from dkt.feat.pipeline import FeatureOptions
from dkt.nnet.model_file import ModelInfo, build_network, load_model, save_model
from dkt.nnet.nnet1 import components as nnet1
from dkt.nnet.nnet1.from_dkt import nnet1_of
from dkt.nnet.nnet1.to_dkt import dkt_network_of
from dkt.train.history import load_history
from tests.student_lab import CPU, lab

__all__ = ["lab"]

DIM, PDFS = 3, 3
KINDS = {
    "dnn": {"hidden_layers": 1, "hidden_dim": 16},
    "lstm": {"layers": 1, "cells": 12, "projection": 6, "target_delay": 2},
    "blstm": {"layers": 1, "cells": 8, "projection": 4},
}


def parts_of(lab, kind):
    """A network of nnet1 with fresh weights for the features of the laboratory."""
    dim = load_model(lab / "dnn/final.pt")[0].feature_dim
    context = 3 if kind == "dnn" else 0
    info = ModelInfo(kind, dim, PDFS, context, context, None, None, KINDS[kind])
    torch.manual_seed(5)
    network = build_network(info)
    return nnet1_of(info, network)


def trained(lab, directory, info, *options):
    """Train with a configuration of the model that the training begins from."""
    network = {"type": info.kind, **info.network}
    features = {"cmvn_opts": info.cmvn_opts}
    if info.kind == "dnn":
        features["splice"] = info.left_context
    config = {
        "features": features,
        "network": network,
        "fine_tuning": {"learn_rate": 0.01, "max_iters": 1, "min_iters": 1},
    }
    (directory / "config.yaml").write_text(yaml.safe_dump(config))
    places = [str(lab / name) for name in ("train", "dev", "ali_train", "ali_dev")]
    given = [f"--config={directory}/config.yaml", *CPU, *options]
    return main(["train", *given, *places, str(directory / "exp")])


@pytest.mark.parametrize(
    ("kind", "as_it_is"), [("dnn", False), ("lstm", False), ("blstm", False), ("dnn", True), ("lstm", True)]
)
def test_an_imported_network_learns(lab, tmp_path, kind, as_it_is):
    transform, network = parts_of(lab, kind)
    if as_it_is:
        tanh = nnet1.Component("<Tanh>", network[-2].input_dim, network[-2].input_dim)
        network = [*network[:-2], tanh, *network[-2:]]
    pipeline = FeatureOptions(cmvn_opts="--norm-means=true")
    info, made = dkt_network_of(transform, network, pipeline, as_it_is)
    assert info.kind == ("nnet1" if as_it_is else kind)
    save_model(tmp_path / "final.pt", info, made)
    assert trained(lab, tmp_path, info, f"--init-model={tmp_path}/final.pt") == 0
    before, after = load_history(tmp_path / "exp/history.csv")
    assert after["cv_loss"] < before["cv_loss"] - 0.02
    # What has learnt is the network; its feature transform is what it was.
    first, second = nnet1_of(*load_model(tmp_path / "exp/final.pt"))
    assert [c.marker for c in (*first, *second)] == [c.marker for c in (*transform, *network)]
    for ours, theirs in zip(first, transform, strict=True):
        assert all(np.array_equal(value, vars(theirs)[name]) for name, value in vars(ours).items())
    assert not np.array_equal(second[-2].weight, network[-2].weight)
    assert second[-2].options == network[-2].options


def test_no_training_begins_such_a_network(lab, tmp_path, capsys):
    info, _ = dkt_network_of(*parts_of(lab, "lstm"), FeatureOptions(), as_it_is=True)
    assert trained(lab, tmp_path, info) == 1
    assert "cannot begin a network of nnet1 from fresh weights" in capsys.readouterr().err
