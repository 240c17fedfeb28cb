"""The stages of the recipe on a Kaldi experiment: search, realignment and networks trained anew."""

from __future__ import annotations

import shutil

import pytest

from tests.stage_lab import ROOT, STEP, STUDENTS, run_stubs, write_program, write_stubs

KALDI = ROOT / "egs/speechocean762/s5/run_kaldi.sh"
PATH_SH = """
die() { echo "error: $*"; exit 1; }
require_files() { for file in "$@"; do [ -e "$file" ] || die "no file '$file'"; done; }
"""
#: dkt report tells its systems; they have to be there.
DKT = """#!/bin/bash
for system in "${@:4}"; do
  [ -e "${system#*=}/final.pt" ] || exit 1
  echo "report $(basename "${system#*=}")"
done
"""
THEIRS = [f"data/{part}/{name}" for part in ("train", "dev", "test") for name in ("feats.scp", "text")]
THEIRS += [
    f"exp/{ali}/{name}" for ali in ("tri2b_ali", "tri2b_ali_dev") for name in ("final.mdl", "num_jobs")
]
THEIRS += ["lang/phones.txt", "exp/tri2b/graph/HCLG.fst", "exp/tri2b/graph/words.txt"]
REALIGN = ("--realign-by", "lstm-pretrain-T2")


@pytest.fixture
def kaldi(tmp_path):
    """As ``recipe``, of the recipe on an experiment of Kaldi's, with two seeds and a graph."""
    write_stubs(tmp_path / "dkt")
    s5 = tmp_path / "dkt/egs/speechocean762/s5"
    write_program(s5 / "path.sh", PATH_SH)
    (s5 / "cmd.sh").write_text("train_cmd=run.pl decode_cmd=run.pl\n")
    shutil.copy(KALDI, s5)
    for name in ("steps/lib/signals.sh", "steps/utils/parse_options.sh", "local/stages.sh"):
        write_program(tmp_path / "dkt" / name, f'. "{ROOT}/{name}"\n')
    write_program(tmp_path / "bin/dkt", DKT)
    for name in THEIRS:
        write_program(tmp_path / "theirs" / name, "x")
    for name in ("dnn.yaml", "lstm.yaml"):
        (tmp_path / name).write_text("")
    options = "--kaldi-dir theirs --exp exp --nj 1 --dnn-config dnn.yaml --lstm-config lstm.yaml"
    command = [str(s5 / "run_kaldi.sh"), *options.split(), "--students", STUDENTS, "--seeds", "1"]
    return lambda *arguments, **variables: run_stubs([*command, *arguments], tmp_path, **variables)


def test_a_student_realigns_and_networks_are_trained_anew_beside_the_old(kaldi):
    options = ["--seeds", "1 2", *REALIGN]
    output = kaldi(*options)
    begin = output.index("make_priors lstm-pretrain-T2_seed1")
    students = ("lstm-soft-T2_realigned", "lstm-pretrain-T2_realigned")
    end = next(number for number, line in enumerate(output) if line.startswith("report"))
    assert [line.replace("lstm-pretrain-T2_seed", "aligner_seed") for line in output[begin:end]] == [
        *(
            call.replace("seed1", f"seed{seed}")
            for seed in (1, 2)
            for call in (
                "make_priors aligner_seed1",
                "align aligner_seed1_ali_train",
                "align aligner_seed1_ali_dev",
            )
        ),
        "train_dnn dnn_realigned_seed1",
        "train_dnn dnn_realigned_seed2",
        *["make_soft_targets soft_train", "make_soft_targets soft_dev"] * 2,
        *(f"train_student {system}_seed{seed}" for system in students for seed in (1, 2)),
        *(
            f"decode_dev_then_test {system}_seed{seed}"
            for system in ("dnn_realigned", *students)
            for seed in (1, 2)
        ),
    ]
    reported = [line.split()[1] for line in output[end:]]
    first = [f"{system}_seed{seed}" for system in ("dnn", *STUDENTS.split()) for seed in (1, 2)]
    assert reported == first + [f"{s}_seed{seed}" for s in ("dnn_realigned", *students) for seed in (1, 2)]
    assert [line for line in kaldi(*options) if not line.startswith("report")] == []


