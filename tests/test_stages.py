"""The stages of a recipe: which of them run again, and what they may go on with."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STEPS = (
    "steps/train_mono.sh steps/mkgraph.sh steps/align_si.sh steps/train_dnn.sh "
    "steps/make_soft_targets.sh local/train_student.sh "
    "steps/perturb_data_dir_speed.sh steps/make_fmllr_feats.sh steps/align.sh "
    "steps/make_priors.sh local/make_feature_sets.sh local/decode_dev_then_test.sh"
)

#: Stands for every step: says that it was called, and writes into the directory that is its last argument.
STEP = """#!/bin/bash
dir=${*: -1}
step=$(basename "$0" .sh)
if [ $step = train_student ]; then dir=${*: -3:1}/${*: -2:1}_seed${*: -1}; fi
went_on=
if [[ $step =~ ^train_(dnn|student)$ ]] && [ -e "$dir/final.pt" ]; then went_on=" on what was there"; fi
echo "$step $(basename "$dir")$went_on"
mkdir -p "$dir"
case ${FAIL:-} in "$step" | "$step $(basename "$dir")") exit 1 ;; esac
[ -e "$dir/final.pt" ] || echo "${WEIGHTS:-$RANDOM$RANDOM}" >"$dir/final.pt"
"""

RECIPE = """#!/bin/bash
set -euo pipefail
data=data exp=exp report=exp/report nj=1 train_cmd=run.pl decode_cmd=run.pl totgauss=1 boost_silence=1
beam=1 max_active=1 lmwts=${LMWTS:-1} word_ins_penalties=0 stop_stage=10 dnn_config=dnn.yaml
speeds=${SPEEDS:-} network_features=${FEATURES:-fbank}
lstm_config=lstm.yaml students=${STUDENTS:-} seeds=${SEEDS:-1} stage=${1:-} stage_options=
die() { echo "error: $*"; exit 1; }
. "$ROOT/local/stages.sh"
. "$ROOT/local/standalone_stages.sh"
"""


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def write_stubs(path: Path) -> None:
    """A checkout whose steps are stubs, and what the stages source."""
    for step in STEPS.split():
        write_program(path / step, STEP)
    for name in ("network_stages.sh", "realigning.sh"):
        shutil.copy(ROOT / "local" / name, path / "local")


def run_stubs(command: list[str], tmp_path: Path, **variables: str) -> list[str]:
    """Run a recipe; gives the steps it called."""
    environment = {
        "PATH": f"{tmp_path}/bin:/usr/bin:/bin",
        "DKT_ROOT": str(tmp_path / "dkt"),
        "ROOT": str(ROOT),
    }
    done = subprocess.run(
        ["bash", *command], cwd=tmp_path, env=environment | variables, capture_output=True, text=True
    )
    assert (done.returncode != 0) == ("FAIL" in variables), done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if not line.startswith("===")]


@pytest.fixture
def recipe(tmp_path):
    """Returns a function that runs a recipe of stubs and gives the steps it called."""
    write_stubs(tmp_path / "dkt")
    (tmp_path / "conf").mkdir()
    for name in ("conf/mfcc.conf", "conf/fbank.conf", "dnn.yaml", "lstm.yaml", "run.sh"):
        (tmp_path / name).write_text(RECIPE if name == "run.sh" else "")

    return lambda *arguments, **variables: run_stubs(["run.sh", *arguments], tmp_path, **variables)


def test_a_finished_recipe_does_nothing(recipe):
    first = recipe()
    assert "train_mono mono" in first and "train_dnn dnn_seed1" in first
    assert recipe() == []


def test_copies_at_other_speeds_adapted_features_and_a_second_alignment(recipe):
    options = {"SPEEDS": "0.9 1.1", "FEATURES": "fmllr"}
    output = recipe(**options)
    assert [line for line in output if "decode" not in line] == [
        "make_feature_sets test",
        "perturb_data_dir_speed train_sp",
        "make_feature_sets train_sp",
        "train_mono mono",
        "mkgraph graph",
        "align_si mono_ali_train_sp",
        "align_si mono_ali_dev",
        "make_fmllr_feats train_sp_fmllr",
        "make_fmllr_feats dev_fmllr",
        "make_fmllr_feats test_fmllr",
        "align mono_fmllr_ali_train_sp",
        "align mono_fmllr_ali_dev",
        "train_dnn dnn_seed1",
    ]
    assert recipe(**options) == []


def test_an_interrupted_training_goes_on_by_itself(recipe):
    recipe(FAIL="train_dnn", SEEDS="1 2")
    assert recipe(FAIL="train_dnn", SEEDS="1 2") == ["train_dnn dnn_seed1"]
    assert recipe(FAIL="decode_dev_then_test", SEEDS="1 2")[:2] == [
        "train_dnn dnn_seed1",
        "train_dnn dnn_seed2",
    ]
    # Stage 7 was interrupted: the networks are there.
    assert [line for line in recipe(SEEDS="1 2") if "train" in line] == []


def test_another_seed_leaves_the_trained_networks(recipe):
    recipe()
    assert recipe(SEEDS="1 2")[:2] == ["train_dnn dnn_seed1 on what was there", "train_dnn dnn_seed2"]


def test_another_search_trains_nothing(recipe):
    recipe()
    assert recipe(LMWTS="2") == ["decode_dev_then_test mono", "decode_dev_then_test dnn_seed1"]


@pytest.mark.parametrize("why", ["configuration", "--stage 6", "--stage 5", "features"])
def test_what_a_network_depends_on_changed(recipe, tmp_path, why):
    recipe()
    arguments = []
    if why == "configuration":
        (tmp_path / "dnn.yaml").write_text("network: {}\n")
    elif why == "features":
        (tmp_path / "conf/fbank.conf").write_text("--num-mel-bins=24\n")
    else:
        arguments = why.split()[1:]
    output = recipe(*arguments)
    assert "exp/dnn_seed1 is of an earlier run: moved to exp/.backup/dnn_seed1.1" in output
    assert "train_dnn dnn_seed1" in output
    assert (tmp_path / "exp/.backup/dnn_seed1.1/final.pt").exists()
    assert ("train_mono mono" in output) == (why == "features")
    assert recipe() == []


def test_another_set_of_phones_moves_the_gmm_aside(recipe, tmp_path):
    recipe()
    (tmp_path / "data/lang").mkdir(parents=True)
    (tmp_path / "data/lang/phones.txt").write_text("A 1\n")
    (tmp_path / "exp/mono/phones.txt").write_text("B 1\n")
    output = recipe("3")
    assert output[0] == "exp/mono is of an earlier run: moved to exp/.backup/mono.1"


STUDENTS = "lstm-pretrain-T2 lstm-hard lstm-soft-T2"


def test_students_come_after_the_teacher_and_soft_ones_before_those_that_go_on_from_them(recipe):
    output = recipe(STUDENTS=STUDENTS)
    trained = [line for line in output if line.startswith(("train_dnn", "make_soft", "train_student"))]
    assert trained == [
        "train_dnn dnn_seed1",
        "make_soft_targets soft_train",
        "make_soft_targets soft_dev",
        "train_student lstm-hard_seed1",
        "train_student lstm-soft-T2_seed1",
        "train_student lstm-pretrain-T2_seed1",
    ]
    assert output[-3:] == [f"decode_dev_then_test {system}_seed1" for system in STUDENTS.split()]
    assert recipe(STUDENTS=STUDENTS) == []


def test_hard_students_need_no_soft_targets(recipe):
    assert not [line for line in recipe(STUDENTS="lstm-hard") if line.startswith("make_soft")]


def test_a_student_that_fails_ends_the_recipe_and_goes_on_by_itself(recipe):
    output = recipe(STUDENTS=STUDENTS, FAIL="train_student")
    assert output[-1].startswith("train_student lstm-soft-T2") and "lstm-pretrain" not in " ".join(output)
    output = recipe(STUDENTS=STUDENTS)
    assert output[0] == "train_student lstm-hard_seed1" and not [line for line in output if "moved" in line]


def test_another_configuration_of_the_students_leaves_the_teacher(recipe, tmp_path):
    recipe(STUDENTS=STUDENTS)
    (tmp_path / "lstm.yaml").write_text("network: {}\n")
    output = recipe(STUDENTS=STUDENTS)
    assert (tmp_path / "exp/.backup/lstm-soft-T2_seed1.1/final.pt").exists()
    assert [line for line in output if line.startswith("train_")] == [
        "train_student lstm-hard_seed1",
        "train_student lstm-soft-T2_seed1",
        "train_student lstm-pretrain-T2_seed1",
    ]


def test_another_seed_or_temperature_leaves_the_students_that_are_there(recipe):
    recipe(STUDENTS=STUDENTS)
    output = recipe(STUDENTS=f"{STUDENTS} lstm-soft-T5", SEEDS="1 2")
    assert not [line for line in output if "moved" in line]
    kept = "on what was there"
    trained = [line for line in output if line.startswith("train_")]
    assert trained[:3] == [
        f"train_dnn dnn_seed1 {kept}",
        "train_dnn dnn_seed2",
        f"train_student lstm-hard_seed1 {kept}",
    ]
    assert f"train_student lstm-pretrain-T2_seed1 {kept}" in trained
    assert "train_student lstm-soft-T5_seed1" in trained and "train_student lstm-soft-T2_seed2" in trained


def test_another_teacher_makes_other_soft_students_but_not_another_hard_one(recipe, tmp_path):
    recipe(STUDENTS=STUDENTS)
    (tmp_path / "dnn.yaml").write_text("network: {}\n")
    output = recipe(STUDENTS=STUDENTS)
    assert [line for line in output if line.startswith("train_")] == [
        "train_dnn dnn_seed1",
        "train_student lstm-hard_seed1 on what was there",
        "train_student lstm-soft-T2_seed1",
        "train_student lstm-pretrain-T2_seed1",
    ]
    assert f"decode_dev_then_test {STUDENTS.split()[0]}_seed1" in output


@pytest.mark.parametrize("students", ["lstm-pretain-T2", "blstm-soft-T1", "lstm-soft", "lstm-pretrain-T2"])
def test_students_that_cannot_be_are_named_before_anything_runs(recipe, students):
    (error,) = recipe(STUDENTS=students, FAIL="nothing")
    assert error.startswith("error: ") and students.split("-")[0] in error and "student" in error


def test_what_was_searched_with_a_network_that_was_set_aside_is_searched_again(recipe, tmp_path):
    """Even if the new one has the same weights, as after a change of a comment."""
    recipe(STUDENTS=STUDENTS, WEIGHTS="the same")
    (tmp_path / "dnn.yaml").write_text("# a comment\n")
    output = recipe(STUDENTS=STUDENTS, WEIGHTS="the same")
    assert "decode_dev_then_test dnn_seed1" in output and "make_soft_targets soft_train" in output
    (tmp_path / "lstm.yaml").write_text("# a comment\n")
    output = recipe(STUDENTS=STUDENTS, WEIGHTS="the same")
    assert "decode_dev_then_test lstm-hard_seed1" in output and "train_dnn dnn_seed1" not in output


def test_copies_at_other_speeds_get_the_features_that_the_network_reads(recipe):
    recipe(SPEEDS="0.9", FEATURES="mfcc")
    output = recipe(SPEEDS="0.9", FEATURES="fbank")
    assert any(line.startswith("make_feature_sets") for line in output)


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
REALIGN = ("--realign-by", "lstm-pretrain-T2")


@pytest.fixture
def kaldi(tmp_path):
    """As ``recipe``, of the recipe on an experiment of Kaldi's, with two seeds and a graph."""
    write_stubs(tmp_path / "dkt")
    s5 = tmp_path / "dkt/egs/speechocean762/s5"
    write_program(s5 / "path.sh", PATH_SH)
    (s5 / "cmd.sh").write_text("train_cmd=run.pl decode_cmd=run.pl\n")
    shutil.copy(KALDI, s5)
    for name in ("steps/utils/parse_options.sh", "local/stages.sh"):
        write_program(tmp_path / "dkt" / name, f'. "{ROOT}/{name}"\n')
    write_program(tmp_path / "bin/dkt", DKT)
    for name in ("exp/tri2b/graph/HCLG.fst", "data/dev/feats.scp", "data/test/feats.scp"):
        write_program(tmp_path / "theirs" / name, "")
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
