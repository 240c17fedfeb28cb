"""steps/utils/guard.py: what is stopped may wind down, is told once, and is gone when the guard ends."""

from __future__ import annotations

import ast
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.shell import BIN, ROOT
from tests.steps.test_runner import wait_until
from tests.steps.test_stopping import sleepers, start

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")

GUARD = f"{sys.executable} -IS {ROOT}/steps/utils/guard.py"

#: Winds down when it is told to end, with a program of its own, as queue.pl does; notes what comes.
WINDS_DOWN = f"""#!{sys.executable} -IS
import os, signal, subprocess, sys
def note(text):
    with open(os.environ["NOTES"], "a") as notes:
        print(text, file=notes)
def wind_down(signum, frame):
    note(signal.Signals(signum).name)
    subprocess.run(["bash", "-c", "sleep $LAST; echo deleted >>$NOTES"])
    sys.exit(2)
for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(signum, wind_down)
note("begun")
while True:
    signal.pause()
"""


@pytest.fixture
def winding(tmp_path: Path) -> Path:
    program = tmp_path / "queue.pl"
    program.write_text(WINDS_DOWN)
    program.chmod(0o755)
    return program


def notes(program: Path) -> list[str]:
    path = program.with_name("notes")
    return path.read_text().split("\n")[:-1] if path.exists() else []


def started(program: Path, command: list[str], last: float = 1.5) -> subprocess.Popen[str]:
    """Start a command in a process group of its own, and wait until the program that it calls is at work."""
    there = str(program.with_name("notes"))
    process = start(["setsid", *command], program.parent, NOTES=there, LAST=str(last))
    wait_until(lambda: "begun" in notes(program))
    return process


def nested(program: Path, kind: str = "") -> list[str]:
    """A script within a guard that runs a program within another, and would go on."""
    script = f"trap 'sleep 0.2; echo the last >>$NOTES' EXIT; {GUARD} {kind} inner {program}; echo went on"
    return [*GUARD.split(), "--script", "outer", "bash", "-c", script]


@pytest.mark.parametrize("whole_group", [False, True])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_all_are_told_once_and_the_script_ends_last(
    winding: Path, signum: signal.Signals, whole_group: bool
) -> None:
    process = started(winding, nested(winding))
    (os.killpg if whole_group else os.kill)(process.pid, signum)
    output, _ = process.communicate(timeout=30)
    assert notes(winding) == ["begun", "SIGTERM", "deleted", "the last"]
    assert output == f"outer: stopped by {signum.name}, and its jobs with it\n"
    # Of the signal: a shell that called it is not to go on.
    assert process.returncode == -signum


def test_of_jobs_in_a_queue_nothing_is_promised(winding: Path) -> None:
    process = started(winding, nested(winding, "--queue"))
    process.terminate()
    output, _ = process.communicate(timeout=30)
    assert "its jobs with it" not in output and "deleted" in notes(winding)
    first, second = output.splitlines()
    assert first == (
        "inner: queue.pl has ended as it was told to. Whether its jobs have, the queue knows (qstat, squeue)"
    )
    assert second == "outer: stopped by SIGTERM, and all that it ran on this machine with it"


def test_only_the_users_second_stop_cuts_the_grace_short(winding: Path) -> None:
    process = started(winding, nested(winding, "--queue"), last=60)
    began = time.monotonic()
    # Both a terminal and its shell tell: one stop.
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    time.sleep(1.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert time.monotonic() - began < 10
    # The script still does what it does at its end.
    assert notes(winding) == ["begun", "SIGTERM", "the last"]
    assert "queue.pl was killed before it could delete its jobs" in output
    assert "stopped by SIGHUP" in output


def test_an_inner_guard_goes_on_winding_down_when_its_caller_has_died(winding: Path) -> None:
    # As where steps run beside each other: the shell between has no guard.
    command = [*GUARD.split(), "--script", "outer", "bash", "-c", f"( {GUARD} inner {winding}; true ); true"]
    process = started(winding, command, last=2.5)
    process.terminate()
    process.communicate(timeout=30)
    assert notes(winding) == ["begun", "SIGTERM", "deleted"]


def test_a_script_that_has_called_a_program_in_its_place(winding: Path) -> None:
    for inner in (f"exec {winding}", f"exec {GUARD} inner {winding}"):
        process = started(winding, [*GUARD.split(), "--script", "outer", "bash", "-c", inner])
        process.terminate()
        process.communicate(timeout=30)
        assert notes(winding) == ["begun", "SIGTERM", "deleted"]
        winding.with_name("notes").unlink()


def test_what_had_just_been_started_is_told_too(tmp_path: Path) -> None:
    tag = f"sleeper{os.getpid()}x{time.monotonic_ns()}"
    # It starts programs all the time, and dies with children that nobody has told.
    busy = f"while true; do bash -c 'exec -a {tag} sleep 60' & bash -c 'exec -a {tag} sleep 0.001'; done"
    process = start([*GUARD.split(), "name", "bash", "-c", busy], tmp_path)
    wait_until(lambda: len(sleepers(tag)) > 5)
    began = time.monotonic()
    process.terminate()
    process.communicate(timeout=30)
    assert time.monotonic() - began < 10 and sleepers(tag) == []


def test_a_pause_is_one_of_all(tmp_path: Path) -> None:
    tag = f"sleeper{os.getpid()}x{time.monotonic_ns()}"
    command = [
        *GUARD.split(),
        "--script",
        "outer",
        "bash",
        "-c",
        f"{GUARD} inner bash -c 'exec -a {tag} sleep 60'",
    ]

    def states() -> set[str]:
        found = {Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] for pid in sleepers(tag)}
        return found or {"none"}

    # A group of its own in this session, as a shell gives to its jobs.
    process = subprocess.Popen(command, cwd=tmp_path, process_group=0, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: len(sleepers(tag)) == 3)
        os.killpg(process.pid, signal.SIGTSTP)
        assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
        wait_until(lambda: states() == {"T"})
        os.killpg(process.pid, signal.SIGCONT)
        wait_until(lambda: "T" not in states())
    finally:
        process.terminate()
        process.wait(30)
    assert sleepers(tag) == []


