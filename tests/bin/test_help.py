"""What ``--help`` says of commands and options, what is said of misspelt ones; arguments come before GPUs."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dkt.bin import COMMANDS, GROUPS, command_parser, main
from dkt.bin.common import gpus
from dkt.bin.common.command_help import default_text
from dkt.feat.extraction import FeatureExtractor, option_types
from dkt.util.option_text import boolean
from tests.student_lab import lab

__all__ = ["lab"]

WIDE = "2000"


def test_commands_stand_in_groups(capsys):
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    titles = [text[:-1] for text in lines if text.endswith(":") and not text.startswith("dkt ")]
    assert titles == list(GROUPS)
    assert {"networks", "soft targets", "decoding and lattices", "Kaldi's inspectors"} < set(titles)
    for title, commands in GROUPS.items():
        start = lines.index(f"{title}:") + 1
        shown = [text.split()[0] for text in lines[start : start + len(commands)]]
        assert shown == list(commands) and commands
    names = [name for commands in GROUPS.values() for name in commands]
    assert sorted(names) == sorted(set(names)) == sorted(COMMANDS)
    modules = {path.stem for path in Path(sys.modules["dkt.bin"].__path__[0]).glob("*.py")}
    assert {module for module, _ in COMMANDS.values()} <= modules


def test_help_of_a_command_by_its_name(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["help", "hmm-info"])
    assert stop.value.code == 0 and "usage: dkt hmm-info" in capsys.readouterr().out
    assert main(["help", "hmm-inf"]) == 2
    assert main(["help"]) == 0


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("train-dmn", "train-dnn"),
        ("train_lstm", "train-lstm"),
        ("Mkgraph", "mkgraph"),
        ("latice-best-path", "lattice-best-path"),
        ("make-soft-target", "make-soft-targets"),
        ("inf", "info"),
        ("latgen-faster-mapped", "latgen"),
        ("--hlep", "--help"),
        ("--versoin", "--version"),
    ],
)
def test_a_misspelt_command(capsys, given, meant):
    assert main([given, "a", "b"]) == 2
    told = capsys.readouterr()
    assert told.err == f"dkt: error: no command '{given}' - did you mean '{meant}'?\n" and not told.out


def test_a_command_that_is_like_none(capsys):
    assert main(["zzzz"]) == 2
    assert capsys.readouterr().err == "dkt: error: no command 'zzzz' - 'dkt --help' lists the commands\n"


@pytest.mark.parametrize(
    ("given", "meant"), [("--bem=3", "--beam"), ("-beam=3", "--beam"), ("--Retry_Bem=1", "--retry-beam")]
)
def test_a_misspelt_option(capsys, given, meant):
    with pytest.raises(SystemExit) as stop:
        main(["align", given, "a", "b", "c", "d"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.endswith(f"unrecognized arguments: {given} - did you mean '{meant}'?\n")


def test_an_argument_too_many_is_no_misspelt_option(capsys):
    with pytest.raises(SystemExit):
        main(["tree-info", "tree", "beam"])
    assert capsys.readouterr().err.endswith("unrecognized arguments: beam\n")


def options(name: str) -> list[argparse.Action]:
    return [action for action in command_parser(name)._actions if action.option_strings]


def shown_options(name: str) -> dict[str, str]:
    """Option to its whole help, as it is printed."""
    text = command_parser(name).format_help()
    return dict(
        re.findall(r"^  (?:-h, )?(--[\w-]+)(?: .*?)?  +(.*)$", re.sub(r"\n {20,}", "  ", text), re.MULTILINE)
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_the_default_that_is_shown_is_the_one_that_there_is(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", WIDE)
    shown = shown_options(name)
    for action in options(name):
        option = action.option_strings[-1]
        if action.help == argparse.SUPPRESS:
            continue
        told = re.findall(r"\(default: (.*?)\)$", shown[option])
        if action.default in (None, argparse.SUPPRESS, [], ()):
            assert "None" not in shown[option] and "==" not in shown[option]
            continue
        (text,) = told
        assert text == default_text(action)
        given: Any = action.default
        if isinstance(given, str):
            # The parser turns it into a value as it does with what is given.
            assert text == (given or '""')
        elif option == "--top-k":
            assert text == "20, or all where there are fewer pdfs" and given.number == 20
        else:
            assert callable(action.type) and action.type(text) == given


@pytest.mark.parametrize("kind", ["fbank", "mfcc"])
def test_the_defaults_of_features_are_those_that_they_are_computed_with(kind, monkeypatch):
    monkeypatch.setenv("COLUMNS", WIDE)
    shown = shown_options(f"compute-{kind}-feats")
    told = {name: re.search(r"\(default: (.*)\)$", shown[f"--{name}"]) for name in option_types(kind)}
    given = {name: match[1] for name, match in told.items() if match}
    assert given["num-mel-bins"] == "23" and given["dither"] == "0" and given["window-type"] == "povey"
    assert set(told) - set(given) == {"debug-mel", "max-feature-vectors"}
    samples = np.random.default_rng(0).normal(0, 1000, 16000).astype(np.float32)
    features = [
        FeatureExtractor(kind, values).compute(samples, 16000, "x", "u")
        for values in ({}, given, given | {"preemphasis-coefficient": "0.5"})
    ]
    assert np.array_equal(features[0], features[1]) and not np.allclose(features[0], features[2])


@pytest.mark.parametrize("name", COMMANDS)
def test_booleans_are_written_in_one_way(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", WIDE)
    parser = command_parser(name)
    text = parser.format_help()
    for action in options(name):
        assert not isinstance(action.const, bool) and not {"true", "false"} & set(action.choices or ())
        if action.type is not boolean:
            assert not isinstance(action.default, bool)
        elif action.help != argparse.SUPPRESS:
            assert re.search(rf"\n  {action.option_strings[0]} BOOL\s", text)


@pytest.mark.parametrize(
    ("spelling", "value"),
    [
        ("--no-softmax", True),
        ("--no_softmax", True),
        ("--No-Softmax=true", True),
        ("--no-softmax=T", True),
        ("--no-softmax=1", True),
        ("--no-softmax=", True),
        ("--no-softmax=false", False),
        ("--no-softmax=f", False),
        ("--no-softmax=0", False),
    ],
)
def test_all_spellings_of_kaldis_booleans(monkeypatch, spelling, value):
    found = []
    monkeypatch.setattr("dkt.bin.forward.run", lambda args: found.append(args.no_softmax))
    assert main(["forward", spelling, "m", "ark:f", "ark:o"]) == 0 and found == [value]


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """A file in which a stand-in for nvidia-smi notes that it was called."""
    program = tmp_path / "bin/nvidia-smi"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho called >>{tmp_path}/asked\nexit 9\n")
    program.chmod(0o755)
    monkeypatch.setattr(gpus, "LOCKS", tmp_path)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # so that it is put back
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    return tmp_path / "asked"


# Of each command, what is right: the tests below exchange one argument.
RIGHT = {
    "forward": ["LAB/dnn/final.pt", "LAB/dev", "ark:TMP/out"],
    "make-soft-targets": ["LAB/dnn/final.pt", "LAB/dev", "TMP/out"],
    "train-dnn": ["LAB/train", "LAB/dev", "LAB/ali_train", "LAB/ali_dev", "TMP/out"],
    "train-lstm": ["LAB/train", "LAB/dev", "LAB/ali_train", "LAB/ali_dev", "TMP/out"],
}
WRONG = [
    ("forward", 0, "TMP/nowhere", "nowhere: cannot be read"),
    ("forward", 0, "TMP/damaged.pt", "damaged.pt: is damaged"),
    ("forward", 0, "LAB/ali_dev/final.mdl", "does not know what is done to the features"),
    ("forward", 1, "TMP/nowhere", "nowhere: is neither a data directory nor an rspecifier"),
    ("forward", 1, "ark,x:TMP/y", "'x'"),
    ("forward", 1, "TMP", "feats.scp: does not exist"),
    ("forward", 2, "TMP/out", "not a wspecifier"),
    ("forward", None, "--class-frame-counts=TMP/nowhere", "nowhere: cannot be read"),
    ("forward", None, "--feature-transform=LAB/dnn/final.feature_transform", "leave out --feature-transform"),
    ("forward", None, "--transform-dir=TMP", "holds no trans.1"),
    ("forward", None, "--ivectors=nowhere", "nowhere: is neither a directory of i-vectors nor"),
    ("make-soft-targets", 0, "TMP/nowhere", "nowhere: cannot be read"),
    ("make-soft-targets", 0, "TMP/damaged.pt", "damaged.pt: is damaged"),
    ("make-soft-targets", 0, "LAB/ali_dev/final.mdl", "final.mdl: is not a model file of dkt"),
    ("make-soft-targets", 1, "TMP/nowhere", "nowhere: is neither a data directory nor an rspecifier"),
    ("make-soft-targets", 2, "LAB/dev", "holds a data directory"),
    ("make-soft-targets", None, "--job=3", "--job is 3, and --num-jobs 1"),
    ("train-dnn", None, "--config=TMP/nowhere", "nowhere: cannot be read"),
    ("train-lstm", None, "--config=TMP/counts --mode=soft", "counts: expected 'key: value' lines"),
    ("train-dnn", 0, "TMP/nowhere", "nowhere: not a directory"),
    ("train-dnn", 1, "TMP/nowhere", "nowhere: not a directory"),
    ("train-dnn", 2, "TMP/nowhere", "nowhere: not a directory"),
    ("train-dnn", 3, "LAB/dev", "num_jobs: does not exist"),
    ("train-dnn", 4, "LAB/dev", "holds a data directory"),
    ("train-dnn", None, "--ivectors-dev=nowhere", "nowhere: is neither a directory of i-vectors nor"),
    ("train-lstm", 0, "TMP/nowhere", "nowhere: not a directory"),
    ("train-lstm", 3, "TMP/nowhere", "nowhere: not a directory"),
    ("train-lstm", 4, "LAB/ali_dev", "holds alignments"),
    ("train-lstm", None, "--no-ali", "with --no-ali only <exp-dir>"),
    ("train-lstm", None, "--transform-dir=TMP", "holds no trans.1"),
]
# Whether these are wrong only PyTorch's modules know.
WRONG_WITH_PYTORCH = [
    ("forward", None, "--no-softmax --apply-log", "exclude each other"),
    ("forward", None, "--class-frame-counts=TMP/counts", "2 priors for a model of 3 pdfs"),
    ("make-soft-targets", None, "--top-k=4", "--top-k is 4, expected a number from 1 to the 3 pdfs"),
    ("train-dnn", None, "--set=network.hidden_dim=many", "'network.hidden_dim' is 'many'"),
    ("train-dnn", None, "--set=features.transform=TMP/nowhere", "nowhere: cannot be read"),
    ("train-dnn", 1, "LAB/train", "cross-validate on data that are not trained on"),
    ("train-lstm", None, "--mode=soft", "--mode soft needs a teacher"),
    ("train-lstm", None, "--mode=soft --teacher=TMP/nowhere", "nowhere: there is no such teacher"),
    ("train-lstm", None, "--mode=soft --teacher=TMP/damaged.pt", "damaged.pt: is damaged"),
    ("train-lstm", None, "--mode=soft --soft-targets=LAB/dev", "header.yaml: does not exist"),
    ("train-lstm", None, "--mode=soft --soft-targets=TMP/nowhere", "nowhere: not an rspecifier"),
    ("train-lstm", None, "--init-model=TMP/nowhere", "nowhere: does not exist"),
]


def call(lab: Path, tmp_path: Path, command: str, place: int | None, argument: str) -> list[str]:
    arguments = list(RIGHT[command])
    given = argument.split()
    if place is not None:
        arguments[place : place + 1] = given
        given = []
    (tmp_path / "damaged.pt").write_bytes(b"PK\3\4")
    (tmp_path / "counts").write_text(" [ 1 2 ]\n")
    return [
        text.replace("LAB", str(lab)).replace("TMP", str(tmp_path)) for text in (command, *given, *arguments)
    ]


@pytest.mark.parametrize(("command", "place", "argument", "message"), [*WRONG, *WRONG_WITH_PYTORCH])
def test_arguments_are_looked_at_before_gpus(lab, asked, tmp_path, capsys, command, place, argument, message):
    assert main(call(lab, tmp_path, command, place, argument)) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert message in error, error
    assert not asked.exists()


@pytest.mark.parametrize("command", RIGHT)
def test_gpus_are_looked_at_once_all_is_right(lab, asked, tmp_path, command):
    """Else the stand-in above would not be what the commands ask."""
    options = f"--config={lab}/dnn.yaml" if command == "train-dnn" else ""
    options = f"--config={lab}/lstm.yaml --set=schedule.max_iters=1" if command == "train-lstm" else options
    assert main(call(lab, tmp_path, command, None, options)) == 0
    assert asked.exists()


def test_wrong_arguments_are_told_without_pytorch(lab, tmp_path):
    """All in one process: what one of them loaded would be there at the end."""
    calls = [call(lab, tmp_path, *wrong[:3]) for wrong in WRONG]
    calls += [["feats", "--model=nowhere", f"{lab}/dev"], ["check", "--train-config=nowhere", f"{lab}/dev"]]
    calls += [["feats", f"--model={lab}/dnn", str(tmp_path)], ["config-files", "--recipe=dnn", "nowhere"]]
    code = (
        "import json, sys; from dkt.bin import main\n"
        "for call in json.loads(sys.argv[1]):\n"
        "    assert main(call) == 1, call\n"
        "    assert 'torch' not in sys.modules, call\n"
    )
    done = subprocess.run([sys.executable, "-c", code, json.dumps(calls)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_help_loads_no_more_than_it_needs():
    code = (
        "import sys; from dkt.bin import main; main(['--help'])\n"
        "sys.exit(any(name in sys.modules for name in ('numpy', 'yaml', 'torch', 'kaldiio', 'json')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
