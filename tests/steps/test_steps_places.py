"""Steps on data that cannot be written in, without transcripts or configuration, and on a full disk."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.shell import ROOT, fails, run, succeed
from tests.stand_ins import StandIns
from tests.steps.test_hostile_names import call, fill
from tests.steps.test_steps_commands import command_of, write
from tests.tones import write_corpus

NAMES = {"DATA": "data", "LANG": "lang", "EXP": "exp"}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "work"
    fill(path / "data", path / "lang", path / "exp")
    return path


@pytest.fixture
def read_only(place: Path) -> Iterator[Path]:
    """The working directory, with data on a disk that is read-only."""
    data = place / "data"
    if os.geteuid() != 0:
        data.chmod(0o555)
        yield place
        data.chmod(0o755)
        return
    if shutil.which("mount") is None or subprocess.run(["mount", "--bind", data, data]).returncode:
        pytest.skip("this root may not mount")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", data], check=True)
        yield place
    finally:
        subprocess.run(["umount", "-l", data], check=True)


@pytest.mark.parametrize(
    "step", ["align", "decode", "decode_scan", "forward", "make_priors", "make_soft_targets"]
)
def test_parts_of_read_only_data_are_in_the_experiment(tools: StandIns, read_only: Path, step: str) -> None:
    done = call(read_only, step, NAMES, "--nj", "2", **tools.alone)
    assert done.returncode == 0, done.stdout + done.stderr
    told = [line for line in done.stderr.splitlines() if "cannot be written in" in line]
    assert len(told) == 1 and "split_data.sh: data cannot be written in" in told[0]
    parts = told[0].split("its parts are in ")[1]
    assert parts.startswith("exp/") and {path.name for path in (read_only / parts).iterdir()} == {"1", "2"}
    reached = [word for words in tools.calls() for word in words]
    assert any(f"{parts}/2" in word for word in reached)


def test_parts_that_are_there_are_read_where_they_are(tools: StandIns, place: Path) -> None:
    succeed(place, "steps/utils/split_data.sh", "data", "2")
    stamp = (place / "data/split2").stat().st_mtime_ns
    done = call(place, "forward", NAMES, "--nj", "2", **tools.alone)
    assert "cannot be written in" not in done.stderr and (place / "data/split2").stat().st_mtime_ns == stamp
    assert "data/split2/1" in [word for words in tools.calls() for word in words]


def test_parts_of_other_data_are_not_taken_for_those(read_only: Path) -> None:
    shutil.copytree(read_only / "data", read_only / "other/data")
    write(read_only / "other/data/utt2spk", "c-1 c\nd-1 d\n")
    split = ["steps/utils/split_data.sh", "--otherwise", "exp"]
    first = succeed(read_only, *split, "data", "2").splitlines()[0]
    assert first.startswith("exp/.split/data.")
    assert succeed(read_only, *split, "data", "2").splitlines()[0] == first
    assert succeed(read_only, *split, "other/data", "2").splitlines()[0] == "other/data/split2"
    output = fails(read_only, *split[:1], "data", "2")
    assert output.startswith("split_data.sh: error: data: ") and "Traceback" not in output


@pytest.mark.parametrize("step", ["make_mfcc", "make_fbank", "compute_cmvn_stats"])
def test_lists_that_belong_into_the_data_need_a_place_there(
    tools: StandIns, read_only: Path, step: str
) -> None:
    for arguments in (["data"], ["data", "exp/log", "exp/tables"]):
        output = fails(read_only, f"steps/{step}.sh", *arguments, **tools.alone)
        (line,) = output.strip().splitlines()[-1:]
        assert line.startswith(f"steps/{step}.sh: error: 'data' cannot be written in") and "copy it" in line
        assert tools.calls() == []


def test_a_check_of_read_only_data_leaves_nothing(tools: StandIns, read_only: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    check = ("steps/check_data.sh", "data")
    output = succeed(read_only, *check, TMPDIR=str(scratch), **tools.alone)
    assert "data cannot be written in: logs and lists of names are not kept" in output
    assert output.rstrip().endswith("data is fit to train on") and list(scratch.iterdir()) == []
    output = fails(read_only, *check, TMPDIR=str(scratch), FAIL="check", **tools.alone)
    # Nor is a log told of that is not there any more.
    assert "features  ok" in output and "log is in" not in output.splitlines()[-1], output
    assert list(scratch.iterdir()) == []
    output = succeed(read_only, "steps/check_data.sh", "--log-dir", "logs", "data", **tools.alone)
    assert "cannot be written in" not in output and (read_only / "logs/check.1.log").exists()


def test_a_full_disk_of_data_is_no_end_either(place: Path, tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
number = int(sys.argv[1])
sys.path.insert(0, {str(ROOT / "steps/utils")!r})
import split_data
make = split_data.partial_directory
def refuse(target, *arguments):
    if target.parent == Path("data"):
        raise OSError(number, "told so", str(target))
    return make(target, *arguments)
split_data.partial_directory = refuse
sys.argv[1:] = ["--otherwise", "exp", "data", "2"]
sys.exit(split_data.main())
"""
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
        done = subprocess.run(
            [sys.executable, "-c", code, str(number)], cwd=place, capture_output=True, text=True
        )
        assert done.returncode == 0 and done.stdout.startswith("exp/.split/data."), done.stderr
    done = subprocess.run(
        [sys.executable, "-c", code, str(errno.EIO)], cwd=place, capture_output=True, text=True
    )
    assert done.returncode == 1 and "told so" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("step", ["decode", "decode_scan"])
