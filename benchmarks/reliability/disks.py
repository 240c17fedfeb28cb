"""Disks that are full: a small file system where one may be mounted, else a limit on the size of files."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import lab
from trial import Outcome, call, complaint

NAMES = [
    "train-dnn",
    "train-lstm",
    "make-soft-targets",
    "forward",
    "train-mono",
    "align",
    "mkgraph",
    "prepare-lang",
    "train-lm",
    "format-lm",
    "latgen",
    "lattice-copy",
    "compute-fbank-feats",
    "feats",
    "decode-scan",
    "perturb-speed",
    "perturb-volume",
    "augment-data",
    "copy-ali-dir",
]
#: A stream of objects: what was written before the end of the disk stays readable, as with Kaldi's programs.
_STREAMS = (".ark", ".wav", ".scp")
#: Written at the beginning, and anew when all is there.
_TWICE = ("header.yaml",)


def trials(place: Path, work: Path, rng: random.Random, times: int) -> Iterator[tuple[str, str | None]]:
    """Call each command ``times`` times with too little room; then with enough of it."""
    mounted = _can_mount(work / "probe")
    for name in NAMES:
        whole = work / "whole"
        shutil.rmtree(whole, ignore_errors=True)
        whole.mkdir(parents=True)
        call(lab.argv(name, whole), place)
        reference = lab.contents(whole)
        size = sum(path.stat().st_size for path in whole.rglob("*") if path.is_file())
        for _ in range(times):
            share = rng.uniform(0.02, 0.9)
            out = work / "disk"
            with _small_disk(out, int(share * size), mounted):
                limit = None if mounted else max(1, int(share * _largest(whole)))
                outcome = call(lab.argv(name, out), place, max_file=limit)
                wrong = _judge(outcome, out, reference)
                if wrong is None:
                    _enlarge(out, mounted)
                    again = call(lab.argv(name, out), place)
                    if again.status != 0:
                        wrong = f"afterwards, with room: {again.output.strip().splitlines()[-1][:160]}"
                    elif lab.contents(out) != reference:
                        wrong = "afterwards, with room: another result"
            yield f"dkt {name} with room for {share:.0%} of what it writes", wrong


def _judge(outcome: Outcome, out: Path, reference: dict[str, str]) -> str | None:
    if outcome.status == 0:
        # Rooms are counted in pages: what is left over may just do.
        return None if lab.contents(out) == reference else "exit status 0 and another result"
    wrong = complaint(outcome)
    if wrong is None and str(out) not in outcome.output:
        wrong = f"no file is named: {outcome.output.strip().splitlines()[-1][:160]}"
    if wrong is None:
        for name, digest in lab.contents(out).items():
            if not name.endswith(_STREAMS + _TWICE) and reference.get(name, digest) != digest:
                return f"{name} is left cut short"
    return wrong


def _largest(place: Path) -> int:
    return max(path.stat().st_size for path in place.rglob("*") if path.is_file())


def _can_mount(place: Path) -> bool:
    place.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True)
    if done.returncode == 0:
        subprocess.run(["umount", place], check=True)
    return done.returncode == 0


@contextlib.contextmanager
def _small_disk(place: Path, size: int, mounted: bool) -> Iterator[None]:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    if mounted:
        options = f"size={max(4096, size)},nr_inodes=1000"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True)
    try:
        yield
    finally:
        if mounted:
            subprocess.run(["umount", "-l", place], check=True)


def _enlarge(place: Path, mounted: bool) -> None:
    if mounted:
        subprocess.run(["mount", "-o", "remount,size=512m", place], check=True)
