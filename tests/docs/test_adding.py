"""docs/adding.md: the examples are put where the page says, and work."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import dkt.bin
import dkt.gmm
import dkt.nnet
import dkt.train
from dkt.base.errors import DktError
from dkt.nnet import networks
from dkt.nnet.model_file import load_model
from dkt.targets.soft_targets import SoftTargets
from dkt.train import modes
from dkt.util.table import read_matrices, read_table
from tests.docs.pages import PAGES, blocks, files
from tests.shell import BIN, ROOT
from tests.student_lab import CPU, lab, taught, train
from tests.tones import write_corpus

__all__ = ["lab"]

PAGE = PAGES["docs/adding.md"]
FILES = files(PAGE)


def put(place: Path) -> None:
    """Write the files of the page."""
    for name, text in FILES.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if text.startswith("#!"):
            path.chmod(0o755)


def rows_of(place: str) -> dict[str, object]:
    """The rows that the page adds to a table, which is named in the first line of their block."""
    rows: dict[str, object] = {}
    for block in blocks(PAGE, "python"):
        head, _, body = block.partition("\n")
        if head == f"# in {place}":
            rows |= eval(f"{{{body}}}", vars(modes))
    assert rows, place
    return rows


def test_the_recipe_leads_to_a_table(tmp_path: Path) -> None:
    checkout, corpus = tmp_path / "dkt", tmp_path / "corpus"
    write_corpus(corpus)
    put(checkout)
    for name in ("steps", "local", "egs/digits"):
        (checkout / name).symlink_to(ROOT / name)
    recipe = checkout / "egs/mine/s5"
    environment = {k: v for k, v in os.environ.items() if k not in ("KALDI_ROOT", "DKT_ROOT")}
    environment |= {
        "PATH": f"{BIN}:{environment['PATH']}",
        "VIRTUAL_ENV": str(BIN.parent),
        "OMP_NUM_THREADS": "1",
    }

    def call(*command: str, directory: Path = recipe) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True)

    assert call("bash", "-e", "prepare.sh").returncode == 0
    assert "Usage: ./run.sh" in call("./run.sh").stderr
    # From another directory, whose names are meant.
    done = call("dkt/egs/mine/s5/run.sh", "--corpus-dir", "corpus", "--nj", "1", directory=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    with (recipe / "exp/report/results.csv").open() as stream:
        systems = [row for row in csv.DictReader(stream) if row["seed"] != "all"]
    assert [(row["system"], row["seed"]) for row in systems] == [("gmm", "0"), ("dnn", "777")]
    assert all(float(row["test_wer"]) < 10 for row in systems)
    assert "Posteriorgram" in (recipe / "exp/report/report.html").read_text()
    again = call("./run.sh", "--corpus-dir", str(corpus), "--nj", "1")
    assert again.returncode == 0 and again.stdout.count("done already") == 8 and "running" not in again.stdout


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What the page adds is a part of dkt; gives the directory that it is in."""
    put(tmp_path)
    for package in (dkt.bin, dkt.gmm, dkt.nnet, dkt.train):
        path = tmp_path / package.__name__.replace(".", "/")
        assert list(path.glob("*.py"))
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(path)])
    for place, target in {
        "dkt/bin/__init__.py, _GMM": dkt.bin.COMMANDS,
        "dkt/train/modes.py, OBJECTIVES": modes.OBJECTIVES,
        "dkt/nnet/networks.py, NETWORKS": networks.NETWORKS,
    }.items():
        for name, row in rows_of(place).items():
            assert name not in target
            monkeypatch.setitem(target, name, row)
    before = set(sys.modules)
    yield tmp_path
    for name in FILES:
        module = name.removesuffix(".py").replace("/", ".")
        if module not in before:
            sys.modules.pop(module, None)


def copy(source: str, target: str) -> int:
    return dkt.bin.main(["copy-gselect", source, target])


# Bytes as Kaldi's BasicVectorVectorHolder writes them.
TEXT = b"a 7 3 ; ; 12 ; \nb \nc 0 ; \n"
BINARY = (
    b"a \0B\4\3\0\0\0" b"\4\2\0\0\0\4\7\0\0\0\4\3\0\0\0" b"\4\0\0\0\0" b"\4\1\0\0\0\4\x0c\0\0\0"
    b"b \0B\4\0\0\0\0" b"c \0B\4\1\0\0\0" b"\4\1\0\0\0\4\0\0\0\0"
)  # fmt: skip


