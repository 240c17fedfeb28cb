"""The command ``train-lstm``: every mode, every kind of teacher, and every way in which they may not fit."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
import yaml

from dkt.alignments import AlignmentDir, load_counts
from dkt.bin import main
from dkt.nnet.modelfile import load_model
from dkt.tables import MatrixWriter, read_matrices
from dkt.target_store import SoftTargetStore
from dkt.train.history import load_history
from tests.shell import fails, succeed
from tests.synthetic import random_corpus, write_ali_dir, write_data_dir
from tests.test_transitions import two_phone_model

DNN = {
    "features": {"splice": 3},
    "network": {"hidden_layers": 1, "hidden_dim": 32, "activation": "tanh"},
    "optimizer": {"minibatch_size": 32},
    "schedule": {"learn_rate": 0.01, "max_iters": 2},
}
LSTM = {
    "network": {"layers": 1, "cells": 24, "projection": 12, "target_delay": 3},
    "batches": {"num_streams": 4, "chunk": 10},
    "schedule": {"learn_rate": 0.01, "max_iters": 3},
    "fine_tuning": {"learn_rate": 0.005, "max_iters": 1},
}
CPU = ["--num-threads=1", "--use-gpu=no"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Data, alignments, a teacher and its soft targets (all 3 pdfs of dev, 2 of train)."""
    path = tmp_path_factory.mktemp("lab")
    for name, prefix, seed, num in [("train", "t", 1, 60), ("dev", "d", 2, 20)]:
        features, alignments = random_corpus(seed, prefix, num)
        write_data_dir(path / name, features)
        write_ali_dir(path / f"ali_{name}", two_phone_model(), alignments)
    (path / "dnn.yaml").write_text(yaml.safe_dump(DNN))
    (path / "lstm.yaml").write_text(yaml.safe_dump(LSTM))
    places = [str(path / name) for name in ("train", "dev", "ali_train", "ali_dev", "dnn")]
    assert main(["train-dnn", f"--config={path}/dnn.yaml", *CPU, *places]) == 0
    for part in ("train", "dev"):
        soft_targets(path, part)
    return path


def soft_targets(lab, part, name=None, *options):
    places = [str(lab / "dnn/final.pt"), str(lab / part), str(lab / (name or f"soft_{part}"))]
    assert main(["make-soft-targets", *CPU, "--top-k=2", *options, *places]) == 0


def taught(lab):
    return [f"--soft-targets={lab}/soft_train", f"--soft-targets-dev={lab}/soft_dev"]


def train(lab, directory, *options, ali=("ali_train", "ali_dev")):
    places = [str(lab / name) for name in ("train", "dev", *ali)]
    return main(["train-lstm", f"--config={lab}/lstm.yaml", *CPU, *options, *places, str(directory)])


def weights(directory):
    return load_model(directory / "final.pt")[1].state_dict()


def same_weights(first, second):
    return all(torch.equal(value, weights(second)[name]) for name, value in weights(first).items())


@pytest.fixture(scope="module")
def soft(lab, tmp_path_factory):
    directory = tmp_path_factory.mktemp("exp") / "soft"
    assert train(lab, directory, "--mode=soft", "--temperature=2", *taught(lab)) == 0
    return directory


@pytest.fixture(scope="module")
def pretrained(lab, tmp_path_factory):
    directory = tmp_path_factory.mktemp("exp") / "pretrain"
    assert train(lab, directory, "--mode=pretrain", "--temperature=2", *taught(lab)) == 0
    return directory


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("hard", []),
        ("smooth", ["--smoothing=0.2"]),
        ("mix", ["--temperature=2", "--lambda=0.7"]),
        ("conditional", ["--temperature=2"]),
        ("logits", []),
    ],
)
def test_every_mode_learns(lab, tmp_path, mode, options):
    if mode == "logits":
        options = [f"--teacher={lab}/dnn"]
    elif mode not in ("hard", "smooth"):
        options = [*options, *taught(lab)]
    assert train(lab, tmp_path / mode, f"--mode={mode}", *options) == 0
    history = load_history(tmp_path / mode / "history.csv")
    assert history[-1]["cv_frame_acc"] > 80.0
    assert history[-1]["cv_loss"] < history[0]["cv_loss"]
    objective = yaml.safe_load((tmp_path / mode / "config.yaml").read_text())["objective"]
    assert objective["mode"] == mode
    if mode == "mix":
        assert objective["soft_weight"] == 0.7 and objective["temperature"] == 2.0


