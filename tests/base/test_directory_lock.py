"""One writer per directory: who is second is told who is first; what the dead hold is taken over."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from dkt.base.directory_lock import LOCK, STEP_LOCK, Holder, hold_directory, require_lock
from dkt.base.errors import DktError
from dkt.base.processes import ProcessId
from dkt.base.stopping import Stopped, stoppable
from dkt.bin import main
from tests.shell import ROOT, fails, succeed
from tests.student_lab import CPU, lab, taught

__all__ = ["lab"]

_HOLD = """
import sys, time
from dkt.base.directory_lock import hold_directory
with hold_directory(sys.argv[1], "dkt train-x"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def logged(caplog):
    caplog.set_level(logging.INFO)


@pytest.fixture
def other(tmp_path):
    """Another process that holds ``dir``."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path / "dir")], stdout=subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def rewrite(directory: Path, name: str = LOCK, **changes) -> None:
    """Make the lock one of another process."""
    path = directory / name
    holder = Holder.decode(path.read_bytes())
    assert holder is not None
    path.write_bytes(replace(holder, process=replace(holder.process, **changes)).encode())


def test_the_second_is_told_who_is_first(other, tmp_path):
    with pytest.raises(DktError) as caught, hold_directory(tmp_path / "dir", "me"):
        pytest.fail("held twice")
    told = str(caught.value)
    assert re.search(r"dir: another process writes in this directory: dkt train-x on host \S+, pid \d+", told)
    assert f"pid {other.pid}, since 20" in told and "--steal-lock" in told
    # The first has not noticed.
    assert (tmp_path / "dir" / LOCK).exists() and other.poll() is None


@pytest.mark.parametrize("moment", ["os.link", "dkt.base.directory_lock.remove_leftovers"])
def test_who_is_stopped_as_soon_as_it_holds_gives_back(tmp_path, monkeypatch, moment):
    module, name = moment.rsplit(".", 1)
    before = getattr(sys.modules[module], name)

    def stopped(*arguments):
        before(*arguments)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(moment, stopped)
    with pytest.raises(Stopped), stoppable(), hold_directory(tmp_path / "dir", "me"):
        pytest.fail("went on")
    assert not (tmp_path / "dir").exists()


def test_what_a_killed_process_held_is_taken_over_with_a_line(other, tmp_path, caplog):
    other.send_signal(signal.SIGKILL)
    # Not waited for: as a zombie it is dead too.
    deadline = time.monotonic() + 10
    while not ProcessId.of(other.pid).has_ended() and time.monotonic() < deadline:
        time.sleep(0.01)
    with hold_directory(tmp_path / "dir", "me"):
        assert f"pid {other.pid}" in caplog.text and "is taken over: that process has ended" in caplog.text
    assert not list((tmp_path / "dir").iterdir())


def test_a_number_that_another_process_has_by_now_holds_nothing(other, tmp_path):
    start = ProcessId.of(other.pid).start
    assert start is not None
    rewrite(tmp_path / "dir", start=start - 1)
    with hold_directory(tmp_path / "dir", "me"):
        pass


_OTHER_BOOT = "00000000-0000-0000-0000-000000000000 1"


def test_after_a_restart_of_the_host_nothing_is_held(other, tmp_path, monkeypatch):
    monkeypatch.setattr("dkt.base.processes._machine", lambda: "0123456789ab")
    rewrite(tmp_path / "dir", world=_OTHER_BOOT, machine="0123456789ab")
    with hold_directory(tmp_path / "dir", "me"):
        pass


@pytest.mark.parametrize("machine", ["", "ba9876543210"])
def test_another_boot_of_who_knows_which_machine_is_no_end(other, tmp_path, monkeypatch, machine):
    """Many are called localhost, and containers of two machines share a disk."""
    monkeypatch.setattr("dkt.base.processes._machine", lambda: "0123456789ab")
    rewrite(tmp_path / "dir", world=_OTHER_BOOT, machine=machine)
    caught = pytest.raises(DktError, match=r"another process writes.*--steal-lock")
    with caught, hold_directory(tmp_path / "dir", "me"):
        pytest.fail("held by two")
    with hold_directory(tmp_path / "dir", "me", steal=True):
        pass


def test_a_machine_that_tells_nothing_of_itself_is_none(monkeypatch):
    monkeypatch.setattr("dkt.base.processes._machine", lambda: "")
    process = replace(ProcessId.of(4194305), world=_OTHER_BOOT)
    assert process.has_ended() is None
    assert replace(process, world="").has_ended() is None


def test_a_lock_of_an_older_version_is_read(other, tmp_path):
    path = tmp_path / "dir" / LOCK
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith("machine")))
    with pytest.raises(DktError, match=f"pid {other.pid}"), hold_directory(tmp_path / "dir", "me"):
        pytest.fail("held by two")
    rewrite(tmp_path / "dir", pid=4194305)
    with hold_directory(tmp_path / "dir", "me"):
        pass


@pytest.mark.parametrize("steal", [False, True])
def test_what_only_has_the_name_of_a_lock_is_named(tmp_path, steal):
    path = tmp_path / LOCK
    for make, kind in (
        (path.mkdir, "a directory"),
        (lambda: path.symlink_to("nowhere"), "a link"),
        (lambda: os.mkfifo(path), "a special file"),
    ):
        make()
        caught = pytest.raises(DktError, match=rf"\.lock: is {kind}, expected a lock.* - remove it")
        with caught, hold_directory(tmp_path, "me", steal=steal):
            pytest.fail("held")
        path.rmdir() if kind == "a directory" else path.unlink()


@pytest.mark.parametrize("change", ["host", "container", "damage"])
def test_what_cannot_be_seen_from_here_is_only_stolen(other, tmp_path, caplog, change):
    directory = tmp_path / "dir"
    if change == "host":
        rewrite(directory, host="elsewhere", pid=4194305)
    elif change == "container":
        rewrite(directory, world=ProcessId.of(os.getpid()).world + "1", pid=4194305)
    else:
        (directory / LOCK).write_bytes(b"\0\0")
    expected = {"host": "on host elsewhere, pid 4194305", "container": "pid 4194305", "damage": "is damaged"}
    with pytest.raises(DktError, match=f"{expected[change]}.*--steal-lock"), hold_directory(directory, "me"):
        pytest.fail("held by two")
    with hold_directory(directory, "me", steal=True):
        assert "the lock is taken from" in caplog.text
    assert not (directory / LOCK).exists()


def test_who_was_robbed_writes_nothing_more_and_leaves_the_lock(tmp_path):
    with hold_directory(tmp_path, "first"):
        require_lock(tmp_path)
        rewrite(tmp_path, host="elsewhere")
        with pytest.raises(DktError, match="the lock was taken away by first on host elsewhere"):
            require_lock(tmp_path)
    assert (tmp_path / LOCK).exists()


def test_of_many_at_once_one_gets_it(tmp_path):
    """Also where all of them find the lock of a dead process."""
    with hold_directory(tmp_path / "dir", "dead"):
        stale = (tmp_path / "dir" / LOCK).read_bytes()
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / LOCK).write_bytes(stale)
    rewrite(tmp_path / "dir", pid=4194305)
    command = [sys.executable, "-c", _HOLD.replace("60", "3"), str(tmp_path / "dir")]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) for _ in range(6)
    ]
    outputs = [process.communicate()[0] for process in started]
    assert sorted(outputs) == [b""] * 5 + [b"held\n"]


def test_a_directory_in_which_nothing_was_written_goes_again(tmp_path):
    with pytest.raises(DktError), hold_directory(tmp_path / "a/b", "me"):
        raise DktError("bad input")
    assert not (tmp_path / "a").exists()


def test_the_same_process_may_hold_it_again_and_keeps_it_to_the_end(tmp_path):
    with hold_directory(tmp_path / "dir", "outer"):
        with hold_directory(tmp_path / "dir", "inner"):
            pass
        assert b"command: outer" in (tmp_path / "dir" / LOCK).read_bytes()
        require_lock(tmp_path / "dir")
    assert not (tmp_path / "dir").exists()


def test_a_process_is_read_from_its_tag():
    own = ProcessId.of(os.getpid())
    found = ProcessId.of_tag(own.tag)
    assert found is not None and found.tag == own.tag and found.has_ended() is False
    ended = ProcessId.of_tag(replace(own, pid=4194305).tag)
    assert ended is not None and ended.has_ended()
    assert ProcessId.of_tag("4194305@host") is None


# --- the commands ---


def trainings(lab: Path, exp: Path) -> dict[str, list[str]]:
    places = [str(lab / name) for name in ("train", "dev", "ali_train", "ali_dev")]
    return {
        "train-dnn": [f"--config={lab}/dnn.yaml", *CPU, *places, str(exp)],
        "train-lstm": [f"--config={lab}/lstm.yaml", *CPU, *places, str(exp)],
        "make-soft-targets": ["--use-gpu=no", str(lab / "dnn/final.pt"), str(lab / "train"), str(exp)],
        "train-mono": [str(lab / "train"), str(lab), str(exp)],
        "align": [str(lab / "train"), str(lab), str(lab / "ali_train"), str(exp)],
        "perturb-speed": [str(lab / "train"), str(exp)],
        "perturb-volume": [str(lab / "train"), str(exp)],
        "augment-data": ["--bg-noise-types=white", str(lab / "train"), str(exp)],
        "copy-ali-dir": [str(lab / "train"), str(lab / "ali_train"), str(exp)],
    }


@pytest.mark.parametrize(
    "command",
    [
        *("train-dnn", "train-lstm", "make-soft-targets", "train-mono", "align"),
        *("perturb-speed", "perturb-volume", "augment-data", "copy-ali-dir"),
    ],
)
def test_the_second_of_two_commands_is_refused_at_once(lab, other, tmp_path, capsys, command):
    assert main([command, *trainings(lab, tmp_path / "dir")[command]]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "dir: another process writes in this directory: dkt train-x on host" in error
    assert f"pid {other.pid}" in error and sorted(p.name for p in (tmp_path / "dir").iterdir()) == [LOCK]


def test_the_soft_part_of_a_pretraining_is_a_directory_of_its_own(lab, tmp_path, capsys):
    command = ["train-lstm", "--mode=pretrain", "--temperature=2", *taught(lab)]
    (tmp_path / "exp/soft").mkdir(parents=True)
    with hold_directory(tmp_path / "exp/soft", "dkt train-lstm"):
        rewrite(tmp_path / "exp/soft", host="elsewhere")
        assert main([*command, *trainings(lab, tmp_path / "exp")["train-lstm"]]) == 1
    assert "exp/soft: another process writes in this directory" in capsys.readouterr().err
    stolen = [*command, "--steal-lock", *trainings(lab, tmp_path / "exp")["train-lstm"]]
    assert main(stolen) == 0
    assert not list((tmp_path / "exp").rglob("*.lock"))


def test_two_different_trainings_of_one_directory_do_not_mix(lab, tmp_path):
    """One of two that begin at the same time trains, the other is refused."""
    exp = tmp_path / "exp"
    commands = [
        [sys.executable, "-m", "dkt", "train-dnn", f"--set=training.seed={seed}"]
        + trainings(lab, exp)["train-dnn"]
        for seed in (1, 2)
    ]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) for command in commands]
    errors = [process.communicate()[1] for process in started]
    statuses = [process.returncode for process in started]
    assert sorted(statuses) == [0, 1], errors
    loser = statuses.index(1)
    assert "another process writes in this directory" in errors[loser]
    assert f"pid {started[1 - loser].pid}" in errors[loser]
    assert f"seed: {2 - loser}" in (exp / "config.yaml").read_text()


# --- the steps ---


def test_a_second_step_is_refused_and_touches_no_log(lab, tmp_path):
    exp = tmp_path / "exp"
    (exp / "log").mkdir(parents=True)
    (exp / "log/train.log").write_text("of the first\n")
    places = ["train", "dev", "lang", "ali_train", "ali_dev"]
    (lab / "lang").mkdir(exist_ok=True)
    (lab / "lang/phones.txt").write_text((lab / "ali_train/phones.txt").read_text())
    call = ["steps/train_dnn.sh", "--skip-check", "true", "--use-gpu", "no", "--num-threads", "1"]
    call += ["--dnn-config", f"{lab}/dnn.yaml"]
    with hold_directory(exp, "steps/train_dnn.sh", name=STEP_LOCK):
        output = fails(lab, *call, *places, str(exp))
        assert "another process writes in this directory: steps/train_dnn.sh on host" in output
        assert f"pid {os.getpid()}" in output and "--steal-lock true" in output
        assert (exp / "log/train.log").read_text() == "of the first\n"
        rewrite(exp, STEP_LOCK, host="elsewhere")
        output = succeed(lab, *call, "--steal-lock", "true", *places, str(exp))
    assert "the lock is taken from steps/train_dnn.sh on host elsewhere" in output
    assert (exp / "final.pt").exists() and not list(exp.glob(".*lock"))
    # A finished model that was damaged since is not passed over.
    assert "done already" in succeed(lab, *call, *places, str(exp))
    content = (exp / "final.pt").read_bytes()
    (exp / "final.pt").write_bytes(content[:-200])
    output = succeed(lab, *call, *places, str(exp))
    assert "done again" in output and "final.pt: is damaged" in (exp / "log/train.log").read_text()
    assert (exp / "final.pt").read_bytes() == content


def test_a_killed_step_holds_nothing(tmp_path):
    script = tmp_path / "step.sh"
    script.write_text(
        f". {ROOT}/steps/lib/common.sh\nhold_directory {tmp_path}/dir\necho held\nsleep ${{1:-0}}\n"
    )
    process = subprocess.Popen(["bash", str(script), "60"], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    done = subprocess.run(["bash", str(script)], capture_output=True, text=True)
    assert done.returncode == 0 and "is taken over: that process has ended" in done.stderr
    assert not list((tmp_path / "dir").iterdir())
