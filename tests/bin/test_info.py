"""``dkt info``: what it says of directories made by trainings, by Kaldi, and by accidents."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import yaml

from dkt.base.errors import DamagedError, DktError
from dkt.base.sealed import seal_zip
from dkt.bin import main
from dkt.fstext.fst import load_fst
from dkt.nnet.dnn import DnnConfig
from dkt.nnet.lstm import LstmConfig
from dkt.nnet.model_file import ModelInfo, build_network, load_model, save_model
from dkt.nnet.model_header import read_checkpoint_header, read_model_header
from dkt.train import loop
from dkt.train.history import load_history
from tests.damage import damages
from tests.student_lab import lab, taught, train
from tests.synthetic import write_matrices
from tests.tiny_lang import write_tiny_lang

__all__ = ["lab"]


def info(capsys, *arguments: object, status: int = 0) -> list[dict[str, Any]]:
    """What the command says, as JSON, and as lines the same number."""
    places = [str(argument) for argument in arguments]
    capsys.readouterr()
    assert main(["info", *places]) == status
    lines = capsys.readouterr().out.splitlines()
    assert main(["info", "--json", *places]) == status
    found = json.loads(capsys.readouterr().out)
    assert [line.startswith(f"{one['dir']}: ") for line, one in zip(lines, found, strict=True)] == [
        True
    ] * len(lines)
    return found


def line(capsys, directory: object) -> str:
    capsys.readouterr()
    assert main(["info", str(directory)]) == 0
    return capsys.readouterr().out.strip()


def refused(caplog, directory: Path) -> str:
    """The one error that is told of a directory, which must name it."""
    caplog.clear()
    assert main(["info", str(directory)]) == 1
    (error,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert str(directory) in error and "\n" not in error
    return error


def score(directory: Path, errors: int, name: str = "wer_9_0.5") -> None:
    """Leave what the scoring of a decode directory leaves."""
    (directory / "scoring_kaldi").mkdir(parents=True, exist_ok=True)
    rate = f"%WER {errors / 2:.2f} [ {errors} / 200, 0 ins, 0 del, {errors} sub ]"
    (directory / "scoring_kaldi/best_wer").write_text(f"{rate} {directory}/{name}\n")


def num_parameters(directory: Path) -> int:
    return sum(weights.numel() for weights in load_model(directory / "final.pt")[1].parameters())


@pytest.fixture
def dnn(lab, tmp_path):
    """A copy of a trained network, its directory."""
    return Path(shutil.copytree(lab / "dnn", tmp_path / "dnn", symlinks=True))


def test_a_network(dnn, capsys):
    score(dnn / "decode_dev", 25)
    score(dnn / "decode_test", 30)
    (dnn / "decode_not_yet").mkdir()
    (dnn / "log").mkdir()
    (found,) = info(capsys, dnn)
    last = [row for row in load_history(dnn / "history.csv") if row["accepted"]][-1]
    assert found == {
        "dir": str(dnn),
        "kind": "network",
        "network": "dnn",
        "shape": "42-1x32-3",
        "num_pdfs": 3,
        "num_params": num_parameters(dnn),
        "mode": "hard",
        "finished": True,
        "num_epochs": 2,
        "loss": {"train": last["train_loss"], "cv": last["cv_loss"]},
        "accuracy": {"train": last["train_frame_acc"], "cv": last["cv_frame_acc"]},
        "best_wer": {"decode_dev": 12.5, "decode_test": 15.0},
    }
    told = line(capsys, dnn)
    assert told.startswith(f"{dnn}: network: dnn 42-1x32-3 num-params=1475 mode=hard num-epochs=2 loss:")
    assert told.endswith("best-wer[decode_dev]=12.50% best-wer[decode_test]=15.00%")
    assert f"accuracy:train/cv={last['train_frame_acc']:.2f}/{last['cv_frame_acc']:.2f}" in told


def test_losses_are_those_of_the_weights_that_were_kept(dnn, capsys):
    path = dnn / "history.csv"
    rows = path.read_text().splitlines()
    worse = rows[-1].split(",")
    worse[0], worse[5], worse[8] = "3", "99", "False"
    path.write_text("\n".join([*rows, ",".join(worse), ""]))
    (found,) = info(capsys, dnn)
    assert found["num_epochs"] == 3 and found["loss"]["cv"] == float(rows[-1].split(",")[5])


@pytest.mark.parametrize("mode", ["soft", "hard"])
def test_a_student_and_its_objective(lab, tmp_path, capsys, mode):
    options = ["--mode=soft", "--temperature=5", *taught(lab)] if mode == "soft" else []
    assert train(lab, tmp_path / "lstm", "--set=schedule.max_iters=1", *options) == 0
    (found,) = info(capsys, tmp_path / "lstm")
    assert (found["network"], found["shape"]) == ("lstm", "6-1x24(12)-3")
    assert found["num_params"] == num_parameters(tmp_path / "lstm")
    assert (found["mode"], found.get("temperature")) == (mode, 5.0 if mode == "soft" else None)


def test_a_training_in_two_phases(lab, tmp_path, capsys, monkeypatch):
    """What is found in the first has its place in the second, whose epochs have not begun."""
    options = ["--mode=pretrain", *taught(lab)]
    stop_after(monkeypatch, 2)
    assert train(lab, tmp_path / "lstm", *options) == 1
    (found,) = info(capsys, tmp_path / "lstm")
    assert (found["finished"], found["num_epochs"], found["soft_epochs"]) == (False, 0, 2)
    assert "unfinished" in line(capsys, tmp_path / "lstm")
    score(tmp_path / "lstm/soft/decode_dev", 8)
    assert info(capsys, tmp_path / "lstm")[0]["best_wer"] == {"soft/decode_dev": 4.0}


def stop_after(monkeypatch: pytest.MonkeyPatch, num_epochs: int) -> None:
    epoch = loop.TrainingLoop._epoch

    def stopped(self: loop.TrainingLoop) -> None:
        if self.schedule.epoch == num_epochs:
            raise DktError("interrupted")
        epoch(self)

    monkeypatch.setattr(loop.TrainingLoop, "_epoch", stopped)


@pytest.mark.parametrize("num_epochs", [0, 1])
def test_unfinished_trainings(lab, tmp_path, capsys, caplog, monkeypatch, num_epochs):
    stop_after(monkeypatch, num_epochs)
    places = [str(lab / name) for name in ("train", "dev", "ali_train", "ali_dev")]
    assert main(["train-dnn", f"--config={lab}/dnn.yaml", "--use-gpu=no", *places, str(tmp_path / "x")]) == 1
    (found,) = info(capsys, tmp_path / "x")
    assert (found["finished"], found["num_epochs"], found["shape"]) == (False, num_epochs, "42-1x32-3")
    # The same network has as many parameters when it is finished.
    assert found.get("num_params") == (num_parameters(lab / "dnn") if num_epochs else None)
    assert ("loss" in found) == (num_epochs > 0)
    assert f" unfinished num-epochs={num_epochs}" in line(capsys, tmp_path / "x")
    if num_epochs:
        for name in ("checkpoint.pt", "checkpoint.previous.pt"):
            (tmp_path / "x" / name).write_bytes(b"PK\3\4")
        assert "checkpoint.pt: is damaged" in refused(caplog, tmp_path / "x")


NETWORKS: dict[str, tuple[str, dict[str, Any], str]] = {
    "batch norm and dropout": (
        "dnn",
        {"hidden_layers": 3, "hidden_dim": 8, "activation": "relu", "dropout": 0.1, "batch_norm": True},
        "44-3x8-5",
    ),
    "no projection": ("lstm", {"layers": 2, "cells": 7, "projection": None, "peepholes": False}, "4-2x7-5"),
    "projection": ("lstm", {"layers": 2, "cells": 7, "projection": 3}, "4-2x7(3)-5"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_are_those_that_pytorch_counts(tmp_path, capsys, name):
    kind, values, shape = NETWORKS[name]
    context = 5 if kind == "dnn" else 0
    network = {**vars((DnnConfig if kind == "dnn" else LstmConfig)()), **values}
    plain = {"cmvn_opts": None, "delta_opts": None, "left_context": context, "right_context": context}
    description = ModelInfo(kind=kind, feature_dim=4, num_pdfs=5, network=network, **plain)
    built = build_network(description)
    save_model(tmp_path / "final.pt", description, built)
    (found,) = info(capsys, tmp_path)
    assert found["num_params"] == sum(weights.numel() for weights in built.parameters())
    assert found["shape"] == shape


def test_the_transform_in_front_of_a_network_counts(tmp_path):
    plain = {"cmvn_opts": None, "delta_opts": None, "left_context": 1, "right_context": 1, "ivector_dim": 2}
    network = vars(DnnConfig(1, 4))
    description = ModelInfo(kind="dnn", feature_dim=5, num_pdfs=3, network=network, **plain)
    built = build_network(description, {"lda.weight": torch.ones(6, 11)})
    save_model(tmp_path / "final.pt", description, built)
    header = read_model_header(tmp_path / "final.pt")
    assert (
        header.num_params == sum(weights.numel() for weights in built.parameters()) == 6 * 12 + 4 * 7 + 3 * 5
    )


def test_it_needs_no_pytorch(lab, kaldi_fixtures):
    places = [
        lab / "dnn",
        lab / "soft_dev",
        kaldi_fixtures / "exp/tri2b",
        kaldi_fixtures / "golden/nnet1",
        lab / "dev",
    ]
    code = (
        "import sys; from dkt.bin import main; status = main(['info', *sys.argv[1:]])\n"
        "sys.exit(status or ('torch' in sys.modules) or ('kaldifst' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, *map(str, places)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(places)


def test_soft_targets(lab, tmp_path, capsys, caplog):
    (found,) = info(capsys, lab / "soft_dev")
    header = yaml.safe_load((lab / "soft_dev/header.yaml").read_text())
    expected = {"num_utts": 20, "num_pdfs": 3, "top_k": 2, "temperatures": [1.0, 2.0, 5.0], "nj": 1}
    assert found == found | expected | {"kind": "targets", "finished": True, "teacher": header["fingerprint"]}
    assert "soft targets: num-utts=20 num-pdfs=3 top-k=2 temperatures=1,2,5" in line(capsys, lab / "soft_dev")
    half = Path(shutil.copytree(lab / "soft_dev", tmp_path / "half"))
    (half / "soft.scp").unlink()
    assert not info(capsys, half)[0]["finished"]
    changed = Path(shutil.copytree(lab / "soft_dev", tmp_path / "changed"))
    (changed / "soft.scp").write_text((changed / "soft.scp").read_text().replace("d0-", "e0-"))
    assert "soft.scp: is damaged" in refused(caplog, changed)
    header = (changed / "header.yaml").read_bytes()
    (changed / "header.yaml").write_bytes(header.replace(b"num_pdfs: 3", b"num_pdfs: 4"))
    assert "header.yaml: is damaged" in refused(caplog, changed)


def test_what_kaldi_made(kaldi_fixtures, tmp_path, capsys, monkeypatch):
    # Their feats.scp is relative to the recipe's directory, from which nobody need call.
    monkeypatch.chdir(tmp_path)
    root, exp = kaldi_fixtures, kaldi_fixtures / "exp"
    places = [root / "data/dev", root / "lang", exp / "tri2b", exp / "tri2b_ali_dev", exp / "tri2b/graph"]
    data, lang, gmm, ali, graph = info(capsys, *places)
    frames = [int(row.split()[1]) for row in (root / "data/dev/utt2num_frames").read_text().splitlines()]
    assert data == data | {"kind": "data", "num_utts": 200, "num_spk": 10, "feat_dim": 40}
    assert data["hours"] == pytest.approx(sum(frames) / 360000)
    words = [row.split()[0] for row in (root / "lang/words.txt").read_text().splitlines()]
    phones = [row.split()[0] for row in (root / "lang/phones.txt").read_text().splitlines()]
    assert lang["num_words"] == len(set(words) - {"<eps>", "#0", "<s>", "</s>"})
    assert lang["num_phones"] == sum(not phone.startswith("#") for phone in phones) - 1
    assert lang["has_grammar"] is True
    sizes = {"num_pdfs": 624, "num_gauss": 8022, "dim": 40}
    assert gmm == gmm | sizes | {"kind": "gmm", "finished": True}
    assert ali == ali | sizes | {"kind": "alignments", "nj": 2, "num_utts": 197, "num_frames": 77674}
    fst = load_fst(exp / "tri2b/graph/HCLG.fst")
    assert (graph["num_states"], graph["num_arcs"]) == (fst.num_states, fst.num_arcs)


def test_networks_of_kaldis_nnet1(kaldi_fixtures, capsys):
    dnn, lstm = info(capsys, kaldi_fixtures / "golden/nnet1", kaldi_fixtures / "golden/nnet1_lstm")
    sizes = [440, 512, 512, 512, 512, 624]
    weights = sum((a + 1) * b for a, b in pairwise(sizes))
    assert (dnn["network"], dnn["shape"], dnn["num_params"]) == ("nnet1", "440-4x512-624", weights)
    assert lstm["shape"].startswith("40-2x128-624")


@pytest.mark.parametrize("linked", [True, False])
def test_iterations_of_a_gmm(kaldi_fixtures, tmp_path, capsys, linked):
    gmm = tmp_path / "gmm"
    gmm.mkdir()
    shutil.copy(kaldi_fixtures / "exp/tri2b/final.mdl", gmm / "9.mdl")
    shutil.copy(kaldi_fixtures / "exp/tri2b/final.mdl", gmm / "12.mdl")
    if linked:
        (gmm / "final.mdl").symlink_to("12.mdl")
        score(gmm / "decode", 1)
    (found,) = info(capsys, gmm)
    assert (found["num_iters"], found["finished"], found["num_gauss"]) == (12, linked, 8022)
    assert found.get("best_wer") == ({"decode": 0.5} if linked else None)
    assert ("unfinished" in line(capsys, gmm)) != linked


def test_decode_directories(tmp_path, capsys, caplog):
    decode = tmp_path / "decode"
    decode.mkdir()
    (decode / "num_jobs").write_text("2\n")
    for job, utts in ((1, "a 1 2\nb 1\n"), (2, "c\n")):
        (decode / f"lat.{job}.gz").write_bytes(gzip.compress(b"x"))
        (decode / f".decoded.{job}").write_text(utts)
    (found,) = info(capsys, decode)
    assert found == {"dir": str(decode), "kind": "decode", "nj": 2, "num_utts": 3, "scored": False}
    assert "not-scored" in line(capsys, decode)
    # Kaldi's older scripts leave no best_wer.
    for name, errors in (("wer_8", 9), ("wer_9", 7), ("wer_10", 8)):
        (decode / name).write_text(f"%WER 1.0 [ {errors} / 200, 0 ins, 0 del, {errors} sub ]\n")
    assert info(capsys, decode)[0]["best_wer"] == pytest.approx(3.5)
    score(decode, 6)
    assert info(capsys, decode)[0]["best_wer"] == 3.0
    (decode / "lat.2.gz").unlink()
    assert "lat.2.gz: does not exist, num_jobs is 2" in refused(caplog, decode)


@pytest.fixture
def data(tmp_path):
    """A data directory of two utterances of 150 and 50 frames, two seconds together."""
    path = tmp_path / "data"
    path.mkdir()
    rng = np.random.default_rng(0)
    utts = {"a-1": 150, "b-1": 50}
    write_matrices(path, "feats", {u: rng.normal(size=(n, 13)).astype(np.float32) for u, n in utts.items()})
    (path / "utt2spk").write_text("a-1 a\nb-1 b\n")
    (path / "wav.scp").write_text("".join(f"{utt} {path}/{utt}.wav\n" for utt in utts))
    for utt, num in utts.items():
        soundfile.write(path / f"{utt}.wav", np.zeros(num * 80, dtype=np.float32), 8000)
    return path


SECONDS = 2.0


@pytest.mark.parametrize(
    ("files", "seconds"),
    [
        ({}, SECONDS),
        ({"frame_shift": "0.02\n"}, 2 * SECONDS),
        ({"utt2num_frames": "a-1 100\nb-1 23\n"}, 1.23),
        ({"utt2num_frames": "a-1 100\nb-1 23\n", "frame_shift": "0.02\n"}, 2.46),
        ({"utt2dur": "a-1 1.5\nb-1 4\n", "utt2num_frames": "a-1 1\nb-1 1\n"}, 5.5),
        # Files that are not of all utterances, or of others too.
        ({"utt2dur": "a-1 1.5\n", "utt2num_frames": ""}, SECONDS),
        ({"utt2dur": "a-1 1.5\nb-1 4\nc-1 9\n"}, 5.5),
        ({"segments": "a-1 r 1.0 2.5\nb-1 r 3 7\n"}, 5.5),
        # One that ends with its recording: other files know.
        ({"segments": "a-1 a-1 1.0 2.5\nb-1 b-1 3 -1\n"}, SECONDS),
    ],
)
def test_hours(data, capsys, files, seconds):
    for name, text in files.items():
        (data / name).write_text(text)
    (found,) = info(capsys, data)
    assert found["hours"] * 3600 == pytest.approx(seconds)
    assert (found["num_utts"], found["num_spk"], found["feat_dim"]) == (2, 2, 13)


def test_hours_of_recordings_without_features(data, capsys):
    (data / "feats.scp").unlink()
    assert info(capsys, data)[0]["hours"] * 3600 == pytest.approx(SECONDS)
    # A command is not run only to learn how long its output is.
    (data / "wav.scp").write_text(f"a-1 touch {data}/ran |\nb-1 touch {data}/ran |\n")
    (found,) = info(capsys, data)
    assert "hours" not in found and "feat_dim" not in found and not (data / "ran").exists()


def test_no_command_of_features_is_run(data, capsys):
    entries = data.joinpath("feats.scp").read_text().splitlines()
    (data / "feats.scp").write_text(f"{entries[0]}\nb-1 touch {data}/ran |\n")
    (found,) = info(capsys, data)
    # The recordings still tell the hours.
    assert found["hours"] * 3600 == pytest.approx(SECONDS) and "feat_dim" not in found
    assert not (data / "ran").exists()


@pytest.mark.parametrize("form", ["ark,t", "CM", "CM2", "CM3", "gzip", "range"])
def test_features_of_every_form(data, capsys, form):
    from dkt.util.table import MatrixWriter

    method = {"CM": 2, "CM2": 3, "CM3": 5}.get(form)
    kind = "ark,t" if form == "ark,t" else "ark"
    with MatrixWriter(f"{kind},scp:{data}/y.ark,{data}/feats.scp", method) as writer:
        for utt, num in (("a-1", 150), ("b-1", 50)):
            writer.write(utt, np.random.default_rng(1).normal(size=(num, 7)).astype(np.float32))
    script = (data / "feats.scp").read_text()
    if form == "range":
        (data / "feats.scp").write_text(script.replace("\n", "[0:9]\n"))
    if form == "gzip":
        # Of each utterance a file: an archive that is compressed has no offsets.
        archive = (data / "y.ark").read_bytes()
        places = [(row.split()[0], int(row.rpartition(":")[2])) for row in script.splitlines()]
        for (utt, begin), end in zip(places, [places[1][1] - 4, len(archive)], strict=True):
            (data / f"{utt}.gz").write_bytes(gzip.compress(archive[begin:end]))
        (data / "feats.scp").write_text("".join(f"{utt} {data}/{utt}.gz\n" for utt, _ in places))
    (found,) = info(capsys, data)
    assert found["feat_dim"] == 7
    assert found["hours"] * 3600 == pytest.approx(0.2 if form == "range" else SECONDS)


def test_everything_that_is_wrong_is_told_and_the_rest_too(lab, data, dnn, tmp_path, capsys, caplog):
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "file").write_text("x")
    other = tmp_path / "other"
    (other / "inner").mkdir(parents=True)
    (other / "inner/utt2spk").write_text("a-1 a\n")
    wrong = {
        empty: "is empty",
        tmp_path / "file": "is not a directory",
        tmp_path / "nowhere": "does not exist",
        other: f"holds nothing that dkt knows - give what is in it: {other}/*",
    }
    for directory, message in wrong.items():
        assert message in refused(caplog, directory)
    found = info(capsys, data, *wrong, dnn, status=1)
    assert [Path(one["dir"]) for one in found] == [data, dnn]


def test_damaged_directories(lab, data, dnn, tmp_path, caplog):
    def damaged(source: Path, name: str, content: bytes | None, message: str) -> None:
        directory = Path(shutil.copytree(source, tmp_path / "damaged", symlinks=True))
        (directory / name).unlink()
        if content is not None:
            (directory / name).write_bytes(content)
        assert message in refused(caplog, directory)
        shutil.rmtree(directory)

    write_tiny_lang(tmp_path / "lang")
    score(dnn / "decode", 1)
    damaged(dnn, "final.pt", b"", "final.pt: is empty")
    damaged(dnn, "history.csv", b"epoch\nx\n", "history.csv: is not a learning curve")
    damaged(dnn, "history.csv", b"epoch\n1\n", "history.csv: is not a learning curve")
    damaged(dnn, "history.csv", b"a line of something else\n", "history.csv: is not a learning curve")
    damaged(
        dnn, "history.csv", b"epoch,accepted\n1," + 200_000 * b"x", "history.csv: is not a learning curve"
    )
    damaged(dnn, "config.yaml", b"objective: {mode: 2020-01-01}", "config.yaml: no objective")
    damaged(dnn, "config.yaml", b"objective: {mode: kl, temperature: {a: b}}", "config.yaml: no objective")
    damaged(dnn, "config.yaml", b"a: [", "config.yaml: not YAML")
    damaged(dnn, "decode/scoring_kaldi/best_wer", b"", "best_wer: holds no %WER line")
    damaged(dnn, "decode/scoring_kaldi/best_wer", b"\xff\n", "best_wer: holds no %WER line")
    damaged(lab / "ali_dev", "ali.1.gz", b"", "ali.1.gz: is empty")
    damaged(lab / "ali_dev", "ali.1.gz", None, "ali.1.gz: does not exist")
    damaged(
        lab / "ali_dev", "ali.1.gz", (lab / "ali_dev/ali.1.gz").read_bytes()[:-99], "ali.1.gz: broken gzip"
    )
    damaged(lab / "ali_dev", "num_jobs", b"many\n", "num_jobs: expected one number above 0, found 'many'")
    damaged(lab / "ali_dev", "final.mdl", (lab / "ali_dev/final.mdl").read_bytes()[:99], "final.mdl")
    damaged(data, "utt2spk", b"", "utt2spk: is empty")
    damaged(data, "feats.scp", b"", "feats.scp: is empty")
    damaged(data, "utt2spk", b"a-1 a\na-1 a\n", "duplicate key")
    damaged(tmp_path / "lang", "words.txt", b"a\n", "words.txt: line 1")
    damaged(tmp_path / "lang", "phones.txt", None, "phones.txt: cannot be read")


@pytest.mark.parametrize("name", ["final.pt", "config.yaml", "history.csv", "decode/wer_10"])
def test_pipes_are_not_waited_for(dnn, caplog, name):
    path = dnn / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    if path.parent != dnn:
        (path.parent / "lat.1.gz").write_bytes(gzip.compress(b""))
    assert f"{path}: is a pipe, expected a file" in refused(caplog, dnn)


def test_a_header_of_soft_targets_that_is_not_whole(tmp_path, caplog):
    (tmp_path / "header.yaml").write_text("format: dkt-soft-targets\nnum_pdfs: 3\n")
    assert "header.yaml: is damaged" in refused(caplog, tmp_path)


def test_a_configuration_that_is_not_of_a_training(tmp_path, caplog):
    (tmp_path / "config.yaml").write_text("network: {hidden_layers: 2}\n")
    assert "config.yaml: says nothing of the features and pdfs" in refused(caplog, tmp_path)


def test_json_knows_no_nan(dnn, capsys):
    path = dnn / "history.csv"
    header, *rows = path.read_text().splitlines()
    values = rows[-1].split(",")
    values[header.split(",").index("train_loss")] = "nan"
    path.write_text("\n".join([header, *rows[:-1], ",".join(values), ""]))
    assert main(["info", "--json", str(dnn)]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found[0]["loss"]["train"] is None


def test_a_name_with_a_line_end_is_told_in_one_line(data, capsys):
    link = data.with_name("a\nb")
    link.symlink_to(data)
    assert line(capsys, link).startswith(f"{data.parent}/a\\nb: data directory:")


def test_scorings_at_work_and_links_back(dnn, capsys):
    score(dnn / "decode", 25)
    (dnn / "self").symlink_to(".")
    (dnn / "loop").symlink_to("loop")
    (dnn / "decode_now").mkdir()
    (dnn / "decode_now/wer_10").touch()
    assert info(capsys, dnn)[0]["best_wer"] == {"decode": 12.5}
    assert "not-scored" in line(capsys, dnn / "decode_now")


def test_features_that_are_cut_short(data, caplog):
    archive = data / "feats.ark"
    archive.write_bytes(archive.read_bytes()[:-1])
    assert "feats.ark: utterance 'b-1': the archive is cut short" in refused(caplog, data)
    archive.unlink()
    assert "feats.ark" in refused(caplog, data)


def test_a_damaged_model_is_never_described(dnn, tmp_path):
    for what, data in damages((dnn / "final.pt").read_bytes(), flips=60):
        (tmp_path / "final.pt").write_bytes(data)
        with pytest.raises(DktError):
            read_model_header(tmp_path / "final.pt")
            pytest.fail(what)


def test_a_model_file_calls_nothing(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "called",))

    def sealed(content: object) -> Path:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(content, protocol=2))
        (tmp_path / "final.pt").write_bytes(seal_zip(buffer.getvalue()))
        return tmp_path / "final.pt"

    info = {
        "kind": "dnn",
        "feature_dim": 1,
        "num_pdfs": 1,
        "left_context": 0,
        "right_context": 0,
        "network": {},
    }
    for content in (Evil(), [Evil()], {"format": "dkt-model", "info": info, "state": {"a": Evil()}}):
        with pytest.raises(DktError):
            read_model_header(sealed(content))
    assert not (tmp_path / "called").exists()
    # A table of objects as large as the memory, which C's reader of pickles would make.
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}r\xff\xff\xff\x7f.")
    (tmp_path / "final.pt").write_bytes(seal_zip(buffer.getvalue()))
    with pytest.raises(DktError):
        read_model_header(tmp_path / "final.pt")


def test_a_checkpoint_is_no_model(lab, dnn, tmp_path, monkeypatch):
    with pytest.raises(DktError, match=r"final.pt: is not a checkpoint"):
        read_checkpoint_header(dnn / "final.pt")
    with pytest.raises(DamagedError):
        (dnn / "final.pt").write_bytes(b"PK\3\4")
        read_checkpoint_header(dnn / "final.pt")
