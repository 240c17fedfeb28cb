"""Damaged files that dkt wrote and reads back: the same result, or one line that says so; never another."""

from __future__ import annotations

import dataclasses
import os
import random
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dkt.base import native as kernels
from dkt.base.errors import DamagedError, DktError
from dkt.base.processes import ProcessId
from dkt.base.sealed import SEAL_SIZE, seal
from dkt.bin import main
from dkt.dataset.cache import open_features
from dkt.dataset.features import BLOCK, PackedFeatures
from dkt.nnet import native
from dkt.nnet.model_file import ModelInfo, build_network, fingerprint, load_model, save_model
from dkt.nnet.torchfile import load_torch, save_torch
from dkt.targets.store import TargetDir
from dkt.train import loop
from tests.damage import damages, flipped
from tests.feature_lab import data, entries, logged, reader, rows, same
from tests.kernels import fresh, needs_compiler
from tests.student_lab import CPU, lab, soft_targets
from tests.synthetic import write_data_dir
from tests.targets.test_targets import TEMPERATURES, write

__all__ = ["data", "fresh", "lab", "logged"]

# What PyTorch says of files that it cannot read, which is no help to a user.
_ADVICE = re.compile(r"weights_only|torch\.load|PytorchStreamReader|unpickl|https?:", re.IGNORECASE)


def model(kind: str = "dnn") -> tuple[ModelInfo, Any]:
    torch.manual_seed(0)
    if kind == "lstm":
        info = ModelInfo("lstm", 6, 3, 0, 0, None, None, {"layers": 1, "cells": 8, "projection": 4})
        return info, build_network(info)
    info = ModelInfo("dnn", 3, 5, 1, 1, None, None, {"hidden_layers": 2, "hidden_dim": 8})
    return info, build_network(info)


def without_seal(path: Path) -> None:
    """Make a file what an earlier dkt wrote."""
    content = path.read_bytes()
    path.write_bytes(content[: -SEAL_SIZE - 2] + b"\0\0")


def check(path: Path, read: Callable[[], Any], expected: Any) -> Iterator[str]:
    """Damage a file in many ways; yields the errors. What is read is the same, or there is one line."""
    content = path.read_bytes()
    for what, damaged in damages(content):
        path.write_bytes(damaged)
        try:
            found = read()
        except DktError as error:
            assert "\n" not in str(error) and str(path.parent) in str(error), what
            assert not _ADVICE.search(str(error)), what
            yield what
        else:
            assert found == expected, f"{what}: another result, and not a word"
    path.write_bytes(content)
    assert read() == expected


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("kind", ["dnn", "lstm"])
def test_models(tmp_path, kind, sealed):
    path = tmp_path / "final.pt"
    save_model(path, *model(kind))
    if not sealed:
        without_seal(path)

    def read():
        info, network = load_model(path)
        return info.describe(), fingerprint(network)

    noticed = list(check(path, read, read()))
    # All but bits in the checksum itself, and what comes behind the end of an archive.
    assert len(noticed) > (50 if sealed else 25)


def test_a_model_of_before_and_one_of_now_are_zip_archives_that_pytorch_reads(tmp_path):
    info, network = model()
    save_model(tmp_path / "m.pt", info, network)
    assert zipfile.ZipFile(tmp_path / "m.pt").testzip() is None
    content = torch.load(tmp_path / "m.pt", weights_only=True)
    assert content["version"] == 1
    torch.save(content, tmp_path / "old.pt")
    assert fingerprint(load_model(tmp_path / "old.pt")[1]) == fingerprint(network)


def test_every_bit_of_the_weights_counts(tmp_path):
    """Flips that PyTorch loads without a word."""
    path = tmp_path / "m.pt"
    save_model(path, *model())
    weights = np.full(8, 0.01, np.float32)
    info, network = model()
    network.output.bias.data[:] = torch.from_numpy(weights[:5])
    save_model(path, info, network)
    content = path.read_bytes()
    place = content.index(weights[:5].tobytes())
    for damaged in (d for _, d in flipped(content[place : place + 20], 20)):
        path.write_bytes(content[:place] + damaged + content[place + 20 :])
        with pytest.raises(DamagedError, match=r"m\.pt: is damaged \(its checksum is wrong\)"):
            load_model(path)


def put(path: Path, **changes: Any) -> None:
    """A model file that is whole, but of other content; ``None`` takes a part out."""
    save_model(path, *model())
    content = load_torch(path)
    for name, value in changes.items():
        if value is None:
            del content[name]
        else:
            content[name] = value
    save_torch(path, content)


