"""The benchmarks run; what they measure is for an idle machine to say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


def test_reading_archives_is_measured():
    command = [sys.executable, str(BENCHMARKS / "read_archives.py"), "--utts=20", "--repeats=1"]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    for told in ("float32 matrices", "dkt scp (kaldi_native_io)", "readinto, one block", "at least 5"):
        assert told in found.stdout


def test_training_steps_are_measured(tmp_path):
    ratios = tmp_path / "ratios.json"
    command = [sys.executable, str(BENCHMARKS / "training_speed.py"), "--seconds=0.05", f"--json={ratios}"]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    for told in ("torch.nn.LSTM(proj_size)", "dkt, peepholes and clipping", "its matrix products alone"):
        assert told in found.stdout
    values = json.loads(ratios.read_text())
    assert {"lstm_projected_over_torch", "lstm_over_step_loop", "dnn_1024_over_its_matrix_products"} <= set(
        values
    )
    assert all(value > 0 for value in values.values())


def test_the_default_number_of_threads_is_measured(tmp_path):
    ratios = tmp_path / "ratios.json"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}  # which the benchmark does not take for the default
    command = [sys.executable, str(BENCHMARKS / "threads.py"), "--seconds=0.1", "--turn=0.05"]
    command += ["--only=dnn training", f"--json={ratios}"]
    found = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    values = json.loads(ratios.read_text())
    assert list(values) == [
        f"dnn training, {condition}: default over one thread"
        for condition in ("idle", "one processor busy", "as many other jobs as processors")
    ]
    assert all(value > 0 for value in values.values())


def test_the_data_path_is_measured():
    command = [sys.executable, str(BENCHMARKS / "data_path.py"), "--utts=12", "--times=2"]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    for told in (
        "dnn cold: RssAnon 2x over 1x: ",
        "lstm soft: waiting over epoch: ",
        "warm cache over a cold",
    ):
        assert told in found.stdout


def test_making_lattices_is_measured(kaldi_fixtures: Path):
    exp = kaldi_fixtures / "exp/tri2b"
    table = f"ark:{kaldi_fixtures}/golden/nnet1/loglikes_20.ark"
    command = [sys.executable, str(BENCHMARKS / "search_lattices.py"), "--utts=1"]
    places = [str(exp / "final.mdl"), str(exp / "graph/HCLG.fst"), table]
    found = subprocess.run([*command, *places], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    for told in ("1 utterances, 334 frames", "FasterDecoder, one best", "dkt, search only", "dkt latgen"):
        assert told in found.stdout
