"""How dkt takes kills, damaged files, bad calls, full disks, killed jobs and stopped steps: tries, and tells.

Usage: python benchmarks/reliability [--short] [--times N] [--seed N] [--only KIND,...] [--out PAGE]

A small experiment of tones is made by the steps; its files are damaged, calls of its commands spoilt. Every
trial ends as an undisturbed one, or with one line that says what is wrong and an exit status that is not 0.
The exit status is 1 if a trial did not hold.
"""

from __future__ import annotations

import argparse
import random
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import calls
import damage
import disks
import kills
import lab
import stages

import dkt

Trials = Callable[[Path, Path, random.Random, int], Iterator[tuple[str, str | None]]]


@dataclass
class Kind:
    """A row of the table.

    Attributes:
        what: what is done.
        held: what counts as held.
        trials: gives each trial and what is wrong with what came of it.
        short, whole: how many times each thing is tried in a short run and in a whole one.
    """

    what: str
    held: str
    trials: Trials
    short: int
    whole: int
    tried: int = 0
    failures: list[str] = field(default_factory=list)


KINDS = {
    "kills": Kind(
        "commands killed (SIGKILL) at any instant and called again",
        "the same files, bit for bit, as without the kill; nothing half written stays",
        kills.trials, 1, 4,
    ),
    "pairs": Kind(
        "two different trainings started in one directory",
        "one is refused and told who holds it; the model is the other's",
        kills.pairs, 1, 2,
    ),
    "damage": Kind(
        "files damaged: bits flipped, ends cut off, zeros, other bytes, parts twice",
        "dkt's own files: an error, or the undamaged result; Kaldi's, which have no checksum: an end without "
        "traceback, signal or delay",
        damage.trials, 3, 6,
    ),
    "calls": Kind(
        "bad calls: absurd numbers in options and configurations, arguments that name nothing or another "
        "kind of file",
        "an error of one line within a minute and 4 GiB; NaN and infinity never pass",
        calls.trials, 2, 2,
    ),
    "disks": Kind(
        "disks that fill up during a command",
        "the error names the file that could not be written, nothing is left cut short under its name, and "
        "with room the same call ends well",
        disks.trials, 1, 2,
    ),
    "jobs": Kind(
        "one of four jobs of a step killed",
        "the step fails and names the job; called again it does that job only, and ends with the same files",
        stages.killed_jobs, 1, 2,
    ),
    "steps": Kind(
        "steps stopped by SIGTERM, SIGHUP or SIGINT",
        "nothing goes on running; called again they end with the same files",
        stages.stopped_steps, 1, 2,
    ),
}  # fmt: skip


def _run(kind: Kind, place: Path, work: Path, rng: random.Random, times: int) -> None:
    for label, wrong in kind.trials(place, work, rng, times):
        kind.tried += 1
        if wrong is not None:
            kind.failures.append(f"{label}: {wrong}")
            print(f"  {label}: {wrong}", flush=True)


def _table(kinds: list[Kind]) -> str:
    rows = ["| what was done | what counts as held | tried | held |", "|---|---|---|---|"]
    rows += [f"| {k.what} | {k.held} | {k.tried} | {k.tried - len(k.failures)} |" for k in kinds]
    return "\n".join(rows)


def _page(kinds: list[Kind], command: str) -> str:
    failures = [f"- {line}" for kind in kinds for line in kind.failures] or ["None."]
    return "\n".join(
        [
            "# Reliability",
            "",
            f"What was done to dkt {dkt.__version__} on purpose, and what came of it. This page is made by",
            "",
            f"    {command}",
            "",
            "on a small experiment of its own; continuous integration runs a short form of it.",
            "",
            _table(kinds),
            "",
            "## What did not hold",
            "",
            *failures,
            "",
        ]
    )


def main() -> int:
    """Make the trials; 1 if any did not hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="a few of each kind")
    parser.add_argument("--times", type=int, default=1, help="so many times as many of each (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of what is damaged where")
    parser.add_argument("--only", default=",".join(KINDS), help="kinds: %(default)s")
    parser.add_argument("--out", type=Path, help="page to write")
    args = parser.parse_args()
    chosen = args.only.split(",")
    # In the background and under nohup they are ignored, by the steps too.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="dkt-reliability-") as folder:
        began = time.monotonic()
        place = lab.build(Path(folder).resolve() / "experiment")
        print(f"experiment made in {time.monotonic() - began:.0f} s", flush=True)
        for name in chosen:
            began, kind = time.monotonic(), KINDS[name]
            work = Path(folder) / name
            work.mkdir()
            times = args.times * (kind.short if args.short else kind.whole)
            _run(kind, place, work, random.Random(f"{args.seed} {name}"), times)
            seconds = time.monotonic() - began
            print(
                f"{name}: {kind.tried - len(kind.failures)} of {kind.tried} held, {seconds:.0f} s", flush=True
            )
    kinds = [KINDS[name] for name in chosen]
    print(_table(kinds))
    if args.out:
        args.out.write_text(_page(kinds, shlex.join(["python", "benchmarks/reliability", *sys.argv[1:]])))
    return int(any(kind.failures for kind in kinds))


if __name__ == "__main__":
    sys.exit(main())
