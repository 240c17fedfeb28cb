"""Commands in names and script files can be forbidden: ``--no-pipes`` and ``DKT_NO_PIPES``."""

from __future__ import annotations

import os
import shutil
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from dkt.base.errors import DktError
from dkt.bin import COMMANDS, main
from dkt.util.data_dir import DataDir
from dkt.util.kaldi_io import (
    NO_PIPES,
    is_input_pipe,
    is_output_pipe,
    open_input,
    open_output,
    pipes_allowed,
    pipes_forbidden,
)
from dkt.util.object_io import ObjectReader
from dkt.util.scripts import read_script
from dkt.util.table import IntVectorWriter, MatrixTable, MatrixWriter, read_int_vectors, read_matrices
from dkt.util.text import read_lines
from tests.recipe_lab import CALLS, call_of, write_place
from tests.shell import succeed
from tests.stand_ins import StandIns
from tests.student_lab import CPU, lab  # noqa: F401
from tests.util.test_tables import write_ab

FORBIDDEN = f"commands are forbidden \\(--no-pipes, {NO_PIPES}\\)"


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """What a command would leave if it ran."""
    return tmp_path / "mark"


@pytest.fixture
def _forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NO_PIPES, "1")


@pytest.mark.usefixtures("_forbidden")
def test_no_command_runs_wherever_it_stands(tmp_path, mark):
    write_ab(f"ark:{tmp_path}/x.ark")
    command = f"touch {mark}; cat {tmp_path}/x.ark |"
    (tmp_path / "x.scp").write_text(f"a {command}\n")
    readers = [
        lambda: list(read_matrices(f"ark:{command}")),
        lambda: list(read_matrices(f"ark,p:{command}")),
        lambda: list(read_matrices(f"scp:{tmp_path}/x.scp")),
        lambda: list(read_matrices(f"scp,p:{tmp_path}/x.scp")),
        lambda: list(read_matrices(f"scp:touch {mark}; cat {tmp_path}/x.scp |")),
        lambda: MatrixTable(f"ark:{command}"),
        lambda: MatrixTable(f"scp:{tmp_path}/x.scp"),
        lambda: list(read_int_vectors(f"ark:{command}")),
        lambda: read_lines(command),
        lambda: ObjectReader.open(command),
        lambda: IntVectorWriter(f"ark:| touch {mark}").__enter__(),
        lambda: MatrixWriter(f"ark,scp:{tmp_path}/y.ark,| touch {mark}").__enter__(),
        lambda: open_input(command).__enter__(),
        lambda: open_output(f"| touch {mark}").__enter__(),
    ]
    for read in readers:
        with pytest.raises(DktError, match=FORBIDDEN):
            read()
    assert not mark.exists()


@pytest.mark.usefixtures("_forbidden")
@pytest.mark.parametrize("entry", ["cat a.wav |", "cat a.ark |[0:3]", "  sox x -t wav - |  "])
def test_the_line_of_a_script_file_is_told(tmp_path, entry):
    (tmp_path / "wav.scp").write_text(f"first a.wav\nsecond {entry}\n")
    (tmp_path / "utt2spk").write_text("first a\nsecond b\n")
    for read in (
        lambda: read_script(f"{tmp_path}/wav.scp"),
        lambda: DataDir(tmp_path).wav_scp,
        lambda: MatrixTable(f"scp:{tmp_path}/wav.scp"),
    ):
        message = rf"{tmp_path}/wav.scp: utterance 'second': line 2: a command, '.*', and {FORBIDDEN} - "
        with pytest.raises(DktError, match=message):
            read()


@pytest.mark.parametrize(
    ("value", "allowed"),
    [("", True), ("0", True), ("false", True), ("1", False), ("true", False), ("anything", False)],
)
def test_the_values_of_the_variable(monkeypatch, value, allowed):
    monkeypatch.setenv(NO_PIPES, value)
    assert pipes_allowed() is allowed