def test_without_transcripts_a_search_is_not_scored(tools: StandIns, place: Path, step: str) -> None:
    (place / "data/text").unlink()
    done = call(place, step, NAMES, **tools.alone)
    assert done.returncode == 0, done.stderr
    assert f"steps/{step}.sh: no data/text: what was found is not scored" in done.stdout
    assert "compute-wer" not in [words[1] for words in tools.calls() if len(words) > 1]
    assert list((place / "exp/dnn/decode").glob("lat.1.gz" if step == "decode" else "scoring/job.1/*.txt"))
    # Scoring itself cannot do without.
    output = fails(place, "steps/score.sh", "data", "exp/graph", "exp/dnn/decode", **tools.alone)
    assert "no file 'data/text'" in output


@pytest.mark.parametrize("kind", ["mfcc", "fbank"])
def test_without_a_configuration_features_are_kaldis_defaults(
    tools: StandIns, tmp_path: Path, kind: str
) -> None:
    write_corpus(tmp_path)
    step = f"steps/make_{kind}.sh"
    told = f"{step}: no conf/{kind}.conf here: {kind} features by Kaldi's defaults"
    done = run(tmp_path, step, "--nj", "1", "test", **tools.alone)
    assert told in done.stdout
    assert not any(
        word.startswith("--config") for word in command_of(tools.calls(), "dkt", f"compute-{kind}-feats")
    )
    write(tmp_path / f"conf/{kind}.conf", "--sample-frequency=8000\n")
    done = run(tmp_path, step, "--nj", "1", "test", **tools.alone)
    assert told not in done.stdout
    assert f"--config=conf/{kind}.conf" in command_of(tools.calls(), "dkt", f"compute-{kind}-feats")
    # What was asked for by name has to be there.
    output = fails(tmp_path, step, f"--{kind}-config", "other.conf", "test", **tools.alone)
    assert "no file 'other.conf'" in output and tools.calls() == []


def test_a_step_says_where_its_log_is_when_it_begins(tools: StandIns, place: Path) -> None:
    done = call(place, "forward", NAMES, "--nj", "2", **tools.alone)
    assert done.stdout.splitlines()[-2] == "steps/forward.sh: running, log in exp/post/log/forward.*.log"


FULL = """#!/bin/sh
echo half
echo "$(basename "$0"): write error: No space left on device" >&2
exit 1
"""


@pytest.mark.parametrize(
    ("step", "program", "file"),
    [
        ("forward", "sort", "exp/post/feats.scp"),
        ("make_soft_targets", "cat", "exp/soft/final.mdl"),
        ("make_priors", "awk", "exp/dnn/.prior_counts"),
    ],
)
def test_a_full_disk_leaves_nothing_cut_short_and_names_the_file(
    tools: StandIns, place: Path, step: str, program: str, file: str
) -> None:
    write(place / file, "earlier\n")
    if step == "make_soft_targets":
        write(place / "exp/soft/header.yaml", "earlier\n")
    real = shutil.which(program)
    # The disk is full when the step itself writes, after its jobs.
    text = FULL.replace("echo half", f'case "$*" in *exp/*) ;; *) exec {real} "$@" ;; esac\necho half')
    if program == "cat":
        text = text.replace("*exp/*", "*exp/dnn/final.mdl")
    if program == "awk":
        text = text.replace("*exp/*", "*prior_counts.1*")
    write(place / f"full/{program}", text)
    (place / f"full/{program}").chmod(0o755)
    variables = tools.alone | {"PATH": f"{place}/full:{tools.alone['PATH']}"}
    done = call(place, step, NAMES, "--nj", "1", **variables)
    assert done.returncode != 0
    assert (
        f"steps/{step}.sh: error: '{file}' cannot be written: {program}: write error: No space" in done.stderr
    )
    if step != "forward":  # what is of other options is moved away first
        assert (place / file).read_text() == "earlier\n"
    assert "half" not in "".join(path.read_text() for path in place.rglob("*scp*") if path.is_file())
    assert not list((place / "exp").rglob("*.partial"))
