"""The names of students: what each says of its training, and what names are refused."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.shell import run
from tests.stage_lab import ROOT, write_program

READ = """
die() { echo "error: $*"; exit 1; }
. "$1/local/students.sh"
read_student "$2"
echo "$network|$mode|$temperature|$shuffled|$begun|$teacher"
"""


def read(name: str) -> str:
    done = subprocess.run(["bash", "-euc", READ, "bash", str(ROOT), name], capture_output=True, text=True)
    return done.stdout.strip() or done.stderr


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lstm-hard", "lstm|hard||false||"),
        ("dnn-smooth", "dnn|smooth||false||"),
        ("lstm-soft-T2", "lstm|soft|2|false||dnn"),
        ("lstm-pretrain-T2", "lstm|hard||false|lstm-soft-T2|"),
        ("lstm-soft-T0.5-then-hard", "lstm|hard||false|lstm-soft-T0.5|"),
        ("lstm-soft-T2-then-interpolate", "lstm|interpolate|2|false|lstm-soft-T2|dnn"),
        ("lstm-hard-then-interpolate-T5", "lstm|interpolate|5|false|lstm-hard|dnn"),
        ("lstm-hard-then-hard", "lstm|hard||false|lstm-hard|"),
        ("lstm-logits", "lstm|logits||false||dnn"),
        ("lstm-teacher_labels", "lstm|teacher_labels||false||dnn"),
        ("lstm-shuffled-T2", "lstm|soft|2|true||dnn"),
        ("lstm-shuffled-T2-then-hard", "lstm|hard||false|lstm-shuffled-T2|"),
        ("lstm-conditional-T1", "lstm|conditional|1|false||dnn"),
        ("lstm-soft-T2-by-lstm-hard", "lstm|soft|2|false||lstm-hard"),
        ("lstm-pretrain-T2-by-lstm-hard", "lstm|hard||false|lstm-soft-T2-by-lstm-hard|"),
        (
            "lstm-soft-T2-then-interpolate-by-small-hard",
            "lstm|interpolate|2|false|lstm-soft-T2-by-small-hard|small-hard",
        ),
        ("lstm-hard-then-soft-T2-by-small-hard", "lstm|soft|2|false|lstm-hard|small-hard"),
        ("dnn-soft-T2-by-lstm-pretrain-T2", "dnn|soft|2|false||lstm-pretrain-T2"),
        ("lstm-soft-T2-by-lstm-soft-T2-by-small-hard", "lstm|soft|2|false||lstm-soft-T2-by-small-hard"),
    ],
)
def test_what_a_name_says(name: str, expected: str) -> None:
    assert read(name) == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lstm", "no student 'lstm'"),
        ("gru-hard", "no student 'gru-hard'"),
        ("lstm-", "'' is no objective"),
        ("lstm-hard-T2", "'hard-T2' is no objective"),
        ("lstm-soft", "-T is followed by a temperature above 0"),
        ("lstm-soft-T0.0", "-T is followed by a temperature above 0"),
        ("lstm-soft-T2x", "-T is followed by a temperature above 0"),
        ("lstm-hard-then-interpolate", "-T is followed by a temperature above 0"),
        ("lstm-soft-T2-then-warm", "'warm' is no objective"),
        ("lstm-then-hard", "no student 'lstm-then-hard'"),
        ("lstm-hard-by-dnn", "nothing that it learns is taught-by-dnn"),
        ("lstm-hard-then-hard-then-hard", "'hard-then-hard' is no objective"),
        ("lstm-pretrain", "'pretrain' is no objective"),
    ],
)
def test_names_that_say_nothing(name: str, message: str) -> None:
    assert read(name).startswith("error: ") and message in read(name)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout whose trainings print what they are called with."""
    path = tmp_path_factory.mktemp("checkout")
    for place in ("steps/lib", "steps/utils", "local"):
        shutil.copytree(ROOT / place, path / place)
    for name in ("train_lstm.sh", "train_dnn.sh"):
        write_program(path / "steps" / name, '#!/bin/bash\necho "$(basename "$0") $*"\n')
    (path / "exp/lstm-soft-T2_seed3").mkdir(parents=True)
    (path / "exp/lstm-soft-T2_seed3/final.pt").write_text("weights")
    return path