def test_the_option_holds_for_its_command_alone(tmp_path, mark, monkeypatch, capsys):
    monkeypatch.delenv(NO_PIPES, raising=False)
    with IntVectorWriter(f"ark:{tmp_path}/x.ark") as writer:
        writer.write("a", np.array([1, 2, 2]))
    arguments = ["analyze-counts", f"ark:touch {mark}; cat {tmp_path}/x.ark |", f"{tmp_path}/counts"]
    for option in ("--no-pipes", "--no-pipes=true", "--no_pipes"):
        assert main([arguments[0], option, *arguments[1:]]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert "is a command, and commands are forbidden" in line and NO_PIPES in line
        assert not mark.exists() and not (tmp_path / "counts").exists() and NO_PIPES not in os.environ
    assert main(arguments) == 0 and mark.exists()
    monkeypatch.setenv(NO_PIPES, "1")
    # What the environment forbids no option allows.
    assert main([arguments[0], "--no-pipes=false", *arguments[1:]]) == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_the_option(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert "--no-pipes BOOL" in capsys.readouterr().out


def test_processes_obey(monkeypatch):
    """A spawned process, as those of GMM training, has the environment of this one and nothing else."""
    monkeypatch.delenv(NO_PIPES, raising=False)
    context = get_context("spawn")
    with pipes_forbidden(), context.Pool(1) as pool:
        assert pool.apply(pipes_allowed) is False
    assert pipes_allowed()


def test_trainings_run_no_command_of_their_own(lab, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("PATH", str(tmp_path))  # nor any program, such as gunzip
    places = [str(lab / name) for name in ("train", "dev", "ali_train", "ali_dev")]
    options = ["--no-pipes", f"--config={lab}/dnn.yaml", "--set=schedule.max_iters=1", *CPU]
    assert main(["train-dnn", *options, *places, str(tmp_path / "dnn")]) == 0
    assert main(["check", "--no-pipes", "--no-text", "--no-wav", *places[::2]]) == 0
    assert (tmp_path / "dnn/final.pt").exists()


def test_a_training_on_features_of_commands(lab, tmp_path, mark, capsys):  # noqa: F811
    shutil.copytree(lab / "train", tmp_path / "train")
    entries = read_script(f"{tmp_path}/train/feats.scp")
    utt, place = next(iter(entries.items()))
    copy = f"touch {mark}; dkt feats 'scp:echo {utt} {place} |' ark:- |"
    text = (tmp_path / "train/feats.scp").read_text().replace(f"{utt} {place}", f"{utt} {copy}")
    (tmp_path / "train/feats.scp").write_text(text)
    places = [str(tmp_path / "train"), *(str(lab / name) for name in ("dev", "ali_train", "ali_dev"))]
    assert (
        main(["train-dnn", "--no-pipes", f"--config={lab}/dnn.yaml", *CPU, *places, str(tmp_path / "x")]) == 1
    )
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"{tmp_path}/train/feats.scp: utterance '{utt}': line 1: a command, '" in last
    assert not mark.exists() and not (tmp_path / "x/final.pt").exists()


STEPS = [[step] for step in CALLS] + [
    ["make_fmllr_feats", "--ali-dir", "exp/gmm_ali"],
    ["align", "--ivectors", "exp/i"],
    ["decode", "--transform-dir", "exp/t", "--use-gpu", "optional"],
    ["decode", "--latgen", "dkt", "--scoring-opts", "--lmwts 9"],
]


@pytest.mark.parametrize("command", STEPS, ids=" ".join)
def test_no_step_hands_a_command_to_a_program(tmp_path, command):
    """The steps join programs by pipes of the shell; of names with commands only a caller is the author."""
    tools, place = StandIns(tmp_path / "tools"), tmp_path / "recipe"
    write_place(place)
    for name in ("exp/i", "exp/t"):
        (place / name).mkdir()
    variables = tools.with_kaldi if command[0] == "decode" else tools.alone
    succeed(place, *call_of(*command), **variables)
    words = [word for call in tools.calls() if not call[0].endswith(".pl") for word in call[1:]]
    assert words
    for word in words:
        name = word.partition("=")[2] if word.startswith("--") else word
        assert not is_input_pipe(name) and not is_output_pipe(name.partition(":")[2]), word
