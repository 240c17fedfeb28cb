"""Commands that are killed at any instant and called again, and two trainings in one directory."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import lab
from trial import call, complaint

NAMES = ("train-dnn", "train-lstm", "make-soft-targets", "train-mono", "align", "mkgraph", "prepare-lang")


def trials(place: Path, work: Path, rng: random.Random, times: int) -> Iterator[tuple[str, str | None]]:
    """Kill each command ``times`` times; called again, it has to end with the very same files."""
    for name in NAMES:
        outcome = call(lab.argv(name, work / name), place)
        reference = lab.contents(work / name)
        for _ in range(times):
            after, out = rng.uniform(0, 1) * outcome.seconds, work / "killed"
            shutil.rmtree(out, ignore_errors=True)
            call(lab.argv(name, out), place, kill_after=after)
            again = call(lab.argv(name, out), place)
            wrong = complaint(again)
            if wrong is None and again.status != 0:
                wrong = f"cannot go on: {again.output.strip().splitlines()[-1][:160]}"
            if wrong is None and lab.contents(out) != reference:
                wrong = "other files than without the kill"
            if wrong is None and (left := sorted(out.rglob(".*.partial*"))):
                wrong = f"{left[0].relative_to(out)} stays"
            yield f"dkt {name} killed after {after / outcome.seconds:.0%} of its time", wrong


def pairs(place: Path, work: Path, rng: random.Random, times: int) -> Iterator[tuple[str, str | None]]:
    """Start two different trainings in one directory: one is refused, the model is the other's."""
    for number in range(times):
        name, out = ("train-dnn", "train-lstm")[number % 2], work / "shared"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        commands = [
            [*lab.argv(name, out), f"--set=training.seed={seed}"] for seed in rng.sample(range(99), 2)
        ]
        processes = [
            subprocess.Popen(["dkt", *command], cwd=place, stderr=subprocess.PIPE, text=True)
            for command in commands
        ]
        messages = [process.communicate()[1] for process in processes]
        yield f"two of dkt {name} at once", _judge_pair(place, work, commands, processes, messages)


def _judge_pair(
    place: Path,
    work: Path,
    commands: list[list[str]],
    processes: list[subprocess.Popen[str]],
    messages: list[str],
) -> str | None:
    states = sorted(process.returncode for process in processes)
    if states[0] != 0 or states[1] not in (1, 2):
        return f"exit status {states[0]} and {states[1]}"
    winner = [process.returncode for process in processes].index(0)
    if "Traceback" in messages[1 - winner]:
        return "a traceback"
    if str(processes[winner].pid) not in messages[1 - winner]:
        return "the refusal does not tell which process holds the directory"
    alone = [word.replace(str(work / "shared"), str(work / "alone")) for word in commands[winner]]
    call(alone, place)
    same = lab.contents(work / "alone") == lab.contents(work / "shared")
    return None if same else "another model than of the training that was accepted"
