"""docs/kaldi.md and README.md: what they name is there, and the ten commands of the start run as typed."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from dkt.bin import main
from tests.shell import BIN, ROOT
from tests.steps.test_steps import cut

KALDI = (ROOT / "docs/kaldi.md").read_text()
DOCUMENTS = {"docs/kaldi.md": KALDI, "README.md": (ROOT / "README.md").read_text()}
SETUP = '. "$DKT_ROOT/local/setup_env.sh" standalone'
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


def code(text: str) -> str:
    """All code of a document, fenced or indented, a command a line, without comments."""
    fenced = re.findall(r"^```\w+\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = "".join(fenced) + "\n".join(re.findall(r"^    (.*)", text, re.MULTILINE))
    return re.sub(r"(^|\s)#.*", "", lines.replace("\\\n", " "), flags=re.MULTILINE)


def calls(text: str, program: str) -> list[list[str]]:
    """The calls of programs whose name begins so, as words."""
    found: list[list[str]] = []
    for line in code(text).splitlines():
        if program not in line:
            continue
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|;")
        lexer.whitespace_split, lexer.commenters = True, ""
        commands: list[list[str]] = [[]]
        for word in lexer:
            if set(word) <= set("|;"):
                commands.append([])
            else:
                commands[-1].append(word)
        found += [words for words in commands if words and words[0].startswith(program)]
    return found


def option_names(command: str) -> set[str]:
    """The options of a command of dkt, as its help tells them."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        main([command, "--help"])
    return set(re.findall(r"--[a-z0-9-]+", out.getvalue()))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_script_and_every_option_named_is_there(document: str) -> None:
    text = DOCUMENTS[document]
    for path in re.findall(
        r"(?<![\w/])(?:\$DKT_ROOT/|\./)?((?:steps|local|egs|docs|benchmarks)/[\w./-]+\w)", text
    ):
        if not re.match(r"steps/nnet|local/(score|wer_hyp_filter)|egs/wsj", path):
            assert list(ROOT.glob(f"{path}*")), path
    scripts = calls(text, "$DKT_ROOT/")
    assert scripts
    for script, *words in scripts:
        source = (ROOT / script.removeprefix("$DKT_ROOT/")).read_text()
        for word in words:
            if word.startswith("--"):
                name = word[2:].replace("-", "_")
                assert re.search(rf"^{name}=", source, re.MULTILINE), f"{script} {word}"
    commands = calls(text, "dkt")
    assert commands
    for _, command, *words in commands:
        options = option_names(command)
        assert options, command
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert given <= options, command


def test_every_step_is_in_the_table_and_every_command_named_is_there() -> None:
    steps = {path.name for path in (ROOT / "steps").glob("*.sh") if "\nhelp_message=" in path.read_text()}
    steps = steps - {"make_feats.sh"} | {"make_mfcc.sh", "make_fbank.sh"}
    rows = re.findall(r"^\| (`steps/.*?) \|", DOCUMENTS["README.md"], re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"steps/(\w+\.sh)", row)} == steps
    for text in DOCUMENTS.values():
        for command in re.findall(r"`dkt ([a-z]+[a-z-]*)[^`]*`", text):
            assert option_names(command), command


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


def test_the_ten_commands_lead_to_a_word_error_rate(experiment: Path) -> None:
    start = re.search(r"^```bash\n(.*?)^```", KALDI, re.MULTILINE | re.DOTALL)[1]
    assert len(re.findall(r"^[^#\s]", start, re.MULTILINE)) <= 10
    assert SETUP in start
    # The environment is set up here already; a process a job takes longer than these data do.
    typed = start.replace(SETUP, "true").replace("/path/to/dkt", str(experiment.parent / "dkt"))
    environment = {k: v for k, v in os.environ.items() if k not in ("KALDI_ROOT", "DKT_ROOT")}
    environment |= {"PATH": f"{BIN}:{environment['PATH']}", "LC_ALL": "C", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", "-e", "-c", typed.replace("--nj 4", "--nj 1")],
        cwd=experiment,
        env=environment,
        capture_output=True,
        text=True,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert re.search(r"^%WER [\d.]+ \[ \d+ / \d+, ", done.stdout.splitlines()[-3]), output
    # What a comment says a command leaves is there.
    for told in re.findall(r"^# Leaves ([\w./]+\w)", start, re.MULTILINE):
        assert told == "the" or (experiment / told).exists(), told
    table = KALDI[KALDI.index("## What is in") : KALDI.index("## Kaldi's own")]
    names = {
        name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in row[1:-1].split("`, `")
    }
    for name in names - {"delta_opts"}:
        assert (experiment / "exp/dnn" / name).exists() and (experiment / "exp/lstm" / name).exists(), name
