"""Names and values that a shell would run, or a program take for something else, in every step."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shell import ROOT, run, succeed
from tests.stand_ins import RUNNER, StandIns
from tests.steps.test_steps_commands import UTTS, write

#: Everything at once; commands that it may not run leave a file PWNED.
HOSTILE = "x b$(touch PWNED)c;touch PWNED2&`touch PWNED3`'q\"*\\né|${HOME}"
WORDS = [
    HOSTILE,
    "",
    "plain",
    "a b",
    "it's; touch PWNED",
    "say 'a b' > PWNED",
    '"q"',
    'a "q"',
    "$(touch PWNED)",
    "a $(touch PWNED)",
    "`touch PWNED`",
    "$HOME",
    "\\$HOME \\",
    "*",
    "{a,b}",
    "~",
    "#a",
    "!a !b",
    "a\nb",
    "tab\there",
    "two  blanks ",
    "ü ß",
    "\u00a0$x",
    "EOF",
    "|",
    "a;b|c&d>e<f(g)h",
    "ark:gunzip -c 'a b'.gz |",
    "x=1",
    "-rf",
    "\\040",
]
#: With the number of the job, in every kind of word.
NUMBERED = ["d/JOB", "a b/JOB.gz", "a$(touch PWNED)/JOB/JOB", "JOB"]

#: A queue as Kaldi's queue.pl and slurm.pl: the command stands in a script, beside a here-document with the
#: same, and the number of the job is a variable.
QUEUE = RUNNER.replace(
    'command = ["bash", "-c", f"( {\' \'.join(quoted)} )".replace(word, number)]',
    'text = " ".join(quoted).replace(word, "${TASK}")\n'
    '        script = f"TASK={number}\\n( echo begun; cat <<EOF\\n{text}\\nEOF\\n )\\n( {text} )\\n"\n'
    '        command = ["bash", "-c", script]',
)

STEP = """#!/bin/bash
set -euo pipefail
stage=0
cmd=run.pl
help_message="--stage, --cmd"
. "$DKT_ROOT/steps/lib/common.sh"
. "$DKT_ROOT/steps/lib/options.sh"
mapfile -d '' words <words
call_runner JOB=1:2 log/x.JOB.log set -o pipefail "$THEN" \\
  ./show "${words[@]}" "$PIPE" cat "$AND" echo "all well"