TARGETS = "--soft-targets exp/{0}_seed3/soft_train --soft-targets-dev exp/{0}_seed3/soft_dev"
BEGUN = "--init-model exp/lstm-soft-T2_seed3/final.pt"


@pytest.mark.parametrize(
    ("system", "call"),
    [
        ("lstm-hard", "train_lstm.sh {lstm} --mode hard"),
        ("lstm-soft-T2", f"train_lstm.sh {{lstm}} --mode soft --temperature 2 {TARGETS.format('dnn')}"),
        ("lstm-pretrain-T2", f"train_lstm.sh {{lstm}} --mode hard {BEGUN}"),
        (
            "lstm-soft-T2-then-interpolate",
            f"train_lstm.sh {{lstm}} --mode interpolate --temperature 2 {TARGETS.format('dnn')} {BEGUN}",
        ),
        (
            "lstm-shuffled-T2",
            "train_lstm.sh {lstm} --mode soft --temperature 2 "
            f"{TARGETS.format('dnn')} --shuffle-targets true",
        ),
        ("lstm-logits", "train_lstm.sh {lstm} --mode logits --teacher exp/dnn_seed3"),
        (
            "dnn-soft-T1-by-lstm-hard",
            f"train_dnn.sh {{dnn}} --mode soft --temperature 1 {TARGETS.format('lstm-hard')}",
        ),
        ("small-hard", "train_dnn.sh {small} --mode hard"),
        (
            "lstm-soft-T2_realigned",
            f"train_lstm.sh {{lstm}} --mode soft --temperature 2 {TARGETS.format('dnn_realigned')}",
        ),
    ],
)
def test_how_a_student_is_trained(checkout: Path, system: str, call: str) -> None:
    configs = [f"--{name}-config {name}.yaml" for name in ("lstm", "dnn", "small")]
    places = ["train", "dev", "lang", "ali", "ali_dev"]
    done = run(
        checkout,
        str(checkout / "local/train_student.sh"),
        *" ".join(configs).split(),
        *places,
        "exp",
        system,
        "3",
    )
    script, given = call.format(
        lstm="--lstm-config lstm.yaml", dnn="--dnn-config dnn.yaml", small="--dnn-config small.yaml"
    ).split(" --mode ")
    script, config = script.split(" ", 1)
    whole = f"{script} --cmd run.pl {config} --seed 3 --num-threads 1 --mode {given}"
    assert done.stdout.split() == [*whole.split(), *places, f"exp/{system}_seed3"]


@pytest.mark.parametrize(
    ("system", "config"),
    [
        ("lstm-hard", "hard"),
        ("lstm-smooth", "hard"),
        ("lstm-hard_realigned", "hard"),
        ("lstm-soft-T2", "lstm"),
        ("lstm-teacher_labels", "lstm"),
        ("lstm-soft-T2-then-hard", "lstm"),
        ("dnn-hard", "dnn"),
        ("small-hard", "small"),
    ],
)
def test_lstms_that_learn_labels_alone_have_a_configuration_of_their_own(
    checkout: Path, system: str, config: str
) -> None:
    configs = [f"--{name}-config {name}.yaml" for name in ("lstm", "hard", "dnn", "small")]
    places = ["train", "dev", "lang", "ali", "ali_dev", "exp", system, "3"]
    done = run(checkout, str(checkout / "local/train_student.sh"), *" ".join(configs).split(), *places)
    words = done.stdout.split()
    (given,) = [words[n + 1] for n, word in enumerate(words) if word in ("--lstm-config", "--dnn-config")]
    assert given == f"{config}.yaml", done.stdout + done.stderr


def test_what_is_begun_from_must_be_there(checkout: Path) -> None:
    places = ["train", "dev", "lang", "ali", "ali_dev", "exp", "lstm-soft-T5-then-hard", "3"]
    done = run(checkout, str(checkout / "local/train_student.sh"), *places)
    assert done.returncode != 0 and "exp/lstm-soft-T5_seed3/final.pt" in done.stderr and not done.stdout
