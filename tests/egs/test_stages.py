"""The stages of a recipe: which of them run again, and what they may go on with."""

from __future__ import annotations

import pytest

from tests.stage_lab import STUDENTS, run_stubs, write_stubs

RECIPE = """#!/bin/bash
set -euo pipefail
data=data exp=exp report=exp/report nj=1 train_cmd=run.pl decode_cmd=run.pl totgauss=1 boost_silence=1
beam=1 max_active=1 lmwts=${LMWTS:-1} word_ins_penalties=0 stop_stage=10 dnn_config=dnn.yaml
speeds=${SPEEDS:-} noise_copies=${NOISE:-} network_features=${FEATURES:-fbank}
hard_config=${HARD:-} small_config=${SMALL:-} lattices=${LATTICES:-false} lattice_beam=${LATTICE_BEAM:-}
lstm_config=lstm.yaml students=${STUDENTS:-} seeds=${SEEDS:-1} stage=${1:-} stage_options=
die() { echo "error: $*"; exit 1; }
. "$ROOT/local/stages.sh"
. "$ROOT/local/standalone_stages.sh"
"""


CONFIGS = ("dnn.yaml", "lstm.yaml", "hard.yaml", "small.yaml")


@pytest.fixture
def recipe(tmp_path):
    """Returns a function that runs a recipe of stubs and gives the steps it called."""
    write_stubs(tmp_path / "dkt")
    (tmp_path / "conf").mkdir()
    for name in ("conf/mfcc.conf", "conf/fbank.conf", *CONFIGS, "run.sh"):
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


def test_noisy_copies_get_the_alignments_of_clean_speech(recipe):
    assert [line for line in recipe(NOISE="5..20") if "decode" not in line] == [
        "make_feature_sets test",
        "augment_data_dir train_noise",
        "make_feature_sets train_noise",
        "train_mono mono",
        "mkgraph graph",
        "align_si mono_ali_train",
        "align_si mono_ali_dev",
        "copy_ali_dir mono_ali_train_noise",
        "train_dnn dnn_seed1",
    ]
    assert recipe(NOISE="5..20") == []
    output = recipe(NOISE="5..20", SPEEDS="0.9", FEATURES="fmllr")
    aligned = [
        line
        for line in output
        if line.split()[0] in ("align_si", "align", "copy_ali_dir", "make_fmllr_feats")
    ]
    assert aligned == [
        "align_si mono_ali_train_sp",
        "align_si mono_ali_dev",
        "copy_ali_dir mono_ali_train_sp_noise",
        "make_fmllr_feats train_sp_fmllr",
        "make_fmllr_feats train_sp_noise_fmllr",
        "make_fmllr_feats dev_fmllr",
        "make_fmllr_feats test_fmllr",
        "align mono_fmllr_ali_train_sp",
        "align mono_fmllr_ali_dev",
        "copy_ali_dir mono_fmllr_ali_train_sp_noise",
    ]


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


def test_temperatures_stand_anywhere_in_names(recipe, tmp_path):
    recipe(STUDENTS="lstm-soft-T2-then-interpolate lstm-soft-T2 lstm-hard lstm-hard-then-interpolate-T5")
    (made,) = {line for line in (tmp_path / "options").read_text().splitlines() if "soft_train" in line}
    assert "--temperatures 2 5 " in made


def test_students_wait_for_those_that_teach_them(recipe):
    students = "lstm-soft-T2-by-lstm-hard-then-hard lstm-teacher_labels lstm-hard-then-hard lstm-hard"
    output = recipe(STUDENTS=students)
    assert [line for line in output if line.startswith(("make_soft", "train_student"))] == [
        "make_soft_targets soft_train",
        "make_soft_targets soft_dev",
        "train_student lstm-teacher_labels_seed1",
        "train_student lstm-hard_seed1",
        "train_student lstm-hard-then-hard_seed1",
        "make_soft_targets soft_train",
        "make_soft_targets soft_dev",
        "train_student lstm-soft-T2-by-lstm-hard-then-hard_seed1",
    ]
    assert recipe(STUDENTS=students) == []


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


