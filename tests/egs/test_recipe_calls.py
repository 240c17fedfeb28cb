"""Recipes: --stage does again what its steps did, one recipe an experiment, and bad calls are told first."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from dkt.base.directory_lock import LOCK, STEP_LOCK, hold_directory
from tests.recipe_lab import write
from tests.shell import ROOT, run
from tests.stand_ins import StandIns

#: Two stages of real steps: an array of jobs in the first, another step in each.
RECIPE = f"""
set -euo pipefail
help_message=
. "{ROOT}/steps/lib/common.sh"
exp=exp stage=${{1:-}} stop_stage=9 stage_options= steal_lock=${{STEAL:-false}}
. "{ROOT}/local/stages.sh"
if begin_stage 1 first; then
  "{ROOT}/steps/forward.sh" --nj 4 data exp/dnn exp/post
  "{ROOT}/steps/mkgraph.sh" lang exp/gmm exp/gmm/made
  end_stage exp/post/feats.scp
fi
if begin_stage 2 second; then
  if [ -n "${{ASIDE:-}}" ]; then set_aside "$ASIDE"; fi
  "{ROOT}/steps/make_priors.sh" --nj 4 data exp/dnn
  end_stage exp/dnn/prior_counts
fi
"""


@pytest.fixture
def place(place: Path) -> Path:
    write(place / "recipe.sh", RECIPE)
    return place


def call(tools: StandIns, place: Path, *arguments: str, **variables: str) -> tuple[list[str], str]:
    """Run the recipe: the commands of dkt that its steps ran, and what was printed."""
    environment = {k: v for k, v in os.environ.items() if k not in ("KALDI_ROOT", "DKT_ROOT")}
    done = subprocess.run(
        ["bash", "recipe.sh", *arguments],
        cwd=place,
        env=environment | {"LC_ALL": "C", **tools.with_kaldi, **variables},
        capture_output=True,
        text=True,
    )
    calls = [words[1] for words in tools.calls() if words[0] == "dkt"]
    assert (done.returncode != 0) == ("error" in done.stderr), done.stdout + done.stderr
    return calls, done.stdout + done.stderr


FIRST, SECOND = ["forward"] * 4 + ["mkgraph"], ["forward", "analyze-counts"] * 4


def test_stage_does_its_steps_and_those_after_it_again(tools: StandIns, place: Path) -> None:
    assert sorted(call(tools, place)[0]) == sorted(FIRST + SECOND)
    assert call(tools, place)[0] == []
    assert sorted(call(tools, place, "2")[0]) == sorted(SECOND)
    calls, output = call(tools, place, "1")
    assert sorted(calls) == sorted(FIRST + SECOND) and "done already" not in output
    assert call(tools, place)[0] == []


def test_stage_that_was_interrupted_goes_on_and_does_all_of_it(tools: StandIns, place: Path) -> None:
    call(tools, place)
    calls, _ = call(tools, place, "1", KILL="forward data/split4/3")
    assert sorted(calls) == ["forward"] * 4
    # Three jobs are of after --stage; what follows is not.
    assert sorted(call(tools, place)[0]) == sorted([*FIRST[3:], *SECOND])
    assert call(tools, place)[0] == []


def test_the_second_of_two_recipes_is_refused(tools: StandIns, place: Path) -> None:
    with hold_directory(place / "exp", "run.sh", name=STEP_LOCK):
        calls, output = call(tools, place)
        assert calls == [] and "exp: another process writes in this directory: run.sh on host" in output
        assert f"pid {os.getpid()}" in output and "--steal-lock true" in output
        assert sorted(call(tools, place, STEAL="true")[0]) == sorted(FIRST + SECOND)
    assert not (place / "exp" / STEP_LOCK).exists()


@pytest.mark.parametrize("name", [LOCK, STEP_LOCK])
@pytest.mark.parametrize("below", ["", "soft_train"])
def test_a_directory_at_work_is_not_moved_aside(tools: StandIns, place: Path, name: str, below: str) -> None:
    call(tools, place)
    with hold_directory(place / "exp/net" / below, "train_dnn.sh", name=name):
        calls, output = call(tools, place, "2", ASIDE="exp/net")
        assert calls == [] and "another process writes in this directory: train_dnn.sh" in output
        assert (place / "exp/net" / below / name).exists() and not (place / "exp/.backup").exists()
        write(place / "exp/net/final.pt", "x")
    assert "moved to exp/.backup/net.1" in call(tools, place, "2", ASIDE="exp/net")[1]


BAD_CALLS = [
    (["--dnn-config", "nowhere.yaml"], "--dnn-config is '{}/nowhere.yaml', but there is no such file"),
    (["--lstm-config", "nowhere.yaml"], "--lstm-config is '{}/nowhere.yaml', but there is no such file"),
    (["--dnn-config", "matrix.yaml"], "matrix.yaml: names a matrix that cannot be used: nowhere.mat"),
    (["--lstm-config", "key.yaml"], "key.yaml: line 1: unknown key 'network.hidden'"),
    (["--corpus-dir", "nowhere"], "--corpus-dir is '{}/nowhere', but there is no such directory"),
    (["--students", "lstm-soft-T0"], "-T is followed by a temperature above 0"),
    (["--students", "lstm-soft-T2 lstm-soft-T2.0"], "temperature, however it is written: 2 is named twice"),
    (["--students", "lstm-hard lstm-hard"], "student lstm-hard is named twice"),
    (["--students", "blstm"], "no student 'blstm'"),
    (["--students", "lstm-soft-T2-then-interpolate"], "goes on from lstm-soft-T2: name it too"),
    (["--students", "lstm-soft-T2-by-lstm-hard"], "is taught by lstm-hard: name it too"),
    (["--students", "small-hard"], "needs a configuration: --small-config"),
    (["--seeds", ""], "--seeds is empty"),
    (["--seeds", "1.5"], "--seeds holds '1.5'"),
    (["--nj", ""], "--nj is empty"),
    (["--beam", "0.0"], "--beam is '0.0', expected numbers above 0"),
    (["--lmwts", "10 -1"], "--lmwts is '10 -1', expected numbers above 0"),
    (["--word-ins-penalties", " "], "--word-ins-penalties is empty"),
    (["--network-features", "plp"], "--network-features is 'plp'"),
    (["--speeds", "0.9 1"], "--speeds holds '1', the speed of the originals"),
    (["--speeds", "1.00"], "--speeds holds '1.00', the speed of the originals"),
    (["--speeds", "0.9 3"], "--speeds holds '3', expected decimal numbers from 0.5 to 2"),
    (["--speeds", "9e-1"], "--speeds holds '9e-1', expected decimal numbers"),
    (["--speeds", "0.9 0.90"], "a speed, however it is written: 0.9 is named twice"),
    (["--speeds", "fast"], "--speeds is 'fast', expected numbers"),
    (["--noise-copies", "20,10"], "--noise-copies is '20,10', expected signal-to-noise ratios"),
    (["--stage", "12"], "--stage 12 is after stage 11"),
    (["--exp", "JOBS/exp"], "holds JOB"),
]


@pytest.mark.parametrize(("options", "message"), BAD_CALLS)
def test_what_is_wrong_with_a_call_is_told_before_anything_runs(
    tmp_path: Path, options: list[str], message: str
) -> None:
    write(tmp_path / "matrix.yaml", "features: {transform: nowhere.mat}\n")
    write(tmp_path / "key.yaml", "network: {hidden: 3}\n")
    (tmp_path / "corpus").mkdir()
    places = ["--corpus", "fsdd", "--corpus-dir", "corpus", "--data", "data", "--exp", "exp"]
    done = run(tmp_path, "egs/digits/s5/run.sh", *places, *options)
    assert done.returncode != 0 and message.format(tmp_path) in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1 and done.stdout == ""
    assert not [path for path in tmp_path.iterdir() if path.name in ("data", "exp", "JOBS")]


#: Of the recipe of sentences: those that are not of a corpus, and its own.
BAD_CALLS_OF_SENTENCES = [
    *(call for call in BAD_CALLS if call[0][0] != "--corpus-dir"),
    (["--corpus-dir", "corpus"], "invalid option '--corpus-dir'"),
    (["--hard-config", "nowhere.yaml"], "--hard-config is '{}/nowhere.yaml', but there is no such file"),
    (["--hard-config", "key.yaml"], "key.yaml: line 1: unknown key 'network.hidden'"),
    (["--lattice-beam", "0"], "--lattice-beam is '0', expected numbers above 0"),
    (["--max-active", ""], "--max-active is '', expected a whole number"),
]


@pytest.mark.parametrize(("options", "message"), BAD_CALLS_OF_SENTENCES)
def test_what_is_wrong_with_a_call_of_the_sentences(tmp_path: Path, options: list[str], message: str) -> None:
    write(tmp_path / "matrix.yaml", "features: {transform: nowhere.mat}\n")
    write(tmp_path / "key.yaml", "network: {hidden: 3}\n")
    done = run(tmp_path, "egs/sentences/s5/run.sh", "--data", "data", "--exp", "exp", *options)
    assert done.returncode != 0 and message.format(tmp_path) in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1 and done.stdout == ""
    assert not [path for path in tmp_path.iterdir() if path.name in ("data", "exp", "JOBS")]


def test_a_runner_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    places = ["--corpus", "fsdd", "--corpus-dir", "corpus", "--data", "data", "--exp", "exp"]
    done = run(tmp_path, "egs/digits/s5/run.sh", *places, decode_cmd="queue.pl --mem 4G")
    assert "decode_cmd is 'queue.pl --mem 4G', but there is no program 'queue.pl'" in done.stderr
    assert not (tmp_path / "exp").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--kaldi-dir", "nowhere"], "--kaldi-dir is '{}/nowhere', but there is no such directory"),
        (["--kaldi-dir", "."], "no file 'data/train/feats.scp'"),
    ],
)
def test_an_experiment_of_kaldis_that_is_not_there(tmp_path: Path, options: list[str], message: str) -> None:
    done = run(tmp_path, "egs/speechocean762/s5/run_kaldi.sh", *options, "--exp", "exp")
    assert done.returncode != 0 and message.format(tmp_path) in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not (tmp_path / "exp").exists()