def described(**network: Any) -> dict[str, Any]:
    info, _ = model()
    plain = {name: value for name, value in vars(info).items() if name != "matrices"}
    return plain | {"network": info.network | network}


def twice(value: Any, times: int) -> Any:
    for _ in range(times):
        value = [value, value]
    return value


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": None}, "its version is None"),
        ({"version": "1"}, "its version is 1"),
        ({"version": 99}, "of version 99, this dkt reads up to 1"),
        ({"state": None}, "its weights are missing"),
        ({"state": {}}, "claims 2 layers and holds 0 tensors"),
        ({"state": {"shift": 3}}, "its weights are missing"),
        ({"info": None}, "its description is missing"),
        ({"info": described(hidden_layers=10**7)}, "claims 10000000 layers and holds"),
        ({"info": described(hidden_dim=10**4)}, "has shape .*, expected"),
        ({"info": described(hidden_dim=2**62)}, "."),
        ({"info": described() | {"num_pdfs": 10**9}}, "output.weight.* has shape"),
        ({"info": described() | {"left_context": 10**9}}, "has shape"),
        ({"info": described() | {"left_context": -1}}, "dimensions are impossible"),
        ({"info": described() | {"kind": "lstm"}}, "unknown key"),
        ({"format": "other"}, "is not a model file of dkt"),
        ({"matrices": {"transform": torch.zeros(3)}}, "a matrix of its features is none"),
        ({"state": {"a": torch.zeros(1).expand(10**12)}}, "claims more than its"),
        ({"info": twice([], 40)}, "claims more than its"),
        ({"info": (((((((1,),),),),),),)}, "'info' is a section"),
    ],
)
def test_models_that_are_whole_and_make_no_sense(tmp_path, changes, message):
    put(tmp_path / "m.pt", **changes)
    with pytest.raises(DktError, match=rf"m\.pt: .*{message}") as caught:
        load_model(tmp_path / "m.pt")
    assert len(str(caught.value)) < 500 and not isinstance(caught.value, DamagedError)


def test_ten_million_layers_of_an_lstm_are_not_built(tmp_path):
    info, network = model("lstm")
    info.network["layers"] = 10**7
    save_model(tmp_path / "m.pt", info, network)
    with pytest.raises(DktError, match="claims 10000000 layers"):
        load_model(tmp_path / "m.pt")


def test_a_model_that_is_compressed_is_no_bomb(tmp_path):
    save_model(tmp_path / "m.pt", *model())
    with (
        zipfile.ZipFile(tmp_path / "m.pt") as source,
        zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            target.writestr(name, source.read(name))
        target.writestr("archive/data/99", bytes(1 << 28))
    assert (tmp_path / "x.pt").stat().st_size < 1 << 20
    with pytest.raises(DktError, match="a part of it is compressed"):
        load_model(tmp_path / "x.pt")


def test_what_is_no_file_is_told_as_what_it_is(tmp_path, monkeypatch):
    (tmp_path / "directory.pt").mkdir()
    (tmp_path / "directory.pt/final.pt").mkdir()
    (tmp_path / "link.pt").symlink_to("nowhere.pt")
    (tmp_path / "empty.pt").touch()
    for name, message in {
        "directory.pt": "cannot be read: Is a directory",
        "link.pt": r"cannot be read: it is a link to nowhere\.pt, which does not exist",
        "empty.pt": "is empty",
        "missing.pt": "does not exist",
    }.items():
        with pytest.raises(DktError, match=rf"{name}: {message}"):
            load_model(tmp_path / name)

    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    (tmp_path / "secret.pt").touch()
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DktError, match=r"secret\.pt: cannot be read: Permission denied") as caught:
        load_model(tmp_path / "secret.pt")
    assert not isinstance(caught.value, DamagedError)


# --- checkpoints ---


def train(lab: Path, directory: Path, *options: str) -> int:
    places = [str(lab / name) for name in ("train", "dev", "ali_train", "ali_dev")]
    return main(["train-dnn", f"--config={lab}/dnn.yaml", *CPU, *options, *places, str(directory)])


