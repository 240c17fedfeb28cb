"""The steps as Kaldi's recipes call them: with Kaldi's tools, on Kaldi's alignments, and called wrongly."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from dkt.hmm.transition_model import TransitionModel, initial_tuples
from dkt.util.table import read_matrices
from tests.fit_data import UTTS, labels, write_fit_data
from tests.hmm.test_transitions import two_phone_model
from tests.shell import ROOT, fails, run, succeed
from tests.synthetic import write_ali_dir
from tests.tones import write_corpus

STEPS = (
    "align align_si augment_data_dir check_data compute_cmvn_stats copy_ali_dir decode decode_scan forward "
    "make_fbank make_fmllr_feats make_mfcc make_priors mkgraph perturb_data_dir_speed "
    "perturb_data_dir_volume prepare_lang score train_dnn train_mono"
)


@pytest.mark.parametrize("step", STEPS.split())
def test_a_wrong_call_prints_the_steps_own_usage(tmp_path: Path, step: str) -> None:
    assert f"Usage: steps/{step}.sh" in fails(tmp_path, f"steps/{step}.sh")
    assert fails(tmp_path, f"steps/{step}.sh", "--no-such", "1").startswith(f"steps/{step}.sh: error:")
    for option in ("--stage", "--cmd"):
        assert f"  {option} <" in succeed(tmp_path, f"steps/{step}.sh", "--help")


def write_kaldi(path: Path) -> None:
    """A directory of Kaldi's layout whose tools say that they were called."""
    utils = path / "egs/wsj/s5/utils"
    utils.mkdir(parents=True)
    own, calls = ROOT / "steps/utils", path / "calls"
    (utils / "run.pl").write_text(f'#!/bin/sh\necho run.pl >>"{calls}"\nexec "{own}/run.pl" "$@"\n')
    (utils / "run.pl").chmod(0o755)
    # Kaldi's has a shell evaluate values, and is left alone.
    (utils / "parse_options.sh").write_text(f'echo parse_options.sh >>"{calls}"\nexit 1\n')


def test_with_kaldi_the_steps_use_its_tools(tmp_path: Path) -> None:
    write_kaldi(tmp_path / "kaldi")
    write_corpus(tmp_path / "data")
    (tmp_path / "mfcc.conf").write_text("--sample-frequency=8000\n")
    kaldi = {"KALDI_ROOT": str(tmp_path / "kaldi")}
    succeed(tmp_path, "steps/make_mfcc.sh", "--nj", "2", "--mfcc-config", "mfcc.conf", "data/test", **kaldi)
    assert len((tmp_path / "data/test/feats.scp").read_text().splitlines()) == 8
    assert (tmp_path / "kaldi/calls").read_text().splitlines() == ["run.pl"]
    output = fails(tmp_path, "steps/make_mfcc.sh", "data/test", KALDI_ROOT=str(tmp_path))
    assert "has no egs/wsj/s5/utils" in output


def cut(source: Path, target: Path, num_utts: int) -> None:
    """The first utterances of a data directory of Kaldi's, whose scripts have relative paths."""
    target.mkdir(parents=True)
    root = source.parents[1]
    for name in ("feats.scp", "utt2spk", "text"):
        lines = (source / name).read_text().splitlines()[:num_utts]
        (target / name).write_text("\n".join(lines).replace(" data/", f" {root}/data/") + "\n")
    speakers = {line.split()[1] for line in (target / "utt2spk").read_text().splitlines()}
    for name in ("cmvn.scp", "spk2utt"):
        lines = [x for x in (source / name).read_text().splitlines() if x.split()[0] in speakers]
        (target / name).write_text("\n".join(lines).replace(" data/", f" {root}/data/") + "\n")


def test_from_a_kaldi_alignment_to_posteriors_and_words(tmp_path: Path, kaldi_fixtures: Path) -> None:
    for part, num_utts in (("train", 40), ("dev", 20), ("test", 1)):
        cut(kaldi_fixtures / "data" / part, tmp_path / "data" / part, num_utts)
    (tmp_path / "dnn.yaml").write_text(
        "features: {splice: 3}\nnetwork: {hidden_layers: 1, hidden_dim: 64, activation: relu}\n"
        "optimizer: {type: adam}\nschedule: {learn_rate: 0.002, max_iters: 1}\n"
    )
    exp = kaldi_fixtures / "exp"
    places = [str(kaldi_fixtures / "lang"), str(exp / "tri2b_ali"), str(exp / "tri2b_ali_dev")]
    train = ["--dnn-config", "dnn.yaml", "--num-threads", "1", "--max-dropped", "0.1"]
    output = succeed(tmp_path, "steps/train_dnn.sh", *train, "data/train", "data/dev", *places, "exp/dnn")
    assert "train_dnn.sh: data/train: 40 of 40 utterances, 0.0" in output
    # One speaker, and alignments of more utterances than there are.
    assert "train_dnn.sh: 2 warnings in exp/dnn/log/check_dev.log" in output
    succeed(tmp_path, "steps/forward.sh", "--nj", "1", "data/test", "exp/dnn", "exp/dnn/post_test")
    posteriors = dict(read_matrices(f"scp:{tmp_path}/exp/dnn/post_test/feats.scp"))
    assert len(posteriors) == 1 and all(matrix.shape[1] == 624 for matrix in posteriors.values())
    search = ["--nj", "1", "--beam", "8", "--max-active", "500"]
    search += ["--scoring-opts", "--lmwts 10 --word-ins-penalties 0.0"]
    places = [str(exp / "tri2b/graph"), "data/test", "exp/dnn/decode_test"]
    succeed(tmp_path, "steps/decode.sh", *search, *places)
    assert "[ " in (tmp_path / "exp/dnn/decode_test/scoring_kaldi/best_wer").read_text()


