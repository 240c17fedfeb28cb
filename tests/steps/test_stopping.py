"""Stopped steps, recipes and programs end with all that they have started, and keep what is finished."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from dkt.base import stopping
from dkt.bin import main
from tests.hmm.test_transitions import two_phone_model
from tests.recipe_lab import call_of, write_place
from tests.shell import BIN, ROOT
from tests.stand_ins import StandIns
from tests.steps.test_runner import wait_until
from tests.student_lab import CPU, DNN
from tests.synthetic import random_corpus, write_ali_dir, write_data_dir

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")

#: A job runner as Kaldi's: it knows nothing of signals, and runs what it is given in the background.
LIKE_KALDIS = """#!/bin/bash
while [[ $1 == -* || $1 == JOB=* ]]; do case $1 in -*) shift 2 ;; *) shift ;; esac; done
log=$1
shift
echo "( ${*//JOB/1} ) >$log 2>&1" | bash &
wait
"""


def sleepers(tag: str) -> list[int]:
    """The processes that have the tag among their arguments, zombies apart."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\\0")
        except OSError:  # it has just ended
            continue
        if tag.encode() in b" ".join(words):
            found.append(int(path.name))
    return found


def start(command: list[str], folder: Path, **variables: str) -> subprocess.Popen[str]:
    def defaults() -> None:
        # Under nohup or in the background they may be ignored here, and would be there.
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(signum, signal.SIG_DFL)

    left_out = ("DKT_GUARDED", "KALDI_ROOT", "DKT_ROOT")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(left_out)}
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=defaults,
    )


@pytest.fixture
def sleeping(tmp_path: Path) -> tuple[StandIns, Path, str]:
    """Stand-ins whose training sleeps, in a session of its own too; a place; what marks its processes."""
    tools = StandIns(tmp_path / "tools")
    tag = f"sleeper{os.getpid()}x{time.monotonic_ns()}"
    program = tools.kaldi.parent / "bin/dkt"
    sleep = f"import time; time.sleep(100) # {tag}"
    program.write_text(
        program.read_text().replace(
            'if name in ("lock-dir", "verify"):\n    sys.exit()\n',
            'if name in ("lock-dir", "verify"):\n    sys.exit()\n'
            'if name == "train-dnn":\n'
            "    import subprocess\n"
            f'    child = [sys.executable, "-c", "{sleep}"]\n'
            "    subprocess.Popen(child, start_new_session=True)\n"
            "    subprocess.run(child)\n",
        )
    )
    write_place(tmp_path / "recipe")
    return tools, tmp_path / "recipe", tag


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_a_stopped_step_leaves_nothing_behind(
    sleeping: tuple[StandIns, Path, str], signum: signal.Signals
) -> None:
    tools, place, tag = sleeping
    script, *arguments = call_of("train_dnn")
    step = start([str(ROOT / script), *arguments], place, **tools.alone)
    wait_until(lambda: len(sleepers(tag)) == 2)
    step.send_signal(signum)
    output, _ = step.communicate(timeout=30)
    if signum != signal.SIGKILL:
        # Of the signal: a shell that called it is not to go on after Ctrl-C.
        assert step.returncode == -signum
        assert f"steps/train_dnn.sh: stopped by {signum.name}, and its jobs with it" in output
        # Before the step ends, not after.
        assert sleepers(tag) == []
    wait_until(lambda: not sleepers(tag))
    assert not (place / "exp/net/.train_dnn.done").exists()


@pytest.mark.parametrize("whole_group", [False, True])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("early", [True, False])
def test_a_stopped_step_gives_back_its_directory(
    sleeping: tuple[StandIns, Path, str], signum: signal.Signals, whole_group: bool, early: bool
) -> None:
    tools, place, tag = sleeping
    script, *arguments = call_of("train_dnn")
    step = start(["setsid", str(ROOT / script), *arguments], place, **tools.alone)
    lock = place / "exp/net/.step.lock"
    wait_until(lambda: lock.exists() and (early or len(sleepers(tag)) == 2))
    (os.killpg if whole_group else os.kill)(step.pid, signum)
    output, _ = step.communicate(timeout=30)
    assert step.returncode == -signum
    assert not lock.exists(), output
    assert [line for line in output.splitlines() if "error" in line or "Terminated" in line] == []


