"""steps/utils/run.pl: Kaldi's job runner, without Kaldi."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.shell import ROOT

RUN_PL = ROOT / "steps/utils/run.pl"


def run_pl(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(RUN_PL), *arguments],
        cwd=folder,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def output_of(log: Path) -> list[str]:
    """What the job itself wrote: the log without its frame."""
    return [line for line in log.read_text().splitlines() if not line.startswith("#")]


def test_job_number_replaces_the_word_in_command_and_log(tmp_path: Path) -> None:
    done = run_pl(tmp_path, "JOB=2:4", "exp/JOB/x.JOB.log", "echo", "JOB", "aJOBb", "in quotes JOB")
    assert done.returncode == 0
    assert done.stderr == ""
    for number in (2, 3, 4):
        log = tmp_path / f"exp/{number}/x.{number}.log"
        assert output_of(log) == [f"{number} a{number}b in quotes {number}"]
    assert len(list(tmp_path.rglob("*.log"))) == 3


def test_one_numbered_job_and_another_word(tmp_path: Path) -> None:
    assert run_pl(tmp_path, "JOB=3", "x.JOB.log", "echo", "JOB").returncode == 0
    assert output_of(tmp_path / "x.3.log") == ["3"]
    assert run_pl(tmp_path, "K=0:1", "k.K.log", "echo", "K", "JOB").returncode == 0
    assert output_of(tmp_path / "k.0.log") == ["0 JOB"]


def test_log_has_kaldis_frame(tmp_path: Path) -> None:
    run_pl(tmp_path, "x.log", "echo", "a b", ";", "echo", "oops", ">&2", ";", "exit", "3")
    date = r"[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S+ \d{4}"
    expected = (
        r'# echo "a b" ; echo oops >&2 ; exit 3 \n'
        rf"# Started at {date}\n#\na b\noops\n"
        r"# Accounting: time=\d+ threads=1\n"
        rf"# Ended \(code 3\) at {date}, elapsed time \d+ seconds\n"
    )
    assert re.fullmatch(expected, (tmp_path / "x.log").read_text())


def test_death_by_a_signal_is_a_failure(tmp_path: Path) -> None:
    assert run_pl(tmp_path, "x.log", "kill", "-9", "$$").returncode == 1
    assert "# Ended (code 137) at" in (tmp_path / "x.log").read_text()


def test_one_failing_job_fails_the_array_and_shows_its_log(tmp_path: Path) -> None:
    command = ("echo", "saw JOB", ";", "test", "JOB", "-ne", "2")
    done = run_pl(tmp_path, "JOB=1:3", "log/x.JOB.log", *command)
    assert done.returncode == 1
    assert "run.pl: 1 / 3 failed, log is in log/x.*.log" in done.stderr
    assert "saw 2" in done.stderr
    assert "saw 1" not in done.stderr
    assert output_of(tmp_path / "log/x.3.log") == ["saw 3"]


def test_single_job_failure_names_its_log(tmp_path: Path) -> None:
    done = run_pl(tmp_path, "x.log", "no-such-command")
    assert done.returncode == 1
    assert "run.pl: job failed, log is in x.log" in done.stderr
    assert "no-such-command: command not found" in done.stderr


def test_a_failure_inside_a_pipe_counts(tmp_path: Path) -> None:
    assert run_pl(tmp_path, "x.log", "false", "|", "cat").returncode == 1
    assert run_pl(tmp_path, "x.log", "true", "|", "cat").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["echo", "two  blanks"], "two  blanks"),
        (["echo", "a", "|", "tr", "a", "z"], "z"),
        (["echo", "a;b | c"], "a;b | c"),
        (["echo", "$GREETING you", "$GREETING"], "hello you hello"),
        (["echo", 'say "$GREETING" now'], 'say "$GREETING" now'),
        (["echo", "it's mine"], "it's mine"),
        (["echo", "both \" and '"], "both \" and '"),
        (["printf", "[%s]", "", "x"], "[][x]"),
        (["echo", "*  *"], "*  *"),
        (["cat"], ""),
    ],
)
def test_arguments_are_quoted_as_kaldi_does(tmp_path: Path, arguments: list[str], expected: str) -> None:
    done = run_pl(tmp_path, "x.log", *arguments, GREETING="hello")
    assert done.returncode == 0, done.stderr
    body = (tmp_path / "x.log").read_text().partition("\n#\n")[2].partition("# Accounting")[0]
    assert body.rstrip("\n") == expected


@pytest.mark.parametrize(
    "options",
    [
        ["--mem", "4G", "--num-threads", "2", "--time", "1:00"],
        ["-V", "-sync", "y", "-pe", "smp", "4"],
        ["--config", "conf/queue.conf"],
    ],
)
def test_options_for_queues_are_ignored_on_both_sides_of_the_range(
    tmp_path: Path, options: list[str]
) -> None:
    assert run_pl(tmp_path, *options, "JOB=1:2", *options, "x.JOB.log", "echo", "JOB").returncode == 0
    assert output_of(tmp_path / "x.2.log") == ["2"]


@pytest.mark.parametrize(
    ("options", "most"), [(["--max-jobs-run", "2"], 2), (["-tc", "3", "--max-jobs-run", "1"], 1)]
)
def test_no_more_jobs_at_once_than_allowed(tmp_path: Path, options: list[str], most: int) -> None:
    (tmp_path / "now").mkdir()
    command = [
        "touch",
        "now/JOB",
        ";",
        "ls",
        "now",
        "|",
        "wc",
        "-l",
        ";",
        "sleep",
        "0.3",
        ";",
        "rm",
        "now/JOB",
    ]
    assert run_pl(tmp_path, *options, "JOB=1:5", "x.JOB.log", *command).returncode == 0
    counts = [int(output_of(tmp_path / f"x.{number}.log")[0]) for number in range(1, 6)]
    assert max(counts) == most


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x.log"], "nothing to run"),
        (["JOB=1:2", "x.log", "echo"], "put JOB in its name"),
        (["JOB=3:1", "x.JOB.log", "echo"], "invalid job range 'JOB=3:1'"),
        (["--max-jobs-run", "0", "x.log", "echo"], "--max-jobs-run wants a number above 0, got '0'"),
        (["--max-jobs-run=2", "x.log", "echo", "1"], "--name value, got '--max-jobs-run=2'"),
    ],
)
def test_a_wrong_call_is_refused_before_anything_runs(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = run_pl(tmp_path, *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_forgotten_range_is_pointed_out(tmp_path: Path) -> None:
    assert "you forgot to put JOB=1:$nj" in run_pl(tmp_path, "x.JOB.log", "false").stderr


def test_a_log_that_cannot_be_written_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file where a directory should be")
    done = run_pl(tmp_path, "log/x.log", "true")
    assert done.returncode == 1
    assert "cannot start job 1" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_log_that_cannot_be_closed_is_named_without_a_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(RUN_PL), "JOB=1:2", "x.JOB.log", "seq", "1000"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600)),  # stands for a full disk
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "run.pl: error: the log 'x.2.log' cannot be written: File too large" in done.stderr
    assert "run.pl: 2 / 2 failed, log is in x.*.log" in done.stderr


def live_members(groups: set[str]) -> list[str]:
    """The processes of some process groups, zombies apart."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = stat.read_text().rpartition(") ")[2].split()[:3]
        except OSError:  # it has just ended
            continue
        if group in groups and state != "Z":
            members.append(stat.parent.name)
    return members


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_stopping_it_stops_the_jobs_and_what_they_started(tmp_path: Path, signum: signal.Signals) -> None:
    # The sleeps are grandchildren, in pipes; the third job has not begun and must not.
    command = ["echo", "$$", ">", "JOB.pid", ";", "sleep", "60", "|", "cat"]
    arguments = ["--max-jobs-run", "2", "JOB=1:3", "x.JOB.log", *command]
    runner = subprocess.Popen(
        [str(RUN_PL), *arguments],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        # Under nohup or in the background the signal may be ignored here, and would be there.
        preexec_fn=lambda: signal.signal(signum, signal.SIG_DFL),
    )
    pids = [tmp_path / "1.pid", tmp_path / "2.pid"]
    wait_until(lambda: all(pid.exists() and pid.read_text().strip() for pid in pids))
    groups = {pid.read_text().strip() for pid in pids}
    wait_until(lambda: len(live_members(groups)) >= 6)  # bash, sleep and cat of two jobs
    runner.send_signal(signum)
    _, stderr = runner.communicate(timeout=20)
    # A shell goes on after Ctrl-C if the program that it waited for has not died of it.
    assert runner.returncode == (-signum if signum == signal.SIGINT else 128 + signum)
    assert f"stopped by {signum.name}" in stderr
    wait_until(lambda: not live_members(groups))
    assert "# Ended (code 143)" in (tmp_path / "x.1.log").read_text()
    assert not (tmp_path / "x.3.log").exists()