@pytest.fixture(scope="module")
def stopped(lab, tmp_path_factory):
    """A training of three epochs that was interrupted after two, and what it gives as a whole."""
    path = tmp_path_factory.mktemp("stopped")
    options = ["--set=schedule.max_iters=3", "--set=optimizer.type=adam"]
    assert train(lab, path / "whole", *options) == 0
    with pytest.MonkeyPatch.context() as patch:
        epoch = loop.TrainingLoop._epoch

        def stop_after_two(self):
            if self.schedule.epoch == 2:
                raise DktError("interrupted")
            epoch(self)

        patch.setattr(loop.TrainingLoop, "_epoch", stop_after_two)
        assert train(lab, path / "parts", *options) == 1
    names = sorted(file.name for file in (path / "parts").glob("checkpoint*"))
    assert names == ["checkpoint.previous.pt", "checkpoint.pt"]
    return path, options


def test_checkpoints(stopped, tmp_path):
    path = shutil.copy(stopped[0] / "parts/checkpoint.pt", tmp_path)

    def read():
        content = load_torch(Path(path))
        return content["newbob"], [t.tolist() for t in content["network"].values()]

    assert len(list(check(Path(path), read, read()))) > 50


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["checkpoint.pt"], "going on after epoch 1"),
        (["checkpoint.previous.pt"], "going on after epoch 2"),
        (["checkpoint.pt", "checkpoint.previous.pt"], "the training begins again"),
    ],
)
@pytest.mark.parametrize("how", ["flipped", "cut", "empty", "gone"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(lab, stopped, tmp_path, caplog, names, words, how):
    path, options = stopped
    shutil.copytree(path / "parts", tmp_path / "exp")
    for name in names:
        file = tmp_path / "exp" / name
        content = file.read_bytes()
        place = len(content) // 2
        file.write_bytes(
            {
                "flipped": content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :],
                "cut": content[:place],
                "empty": b"",
                "gone": content,
            }[how]
        )
        if how == "gone":
            file.unlink()
    caplog.clear()
    assert train(lab, tmp_path / "exp", *options) == 0
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    if how != "gone":
        assert words in caplog.text
        damaged = [name for name in names if any(f"{name}: is" in warning for warning in warnings)]
        # The one before is not looked at where the last one is whole.
        assert damaged == ([] if names == ["checkpoint.previous.pt"] else names)
    final = (tmp_path / "exp/final.pt").read_bytes()
    assert final == (path / "whole/final.pt").read_bytes()
    assert not list((tmp_path / "exp").glob("checkpoint*"))


@pytest.mark.parametrize(
    "change",
    [
        {"network": None},
        {"network": {"x": torch.zeros(1)}},
        {"network": 5},
        {"optimizer": {}},
        {"optimizer": {"state": {0: {"step": torch.zeros(()), "exp_avg": torch.zeros(2)}}}},
        {"records": []},
        {"records": [{"epoch": 1}]},
        {"newbob": {"best_loss": "x"}},
        {"newbob": 7},
    ],
)
def test_a_checkpoint_that_is_whole_and_makes_no_sense_is_one_line(lab, stopped, tmp_path, capsys, change):
    path, options = stopped
    shutil.copytree(path / "parts", tmp_path / "exp")
    file = tmp_path / "exp/checkpoint.pt"
    content = load_torch(file)
    for name, value in change.items():
        if value is None:
            del content[name]
        elif name == "optimizer" and value:
            content[name]["state"] = value["state"]
        else:
            content[name] = value
    save_torch(file, content)
    capsys.readouterr()
    assert train(lab, tmp_path / "exp", *options) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "checkpoint.pt: is not a checkpoint of this training" in error and "remove it" in error


# --- finished trainings ---


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_final_model_is_trained_again(lab, stopped, tmp_path, caplog, damage):
    path, options = stopped
    shutil.copytree(path / "whole", tmp_path / "exp", symlinks=True)
    file = tmp_path / "exp/final.pt"
    content = file.read_bytes()
    bad = {"cut": content[:-500], "flipped": content[:900] + b"\xff\0" + content[902:], "empty": b""}[damage]
    file.write_bytes(bad)
    caplog.clear()
    assert train(lab, tmp_path / "exp", *options) == 0
    assert "nothing to do" not in caplog.text and "final.pt: is " in caplog.text
    assert file.read_bytes() == content
    assert (tmp_path / "exp/.backup/final.pt").read_bytes() == bad


def test_a_second_damaged_model_does_not_replace_the_first(lab, stopped, tmp_path):
    path, options = stopped
    shutil.copytree(path / "whole", tmp_path / "exp", symlinks=True)
    for bad in (b"first", b"second", b"third"):
        (tmp_path / "exp/final.pt").write_bytes(bad)
        assert train(lab, tmp_path / "exp", *options) == 0
    kept = {file.name: file.read_bytes() for file in (tmp_path / "exp/.backup").iterdir()}
    assert kept == {"final.pt": b"first", "final.pt.1": b"second", "final.pt.2": b"third"}


def test_what_is_missing_beside_a_finished_model_is_made_again(lab, stopped, tmp_path, caplog):
    path, options = stopped
    shutil.copytree(path / "whole", tmp_path / "exp", symlinks=True)
    exp = tmp_path / "exp"
    names = ["final.mdl", "phones.txt", "ali_train_pdf.counts", "cmvn_opts", "final.feature_transform"]
    before = {file.name: file.read_bytes() for file in exp.iterdir()}
    assert set(names) <= set(before)
    times = {file.name: file.stat().st_mtime_ns for file in exp.iterdir() if file.name not in names}
    for name in (*names, "final.nnet"):
        (exp / name).unlink()
    caplog.clear()
    assert train(lab, exp, *options) == 0
    assert {file.name: file.read_bytes() for file in exp.iterdir()} == before
    assert all(f"{name} was missing: it is made again" in caplog.text for name in names)
    assert (exp / "final.nnet").readlink() == Path("final.pt")
    del times["final.nnet"]
    assert {name: (exp / name).stat().st_mtime_ns for name in times} == times
    caplog.clear()
    assert train(lab, exp, *options) == 0 and "was missing" not in caplog.text


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda content: content[:-SEAL_SIZE], "cut short"),
        (lambda content: content[:-5], "is missing|cut short"),
        (lambda content: content + b"hello\n", "behind its end"),
        (lambda content: content[:-SEAL_SIZE] + b"\0" * SEAL_SIZE, "is missing"),
        (lambda content: content[: -SEAL_SIZE - 2] + b"\0\0hello\n", "behind its end"),
    ],
)
def test_a_model_that_lost_its_checksum_or_grew_is_damaged(tmp_path, caplog, damage, words):
    path = tmp_path / "final.pt"
    save_model(path, *model())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DktError, match=f"final.pt: is damaged .*({words})"):
        load_model(path)
    assert main(["verify", str(path)]) == 1
    assert "final.pt: is damaged" in caplog.text


