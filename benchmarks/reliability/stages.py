"""Steps whose jobs are killed, and steps that are stopped: by a signal to the step, or by its terminal."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import lab
from trial import alive, command_line, run_step, step

_TRAIN = ["data/train_fbank", "data/dev_fbank", "data/lang", "exp/ali_train", "exp/ali_dev"]
#: Steps of four jobs, and their result's directory within ``OUT``.
ARRAYS: dict[str, list[str]] = {
    "forward": ["steps/forward.sh", "--nj", "4", "data/train_fbank", "exp/dnn", "OUT/forward"],
    "make_soft_targets": [
        *["steps/make_soft_targets.sh", "--nj", "4", "--top-k", "5"],
        *["data/train_fbank", "exp/dnn", "OUT/make_soft_targets"],
    ],
    "decode": [
        *["steps/decode.sh", "--nj", "4", "--srcdir", "exp/dnn", "--skip-scoring", "true"],
        *["exp/mono/graph", "data/train_fbank", "OUT/decode"],
    ],
    "align": ["steps/align.sh", "--nj", "4", "data/train_fbank", "data/lang", "exp/dnn", "OUT/align"],
}
SINGLE: dict[str, list[str]] = {
    "train_dnn": ["steps/train_dnn.sh", "--dnn-config", "conf/dnn.yaml", *_TRAIN, "OUT/train_dnn"],
    "train_lstm": ["steps/train_lstm.sh", "--lstm-config", "conf/lstm.yaml", *_TRAIN, "OUT/train_lstm"],
    "train_mono": ["steps/train_mono.sh", "--nj", "2", "data/train_mfcc", "data/lang", "OUT/train_mono"],
    "mkgraph": ["steps/mkgraph.sh", "data/lang", "exp/mono", "OUT/mkgraph"],
}
_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_GRACE = 15.0


def _argv(name: str, out: Path) -> list[str]:
    words = (ARRAYS | SINGLE)[name]
    return [str(lab.ROOT / words[0]), *(word.replace("OUT", str(out)) for word in words[1:])]


def _reference(name: str, place: Path, work: Path) -> tuple[dict[str, str], float]:
    outcome = run_step(_argv(name, work / "whole"), place)
    if outcome.status != 0:
        raise SystemExit(f"{name} fails undisturbed: {outcome.output}")
    return lab.contents(work / "whole" / name), outcome.seconds


def killed_jobs(place: Path, work: Path, rng: random.Random, times: int) -> Iterator[tuple[str, str | None]]:
    """Kill one job of four; the step fails, names it, and called again does what is missing."""
    for name in ARRAYS:
        reference, _ = _reference(name, place, work)
        for _ in range(times):
            job, out = rng.randint(1, 4), work / "killed"
            for _ in range(5):  # a job may be too quick to be caught
                shutil.rmtree(out, ignore_errors=True)
                with step(_argv(name, out), place) as (process, mark):
                    hit = _kill_job(process, mark, job)
                    process.wait(600)
                if hit and process.returncode != 0:
                    break
            else:
                continue
            output = (place / "step.log").read_text()
            yield f"{name}: job {job} of 4 killed", _judge_killed(name, job, output, out, place, reference)


def _kill_job(process: subprocess.Popen[str], mark: str, job: int) -> bool:
    part = re.compile(rf"split4(utt)?/{job}$|[.]{job}[.](ark|gz|log)$")
    while process.poll() is None:
        for pid in alive(mark):
            words = command_line(pid)
            # The program itself, not the shells that carry its command line.
            if len(words) > 2 and words[1].endswith("/dkt") and any(part.search(word) for word in words):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    return True
        time.sleep(0.01)
    return False


def _judge_killed(
    name: str, job: int, output: str, out: Path, place: Path, reference: dict[str, str]
) -> str | None:
    last = (output.strip().splitlines() or [""])[-1]
    if not re.search(rf"\b{job}\b", last):
        return f"the job is not named: {last[:160]}"
    logs = {path: path.stat().st_mtime_ns for path in (out / name).rglob("log/*.[1-4].log")}
    again = run_step(_argv(name, out), place)
    if again.status != 0:
        return f"called again: {again.output.strip().splitlines()[-1][:160]}"
    redone = {path.name for path, moment in logs.items() if path.stat().st_mtime_ns != moment}
    if others := sorted(name for name in redone if f".{job}." not in name):
        return f"called again, it did also {', '.join(others)}"
    return None if lab.contents(out / name) == reference else "called again: another result"


def stopped_steps(
    place: Path, work: Path, rng: random.Random, times: int
) -> Iterator[tuple[str, str | None]]:
    """Stop steps at any instant: nothing goes on running, and called again they end as undisturbed."""
    for name in ARRAYS | SINGLE:
        reference, seconds = _reference(name, place, work)
        for _ in range(times):
            number, after, out = rng.choice(_SIGNALS), rng.uniform(0.1, 0.9) * seconds, work / "stopped"
            shutil.rmtree(out, ignore_errors=True)
            with step(_argv(name, out), place) as (process, mark):
                time.sleep(after)
                # The step alone, as kill does it.
                process.send_signal(number)
                wrong = _await_end(process, mark)
            if wrong is None:
                again = run_step(_argv(name, out), place)
                if again.status != 0:
                    wrong = f"called again: {again.output.strip().splitlines()[-1][:160]}"
                elif lab.contents(out / name) != reference:
                    wrong = "called again: another result"
            yield f"{name} got {number.name} after {after / seconds:.0%} of its time", wrong


def _await_end(process: subprocess.Popen[str], mark: str) -> str | None:
    end = time.monotonic() + _GRACE
    while time.monotonic() < end:
        if process.poll() is not None and not alive(mark):
            return None
        time.sleep(0.05)
    left = [" ".join(command_line(pid))[:120] for pid in alive(mark)]
    return f"still running {_GRACE:.0f} s later: {left[0] if left else 'the step'}"