def test_faults_of_the_data_end_a_training_before_it_begins(tmp_path: Path) -> None:
    for part in ("train", "dev"):
        write_fit_data(tmp_path / part)
        shutil.copy(tmp_path / part / "ali/phones.txt", tmp_path / part / "lang")
        (tmp_path / part / "data/text").write_bytes(b"a-1 \xc9\na-2 X\nb-1 X\nb-2 X\n")
    data = ["train/data", "dev/data", "train/lang"]
    alignments, table = (
        ["train/ali", "dev/ali"],
        r"^text  .*error .*{}/data/text: 1 line not UTF-8 .line 1: a-1",
    )
    (tmp_path / "nnet.yaml").write_text("network: {type: blstm}\n")
    for step, options, places in (
        ("steps/train_dnn.sh", [], [*data, *alignments]),
        ("steps/train_lstm.sh", [], [*data, *alignments]),
        ("steps/train_nnet.sh", ["--nnet-config", "nnet.yaml"], [*data, *alignments]),
        ("steps/train_lstm.sh", ["--no-ali", "true", "--hmm-dir", "train/ali"], data),
    ):
        output = fails(tmp_path, step, *options, *places, "exp")
        for part in ("train", "dev"):
            assert re.search(table.format(part), output, re.MULTILINE)
        assert re.search(r"error: .*not fit to train on: 1 fault.*log is in exp/log/check_train.log", output)
        assert bool(re.search("^alignment ", output, re.MULTILINE)) == ("--no-ali" not in options)
        assert sorted(path.name for path in (tmp_path / "exp/log").iterdir()) == [
            "check_dev.list",
            "check_dev.log",
            "check_train.list",
            "check_train.log",
        ]


def test_the_check_of_the_data_knows_the_model_and_the_limit_and_may_be_left_out(tmp_path: Path) -> None:
    for part in ("train", "dev"):
        write_fit_data(tmp_path / part)
        shutil.copy(tmp_path / part / "ali/phones.txt", tmp_path / part / "lang")
    topology = two_phone_model().topology
    other = TransitionModel(topology, initial_tuples(topology, {(1, 0): 0, (2, 0): 2, (2, 1): 1}))
    write_ali_dir(tmp_path / "dev/ali", other, {utt: labels() for utt in UTTS[:3]})
    places = ["train/data", "dev/data", "train/lang", "train/ali", "dev/ali", "exp"]
    output = fails(tmp_path, "steps/train_dnn.sh", *places)
    assert re.search(
        r"^other model +error +train/ali/final.mdl: the pdfs are of other phones", output, re.MULTILINE
    )
    write_ali_dir(tmp_path / "dev/ali", two_phone_model(), {utt: labels() for utt in UTTS[:3]})
    # The training refuses to validate on what it trains on, and so does the check.
    output = fails(tmp_path, "steps/train_dnn.sh", *places)
    assert "dev/data: 3 of 4 utterances" in output
    assert "4 utterances also in train/data (a-1, a-2, b-1, b-2) - cross-validate on data" in output
    output = fails(tmp_path, "steps/train_dnn.sh", "--skip-check", "true", *places)
    assert "all of its 4 utterances are in train/data too" in output
    assert "log is in exp/log/train.log" in output and "would be used" not in output
    for name in ("utt2spk", "feats.scp", "segments", "text"):
        path = tmp_path / "train/data" / name
        path.write_text(re.sub(r"^b-1 ", "b-3 ", path.read_text(), flags=re.MULTILINE))
    (tmp_path / "train/data/spk2utt").unlink()
    write_ali_dir(
        tmp_path / "train/ali", two_phone_model(), {utt: labels() for utt in ("a-1", "a-2", "b-3", "b-2")}
    )
    output = fails(tmp_path, "steps/train_dnn.sh", *places)
    assert "1 of 4 utterances were dropped, over the limit" in output


def test_a_recipe_takes_paths_of_the_callers_directory(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    options = ["--corpus", "fsdd", "--corpus-dir", "empty", "--data", "my data", "--exp", "my exp"]
    done = run(tmp_path, "egs/digits/s5/run.sh", *options, "--stop-stage", "0")
    assert done.returncode != 0 and f"{tmp_path}/empty" in done.stderr, done.stdout + done.stderr
    assert (tmp_path / "my exp").is_dir()


LOGS = """
. "$DKT_ROOT/steps/lib/common.sh"
check_losses "$@"
"""


@pytest.mark.parametrize(("max_dropped", "code"), [("0.2", 0), ("0.1", 1)])
def test_the_limit_of_losses_is_on_the_sum_of_the_jobs(tmp_path: Path, max_dropped: str, code: int) -> None:
    summary = "INFO (dkt x) decode: {} utterances done, {} dropped{}\n"
    (tmp_path / "x.1.log").write_text("# x\n" + summary.format(1, 1, "; 1 (a): no path"))
    (tmp_path / "x.2.log").write_text("WARNING (dkt x) odd\n" + summary.format(4, 0, ""))
    (tmp_path / "check.sh").write_text(f"#!/bin/bash\n{LOGS}")
    (tmp_path / "check.sh").chmod(0o755)
    logs = [str(tmp_path / f"x.{job}.log") for job in (1, 2)]
    done = run(tmp_path, str(tmp_path / "check.sh"), max_dropped, *logs, DKT_ROOT=str(ROOT))
    assert done.returncode == code
    told = done.stderr.splitlines()
    assert told[0] == f"check.sh: 1 warning in {tmp_path}/x.*.log"
    assert told[1:3] == ["check.sh: decode: 1 of 6 utterances dropped", f"  {logs[0]}: 1 (a): no path"]