def test_the_archive_type_is_read_and_written_in_kaldis_bytes(added: Path) -> None:
    (added / "text").write_bytes(TEXT)
    assert copy(f"ark:{added}/text", f"ark,scp:{added}/binary,{added}/scp") == 0
    assert (added / "binary").read_bytes() == BINARY
    assert copy(f"scp:{added}/scp", f"ark,t:{added}/again") == 0 and (added / "again").read_bytes() == TEXT
    assert copy(f"ark:cat {added}/binary |", f"ark,t:| cat >{added}/piped") == 0
    assert (added / "piped").read_bytes() == TEXT


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (BINARY[:20], "cut short"),
        (b"a \0B\5\3\0\0\0", "4-byte integer"),
        (b"a 1 2 ; 3", "cut short"),
        (b"a 1 2 \n", "';'"),
        (b"a 1 x ; \n", "x"),
    ],
)
def test_damage_is_an_error_that_names_file_and_utterance(added: Path, data: bytes, message: str) -> None:
    from dkt.gmm.gselect import read_lists

    (added / "damaged").write_bytes(data)
    with pytest.raises(DktError, match=message) as error:
        list(read_table(read_lists, f"ark:{added}/damaged"))
    assert error.value.utt == "a" and str(error.value.path).endswith("damaged")


def test_the_command_is_known(added: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dkt.bin.main(["copy-gselec"]) == 2 and "did you mean 'copy-gselect'?" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        dkt.bin.main(["copy-gselect", "--help"])
    assert "gselect-rspecifier wspecifier" in capsys.readouterr().out


def test_the_objective_is_the_formula_that_it_tells(added: Path) -> None:
    from dkt.train.criterion import Frames, make_criterion

    rng = np.random.default_rng(3)
    logits, labels = rng.normal(size=(5, 4)), np.array([0, 1, 2, 3, 0])
    teacher = rng.dirichlet(np.ones(4), 5)
    order = np.argsort(-teacher)[:, :2]
    kept = np.take_along_axis(teacher, order, axis=1)
    belief = np.where(order == labels[:, None], kept, 0).sum(axis=1)
    assert 0 < (belief == 0).sum() < 5
    costs = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(5), labels]
    targets = SoftTargets(torch.from_numpy(order), torch.from_numpy(np.log(kept)), torch.zeros(5, 0), ())
    criterion = make_criterion(modes.ObjectiveConfig(mode="believed"))
    loss = criterion(Frames(torch.from_numpy(logits), torch.from_numpy(labels), targets))
    assert float(loss.objective) == pytest.approx((belief * costs).sum()) and float(loss.entropy) == 0


def test_the_objective_is_one_of_all_networks(
    added: Path, lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(lab, added / "student", "--mode=believed", *taught(lab)) == 0
    assert "mode: believed" in (added / "student/config.yaml").read_text()
    log = capsys.readouterr().err
    assert train(lab, added / "none", "--mode=believed") == 1
    assert "--mode believed needs a teacher" in capsys.readouterr().err, log
    with pytest.raises(SystemExit):
        dkt.bin.main(["train-dnn", "--help"])
    assert "believed" in capsys.readouterr().out


def test_the_network_is_trained_and_used(added: Path, lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = [str(lab / name) for name in ("train", "dev", "ali_train", "ali_dev")]
    call = ["train", f"--config={added}/conf/tdnn.yaml", *CPU]
    assert dkt.bin.main([*call, *places, str(added / "tdnn")]) == 0
    capsys.readouterr()
    assert dkt.bin.main(["info", str(added / "tdnn"), str(lab / "dnn")]) == 0
    assert "3x32" in capsys.readouterr().out
    history = (added / "tdnn/history.csv").read_text().splitlines()
    assert len(history) == 4
    taught_by_it = [*call, "--mode=soft", f"--teacher={added}/tdnn", *places, str(added / "student")]
    assert dkt.bin.main(taught_by_it) == 0
    assert dkt.bin.main([*call, "--set=batches.kind=streams", *places, str(added / "streams")]) == 1
    assert "'batches.kind' is streams: a tdnn sees frames to come" in capsys.readouterr().err

    # What an utterance gets does not depend on what it is computed with.
    out = f"ark:{added}/logits"
    assert (
        dkt.bin.main(["forward", "--no-softmax=true", *CPU, f"{added}/tdnn/final.pt", str(lab / "dev"), out])
        == 0
    )
    logits = dict(read_matrices(out))
    _, network = load_model(added / "tdnn/final.pt")
    network.eval()
    features = [torch.randn(length, network.input_dim) for length in (9, 30)]
    together = torch.nn.utils.rnn.pad_sequence(features, padding_value=1e4)
    with torch.no_grad():
        outputs, _ = network(together, None, torch.tensor([9, 30]))
        for row, frames in enumerate(features):
            alone = network.of_utterance(frames, 0, 0, 0)
            assert torch.allclose(outputs[: len(frames), row], alone, atol=1e-5)
    assert len(logits) == 20 and all(np.isfinite(values).all() for values in logits.values())


def test_a_frame_of_the_network_sees_as_far_as_its_layers_tell(added: Path) -> None:
    from dkt.nnet.tdnn import Tdnn, TdnnConfig

    torch.manual_seed(1)
    features = torch.randn(40, 1, 3, requires_grad=True)
    Tdnn(TdnnConfig(layers=3, units=64), 3, 5)(features)[0][20].square().sum().backward()
    (seen,) = features.grad.abs().sum(dim=(1, 2)).nonzero(as_tuple=True)
    assert seen.min() == 20 - (1 + 2 + 3) and seen.max() == 20 + (1 + 2 + 3)