@pytest.mark.parametrize("command", ["{guard} name sleep 60", "{run_pl} x.log sleep 60"])
def test_ctrl_c_stops_the_script_around_it(tmp_path: Path, command: str) -> None:
    tag = f"sleeper{os.getpid()}x{time.monotonic_ns()}"
    script = tmp_path / f"{tag}.sh"
    line = command.format(guard=GUARD, run_pl=ROOT / "steps/utils/run.pl")
    script.write_text(f"for part in 1 2 3; do\n  echo part $part\n  {line}\n  echo after $part\ndone\n")
    process = start(["setsid", "bash", str(script)], tmp_path)
    assert process.stdout is not None and process.stdout.readline() == "part 1\n"
    time.sleep(1.5)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    assert "part 2" not in output and "after" not in output


#: What runs before the environment is found: by the python3 of the system, 3.6 on RHEL 8.
EARLY = [*sorted((ROOT / "steps/utils").glob("*.py")), ROOT / "dkt/__init__.py"]


@pytest.mark.parametrize("path", EARLY, ids=lambda path: path.name)
def test_what_an_old_python_is_given_it_can_read(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 6))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    # Unknown to 3.6; of the rest of dkt nothing is read.
    assert not imported & {"__future__", "dataclasses"}


def old_python(folder: Path, version: str) -> Path:
    """A python3 that is too old for the guard (3.5), or for dkt only (3.6)."""
    folder.mkdir()
    python = folder / "python3"
    python.write_text(
        "#!/bin/bash\n"
        'for word; do case $word in *"(3, 11)"*) exit 1 ;; '
        f'*"(3, 6)"*) [ {version} = 3.6 ]; exit ;; esac; done\n'
        f"case $* in --version) echo Python {version} ;;\n"
        f'*guard.py*) [ {version} = 3.5 ] || exec {sys.executable} "$@" ;; esac\n'
        "echo SyntaxError >&2\nexit 1\n"
    )
    python.chmod(0o755)
    return folder


@pytest.mark.parametrize("version", ["3.5", "3.6"])
def test_an_old_python3_in_front_does_not_matter(tmp_path: Path, version: str) -> None:
    def call(*command: str, path: str) -> subprocess.CompletedProcess[str]:
        left_out = ("DKT_", "KALDI_ROOT", "VIRTUAL_ENV")
        variables = {k: v for k, v in os.environ.items() if not k.startswith(left_out)} | {"PATH": path}
        return subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)

    old = old_python(tmp_path / "old", version)
    done = call(str(ROOT / "egs/digits/s5/run.sh"), "--help", path=f"{old}:/usr/bin:/bin")
    assert "Usage: ./run.sh" in done.stdout + done.stderr and "SyntaxError" not in done.stderr
    # A step finds the Python of the command dkt.
    (tmp_path / "data").mkdir()
    done = call(str(ROOT / "steps/check_data.sh"), "data", path=f"{old}:{BIN}:/usr/bin:/bin")
    assert "no file 'data/utt2spk'" in done.stderr and "Python" not in done.stderr, done.stderr


def test_a_ctrl_c_before_the_guard_is_there_is_not_forgotten(tmp_path: Path) -> None:
    """A shell forgets it when the program that it waits for, here a slow python3, does not die of it."""
    slow = tmp_path / "slow/python3"
    slow.parent.mkdir()
    slow.write_text(
        f'#!/bin/bash\ntrap "" INT\necho begun\nsleep 1\ntrap - INT\nexec {sys.executable} "$@"\n'
    )
    slow.chmod(0o755)
    # What is not of the checkout has no guard.
    shutil.copytree(ROOT / "steps", tmp_path / "steps")
    script = tmp_path / "steps/script.sh"
    script.write_text('#!/bin/bash\n. "$(dirname "$0")/lib/signals.sh"\necho not stopped\n')
    process = subprocess.Popen(
        ["bash", str(script)],
        env=os.environ | {"PATH": f"{slow.parent}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    assert "not stopped" not in process.communicate(timeout=30)[0]
    assert process.returncode == -signal.SIGINT


def test_the_traps_of_who_sources_it_stay(tmp_path: Path) -> None:
    script = tmp_path / "script.sh"
    for trap in ("trap 'echo theirs' INT", "true"):
        script.write_text(f"#!/bin/bash\n{trap}\n. {ROOT}/steps/lib/signals.sh\ntrap -p INT\n")
        done = subprocess.run(["bash", str(script)], capture_output=True, text=True)
        assert done.stdout == ("trap -- 'echo theirs' SIGINT\n" if "theirs" in trap else "")