def test_a_soft_student_comes_near_its_teacher(lab, soft):
    history = load_history(soft / "history.csv")
    # Divergence from the teacher, in nats: cross-entropy minus entropy. Random outputs are about 0.5 away.
    assert history[-1]["cv_loss"] < 0.1
    assert history[-1]["cv_frame_acc"] > 80.0
    assert (soft / "final.mdl").read_bytes() == (lab / "ali_train/final.mdl").read_bytes()
    assert load_counts(soft / "ali_train_pdf.counts").sum() > 1000


def test_pretraining_is_a_soft_and_then_a_hard_training_and_keeps_both(lab, soft, pretrained, tmp_path):
    assert same_weights(pretrained / "soft", soft)
    assert not same_weights(pretrained, soft)
    by_hand = tmp_path / "by_hand"
    assert train(lab, by_hand, "--mode=hard", f"--init-model={soft}/final.pt") == 0
    assert same_weights(by_hand, pretrained)
    # The fine-tuning has the schedule of its own.
    assert [row["learn_rate"] for row in load_history(pretrained / "history.csv")] == [0.005]
    assert (pretrained / "soft/config.yaml").read_text() == (soft / "config.yaml").read_text()


def test_an_interrupted_pretraining_goes_on_with_its_hard_part(lab, pretrained, tmp_path):
    again = tmp_path / "again"
    shutil.copytree(pretrained, again)
    (again / "final.pt").unlink()
    (again / "history.csv").unlink()
    before = (again / "soft/final.pt").stat().st_mtime_ns
    assert train(lab, again, "--mode=pretrain", "--temperature=2", *taught(lab)) == 0
    assert (again / "soft/final.pt").stat().st_mtime_ns == before
    assert same_weights(again, pretrained)


def test_a_finished_student_is_left_alone_and_another_temperature_refused(lab, soft, capsys):
    before = (soft / "final.pt").stat().st_mtime_ns
    assert train(lab, soft, "--mode=soft", "--temperature=2", *taught(lab)) == 0
    assert (soft / "final.pt").stat().st_mtime_ns == before
    assert train(lab, soft, "--mode=soft", "--temperature=5", *taught(lab)) == 1
    assert "'objective.temperature' was 2.0 and is 5.0 now" in capsys.readouterr().err


def test_fine_tuning_that_does_not_help_keeps_the_weights(lab, soft, tmp_path, caplog):
    options = [f"--init-model={soft}/final.pt", "--set=fine_tuning.learn_rate=100"]
    assert train(lab, tmp_path / "x", "--mode=hard", *options) == 0
    assert same_weights(tmp_path / "x", soft)
    assert "no epoch improved on the weights that the training began from" in caplog.text


# --- the teacher's other forms ---


def test_the_teacher_run_now_equals_its_soft_targets_but_for_their_half_precision(lab, soft, tmp_path):
    options = ["--mode=soft", "--temperature=2", f"--teacher={lab}/dnn", "--top-k=2"]
    assert train(lab, tmp_path / "now", *options) == 0
    for name, value in weights(soft).items():
        torch.testing.assert_close(weights(tmp_path / "now")[name], value, atol=0.02, rtol=0.02)


def posteriors(lab, path, *options):
    for part in ("train", "dev"):
        places = [str(lab / "dnn/final.pt"), str(lab / part), f"ark,scp:{path}/{part}.ark,{path}/{part}.scp"]
        assert main(["forward", *CPU, *options, *places]) == 0
    return [f"--soft-targets=scp:{path}/train.scp", f"--soft-targets-dev=scp:{path}/dev.scp"]


@pytest.mark.parametrize("form", ["posteriors", "log-posteriors", "logits"])
def test_archives_of_posteriors_teach_as_the_teacher_does(lab, tmp_path, form):
    options = {"posteriors": [], "log-posteriors": ["--apply-log=true"], "logits": ["--no-softmax=true"]}
    places = posteriors(lab, tmp_path, *options[form])
    common = ["--mode=soft", "--temperature=2", "--top-k=2", "--set=schedule.max_iters=1"]
    assert train(lab, tmp_path / "a", *common, *places, f"--targets-form={form}") == 0
    assert train(lab, tmp_path / "b", *common, f"--teacher={lab}/dnn") == 0
    for name, value in weights(tmp_path / "b").items():
        torch.testing.assert_close(weights(tmp_path / "a")[name], value, atol=1e-3, rtol=1e-3)


