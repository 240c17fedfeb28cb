"""What does not fit a student: teachers, soft targets, values and models."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from dkt.bin import main
from dkt.hmm.alignments import AlignmentDir
from dkt.nnet.model_file import load_model, save_model
from dkt.util.table import MatrixWriter, read_matrices
from tests.student_lab import CPU, lab, soft, soft_targets, taught, train
from tests.synthetic import write_data_dir

__all__ = ["lab", "soft"]


def refused(lab, tmp_path, capsys, *options):
    assert train(lab, tmp_path / "x", *options) == 1
    assert not (tmp_path / "x/final.pt").exists()
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize(
    "mode", ["soft", "pretrain", "interpolate", "logits", "conditional", "teacher_labels"]
)
def test_a_mode_that_lacks_its_teacher(lab, tmp_path, capsys, mode):
    error = refused(lab, tmp_path, capsys, f"--mode={mode}")
    assert f"--mode {mode} needs a teacher - give --soft-targets" in error


def test_a_teacher_is_shuffled_by_labels_and_must_be_there(lab, tmp_path, capsys):
    error = refused(lab, tmp_path, capsys, "--mode=smooth", "--shuffle-targets")
    assert "'shuffle_targets' is true, but mode smooth has no teacher - leave it out" in error
    places = [str(lab / name) for name in ("train", "dev")] + [str(tmp_path / "x")]
    options = ["--mode=soft", *taught(lab), "--shuffle-targets", "--no-ali", f"--hmm-dir={lab}/dnn"]
    assert main(["train-lstm", f"--config={lab}/lstm.yaml", *options, *places]) == 1
    assert "--shuffle-targets needs alignments" in capsys.readouterr().err


def test_a_teacher_that_nobody_listens_to(lab, tmp_path, capsys):
    assert "--mode hard makes no use of a teacher" in refused(lab, tmp_path, capsys, *taught(lab))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set=objective.temperature=0"], "'objective.temperature' is 0.0, expected a number from 0.01"),
        (["--set=objective.temperature=warm"], "'objective.temperature' is 'warm', expected a number"),
        (
            ["--set=objective.soft_weight=1.5"],
            "'objective.soft_weight' is 1.5, expected a number from",
        ),
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
    soft_targets(other_teacher, lab / "dev", tmp_path / "dev")
    mixed = [taught(lab)[0], f"--soft-targets-dev={tmp_path}/dev"]
    assert "dev/header.yaml: the soft targets are of the teacher" in refused(
        lab, tmp_path / "mixed", capsys, "--mode=soft", *mixed
    )


def test_soft_targets_of_another_length(lab, tmp_path, capsys):
    matrices = dict(read_matrices(f"scp:{lab}/train/feats.scp"))
    matrices["t1-001"] = matrices["t1-001"][:-1]
    write_data_dir(tmp_path / "train", matrices)
    soft_targets(lab / "dnn", tmp_path / "train", tmp_path / "soft")
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
        soft_targets(lab / "dnn", data, tmp_path / f"soft_{name}")
    missing = lines[58].split()[0]
    common = ["--mode=soft", taught(lab)[1], "--set=schedule.max_iters=1"]
    assert train(lab, tmp_path / "exp", *common, f"--soft-targets={tmp_path}/soft_most") == 0
    assert f"dropped utterance '{missing}': no soft targets" in caplog.text
    # Nothing was learnt in the directory of this call: what is mended may go on in it.
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
    assert (
        "soft/final.pt: the training cannot begin from this model: 'network.cells' was 24 and is 25" in error
    )
    assert "'kind' was 'dnn' and is 'lstm' now" in refused(
        lab, tmp_path / "y", capsys, "--mode=hard", f"--init-model={lab}/dnn/final.pt"
    )


def one_hot(lab, path, shift):
    """An archive of one-hot posteriors: the labels, each moved on by ``shift`` pdfs."""
    for part in ("train", "dev"):
        with MatrixWriter(f"ark:{path}/{part}.ark") as writer:
            for utt, pdfs in AlignmentDir(lab / f"ali_{part}").pdfs().items():
                writer.write(utt, np.eye(3, dtype=np.float32)[(pdfs + shift) % 3])
    return [f"--soft-targets=ark:{path}/train.ark", f"--soft-targets-dev=ark:{path}/dev.ark"]


def test_targets_that_differ_in_their_pdfs_only_are_another_experiment(lab, tmp_path, capsys):
    common = ["--mode=soft", "--top-k=1", "--set=schedule.max_iters=1"]
    assert train(lab, tmp_path / "x", *common, *one_hot(lab, tmp_path, 0)) == 0
    assert train(lab, tmp_path / "x", *common, *one_hot(lab, tmp_path, 0)) == 0
    assert train(lab, tmp_path / "x", *common, *one_hot(lab, tmp_path, 1)) == 1
    assert "'derived.train_targets'" in capsys.readouterr().err


def test_a_teacher_of_another_tree(lab, tmp_path, capsys):
    for name in ("soft", "ali"):
        shutil.copytree(lab / {"soft": "soft_train", "ali": "ali_train"}[name], tmp_path / name)
        (tmp_path / name / "tree").write_text(f"tree of {name}")
    options = ["--mode=soft", f"--soft-targets={tmp_path}/soft", taught(lab)[1]]
    assert train(lab, tmp_path / "x", *options, ali=(tmp_path / "ali", "ali_dev")) == 1
    assert "ali/tree: differs from" in capsys.readouterr().err


def test_counts_of_another_model_without_alignments(lab, tmp_path, capsys):
    shutil.copytree(lab / "dnn", tmp_path / "dnn")
    (tmp_path / "dnn/ali_train_pdf.counts").write_text(" [ 1 2 3 4 5 ]\n")
    options = ["--no-ali", "--mode=soft", f"--teacher={lab}/dnn", f"--hmm-dir={tmp_path}/dnn"]
    assert train(lab, tmp_path / "x", *options, ali=()) == 1
    assert "ali_train_pdf.counts: counts of 5 pdfs, final.mdl beside it has 3" in capsys.readouterr().err
    options = ["--no-ali", "--mode=soft", "--soft-targets=scp:post.scp"]
    assert train(lab, tmp_path / "x", *options, ali=()) == 1
    assert "give the teacher's by --hmm-dir" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--temperature=2"],
            "--temperature is of mode soft, pretrain, interpolate, conditional, not",
        ),
        (["--lambda=0.2"], "--lambda is of mode interpolate, not of hard"),
        (["--smoothing=0.2"], "--smoothing is of mode smooth, not of hard"),
        (["--transition-ids"], "are of archives of posteriors"),
        (["--targets-form=logits"], "are of archives of posteriors"),
        (["--soft-targets=ark:x", "--teacher=y"], "whose posteriors an archive holds is not known"),
        (["--soft-targets-dev=x"], "--soft-targets-dev without --soft-targets"),
        (["--teacher-data-train=x"], "are of a teacher that is run"),
        (["--hmm-dir=x"], "--hmm-dir is of --no-ali"),
        (["--init-model=nowhere"], "nowhere: does not exist"),
    ],
)
def test_options_that_would_do_nothing_are_refused(lab, tmp_path, capsys, options, message):
    assert message in refused(lab, tmp_path, capsys, *options)


def test_what_went_wrong_may_be_mended_in_the_same_directory(lab, tmp_path, capsys):
    options = ["--mode=hard", "--set=schedule.max_iters=1"]
    broken = ["--set=optimizer.type=sgd", "--set=optimizer.max_grad_norm=0", "--set=schedule.learn_rate=1000"]
    assert refused(lab, tmp_path, capsys, *options, *broken).startswith("ERROR")
    assert train(lab, tmp_path / "x", *options) == 0


def test_a_teacher_whose_output_is_not_a_number(lab, tmp_path, capsys):
    info, network = load_model(lab / "dnn/final.pt")
    with torch.no_grad():
        network.output.bias[0] = torch.nan
    save_model(tmp_path / "final.pt", info, network)
    error = refused(lab, tmp_path, capsys, "--mode=soft", f"--teacher={tmp_path}/final.pt")
    assert "train: utterance 't0-000': the output of the teacher is not a number" in error
    assert "there is no such teacher" in refused(lab, tmp_path, capsys, "--mode=soft", "--teacher=nowhere")


def test_logits_cannot_be_matched_with_posteriors_that_list_some_pdfs(lab, tmp_path, capsys):
    for part in ("train", "dev"):
        with (tmp_path / f"{part}.ark").open("w") as archive:
            for utt, pdfs in AlignmentDir(lab / f"ali_{part}").pdfs().items():
                archive.write(f"{utt} " + " ".join(f"[ {pdf} 1 ]" for pdf in pdfs) + "\n")
    places = [f"--soft-targets=ark:{tmp_path}/train.ark", f"--soft-targets-dev=ark:{tmp_path}/dev.ark"]
    assert "these posteriors list some" in refused(lab, tmp_path, capsys, "--mode=logits", *places)
    assert train(lab, tmp_path / "soft", "--mode=soft", "--set=schedule.max_iters=1", *places) == 0
