"""``dkt lock-dir --pid=$$ --name="steps/x.sh" <dir>``: what ``steps/*.sh`` hold their directories by."""

from __future__ import annotations

import argparse
from pathlib import Path

from dkt import ranges
from dkt.bin.flags import add_flag
from dkt.bin.options import Number, add_steal_lock


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--pid", type=Number(ranges.ID), required=True, help="the process of this host that holds it"
    )
    parser.add_argument("--name", default="a script", help="what that process is, for those that are refused")
    add_flag(parser, "--release", "give it back, if that process holds it")
    add_steal_lock(parser)
    parser.add_argument("directory", help="the directory, which is made if need be")


def run(args: argparse.Namespace) -> None:
    """Take or give back the lock."""
    from dkt.directory_lock import STEP_LOCK, release_step, take_step

    path = Path(args.directory) / STEP_LOCK
    if args.release:
        release_step(path, args.pid)
    else:
        take_step(path, args.name, args.pid, args.steal_lock)