"""


@pytest.mark.parametrize("runner", ["dkt", "run.pl", "queue.pl"])
def test_every_word_reaches_its_program_as_it_is(tmp_path: Path, runner: str) -> None:
    assert "TASK=" in QUEUE
    tools = StandIns(tmp_path / "tools")
    write(tools.kaldi / "egs/wsj/s5/utils/queue.pl", QUEUE)
    write(tmp_path / "show", f"#!{sys.executable} -IS\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    write(tmp_path / "step.sh", STEP)
    for name in ("show", "step.sh"):
        (tmp_path / name).chmod(0o755)
    (tmp_path / "words").write_bytes(b"".join(word.encode() + b"\0" for word in WORDS + NUMBERED))
    (tmp_path / "log").mkdir()
    variables = tools.alone if runner == "dkt" else tools.with_kaldi
    options = [] if runner == "dkt" else ["--cmd", runner]
    succeed(tmp_path, str(tmp_path / "step.sh"), *options, DKT_ROOT=str(ROOT), **variables)
    for job in "12":
        lines = (tmp_path / f"log/x.{job}.log").read_text().splitlines()
        (found,) = (json.loads(line) for line in lines if line.startswith("["))
        assert found == WORDS + [word.replace("JOB", job) for word in NUMBERED]
        assert "all well" in lines
    assert not list(tmp_path.glob("PWNED*"))


PROGRAMS = ROOT / "steps"
#: The arguments of every step. What is in capitals is a name that may be hostile.
CALLS = {
    "align": "DATA LANG EXP/dnn EXP/ali",
    "align_si": "DATA LANG EXP/gmm EXP/ali",
    "check_data": "DATA LANG EXP/gmm_ali",
    "compute_cmvn_stats": "DATA EXP/log EXP/tables",
    "decode": "EXP/graph DATA EXP/dnn/decode",
    "decode_scan": "EXP/graph DATA EXP/dnn/decode",
    "forward": "DATA EXP/dnn EXP/post",
    "make_fbank": "DATA EXP/log EXP/tables",
    "make_fmllr_feats": "DATA EXP/graph EXP/gmm EXP/adapted",
    "make_mfcc": "DATA EXP/log EXP/tables",
    "make_priors": "DATA EXP/dnn",
    "make_soft_targets": "DATA EXP/dnn EXP/soft",
    "mkgraph": "LANG EXP/gmm EXP/graph2",
    "perturb_data_dir_speed": "DATA EXP/faster",
    "perturb_data_dir_volume": "--reco2vol DATA/text DATA EXP/louder",
    "augment_data_dir": "--bg-noise-dir DATA DATA EXP/noisy",
    "copy_ali_dir": "DATA EXP/gmm_ali EXP/copied",
    "prepare_lang": "DATA word DATA/text EXP/lang",
    "score": "DATA EXP/graph EXP/decoded",
    "train_dnn": "DATA DATA LANG EXP/gmm_ali EXP/gmm_ali EXP/net",
    "train_lstm": "DATA DATA LANG EXP/gmm_ali EXP/gmm_ali EXP/net",
    "train_nnet": "--nnet-config LANG/nnet.yaml DATA DATA LANG EXP/gmm_ali EXP/gmm_ali EXP/net",
    "train_mono": "DATA LANG EXP/mono",
}


def fill(data: Path, lang: Path, exp: Path) -> None:
    """All that the steps look for before they begin."""
    for name in ("feats.scp", "wav.scp", "text", "utt2spk", "spk2utt", "cmvn.scp", "lexicon.txt"):
        value = "{0}" if name in ("utt2spk", "spk2utt") else "x"
        write(data / name, "".join(f"{utt} {value.format(utt[0])}\n" for utt in UTTS))
    for name in ("L.fst", "L_disambig.fst", "G.fst", "words.txt", "phones.txt", "oov.txt", "topo"):
        write(lang / name, "x\n")
    write(lang / "nnet.yaml", "network: {type: gru}\n")
    for name in ("HCLG.fst", "words.txt", "phones.txt", "phones/silence.csl"):
        write(exp / "graph" / name, "x\n")
    for model in ("dnn", "gmm", "gmm_ali"):
        for name in ("final.mdl", "tree", "phones.txt"):
            write(exp / model / name, "x\n")
    for name in ("final.pt", "ali_train_pdf.counts"):
        write(exp / "dnn" / name, "x\n")
    for name in ("num_jobs", "ali.1.gz"):
        write(exp / "gmm_ali" / name, "1\n")
    write(exp / "decoded/num_jobs", "1\n")
    (exp / "decoded/lat.1.gz").write_bytes(gzip.compress(b"a-1\n"))


def call(
    place: Path, step: str, names: dict[str, str], *options: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Call a step with names in place of those in capitals."""
    arguments = [
        re.sub("^(DATA|LANG|EXP)", lambda match: names[match[0]], word) for word in CALLS[step].split()
    ]
    # Options that a call cannot do without; of two equal ones the last wins.
    needed = 2 * arguments[0].startswith("--")
    return run(place, f"steps/{step}.sh", *arguments[:needed], *options, *arguments[needed:], **variables)


def refused(done: subprocess.CompletedProcess[str]) -> bool:
    """Whether a step ended with its own sentence."""
    last = (done.stdout + done.stderr).strip().splitlines()[-1] if done.stdout + done.stderr else ""
    return done.returncode != 0 and ("error: " in last or "error: " in done.stderr.splitlines()[-1])


def programs_of(tools: StandIns) -> list[str]:
    """All arguments that programs were called with."""
    return [word for words in tools.calls() for word in words]


@pytest.mark.parametrize("step", CALLS)
def test_directories_with_hostile_names_are_directories(tools: StandIns, tmp_path: Path, step: str) -> None:
    # A runner quotes words by what they hold: blanks, double quotes, or neither.
    for number, name in enumerate(
        (HOSTILE, "x y`touch PWNED`$(touch PWNED)", "x;touch${IFS}PWNED&$(touch${IFS}PWNED)")
    ):
        place = tmp_path / f"work{number}"
        fill(place / name / "data", place / name / "lang", place / name / "exp")
        names = {word.upper(): f"{name}/{word}" for word in ("data", "lang", "exp")}
        done = call(place, step, names, **tools.alone)
        reached = [word for word in programs_of(tools) if name in word]
        assert reached, done.stdout + done.stderr
        assert sorted(path.name for path in place.iterdir()) == [name]
        assert not list(place.rglob("PWNED*"))
        assert "command not found" not in done.stdout + done.stderr


@pytest.mark.parametrize("step", CALLS)
def test_what_kaldis_runner_cannot_do_with_is_refused_before_anything_runs(
    tools: StandIns, tmp_path: Path, step: str
) -> None:
    place = tmp_path / "work"
    fill(place / "data", place / "lang", place / HOSTILE)
    names = {"DATA": "data", "LANG": "lang", "EXP": HOSTILE}
    if step == "check_data":
        fill(place / HOSTILE, place / "lang", place / "exp")
        names = {"DATA": HOSTILE, "LANG": "lang", "EXP": "exp"}
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    done = call(place, step, names, **tools.with_kaldi)
    assert refused(done)
    assert "run.pl cannot do with '" in done.stderr and "the name of its logs" in done.stderr
    assert tools.calls() == []
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*")} == before


