"""The command ``train-lstm``: every mode, and every kind of teacher."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from dkt.base.errors import DktError
from dkt.bin import main
from dkt.hmm.alignments import AlignmentDir
from dkt.hmm.counts import load_counts
from dkt.nnet import threads
from dkt.nnet.model_file import load_model, save_model
from dkt.targets.store import TargetDir
from dkt.train import loop
from dkt.train.history import load_history
from dkt.util.table import read_matrices
from tests.shell import fails, succeed
from tests.student_lab import CPU, lab, same_weights, soft, soft_targets, taught, train, weights
from tests.synthetic import write_data_dir

__all__ = ["lab", "soft"]


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
        ("interpolate", ["--temperature=2", "--lambda=0.7"]),
        ("conditional", ["--temperature=2"]),
        ("teacher_labels", []),
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
    if mode == "interpolate":
        assert objective["soft_weight"] == 0.7 and objective["temperature"] == 2.0


def test_a_soft_student_comes_near_its_teacher(lab, soft):
    history = load_history(soft / "history.csv")
    # Divergence from the teacher, in nats: cross-entropy minus entropy. Random outputs are about 0.5 away.
    assert history[-1]["cv_loss"] < 0.1
    assert history[-1]["cv_frame_acc"] > 80.0
    assert (soft / "final.mdl").read_bytes() == (lab / "ali_train/final.mdl").read_bytes()
    assert load_counts(soft / "ali_train_pdf.counts").sum() > 1000


def test_a_damaged_model_of_a_soft_phase_that_is_over_is_told_of(lab, pretrained, tmp_path, caplog):
    shutil.copytree(pretrained, tmp_path / "exp", symlinks=True)
    damaged = tmp_path / "exp/soft/final.pt"
    damaged.write_bytes(damaged.read_bytes()[:-300])
    assert train(lab, tmp_path / "exp", "--mode=pretrain", "--temperature=2", *taught(lab)) == 0
    assert "soft/final.pt: is damaged" in caplog.text and "trained again" not in caplog.text
    assert same_weights(tmp_path / "exp", pretrained)


def test_pretraining_is_a_soft_and_then_a_hard_training_and_keeps_both(lab, soft, pretrained, tmp_path):
    assert same_weights(pretrained / "soft", soft)
    assert not same_weights(pretrained, soft)
    by_hand = tmp_path / "by_hand"
    assert train(lab, by_hand, "--mode=hard", f"--init-model={soft}/final.pt") == 0
    assert same_weights(by_hand, pretrained)
    # The fine-tuning has the schedule of its own, and its curve begins where the soft training ended.
    before, epoch = load_history(pretrained / "history.csv")
    assert (before["epoch"], epoch["learn_rate"]) == (0.0, 0.005)
    ended = load_history(soft / "history.csv")[-1]
    assert before["cv_frame_acc"] == ended["cv_frame_acc"]
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


@pytest.mark.parametrize("teacher", ["--mode=hard", "--mode=soft"])
def test_any_number_of_threads_gives_the_same_student(lab, tmp_path, monkeypatch, teacher):
    monkeypatch.setattr(threads, "_WORTH_SHARING", 0)
    options = [teacher, "--set=batches.num_streams=13", "--set=schedule.max_iters=2"]
    if teacher == "--mode=soft":
        options.append(f"--teacher={lab}/dnn")
    for number in (1, 3):
        assert train(lab, tmp_path / str(number), *options, f"--num-threads={number}") == 0
    assert same_weights(tmp_path / "1", tmp_path / "3")


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
    # The table shows what is known of the weights that were kept.
    rows = load_history(tmp_path / "x/history.csv")
    assert [row["accepted"] for row in rows] == [1.0, 0.0]


def test_labels_of_a_teacher_need_no_temperature(lab, tmp_path):
    for part in ("train", "dev"):
        soft_targets(lab / "dnn", lab / part, tmp_path / part, "--temperatures=2")
    given = [f"--soft-targets={tmp_path}/train", f"--soft-targets-dev={tmp_path}/dev"]
    assert train(lab, tmp_path / "x", "--mode=teacher_labels", *given) == 0
    assert train(lab, tmp_path / "y", "--mode=teacher_labels", *taught(lab)) == 0
    assert same_weights(tmp_path / "x", tmp_path / "y")


def test_a_shuffled_teacher_is_another_one_and_leaves_hard_training_as_it_is(lab, soft, tmp_path):
    given = ["--temperature=2", *taught(lab), "--shuffle-targets"]
    assert train(lab, tmp_path / "soft", "--mode=soft", *given) == 0
    assert not same_weights(tmp_path / "soft", soft)
    assert train(lab, tmp_path / "twice", "--mode=pretrain", *given) == 0
    assert same_weights(tmp_path / "twice/soft", tmp_path / "soft")
    assert train(lab, tmp_path / "hard", "--mode=hard", f"--init-model={tmp_path}/soft") == 0
    assert same_weights(tmp_path / "twice", tmp_path / "hard")


@pytest.mark.parametrize("kind", ["lstm", "dnn"])
def test_fine_tuning_has_a_dropout_of_its_own(lab, tmp_path, kind):
    def train_twice(name: str, *options: str) -> Path:
        places = [str(lab / place) for place in ("train", "dev", "ali_train", "ali_dev")]
        twice = ["--mode=pretrain", "--set=objective.first=hard", "--set=fine_tuning.learn_rate=0.002"]
        twice += ["--set=network.hidden_layers=2"] if kind == "dnn" else []
        command = [f"train-{kind}", f"--config={lab}/{kind}.yaml", *CPU, *twice, *options, *places]
        assert main([*command, str(tmp_path / name)]) == 0
        return tmp_path / name

    own, none = train_twice("own", "--set=fine_tuning.dropout=0.4"), train_twice("none")
    assert same_weights(own / "hard", none / "hard")
    assert not same_weights(own, none)
    assert load_model(own / "final.pt")[1].config.dropout == 0.4
    assert load_model(own / "hard/final.pt")[1].config.dropout == 0.0


def test_an_interrupted_student_goes_on_to_the_same_weights(lab, soft, tmp_path, monkeypatch):
    epoch = loop.TrainingLoop._epoch

    def stop_after_two(self):
        if self.schedule.epoch == 2:
            raise DktError("interrupted")
        epoch(self)

    options = ["--mode=soft", "--temperature=2", *taught(lab)]
    monkeypatch.setattr(loop.TrainingLoop, "_epoch", stop_after_two)
    assert train(lab, tmp_path / "x", *options) == 1
    assert not (tmp_path / "x/final.pt").exists()
    monkeypatch.setattr(loop.TrainingLoop, "_epoch", epoch)
    assert train(lab, tmp_path / "x", *options) == 0
    assert (tmp_path / "x/final.pt").read_bytes() == (soft / "final.pt").read_bytes()


def test_the_same_initial_weights_in_another_file_are_the_same_experiment(lab, soft, tmp_path):
    info, network = load_model(soft / "final.pt")
    save_model(tmp_path / "copy.pt", info, network)
    for init in (soft / "final.pt", tmp_path / "copy.pt", soft):
        assert train(lab, tmp_path / "x", "--mode=hard", f"--init-model={init}") == 0
    # What only training reads may be another.
    options = ["--mode=hard", f"--init-model={soft}", "--set=network.dropout=0.1"]
    assert train(lab, tmp_path / "y", *options, "--set=features.cmvn_opts=--norm-means=true") == 0
    assert load_model(tmp_path / "y/final.pt")[1].config.dropout == 0.1


# --- the teacher's other forms ---


def test_the_teacher_run_now_equals_its_soft_targets_but_for_their_half_precision(lab, soft, tmp_path):
    options = ["--mode=soft", "--temperature=2", f"--teacher={lab}/dnn", "--top-k=2"]
    assert train(lab, tmp_path / "now", *options) == 0
    for name, value in weights(soft).items():
        torch.testing.assert_close(weights(tmp_path / "now")[name], value, atol=0.02, rtol=0.02)


def test_the_default_of_top_k_is_at_most_the_number_of_pdfs(lab, tmp_path, capsys):
    options = ["--mode=soft", "--temperature=2", f"--teacher={lab}/dnn", "--set=schedule.max_iters=1"]
    assert train(lab, tmp_path / "default", *options) == 0
    assert train(lab, tmp_path / "all", *options, "--top-k=all") == 0
    for name, value in weights(tmp_path / "default").items():
        torch.testing.assert_close(weights(tmp_path / "all")[name], value, atol=0.0, rtol=0.0)
    assert train(lab, tmp_path / "more", *options, "--top-k=20") == 1
    assert "--top-k is 20, expected a number from 1 to the 3 pdfs, or 'all'" in capsys.readouterr().err


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
    store = TargetDir(tmp_path / "again")
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


def test_the_configuration_decides_the_mode_unless_an_option_does(lab, tmp_path):
    config = yaml.safe_load((lab / "lstm.yaml").read_text())
    config |= {"objective": {"mode": "smooth", "smoothing": 0.3}, "schedule": {"max_iters": 1}}
    (tmp_path / "lstm.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "lang").mkdir()
    shutil.copy(lab / "ali_train/phones.txt", tmp_path / "lang")
    places = [str(lab / "train"), str(lab / "dev"), "lang", str(lab / "ali_train"), str(lab / "ali_dev")]
    options = ["--lstm-config", "lstm.yaml", "--use-gpu", "no", "--num-threads", "1"]
    for given, expected in (([], "smooth"), (["--mode", "hard"], "hard")):
        succeed(tmp_path, STEP, *options, *given, *places, expected)
        assert (
            yaml.safe_load((tmp_path / expected / "config.yaml").read_text())["objective"]["mode"] == expected
        )


def test_the_step_takes_a_teacher_of_other_features(lab, tmp_path):
    (tmp_path / "lang").mkdir()
    shutil.copy(lab / "ali_train/phones.txt", tmp_path / "lang")
    for part in ("train", "dev"):
        narrow = {u: m[:, :3] for u, m in read_matrices(f"scp:{lab}/{part}/feats.scp")}
        write_data_dir(tmp_path / part, narrow)
    options = ["--mode", "soft", "--teacher", str(lab / "dnn"), "--top-k", "2", "--use-gpu", "no"]
    options += ["--teacher-data-train", str(lab / "train"), "--teacher-data-dev", str(lab / "dev")]
    options += ["--lstm-config", f"{lab}/lstm.yaml", "--num-threads", "1"]
    succeed(
        tmp_path, STEP, *options, "train", "dev", "lang", str(lab / "ali_train"), str(lab / "ali_dev"), "exp"
    )
    assert load_model(tmp_path / "exp/final.pt")[0].feature_dim == 3


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