def test_what_a_kill_in_the_last_moment_left_undone_is_done_by_the_next_call(lab, stopped, tmp_path, caplog):
    path, options = stopped
    shutil.copytree(path / "whole", tmp_path / "exp", symlinks=True)
    exp = tmp_path / "exp"
    before = (exp / "final.pt").stat().st_mtime_ns
    (exp / "final.nnet").unlink()
    shutil.copy(path / "parts/checkpoint.pt", exp)
    own, parent = ProcessId.of(os.getpid()), ProcessId.of(os.getppid())
    gone = exp / f".final.pt.{dataclasses.replace(own, pid=4194305).tag}.partial"
    stays = exp / f".history.csv.{parent.tag}.partial"
    gone.write_bytes(b"PK")
    stays.write_bytes(b"of one that is alive")
    caplog.clear()
    assert train(lab, exp, *options) == 0
    assert "is there already, nothing to do" in caplog.text
    assert (exp / "final.nnet").readlink() == Path("final.pt")
    assert (exp / "final.pt").stat().st_mtime_ns == before
    assert not list(exp.glob("checkpoint*")) and not gone.exists() and stays.exists()


def test_verify_tells_what_is_damaged(stopped, tmp_path, caplog):
    shutil.copytree(stopped[0], tmp_path / "exp", symlinks=True)
    assert main(["verify", str(tmp_path / "exp")]) == 0
    file = tmp_path / "exp/whole/final.pt"
    file.write_bytes(file.read_bytes()[:-100])
    caplog.clear()
    assert main(["verify", str(tmp_path / "exp")]) == 1
    assert "whole/final.pt: is damaged" in caplog.text and "5 files, 1 of them damaged" in caplog.text


# --- packed features ---


def packed_file(data: Path, name: str) -> Path:
    (entry,) = (data / ".packed").glob("*-*")
    return entry / name


@pytest.mark.parametrize("name", ["features", "index"])
def test_packed_features(data, caplog, name):
    expected = rows(open_features(reader(data)))
    content = packed_file(data, name).read_bytes()
    noticed = 0
    for what, damaged in damages(content):
        packed_file(data, name).write_bytes(damaged)
        caplog.clear()
        assert same(rows(open_features(reader(data))), expected), what
        warned = "is damaged: packing again" in caplog.text
        assert warned or damaged == content, what
        noticed += warned
        assert packed_file(data, name).read_bytes() == content, what
    assert noticed > 50