@pytest.mark.parametrize("step", CALLS)
def test_kaldis_runner_is_given_hostile_data(tools: StandIns, tmp_path: Path, step: str) -> None:
    place = tmp_path / "work"
    if step == "check_data":
        pytest.skip("its logs go there")
    fill(place / HOSTILE / "data", place / HOSTILE / "lang", place / "exp")
    names = {"DATA": f"{HOSTILE}/data", "LANG": f"{HOSTILE}/lang", "EXP": "exp"}
    done = call(place, step, names, **tools.with_kaldi)
    assert any(HOSTILE in word for word in programs_of(tools)), done.stdout + done.stderr
    assert not list(place.rglob("PWNED*"))


#: Names that some program takes for something else.
ODD = ["-rf", "x=1", "ark:x", "|touch PWNED;", "=", " x", "-", "*", "~", "#", "x,y"]


@pytest.mark.parametrize("name", ODD)
def test_names_that_look_like_something_else(tools: StandIns, tmp_path: Path, name: str) -> None:
    place = tmp_path / "work"
    fill(place / name, place / name / "lang", place / name / "exp")
    names = {"DATA": name, "LANG": f"{name}/lang", "EXP": f"{name}/exp"}
    # Names are taken by one function of all steps: a second step is tried with some.
    for step in ("decode", "forward") if name in ("-rf", "x=1", "x,y") else ("forward",):
        done = call(place, step, names, "--nj", "2", **tools.alone)
        if name == "x,y" and step == "forward":
            assert refused(done) and "holds a comma" in done.stderr
            continue
        assert done.returncode == 0, done.stdout + done.stderr
    assert [path.name for path in place.iterdir()] == [name]
    if name != "x,y":
        assert len((place / name / "exp/post/feats.scp").read_text().split()) == len(UTTS)


@pytest.mark.parametrize(
    ("name", "message"),
    [("a\nb", "holds a line break"), ("", "an argument is empty"), ("MYJOBS", "holds JOB, which run.pl")],
)
def test_names_that_no_list_can_hold_are_refused(
    tools: StandIns, tmp_path: Path, name: str, message: str
) -> None:
    fill(tmp_path / "work" / name, tmp_path / "lang", tmp_path / "exp")
    done = call(tmp_path / "work", "forward", {"DATA": name, "LANG": "lang", "EXP": "../exp"}, **tools.alone)
    assert refused(done) and message in done.stderr and tools.calls() == []
    assert not (tmp_path / "exp/post").exists()


def options_of(step: str) -> list[str]:
    """The options of a step, as its defaults are set before they are read."""
    file = "make_feats" if step in ("make_mfcc", "make_fbank") else step
    head = (PROGRAMS / f"{file}.sh").read_text().partition("help_message=")[0]
    # What the steps that train have in common is tried with one of them.
    if file == "train_lstm":
        head += (PROGRAMS / "lib/training.sh").read_text().partition("train_network()")[0]
    names = re.findall("^([a-z][a-z_]*)=", head, re.MULTILINE)
    if file == "make_feats":
        names += [f"{step.removeprefix('make_')}_config"]
    return sorted(
        {f"--{name.replace('_', '-')}" for name in names} - {"--kind", "--script-name", "--training-help"}
    )


#: Options of which one function for all steps makes sure that they are numbers: one step is enough for each.
NUMBERS = re.findall(
    r"[a-z_]+",
    " ".join(
        re.findall(
            r'^_(?:whole_numbers|numbers|whole_or_empty|numbers_or_empty|lists)="([^"]*)"',
            (PROGRAMS / "lib/values.sh").read_text(),
            re.MULTILINE,
        )
    ),
)


def tried_before(step: str, option: str) -> bool:
    """Whether it is a number, which an earlier step is tried with."""
    if option[2:].replace("-", "_") not in NUMBERS or option == "--stage":
        return False
    first = next(name for name in CALLS if option in options_of(name))
    return first != step


@pytest.mark.parametrize("step", CALLS)
def test_no_value_of_an_option_is_run(tools: StandIns, tmp_path: Path, step: str) -> None:
    place = tmp_path / "work"
    fill(place / "data", place / "lang", place / "exp")
    options = options_of(step)
    assert {"--cmd", "--stage"} <= set(options) or options in (["--dnn-config"], ["--nnet-config"])
    value = "a[$(touch PWNED)];touch PWNED`touch PWNED` 'x"
    for option in (option for option in options if not tried_before(step, option)):
        done = call(
            place, step, {"DATA": "data", "LANG": "lang", "EXP": "exp"}, option, value, **tools.with_kaldi
        )
        text = f"{option}: {done.stdout}{done.stderr}"
        assert not list(place.rglob("PWNED*")), text
        assert "command not found" not in text and "syntax error" not in text, text
        assert any(value in word for word in programs_of(tools)) or refused(done), text
        for mark in place.rglob(".*.done"):
            mark.unlink()