def test_a_teacher_of_other_features_reads_its_own(lab, tmp_path, capsys):
    """The student sees the first three dimensions only, the teacher all six."""
    for part in ("train", "dev"):
        narrow = {u: m[:, :3] for u, m in read_matrices(f"scp:{lab}/{part}/feats.scp")}
        write_data_dir(tmp_path / part, narrow)
    places = [tmp_path / "train", tmp_path / "dev", lab / "ali_train", lab / "ali_dev", tmp_path / "exp"]
    common = ["train-lstm", f"--config={lab}/lstm.yaml", *CPU, "--mode=soft", f"--teacher={lab}/dnn"]
    assert main([*common, *map(str, places)]) == 1
    assert "the teacher was trained on 6 - give the teacher's features by --teacher-data-train" in (
        capsys.readouterr().err
    )
    theirs = [f"--teacher-data-train={lab}/train", f"--teacher-data-dev={lab}/dev"]
    assert main([*common, *theirs, *map(str, places)]) == 0
    assert load_model(tmp_path / "exp/final.pt")[0].feature_dim == 3


# --- without alignments ---


def test_without_alignments_the_teacher_alone_labels_the_data(lab, soft, tmp_path):
    shutil.copytree(lab / "soft_train", tmp_path / "soft")
    for name in ("final.mdl", "ali_train_pdf.counts"):
        shutil.copy(lab / "dnn" / name, tmp_path / "soft")
    options = [
        "--no-ali",
        "--mode=soft",
        "--temperature=2",
        f"--soft-targets={tmp_path}/soft",
        taught(lab)[1],
    ]
    assert train(lab, tmp_path / "x", *options, ali=()) == 0
    # The labels only measure the accuracy: the student is the one that had them.
    assert same_weights(tmp_path / "x", soft)
    assert (tmp_path / "x/final.mdl").exists()
    ours, theirs = (load_counts(d / "ali_train_pdf.counts") for d in (tmp_path / "x", lab / "dnn"))
    np.testing.assert_array_equal(ours, theirs)


def test_without_alignments_there_is_no_hard_training(lab, tmp_path, capsys):
    options = ["--no-ali", "--mode=pretrain", f"--teacher={lab}/dnn"]
    assert train(lab, tmp_path / "x", *options, ali=()) == 1
    assert "--mode pretrain needs alignments - without them choose --mode soft or logits" in (
        capsys.readouterr().err
    )
    assert train(lab, tmp_path / "x", "--no-ali", "--mode=hard", ali=()) == 1
    assert train(lab, tmp_path / "x", "--no-ali", "--mode=soft", *taught(lab)) == 1
    assert "or with --no-ali only <exp-dir>" in capsys.readouterr().err


# --- what does not fit ---


def refused(lab, tmp_path, capsys, *options):
    assert train(lab, tmp_path / "x", *options) == 1
    assert not (tmp_path / "x/final.pt").exists()
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize("mode", ["soft", "pretrain", "mix", "logits", "conditional"])
def test_a_mode_that_lacks_its_teacher(lab, tmp_path, capsys, mode):
    error = refused(lab, tmp_path, capsys, f"--mode={mode}")
    assert f"--mode {mode} needs a teacher - give --soft-targets" in error


def test_a_teacher_that_nobody_listens_to(lab, tmp_path, capsys):
    assert "--mode hard makes no use of a teacher" in refused(lab, tmp_path, capsys, *taught(lab))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--temperature=0"], "the temperature is 0, expected a number above 0"),
        (["--temperature=-1"], "the temperature is -1"),
        (["--temperature=warm"], "'objective.temperature' is 'warm', expected float"),
        (["--lambda=1.5"], "(lambda) is 1.5, expected 0 to 1"),
        (["--lambda=-0.5"], "(lambda) is -0.5, expected 0 to 1"),
        (["--temperature=3"], "no tail at temperature 3, but at 1 2 5"),
    ],
)
def test_values_out_of_range(lab, tmp_path, capsys, options, message):
    assert message in refused(lab, tmp_path, capsys, "--mode=mix", *taught(lab), *options)


def test_logit_matching_needs_all_pdfs(lab, tmp_path, capsys):
    error = refused(lab, tmp_path, capsys, "--mode=logits", *taught(lab))
    assert "needs the logits of all pdfs" in error and "--top-k all" in error


