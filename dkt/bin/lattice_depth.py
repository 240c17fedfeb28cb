"""``dkt lattice-depth``: how many arcs cross a frame of lattices, as Kaldi's program of that name."""

from __future__ import annotations

import argparse
from contextlib import ExitStack


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("lattices", metavar="lattice-rspecifier")
    parser.add_argument(
        "depths", metavar="depth-wspecifier", nargs="?", help="receives that of each utterance"
    )


def run(args: argparse.Namespace) -> None:
    """Count the arcs of every lattice of the table."""
    from dkt.lat.io import read_compact_lattices
    from dkt.lat.programs import take_depths
    from dkt.util.number_tables import NumberWriter

    with ExitStack() as files:
        writer = files.enter_context(NumberWriter(args.depths)) if args.depths else None

        def write(utt: str, depth: float) -> None:
            if writer is not None:
                writer.write(utt, depth)

        take_depths(read_compact_lattices(args.lattices), args.lattices, write)