def test_a_step_that_is_refused_leaves_the_lock_of_another(sleeping: tuple[StandIns, Path, str]) -> None:
    tools, place, _ = sleeping
    lock = place / "exp/net/.step.lock"
    lock.parent.mkdir(parents=True)
    text = "host: elsewhere\npid: 1\nsince: today\ncommand: steps/x.sh\nstart: 1\nworld: w\n"
    lock.write_text(text)
    script, *arguments = call_of("train_dnn")
    step = start([str(ROOT / script), *arguments], place, **tools.alone)
    output, _ = step.communicate(timeout=30)
    assert step.returncode == 1 and "another process writes in this directory" in output
    assert lock.read_text() == text


def test_a_training_in_a_step_has_time_to_save(sleeping: tuple[StandIns, Path, str]) -> None:
    tools, place, _ = sleeping
    program = tools.kaldi.parent / "bin/dkt"
    program.write_text(
        program.read_text().replace(
            "    import subprocess\n",
            "    import time\n"
            "    def save(*_):\n"
            "        make(args[-1], 'saving')\n"
            "        time.sleep(2)\n"
            "        make(args[-1], 'saved')\n"
            "        sys.exit(143)\n"
            "    signal.signal(signal.SIGTERM, save)\n"
            "    make(args[-1], 'at_work')\n"
            "    while True: time.sleep(1)\n",
        )
    )
    script, *arguments = call_of("train_dnn")
    step = start(["setsid", str(ROOT / script), *arguments], place, **tools.alone)
    wait_until((place / "exp/net/at_work").exists)
    os.killpg(step.pid, signal.SIGINT)
    wait_until((place / "exp/net/saving").exists)
    # The directory is held as long as it is written in.
    assert (place / "exp/net/.step.lock").exists()
    step.communicate(timeout=30)
    assert (place / "exp/net/saved").exists() and not (place / "exp/net/.step.lock").exists()


def test_a_stopped_check_of_read_only_data_leaves_nothing(
    sleeping: tuple[StandIns, Path, str], tmp_path: Path
) -> None:
    tools, place, tag = sleeping
    program = tools.kaldi.parent / "bin/dkt"
    program.write_text(program.read_text().replace('if name == "train-dnn":', 'if name == "check":'))
    (place / "data/log").write_text("no directory")
    (tmp_path / "tmp").mkdir()
    step = start(
        [str(ROOT / "steps/check_data.sh"), "data"], place, TMPDIR=str(tmp_path / "tmp"), **tools.alone
    )
    wait_until(lambda: len(sleepers(tag)) == 2)
    assert list((tmp_path / "tmp").iterdir()) != []
    step.terminate()
    output, _ = step.communicate(timeout=30)
    assert step.returncode == -signal.SIGTERM and list((tmp_path / "tmp").iterdir()) == [], output
    assert sleepers(tag) == []


def test_with_a_runner_that_knows_nothing_of_signals_too(sleeping: tuple[StandIns, Path, str]) -> None:
    tools, place, tag = sleeping
    runner = tools.kaldi / "egs/wsj/s5/utils/run.pl"
    runner.write_text(LIKE_KALDIS)
    script, *arguments = call_of("train_dnn")
    step = start([str(ROOT / script), *arguments], place, **tools.with_kaldi)
    wait_until(lambda: len(sleepers(tag)) == 2)
    step.terminate()
    assert step.wait(30) == -signal.SIGTERM and sleepers(tag) == []


