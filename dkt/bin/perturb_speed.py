"""``dkt perturb-speed [--factors="0.9 1.1"] <source-dir> <target-dir>``."""

from __future__ import annotations

import argparse

from dkt.bin.options import add_steal_lock, held, share


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--factors", default="0.9 1.1", help="speeds of the copies; above 1 is faster")
    parser.add_argument("--max-loss", type=share, default=0.0, help="share of unreadable recordings allowed")
    add_steal_lock(parser)
    parser.add_argument("source_dir", metavar="source-dir", help="data directory with wav.scp and text")
    parser.add_argument("target_dir", metavar="target-dir", help="directory to write")


def run(args: argparse.Namespace) -> None:
    """Write the data directory and its recordings."""
    from dkt.hmm.perturb import parse_factors, perturb_speed

    with held(args, args.target_dir, "perturb-speed"):
        perturb_speed(args.source_dir, args.target_dir, parse_factors(args.factors), args.max_loss)