@pytest.fixture
def other_teacher(lab, tmp_path):
    """A teacher of the same shape and other weights."""
    places = [str(lab / name) for name in ("train", "dev", "ali_train", "ali_dev")]
    options = [f"--config={lab}/dnn.yaml", "--set=training.seed=1", "--set=schedule.max_iters=1"]
    assert main(["train-dnn", *options, *CPU, *places, str(tmp_path / "other")]) == 0
    return tmp_path / "other"


def test_soft_targets_of_another_teacher(lab, other_teacher, tmp_path, capsys):
    error = refused(lab, tmp_path, capsys, "--mode=soft", *taught(lab), f"--teacher={other_teacher}")
    assert "soft_train/header.yaml: the soft targets are of the teacher" in error
    assert train(lab, tmp_path / "x", "--mode=soft", *taught(lab), f"--teacher={lab}/dnn") == 0
    places = [str(other_teacher / "final.pt"), str(lab / "dev"), str(tmp_path / "dev")]
    assert main(["make-soft-targets", *CPU, "--top-k=2", *places]) == 0
    mixed = [taught(lab)[0], f"--soft-targets-dev={tmp_path}/dev"]
    assert "dev/header.yaml: the soft targets are of the teacher" in refused(
        lab, tmp_path / "mixed", capsys, "--mode=soft", *mixed
    )


def test_soft_targets_of_another_length(lab, tmp_path, capsys):
    matrices = dict(read_matrices(f"scp:{lab}/train/feats.scp"))
    matrices["t1-001"] = matrices["t1-001"][:-1]
    write_data_dir(tmp_path / "train", matrices)
    places = [str(lab / "dnn/final.pt"), str(tmp_path / "train"), str(tmp_path / "soft")]
    assert main(["make-soft-targets", *CPU, "--top-k=2", *places]) == 0
    error = refused(lab, tmp_path, capsys, "--mode=soft", f"--soft-targets={tmp_path}/soft", taught(lab)[1])
    assert "utterance 't1-001': soft targets of" in error and "the features have" in error


def test_half_written_soft_targets(lab, tmp_path, capsys):
    shutil.copytree(lab / "soft_train", tmp_path / "soft")
    (tmp_path / "soft/soft.scp").unlink()
    error = refused(lab, tmp_path, capsys, "--mode=soft", f"--soft-targets={tmp_path}/soft", taught(lab)[1])
    assert "soft: the soft targets are half-written - make them again" in error


def test_utterances_without_soft_targets_are_dropped_and_too_many_are_an_error(lab, tmp_path, capsys, caplog):
    lines = (lab / "train/feats.scp").read_text().splitlines()
    for name, kept in (("most", 58), ("half", 30)):
        data = tmp_path / name
        shutil.copytree(lab / "train", data)
        (data / "feats.scp").write_text("".join(f"{line}\n" for line in lines[:kept]))
        utts = [line.split()[0] for line in lines[:kept]]
        (data / "utt2spk").write_text("".join(f"{utt} {utt.split('-')[0]}\n" for utt in utts))
        places = [str(lab / "dnn/final.pt"), str(data), str(tmp_path / f"soft_{name}")]
        assert main(["make-soft-targets", *CPU, "--top-k=2", *places]) == 0
    missing = lines[58].split()[0]
    common = ["--mode=soft", taught(lab)[1], "--set=schedule.max_iters=1"]
    assert train(lab, tmp_path / "exp", *common, f"--soft-targets={tmp_path}/soft_most") == 0
    assert f"dropped utterance '{missing}': no soft targets" in caplog.text
    error = refused(lab, tmp_path, capsys, *common, f"--soft-targets={tmp_path}/soft_half")
    assert "30" in error and "no soft targets" in error


def test_archives_of_other_pdfs(lab, tmp_path, capsys):
    lengths = {utt: len(m) for utt, m in read_matrices(f"scp:{lab}/train/feats.scp")}
    with MatrixWriter(f"ark:{tmp_path}/post.ark") as writer:
        for utt, length in lengths.items():
            writer.write(utt, np.full((length, 4), 0.25, np.float32))
    error = refused(lab, tmp_path, capsys, "--mode=soft", f"--soft-targets=ark:{tmp_path}/post.ark")
    assert "expected 3 pdfs" in error