def test_a_closed_terminal_stops_a_step_and_nohup_does_not(sleeping: tuple[StandIns, Path, str]) -> None:
    tools, place, tag = sleeping
    script, *arguments = call_of("train_dnn")
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(place)
        os.environ.update(tools.alone)
        os.execv(ROOT / script, [str(ROOT / script), *arguments])
    wait_until(lambda: len(sleepers(tag)) == 2)
    os.close(terminal)
    os.waitpid(pid, 0)
    wait_until(lambda: not sleepers(tag))
    step = start(["nohup", str(ROOT / script), *arguments], place, **tools.alone)
    wait_until(lambda: len(sleepers(tag)) == 2)
    step.send_signal(signal.SIGHUP)
    time.sleep(1)
    assert step.poll() is None and len(sleepers(tag)) == 2
    step.terminate()
    assert step.wait(30) == -signal.SIGTERM and sleepers(tag) == []


def test_a_recipe_ends_with_the_step_that_it_is_at(tmp_path: Path) -> None:
    tag = f"sleeper{os.getpid()}x{time.monotonic_ns()}"
    command = f"exec -a {tag} sleep 100 #"
    # A stage that runs steps beside each other, as that of the students does.
    recipe = ROOT / "egs" / f"{tag}.sh"
    recipe.write_text(
        '#!/bin/bash\n. "$(dirname "$0")/../steps/lib/signals.sh"\n'
        f"printf '1\\0002\\000' | xargs -0 -P 2 -n 1 bash -c '{command}'\necho went on\n"
    )
    recipe.chmod(0o755)
    try:
        done = start([str(recipe), "an argument"], tmp_path)
        wait_until(lambda: len(sleepers(tag)) >= 5)
        done.terminate()
        output, _ = done.communicate(timeout=30)
        assert (
            done.returncode == -signal.SIGTERM and "went on" not in output and "stopped by SIGTERM" in output
        )
        wait_until(lambda: not sleepers(tag))
    finally:
        recipe.unlink()


def test_a_guard_passes_on_arguments_status_and_pipes(tmp_path: Path) -> None:
    guard = [sys.executable, "-IS", str(ROOT / "steps/utils/guard.py"), "name"]
    shell = 'printf "[%s]" "$@"; cat; exit 3'

    def call(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*guard, *command], input="in", capture_output=True, text=True)

    done = call("bash", "-c", shell, "x", "a b", "$c", "")
    assert (done.returncode, done.stdout, done.stderr) == (3, "[a b][$c][]in", "")
    # Python ignores SIGPIPE: what it starts must not.
    done = call("bash", "-c", "yes | head -n 1; exit ${PIPESTATUS[0]}")
    assert done.returncode == 141 and done.stdout == "y\n"
    assert call("bash", "-c", "kill -9 $$").returncode == 137
    assert "cannot be run: No such file" in call("/no/such").stderr


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus")
    for name, prefix, seed in (("train", "t", 1), ("dev", "d", 2)):
        features, alignments = random_corpus(seed, prefix, 60)
        write_data_dir(path / name, dict(sorted(features.items())))
        write_ali_dir(path / f"ali_{name}", two_phone_model(), alignments)
    # It never ends by itself.
    schedule = {"max_iters": 500, "min_iters": 500, "learn_rate": 0.0001}
    (path / "dnn.yaml").write_text(yaml.safe_dump(DNN | {"schedule": schedule}))
    return path


