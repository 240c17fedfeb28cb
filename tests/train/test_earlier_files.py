"""What earlier code has written still loads: models, configurations, soft targets, packed features.

``data/experiment.tar.gz`` was made by the version of November 2026: a corpus (``synthetic.random_corpus``), a
DNN, its soft targets, an LSTM (``--mode=pretrain --temperature=2``), and the posteriors of both on dev.
"""

from __future__ import annotations

import logging
import tarfile
from pathlib import Path

import numpy as np
import pytest

from dkt.base.config import current_names, read_yaml
from dkt.bin import main
from dkt.nnet.model_file import load_model
from dkt.nnet.torchfile import load_torch, save_torch
from dkt.train.recipes import recipe_class
from dkt.util.table import read_matrices
from tests.shell import ROOT
from tests.student_lab import CPU, taught, train


@pytest.fixture
def earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with tarfile.open(ROOT / "tests/data/experiment.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    # Its scripts name files from there.
    monkeypatch.chdir(tmp_path)
    return tmp_path


def places(earlier: Path, directory: str) -> list[str]:
    return [str(earlier / name) for name in ("train", "dev", "ali_train", "ali_dev", directory)]


@pytest.mark.parametrize("network", ["dnn", "lstm", "lstm/soft"])
def test_models(earlier: Path, network: str) -> None:
    output = f"ark:{earlier}/output.ark"
    assert main(["forward", *CPU, str(earlier / network / "final.pt"), str(earlier / "dev"), output]) == 0
    expected = np.load(earlier / "posteriors.npz")
    found = dict(read_matrices(output))
    assert len(found) == 3
    for utt, posteriors in found.items():
        if network != "lstm/soft":
            np.testing.assert_allclose(posteriors, expected[f"{network}/{utt}"], atol=1e-5)
        np.testing.assert_allclose(posteriors.sum(axis=1), 1.0, atol=1e-5)


def test_finished_trainings_are_known_for_what_they_are(
    earlier: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = {network: (earlier / network / "final.pt").read_bytes() for network in ("dnn", "lstm")}
    caplog.set_level(logging.INFO)
    assert main(["train-dnn", f"--config={earlier}/dnn.yaml", *CPU, *places(earlier, "dnn")]) == 0
    assert "nothing to do" in caplog.text
    caplog.clear()
    assert train(earlier, earlier / "lstm", "--mode=pretrain", "--temperature=2", *taught(earlier)) == 0
    assert "nothing to do" in caplog.text
    assert {network: (earlier / network / "final.pt").read_bytes() for network in before} == before


def test_configurations_and_packed_features_give_the_same_network(
    earlier: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert main(["train-dnn", f"--config={earlier}/dnn.yaml", *CPU, *places(earlier, "again")]) == 0
    assert caplog.text.count("features packed before") == 2
    before, now = (read_yaml(earlier / name / "config.yaml") for name in ("dnn", "again"))
    assert "streams" in before["features"] and "paste" in now["features"]
    for section, keys in current_names(recipe_class("dnn"), before).items():
        assert {name: now[section][name] for name in keys} == keys
    assert (earlier / "again/history.csv").read_text().count("\n") == 3


def test_soft_targets_teach_and_a_student_begins_from_a_model(earlier: Path) -> None:
    options = ["--mode=soft", "--temperature=2", *taught(earlier)]
    assert train(earlier, earlier / "new", *options) == 0
    # Trainings are deterministic: this is the soft phase of that time, to rounding.
    old, new = (
        np.genfromtxt(earlier / name / "history.csv", delimiter=",", names=True)
        for name in ("lstm/soft", "new")
    )
    np.testing.assert_allclose(new["cv_loss"], old["cv_loss"], rtol=1e-4)
    begin = f"--init-model={earlier}/lstm/soft/final.pt"
    assert train(earlier, earlier / "further", *options, begin) == 0
    further = np.genfromtxt(earlier / "further/history.csv", delimiter=",", names=True)
    assert further["cv_loss"][0] < new["cv_loss"][0]


def test_what_a_model_pastes_is_found_by_its_earlier_name(
    earlier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = earlier / "dnn/final.pt"
    content = load_torch(path, "cpu")
    assert content["info"]["streams"] == "feats.scp" and "paste" not in content["info"]
    content["info"]["streams"] = "feats.scp pitch.scp"
    save_torch(path, content)
    assert load_model(path)[0].feature_options.paste == "feats.scp pitch.scp"
    assert main(["forward", *CPU, str(path), str(earlier / "dev"), "ark:/dev/null"]) == 1
    assert "pitch.scp: does not exist" in capsys.readouterr().err