def test_a_block_is_looked_at_when_it_is_first_used(data, caplog):
    features = {
        f"s{n}-{n}": np.random.default_rng(n).normal(size=(20_000, 6)).astype(np.float32) for n in range(8)
    }
    write_data_dir(data, features)
    made = open_features(reader(data))
    expected = rows(made)
    assert isinstance(made, PackedFeatures) and made.matrix.nbytes > 5 * BLOCK
    content = bytearray(packed_file(data, "features").read_bytes())
    content[-5] ^= 1
    packed_file(data, "features").write_bytes(content)
    found = open_features(reader(data))
    caplog.clear()
    first, last = np.array([0]), np.array([len(found.names) - 1])
    zero, end = np.array([0]), np.array([20_000])
    matrix, _ = found.load(first, zero, end)
    assert "damaged" not in caplog.text
    again, (begin,) = found.load(last, zero, end)
    assert "is damaged: packing again" in caplog.text and again is not matrix
    assert np.array_equal(again[begin : begin + 20_000], expected[found.names[-1]])
    # Looked at once: what changes later, changes in memory.
    assert same(rows(found), expected)


def test_packed_features_of_before_are_believed(data, caplog):
    expected = rows(open_features(reader(data)))
    index = packed_file(data, "index")
    lines = index.read_bytes().splitlines(keepends=True)
    head = re.sub(rb', "blocks": \[[^]]*\]', b"", lines[0])
    index.write_bytes(b"".join([head, *lines[1:-1]]))
    caplog.clear()
    assert same(rows(open_features(reader(data))), expected) and "damaged" not in caplog.text
    assert len(entries(data / ".packed")) == 1


# --- soft targets ---


@pytest.mark.parametrize("name", ["header.yaml", "soft.scp", "soft.1.ark"])
def test_soft_targets(tmp_path, name):
    utterances = write(tmp_path)

    def read():
        store = TargetDir(tmp_path)
        try:
            found = {}
            for utt in ("a", "b", "c"):
                targets = store.read(utt, len(utterances[utt]))
                found[utt] = [x.tolist() for x in (targets.pdfs, targets.log_post, targets.tails)]
            return found, sorted(store), store.header
        finally:
            store.close()

    expected = read()
    assert expected[2].temperatures == TEMPERATURES
    noticed = list(check(tmp_path / name, read, expected))
    assert len(noticed) > 45


def test_a_student_is_not_taught_by_a_changed_header(lab, tmp_path, capsys):
    soft_targets(lab / "dnn", lab / "train", tmp_path / "soft")
    header = tmp_path / "soft/header.yaml"
    text = header.read_text()
    assert "- 2.0\n" in text
    header.write_text(text.replace("- 2.0\n", "- 3.0\n"))
    places = [str(lab / name) for name in ("train", "dev", "ali_train", "ali_dev")]
    targets = [f"--soft-targets={tmp_path}/soft", f"--soft-targets-dev={lab}/soft_dev"]
    options = [f"--config={lab}/lstm.yaml", *CPU, "--mode=soft", "--temperature=5", *targets]
    assert main(["train-lstm", *options, *places, str(tmp_path / "exp")]) == 1
    assert "header.yaml: is damaged (its checksum is wrong)" in capsys.readouterr().err


# --- the kernel ---


def test_a_damaged_library_is_not_loaded(tmp_path):
    library = tmp_path / "x.so"
    content = seal(random.Random(1).randbytes(5000))
    library.write_bytes(content)
    assert kernels._is_whole(library)
    for what, damaged in damages(content, flips=200):
        library.write_bytes(damaged)
        assert not kernels._is_whole(library), what


@needs_compiler
@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "directory", "link"])
def test_a_damaged_library_is_compiled_again(fresh, caplog, damage):
    assert native.load() is not None
    (library,) = fresh.iterdir()
    content = library.read_bytes()
    library.unlink()
    if damage == "directory":
        library.mkdir()
    elif damage == "link":
        library.symlink_to("nowhere")
    else:
        middle = len(content) // 2
        flip = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        library.write_bytes({"cut": content[: middle + 100], "flipped": flip, "empty": b""}[damage])
    kernels._loaded.cache_clear()
    caplog.clear()
    assert native.load() is not None
    if damage == "directory":
        assert "is not kept" in caplog.text or "cannot be read" in caplog.text
    else:
        assert library.read_bytes() == content
        assert damage == "link" or "is damaged: compiling it again" in caplog.text
    assert len(list(fresh.iterdir())) == 1