def test_networks_are_trained_on_the_alignments_of_their_own_aligner(kaldi, tmp_path):
    """Each seed has its own, for train and for dev, and the new student has the new teacher."""
    for name in ("steps/train_dnn.sh", "local/train_student.sh"):
        write_program(tmp_path / "dkt" / name, STEP.replace("went_on=\n", 'went_on=" ${*: -5:5}"\n'))
    output = kaldi("--seeds", "1 2", *REALIGN)
    for seed in "12":
        labels = [f"{tmp_path}/exp/lstm-pretrain-T2_seed{seed}_ali_{part}" for part in ("train", "dev")]
        (dnn,) = (line for line in output if line.startswith(f"train_dnn dnn_realigned_seed{seed}"))
        assert dnn.split()[-3:-1] == labels
        (student,) = (x for x in output if x.startswith(f"train_student lstm-soft-T2_realigned_seed{seed}"))
        assert student.split()[2:] == [*labels, f"{tmp_path}/exp", "lstm-soft-T2_realigned", seed]
    (dnn,) = (line for line in output if line.startswith("train_dnn dnn_seed1"))
    assert dnn.split()[-3:-1] == ["exp/tri2b_ali", "exp/tri2b_ali_dev"]


def test_an_interrupted_realignment_goes_on(kaldi, tmp_path):
    kaldi(*REALIGN, FAIL="align")
    failed = "train_student lstm-soft-T2_realigned_seed1"
    output = kaldi(*REALIGN, FAIL=failed)
    assert "train_dnn dnn_realigned_seed1" in output and output[-1] == failed
    assert not [line for line in output if "dnn_seed1" in line], "stages before are done"
    output = kaldi(*REALIGN)
    assert "train_dnn dnn_realigned_seed1 on what was there" in output and failed in output
    assert not [line for line in output if "moved" in line]


def test_another_aligner_trains_anew_and_leaves_the_first_networks(kaldi, tmp_path):
    kaldi(*REALIGN)
    output = kaldi("--realign-by", "dnn", "--retrain", "lstm-hard")
    calls = [line for line in output if line.startswith(("train", "align", "make"))]
    assert calls == [
        "make_priors dnn_seed1",
        "align dnn_seed1_ali_train",
        "align dnn_seed1_ali_dev",
        "train_dnn dnn_realigned_seed1",
        "train_student lstm-hard_realigned_seed1",
    ]
    assert (tmp_path / "exp/.backup/dnn_realigned_seed1.1/final.pt").exists()
    output = kaldi("--realign-by", "dnn", "--retrain", "dnn")
    assert "train_dnn dnn_realigned_seed1 on what was there" in output
    assert not [line for line in output if line.startswith("train_student")]


def test_a_student_trained_again_aligns_again(kaldi, tmp_path):
    kaldi(*REALIGN)
    (tmp_path / "lstm.yaml").write_text("network: {}\n")
    output = kaldi(*REALIGN)
    assert "align lstm-pretrain-T2_seed1_ali_train" in output
    for system in ("dnn_realigned", "lstm-soft-T2_realigned", "lstm-pretrain-T2_realigned"):
        assert (tmp_path / f"exp/.backup/{system}_seed1.1/final.pt").exists()


def test_what_is_searched(kaldi, tmp_path):
    def searched(*options: str) -> list[str]:
        return [x.split()[1] for x in kaldi(*options) if x.startswith("decode")]

    assert searched("--searched", "dnn lstm-hard", *REALIGN) == [
        "dnn_seed1",
        "lstm-hard_seed1",
        "dnn_realigned_seed1",
    ]
    assert searched("--graph", "") == []
    assert searched("--searched", "dnn") == ["dnn_seed1"]
    (tmp_path / "theirs/exp/tri2b/graph/HCLG.fst").unlink()
    assert searched("--beam", "9") == []
    assert searched("--realign-by", "lstm-hard") == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--graph", "graph"], "no file 'graph/HCLG.fst'"),
        (["--data-tuning", "nowhere"], "no file 'nowhere/feats.scp'"),
        (["--realign-by", "lstm-pretrain-T5"], "--realign-by lstm-pretrain-T5: it is none of dnn lstm"),
        ([*REALIGN, "--retrain", "dnn lstm-pretrain-T2"], "name it too"),
        (["--searched", "dnn lstm"], "--searched: 'lstm' is not trained"),
    ],
)
def test_what_cannot_be_done_is_told_before_anything_runs(kaldi, options, message):
    (error,) = kaldi(*options, FAIL="nothing")
    assert error.startswith("error: ") and message in error
