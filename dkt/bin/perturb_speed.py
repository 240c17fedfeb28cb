"""``dkt perturb-speed [--factors="0.9 1.1"] <source-dir> <target-dir>``."""

from __future__ import annotations

import argparse

from dkt.base import ranges
from dkt.bin.common.copies import add_directories
from dkt.bin.common.options import Numbers, hold


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--factors",
        type=Numbers(ranges.SPEED, distinct=True, as_written=True),
        default="0.9 1.1",
        help="speeds of the copies; above 1 is faster",
    )
    add_directories(parser, "text")


def run(args: argparse.Namespace) -> None:
    """Write the data directory and its recordings."""
    from dkt.feat.speed_perturb import perturb_speed

    with hold(args, args.target_dir, "perturb-speed"):
        perturb_speed(args.source_dir, args.target_dir, args.factors, args.max_dropped)
