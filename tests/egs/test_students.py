"""The names of students: what each says of its training, and what names are refused."""

from __future__ import annotations

import subprocess

import pytest

from tests.stage_lab import ROOT

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