def test_a_model_of_another_shape_to_begin_from(lab, soft, tmp_path, capsys):
    options = [f"--init-model={soft}/final.pt", "--set=network.cells=25"]
    error = refused(lab, tmp_path, capsys, "--mode=hard", *options)
    assert "soft/final.pt: is a model of network" in error and "begin from a model of the same" in error
    assert "is a model of kind dnn" in refused(
        lab, tmp_path / "y", capsys, "--mode=hard", f"--init-model={lab}/dnn/final.pt"
    )


# --- forward and the step ---


def test_forward_gives_a_row_a_frame_whatever_the_batch(lab, soft, tmp_path):
    def forward(source, *options):
        out = f"ark:{tmp_path}/out.ark"
        assert main(["forward", *CPU, *options, str(soft / "final.pt"), source, out]) == 0
        return dict(read_matrices(out))

    outputs = forward(str(lab / "dev"))
    lengths = {utt: len(m) for utt, m in read_matrices(f"scp:{lab}/dev/feats.scp")}
    assert {utt: len(m) for utt, m in outputs.items()} == lengths
    for matrix in outputs.values():
        np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-5)
    # What training measured is what is written: the same delay, the same frames.
    labels = AlignmentDir(lab / "ali_dev").pdfs()
    right = sum(int((matrix.argmax(axis=1) == labels[utt]).sum()) for utt, matrix in outputs.items())
    measured = load_history(soft / "history.csv")[-1]["cv_frame_acc"]
    assert 100.0 * right / sum(lengths.values()) == pytest.approx(measured, abs=0.01)
    # A student may be a teacher itself.
    places = [str(soft / "final.pt"), str(lab / "dev"), str(tmp_path / "again")]
    assert main(["make-soft-targets", *CPU, "--top-k=all", *places]) == 0
    store = SoftTargetStore(tmp_path / "again")
    assert store.header.teacher["kind"] == "lstm"
    for utt, matrix in outputs.items():
        np.testing.assert_allclose(store.read(utt, len(matrix)).log_post.exp(), matrix, atol=2e-3)


STEP = "steps/train_lstm.sh"


def test_the_step_equals_the_command(lab, pretrained, tmp_path):
    (tmp_path / "lang").mkdir()
    shutil.copy(lab / "ali_train/phones.txt", tmp_path / "lang")
    targets = ["--soft-targets", f"{lab}/soft_train", "--soft-targets-dev", f"{lab}/soft_dev"]
    options = ["--mode", "pretrain", "--temperature", "2", *targets, "--lstm-config", f"{lab}/lstm.yaml"]
    options += ["--num-threads", "1", "--use-gpu", "no"]
    places = [str(lab / "train"), str(lab / "dev"), "lang", str(lab / "ali_train"), str(lab / "ali_dev")]
    output = succeed(tmp_path, STEP, *options, *places, "exp")
    assert "network in exp/final.pt" in output
    assert same_weights(tmp_path / "exp", pretrained)
    succeed(
        tmp_path,
        "steps/make_soft_targets.sh",
        "--nj",
        "1",
        "--top-k",
        "2",
        *map(str, (lab / "train", lab / "dnn", "soft")),
    )
    options = ["--no-ali", "true", "--mode", "soft", "--lstm-config", f"{lab}/lstm.yaml", "--use-gpu", "no"]
    options += ["--soft-targets", "soft", "--soft-targets-dev", f"{lab}/soft_dev", "--num-threads", "1"]
    succeed(tmp_path, STEP, *options, *places[:3], "untranscribed")
    assert (tmp_path / "untranscribed/ali_train_pdf.counts").exists()


def test_wrong_calls_of_the_step(lab, tmp_path):
    assert f"Usage: {STEP}" in fails(tmp_path, STEP)
    places = [str(lab / name) for name in ("train", "dev")]
    assert "Usage:" in fails(tmp_path, STEP, "--no-ali", "true", *places, "lang", "a", "b", "exp")
    (tmp_path / "lang").mkdir()
    (tmp_path / "lang/phones.txt").write_text("<eps> 0\nSIL 1\nB 2\n")
    alignments = [str(lab / "ali_train"), str(lab / "ali_dev")]
    assert "differ: give the lang directory" in fails(tmp_path, STEP, *places, "lang", *alignments, "exp")
    shutil.copy(lab / "ali_train/phones.txt", tmp_path / "lang")
    output = fails(tmp_path, STEP, "--mode", "pretrain", *places, "lang", *alignments, "exp")
    assert "--mode pretrain needs a teacher" in output and "log is in exp/log/train.log" in output