def test_numbers_are_checked_before_anything_runs(tools: StandIns, tmp_path: Path) -> None:
    place = tmp_path / "work"
    fill(place / "data", place / "lang", place / "exp")
    names = {"DATA": "data", "LANG": "lang", "EXP": "exp"}
    for step, option, value, expected in [
        ("decode", "--num-threads", "a[$(touch PWNED)]", "expected a whole number"),
        ("decode", "--num-threads", "08", "expected a whole number"),
        ("decode", "--stage", "", "expected a whole number"),
        ("decode", "--stage", "99999999999999999999", "expected a whole number"),
        ("decode", "--nj", "4 5", "expected a number above 0"),
        ("decode", "--beam", "13,0", "expected a number"),
        ("decode", "--beam", "", "expected a number"),
        ("decode", "--acwt", "0.1x", "expected a number"),
        ("decode_scan", "--lmwts", "7 8x", "expected numbers with blanks"),
        ("score", "--word-ins-penalty", "0.0;1", "expected numbers with commas"),
        ("forward", "--max-dropped", "-1", "expected a share from 0 to 1"),
        ("forward", "--use-gpu", "maybe", "expected yes, no or optional"),
        ("forward", "--cmd", "no-such-runner.pl --mem 4G", "there is no program 'no-such-runner.pl'"),
    ]:
        done = call(place, step, names, option, value, **tools.alone)
        assert refused(done) and f"{option} is '{value}', " in done.stderr and expected in done.stderr
        assert tools.calls() == [] and not (place / "exp/dnn/decode").exists()
    for step, option, value in [
        ("decode", "--beam", "1e1"),
        ("decode", "--stage", "-3"),
        ("decode", "--acwt", ".1"),
        ("decode_scan", "--lmwts", " 7  8.5 "),
        ("forward", "--max-dropped", "1."),
    ]:
        done = call(place, step, names, option, value, **tools.alone)
        assert done.returncode == 0, done.stderr


def test_what_stands_in_files_is_not_run(tools: StandIns, tmp_path: Path) -> None:
    place = tmp_path / "work"
    fill(place / "data", place / "lang", place / "exp")
    write(place / "exp/decoded/num_jobs", "1;touch PWNED\n")
    write(place / "exp/graph/phones/silence.csl", "$(touch PWNED)\n")
    names = {"DATA": "data", "LANG": "lang", "EXP": "exp"}
    done = call(place, "score", names, **tools.with_kaldi)
    assert refused(done) and "num_jobs' holds '1;touch PWNED'" in done.stderr
    call(place, "make_fmllr_feats", names, "--ali-dir", "exp/gmm_ali", **tools.with_kaldi)
    assert "--silence-phones=$(touch PWNED)" in programs_of(tools)
    assert not list(place.rglob("PWNED*"))


@pytest.mark.parametrize("variable", ["CDPATH", "model", "nj"])
def test_variables_of_the_caller_do_not_matter(tools: StandIns, tmp_path: Path, variable: str) -> None:
    place = tmp_path / "work"
    fill(place / "data", place / "lang", place / "exp")
    value = str(place) if variable == "CDPATH" else "$(touch PWNED)"
    names = {"DATA": "data", "LANG": "lang", "EXP": "exp"}
    done = call(place, "forward", names, **tools.alone, **{variable: value})
    assert done.returncode == 0, done.stderr
    assert not list(place.rglob("PWNED*")) and (place / "exp/post/feats.scp").exists()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--stage", "a[$(touch PWNED)]", "expected a whole number"),
        ("--stop-stage", "x", "expected a whole number"),
        ("--seeds", "1 $(touch PWNED)", "expected numbers with blanks"),
        ("--students", "lstm-soft-T2;touch PWNED", "-T is followed by a temperature"),
        ("--network-features", "$(touch PWNED)", "expected fbank, mfcc or fmllr"),
    ],
)
def test_recipes_check_their_options_before_anything_runs(
    tools: StandIns, tmp_path: Path, option: str, value: str, message: str
) -> None:
    recipe = ["--corpus", "fsdd", "--corpus-dir", ".", "--data", "data", "--exp", "exp", "--stop-stage", "-1"]
    done = run(tmp_path, "egs/digits/s5/run.sh", *recipe, option, value)
    assert refused(done) and message in done.stderr, done.stdout + done.stderr
    assert not list(tmp_path.rglob("PWNED*")) and not (ROOT / "egs/digits/s5/PWNED").exists()
    assert not (tmp_path / "data").exists()
