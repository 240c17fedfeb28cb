"""Out of memory: one line that says what it was for and what to lower."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dkt.base import memory
from dkt.base.errors import DktError
from dkt.base.memory import available_memory, memory_for, require_memory
from dkt.bin import main
from dkt.train.metrics import Metrics
from tests.student_lab import CPU, lab, train  # noqa: F401

#: Beyond the addresses of any processor: refused at once, whatever the machine promises.
HUGE = 10**15


@pytest.mark.parametrize(
    ("take", "size"),
    [
        (lambda: torch.empty(HUGE), "of which 4000000000000000 bytes were asked for at once"),
        (lambda: torch.empty(2**40, 2**40), ""),
        (lambda: np.empty(HUGE), "of which 7.11 PiB were asked for at once"),
        (lambda: bytes(HUGE), ""),
    ],
)
def test_what_it_was_for_and_what_to_lower(take, size):
    with (
        pytest.raises(
            DktError, match=rf"^out of memory: there is not enough for a cake.*{size}.* - eat less$"
        ),
        memory_for("a cake", "eat less"),
    ):
        take()


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="size mismatch"), memory_for("a cake", "eat less"):
        raise RuntimeError("size mismatch")
    with pytest.raises(KeyError), memory_for("a cake", "eat less"):
        raise KeyError("x")


def test_cuda_tells_it_too():
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has more")
    expected = pytest.raises(DktError, match=r"of which 20\.00 GiB were asked for at once - eat less")
    with expected, memory_for("a cake", "eat less"):
        raise error


def test_a_command_that_runs_out_of_memory_anywhere(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("dkt.hmm.inspection.tree_info", lambda tree: np.empty(HUGE))
    monkeypatch.setattr("dkt.hmm.tree.load_tree", lambda path: None)
    assert main(["tree-info", "tree"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "ERROR (dkt tree-info) out of memory: there is not enough for dkt tree-info, of which"
    )


def test_more_than_there_is_is_refused_before_it_is_taken(monkeypatch):
    require_memory(1, "a crumb", "eat less")
    with pytest.raises(DktError, match=r"out of memory: a cake takes .* GB, and there are .* GB - eat less"):
        require_memory(2 * available_memory(), "a cake", "eat less")


def last(capsys):
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_a_network_that_does_not_fit(lab, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setattr(memory, "available_memory", lambda: 10**9)
    sizes = ["--set=network.cells=16000", "--set=network.projection=null", "--set=network.layers=100"]
    assert train(lab, tmp_path / "x", *sizes) == 1
    assert "out of memory: a network of 203" in (line := last(capsys))
    assert line.endswith("GB, and there are 1.0 GB - lower network.cells or network.layers")
    places = [str(lab / name) for name in ("train", "dev", "ali_train", "ali_dev")]
    options = [
        f"--config={lab}/dnn.yaml",
        *CPU,
        "--set=network.hidden_dim=16000",
        "--set=network.hidden_layers=9",
    ]
    assert main(["train-dnn", *options, *places, str(tmp_path / "y")]) == 1
    assert "lower network.hidden_dim or network.hidden_layers" in last(capsys)


def test_batches_that_do_not_fit(lab, tmp_path, monkeypatch, capsys):  # noqa: F811
    def forward(*_):
        return torch.empty(HUGE)

    monkeypatch.setattr("dkt.nnet.lstm.Lstm.forward", forward)
    assert train(lab, tmp_path / "x") == 1
    assert "out of memory: there is not enough for the evaluation, of which" in last(capsys)
    monkeypatch.setattr("dkt.train.trainer.Trainer.evaluate", lambda *_: Metrics())
    assert train(lab, tmp_path / "x") == 1
    assert "lower batches.num_streams, batches.chunk" in last(capsys)


@pytest.mark.parametrize(
    ("command", "setting", "message"),
    [
        ("train-lstm", "network.target_delay=999", "'network.target_delay' is 999 frames, but the longest"),
        ("train-dnn", "features.splice=100", "'features.splice' is 100 frames, but the longest utterance"),
        ("train-dnn", "features.lda_dim=99", "'features.lda_dim' is 99, but the spliced features have 42"),
    ],
)
def test_nothing_is_larger_than_the_data(lab, tmp_path, capsys, command, setting, message):  # noqa: F811
    places = [str(lab / name) for name in ("train", "dev", "ali_train", "ali_dev")]
    config = f"--config={lab}/{command.removeprefix('train-')}.yaml"
    assert main([command, config, *CPU, f"--set={setting}", *places, str(tmp_path / "x")]) == 1
    assert message in last(capsys)
    assert not (tmp_path / "x/final.pt").exists()