def training(corpus: Path, target: Path) -> subprocess.Popen[str]:
    command = [str(BIN / "dkt"), "train-dnn", f"--config={corpus}/dnn.yaml", *CPU]
    command += [f"{corpus}/{name}" for name in ("train", "dev", "ali_train", "ali_dev")]
    return start([*command, str(target)], corpus)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_training_that_is_stopped_keeps_its_epochs(
    corpus: Path, tmp_path: Path, signum: signal.Signals
) -> None:
    target = tmp_path / "dnn"
    process = training(corpus, target)
    history = target / "history.csv"
    wait_until(lambda: history.exists() and len(history.read_text().split()) > 2, 60)
    began = time.monotonic()
    process.send_signal(signum)
    output, _ = process.communicate(timeout=30)
    # A shell goes on after Ctrl-C if the program that it waited for has not died of it.
    expected = -signum if signum == signal.SIGINT else 128 + signum
    assert process.returncode == expected and time.monotonic() - began < 10
    last = output.splitlines()[-1]
    how = "interrupted" if signum == signal.SIGINT else f"stopped by {signum.name}"
    epochs = len(history.read_text().splitlines()) - 1
    assert last.startswith(f"ERROR (dkt train-dnn) {how}: {epochs} epoch"), output
    assert f"kept in {target}/checkpoint.pt, the same command goes on from there" in last
    assert "Traceback" not in output and not list(tmp_path.rglob("*.partial"))
    again = training(corpus, target)
    assert again.stdout is not None
    assert any(f"going on after epoch {epochs}, from" in line for line in again.stdout)
    again.terminate()
    again.communicate(timeout=30)


def test_a_program_that_is_stopped_ends_with_one_line_and_its_workers(tmp_path: Path) -> None:
    """A pool of processes at work would be waited for."""
    script = tmp_path / "program.py"
    script.write_text(
        "import sys, time\n"
        "from dkt.bin import COMMANDS, main\n"
        "import dkt.bin.common.flags as module\n"
        "class Busy:\n"
        "    def work(self):\n"
        "        deadline = time.monotonic() + 100\n"
        "        while time.monotonic() < deadline: pass\n"
        "def run(args):\n"
        "    from dkt.gmm.workers import WorkerPool\n"
        "    from dkt.util.table import TextWriter\n"
        "    with WorkerPool(2, Busy) as pool:\n"
        "        calls = [pool.submit(n, 'work') for n in range(2)]\n"
        "        print('at work', flush=True)\n"
        "        pool.result(calls[0])\n"
        "if __name__ == '__main__':\n"
        "    module.add_arguments, module.run = lambda parser: None, run\n"
        "    COMMANDS['busy'] = ('common.flags', 'x')\n"
        "    sys.exit(main(['busy']))\n"
    )
    for signum in (signal.SIGTERM, signal.SIGKILL):
        process = start([sys.executable, str(script)], tmp_path, PYTHONPATH=str(ROOT))
        assert process.stdout is not None
        wait_until(lambda line=process.stdout.readline: "at work" in line(), 60)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) >= 2
        began = time.monotonic()
        process.send_signal(signum)
        output, _ = process.communicate(timeout=30)
        assert time.monotonic() - began < 10
        if signum == signal.SIGTERM:
            assert process.returncode == 143 and "Traceback" not in output
            assert output.splitlines()[-1] == "ERROR (dkt busy) stopped by SIGTERM"
        wait_until(lambda pids=children: not any(alive(pid) for pid in pids))


def alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def test_what_is_held_is_done_before_the_stop() -> None:
    steps: list[str] = []
    with pytest.raises(stopping.Stopped) as caught, stopping.stoppable():
        with stopping.uninterrupted():
            os.kill(os.getpid(), signal.SIGTERM)
            steps.append("saved")
        steps.append("went on")
    assert steps == ["saved"] and caught.value.signum == signal.SIGTERM
    # Signals that come with it, as from a terminal, are the same stop; afterwards all is as it was.
    before = signal.getsignal(signal.SIGHUP)
    with pytest.raises(stopping.Stopped), stopping.stoppable():
        try:
            os.kill(os.getpid(), signal.SIGHUP)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            steps.append("cleared up")
    assert steps[-1] == "cleared up" and signal.getsignal(signal.SIGHUP) == before


def test_the_command_tells_of_a_stop(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(_argv: list[str]) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("went on")

    monkeypatch.setattr("dkt.bin._dispatch", stop)
    assert main(["feats"]) == 143
    assert capsys.readouterr().err == "ERROR (dkt feats) stopped by SIGTERM\n"
