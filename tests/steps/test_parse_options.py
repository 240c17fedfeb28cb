"""steps/utils/parse_options.sh: options of shell scripts, as in Kaldi."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.shell import ROOT

PARSE_OPTIONS = ROOT / "steps/utils/parse_options.sh"

SCRIPT = f"""#!/usr/bin/env bash
set -euo pipefail
nj=4
cmd=run.pl
skip_scoring=false
fbank_opts=
renamed_options="num_jobs=nj fbank_conf=fbank_opts mfcc_conf=mfcc_opts"
help_message="Usage: $0 <data>\\n --nj <n>"
. "{PARSE_OPTIONS}"
echo "nj=$nj"
echo "cmd=$cmd"
echo "skip_scoring=$skip_scoring"
echo "fbank_opts=$fbank_opts"
for argument in "$@"; do echo "argument=$argument"; done
"""

DEFAULTS = {"nj": "4", "cmd": "run.pl", "skip_scoring": "false", "fbank_opts": ""}


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "script.sh").write_text(SCRIPT)
    return subprocess.run(
        ["bash", "script.sh", *arguments], cwd=folder, capture_output=True, text=True, timeout=30
    )


def values(done: subprocess.CompletedProcess[str]) -> tuple[dict[str, str], list[str]]:
    """The script's variables and its remaining arguments."""
    assert done.returncode == 0, done.stderr
    pairs = [line.split("=", 1) for line in done.stdout.splitlines()]
    variables = {name: value for name, value in pairs if name != "argument"}
    return variables, [value for name, value in pairs if name == "argument"]


@pytest.mark.parametrize(
    ("arguments", "changed", "rest"),
    [
        ([], {}, []),
        (["data/train", "exp"], {}, ["data/train", "exp"]),
        (["--nj", "8", "data/train"], {"nj": "8"}, ["data/train"]),
        (["--skip-scoring", "true", "--nj", "2"], {"skip_scoring": "true", "nj": "2"}, []),
        (["--cmd", "queue.pl --mem 4G", "d"], {"cmd": "queue.pl --mem 4G"}, ["d"]),
        (["--fbank-opts", "--num-mel-bins=40"], {"fbank_opts": "--num-mel-bins=40"}, []),
        (["--cmd", 'a "$HOME" `b` $(c) \\'], {"cmd": 'a "$HOME" `b` $(c) \\'}, []),
        (["--nj", ""], {"nj": ""}, []),
        (["data", "--nj", "8"], {}, ["data", "--nj", "8"]),
        (["a b", "c"], {}, ["a b", "c"]),
        (["--num-jobs", "8", "d"], {"nj": "8"}, ["d"]),
        (["--num_jobs", "8", "--nj", "9"], {"nj": "9"}, []),
        (["--nj", "9", "--num-jobs", "8"], {"nj": "8"}, []),
    ],
)
def test_options_set_variables_and_leave_the_arguments(
    tmp_path: Path, arguments: list[str], changed: dict[str, str], rest: list[str]
) -> None:
    assert values(call(tmp_path, *arguments)) == ({**DEFAULTS, **changed}, rest)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--no-such", "1"], "invalid option '--no-such'"),
        (["--mfcc-conf", "1"], "invalid option '--mfcc-conf'"),
        (["--nj;touch evil", "1"], "invalid option '--nj;touch evil'"),
        (["--", "x"], "invalid option '--'"),
        (["--nj=8"], "--name value, not --name=value: got '--nj=8'"),
        (["--nj"], "option '--nj' needs a value"),
        (["--skip-scoring", "yes"], "option '--skip-scoring' is true or false, not 'yes'"),
        (["--skip-scoring", "--nj", "3"], "option '--skip-scoring' is true or false, not '--nj'"),
        (["--cmd", ""], "--cmd is empty"),
        (["--config", "absent.conf"], "cannot read the --config file 'absent.conf'"),
    ],
)
def test_a_wrong_option_stops_the_script(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = call(tmp_path, *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "evil").exists()


def test_command_line_wins_over_the_config_file_wherever_it_stands(tmp_path: Path) -> None:
    (tmp_path / "my.conf").write_text("nj=16\nskip_scoring=true\n")
    variables, rest = values(call(tmp_path, "--nj", "2", "--config", "my.conf", "data"))
    assert (variables["nj"], variables["skip_scoring"], rest) == ("2", "true", ["data"])


def test_a_config_file_may_have_earlier_names_of_options(tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text("num_jobs=16\nmfcc_conf=x\n")
    (tmp_path / "b.conf").write_text("fbank_conf=${num_jobs-}\n")
    configs = ["--config", "a.conf", "--config", "b.conf"]
    assert values(call(tmp_path, *configs))[0] == {**DEFAULTS, "nj": "16"}
    assert values(call(tmp_path, *configs, "--nj", "3"))[0]["nj"] == "3"
    # What the environment holds is no option.
    (tmp_path / "c.conf").write_text("skip_scoring=true\n")
    done = subprocess.run(
        ["bash", "script.sh", "--config", "c.conf"],
        cwd=tmp_path, capture_output=True, text=True, timeout=30,
        env={**os.environ, "num_jobs": "5"},
    )  # fmt: skip
    assert values(done)[0] == {**DEFAULTS, "skip_scoring": "true"}


def test_later_config_files_win_over_earlier_ones(tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text("nj=16\n")
    (tmp_path / "b.conf").write_text("nj=17\n")
    assert values(call(tmp_path, "--config", "a.conf", "--config", "b.conf"))[0]["nj"] == "17"


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["--nj", "8", "--help"]])
def test_help_is_printed_and_nothing_is_run(tmp_path: Path, arguments: list[str]) -> None:
    done = call(tmp_path, *arguments)
    assert done.returncode == 0
    assert done.stderr == "Usage: script.sh <data>\n --nj <n>\n"
    assert done.stdout == ""
