"""docs/kaldi.md: the ten commands of the start run as typed, and so does what README.md makes of them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, blocks, calls, table
from tests.shell import BIN, ROOT
from tests.steps.test_steps import cut

KALDI, README = PAGES["docs/kaldi.md"], PAGES["README.md"]
START = blocks(KALDI, "bash")[0]
SETUP = '. "$DKT_ROOT/local/setup_env.sh" standalone'
LITTLE = """--max-active 500 --scoring-opts "--min-lmwt 9 --max-lmwt 10 --word-ins-penalty 0.0,1.0" """
DNN = """
features: {splice: 3}
network: {hidden_layers: 1, hidden_dim: 64, activation: relu}
optimizer: {type: adam}
schedule: {learn_rate: 0.002, max_iters: 2}
"""
LSTM = """
network: {layers: 1, cells: 16, projection: 8}
schedule: {max_iters: 1}
fine_tuning: {max_iters: 1}
"""


@pytest.fixture
def experiment(tmp_path: Path, kaldi_fixtures: Path) -> Path:
    """A small one in Kaldi's layout, and a checkout whose recipe has tiny networks."""
    place = tmp_path / "s5"
    for part, num_utts in (("train", 40), ("dev", 2), ("test", 1)):
        cut(kaldi_fixtures / "data" / part, place / "data" / part, num_utts)
    (place / "exp/tri3").mkdir(parents=True)
    for name, source in {
        "data/lang": "lang",
        "exp/tri3_ali": "exp/tri2b_ali",
        "exp/tri3_ali_dev": "exp/tri2b_ali_dev",
        "exp/tri3/graph": "exp/tri2b/graph",
    }.items():
        (place / name).symlink_to(kaldi_fixtures / source)
    conf = tmp_path / "dkt/egs/speechocean762/s5/conf"
    conf.mkdir(parents=True)
    (conf / "kaldi_dnn.yaml").write_text(DNN)
    (conf / "kaldi_lstm.yaml").write_text(LSTM)
    for name in ("steps", "local"):
        (tmp_path / "dkt" / name).symlink_to(ROOT / name)
    return place


def run(typed: str, experiment: Path) -> subprocess.CompletedProcess[str]:
    """Run commands of a page in the directory of the experiment."""
    # The environment is set up here already; a process a job takes longer than these data do; a network that
    # has learnt nothing keeps all states of the graph alive; and a program scores each weight.
    typed = typed.replace(SETUP, "true").replace("/path/to/dkt", str(experiment.parent / "dkt"))
    typed = typed.replace("--nj 4", "--nj 1").replace('decode.sh" --nj 1', f'decode.sh" --nj 1 {LITTLE}')
    environment = {k: v for k, v in os.environ.items() if k not in ("KALDI_ROOT", "DKT_ROOT")}
    environment |= {"PATH": f"{BIN}:{environment['PATH']}", "LC_ALL": "C", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", "-e", "-c", typed], cwd=experiment, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_the_ten_commands_lead_to_a_word_error_rate(experiment: Path) -> None:
    assert len(re.findall(r"^[^#\s]", START, re.MULTILINE)) <= 10
    assert SETUP in START
    done = run(START, experiment)
    assert re.search(r"^%WER [\d.]+ \[ \d+ / \d+, ", done.stdout.splitlines()[-3]), done.stdout
    # What a comment says a command leaves is there.
    for told in re.findall(r"^# Leaves ([\w./]+\w)", START, re.MULTILINE):
        assert told == "the" or (experiment / told).exists(), told
    names = {name for row in table(KALDI, "## What is in") for name in row[1:-1].split("`, `")}
    assert "final.feature_transform" in names
    for name in names - {"delta_opts"}:
        assert (experiment / "exp/dnn" / name).exists() and (experiment / "exp/lstm" / name).exists(), name
    commands_of_the_readme(experiment)


def commands_of_the_readme(experiment: Path) -> None:
    """Run those that the ten are not already: the student of a teacher that runs, and what is told of it."""
    section = README[README.index("## From `exp/tri3_ali`") :]
    section = section[: section.index("\n## ")]
    assert SETUP in section
    teacher, student, decoding = calls(section, "$DKT_ROOT/steps/")
    ten = calls(KALDI, "$DKT_ROOT/steps/")
    assert [word for word in ten[1] if "dnn_config" not in word and "yaml" not in word][1:] == [
        "--dnn-config",
        *teacher[1:],
    ]
    assert decoding in ten
    configured = [student[0], "--lstm-config", "conf/kaldi_lstm.yaml", "--skip-check", "true", *student[1:]]
    assert configured[-1] == "exp/lstm"
    (shown,) = calls(section, "dkt")
    typed = " ".join([*configured[:-1], "exp/of_running_teacher\n", *shown])
    done = run(f"export DKT_ROOT=/path/to/dkt\n{typed}", experiment)
    assert (experiment / "exp/of_running_teacher/final.pt").exists()
    lines = done.stdout.splitlines()[-2:]
    assert [line.split(":")[0] for line in lines] == ["exp/dnn", "exp/lstm"]
    assert "%WER" in lines[1] or "wer" in lines[1].lower(), lines