def test_another_configuration_of_hard_students_leaves_those_that_are_taught(recipe, tmp_path):
    students = f"{STUDENTS} lstm-smooth lstm-hard-then-interpolate-T2"
    recipe(STUDENTS=students, HARD="hard.yaml")
    assert "--hard-config hard.yaml" in (tmp_path / "options").read_text()
    assert recipe(STUDENTS=students, HARD="hard.yaml") == []
    (tmp_path / "hard.yaml").write_text("network: {}\n")
    kept = "on what was there"
    output = recipe(STUDENTS=students, HARD="hard.yaml")
    assert sorted(line for line in output if line.startswith("train_")) == sorted(
        [
            "train_student lstm-hard_seed1",
            "train_student lstm-smooth_seed1",
            "train_student lstm-hard-then-interpolate-T2_seed1",
            f"train_student lstm-soft-T2_seed1 {kept}",
            f"train_student lstm-pretrain-T2_seed1 {kept}",
        ]
    )


def test_hard_students_have_the_configuration_of_the_others_unless_there_is_one(recipe, tmp_path):
    recipe(STUDENTS=STUDENTS)
    (tmp_path / "hard.yaml").write_text("network: {}\n")
    assert recipe(STUDENTS=STUDENTS) == []
    output = recipe(STUDENTS=STUDENTS, HARD="hard.yaml")
    assert [line for line in output if line.startswith("train_")] == [
        "train_student lstm-hard_seed1",
        "train_student lstm-soft-T2_seed1 on what was there",
        "train_student lstm-pretrain-T2_seed1 on what was there",
    ]


def test_another_configuration_of_small_networks_is_looked_at(recipe, tmp_path):
    students = "small-hard lstm-hard"
    recipe(STUDENTS=students, SMALL="small.yaml")
    (tmp_path / "small.yaml").write_text("network: {}\n")
    output = recipe(STUDENTS=students, SMALL="small.yaml")
    assert [line for line in output if line.startswith("train_")] == [
        "train_student small-hard_seed1",
        "train_student lstm-hard_seed1 on what was there",
    ]


def test_decoding_by_lattices(recipe, tmp_path):
    recipe()
    assert "--lattices" not in (tmp_path / "options").read_text()
    options = {"LATTICES": "true", "LATTICE_BEAM": "4"}
    assert recipe(**options) == ["decode_dev_then_test mono", "decode_dev_then_test dnn_seed1"]
    lines = (tmp_path / "options").read_text().splitlines()
    assert all("--lattices true --lattice-beam 4 " in line for line in lines[-2:])
    assert recipe(**options) == []
    assert recipe(LATTICES="true", LATTICE_BEAM="5") != []
    (error,) = recipe(LATTICES="true", FAIL="nothing")
    assert error == "error: --lattice-beam is empty"


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


RESULTS = {"exp/mono/final.mdl": "train_mono mono", "exp/mono/graph/HCLG.fst": "mkgraph graph"}
RESULTS |= {"exp/dnn_seed1/final.pt": "train_dnn dnn_seed1"}


@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize("how", ["gone", "damaged"])
def test_a_stage_whose_result_is_gone_or_damaged_makes_it_again_and_no_network(recipe, tmp_path, result, how):
    """The stand-in of a step writes final.pt alone: what else it leaves is written here."""
    for path in RESULTS:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        if not path.endswith("final.pt"):
            (tmp_path / path).write_text("whole")
    recipe(STUDENTS=STUDENTS)
    assert recipe(STUDENTS=STUDENTS) == []
    path = tmp_path / result
    whole = path.read_text()
    path.unlink()
    if how == "damaged":
        path.write_text(whole[::-1])
    output = recipe(STUDENTS=STUDENTS, FAIL=RESULTS[result])
    # An interruption in between changes nothing.
    assert output[-1].startswith(RESULTS[result])
    path.write_text(whole)
    output = recipe(STUDENTS=STUDENTS)
    assert output and RESULTS[result] in " ".join(output)
    assert not [line for line in output if "moved to" in line or line.startswith(("train_student", "decode"))]
    assert recipe(STUDENTS=STUDENTS) == []


def test_a_result_that_comes_out_otherwise_makes_what_follows_again(recipe, tmp_path):
    for name in ("mono/final.mdl", "mono/graph/HCLG.fst"):
        (tmp_path / "exp" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "exp" / name).write_text("whole")
    recipe()
    (tmp_path / "exp/mono/final.mdl").write_text("another")
    output = recipe()
    assert "train_mono mono" in output and "align_si mono_ali_dev" in output
    assert "exp/dnn_seed1 is of an earlier run: moved to exp/.backup/dnn_seed1.1" in output
    assert recipe() == []
