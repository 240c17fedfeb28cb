"""``dkt lattice-copy``: lattices to another form or place, as Kaldi's program of that name."""

from __future__ import annotations

import argparse
import logging

from dkt.util.option_text import boolean

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options and arguments."""
    parser.add_argument(
        "--write-compact", type=boolean, default=True, help="compact lattices; false: state-level ones"
    )
    parser.add_argument("lattices", metavar="lattice-rspecifier")
    parser.add_argument("wspecifier", metavar="lattice-wspecifier")


def run(args: argparse.Namespace) -> None:
    """Copy the table."""
    from dkt.base.errors import DktError
    from dkt.lat.io import LatticeWriter, read_compact_lattice, read_state_level_lattice
    from dkt.util.progress import told
    from dkt.util.table import read_table

    read = read_compact_lattice if args.write_compact else read_state_level_lattice
    with LatticeWriter(args.wspecifier) as writer:
        for utt, lattice in told(read_table(read, args.lattices), "lattice-copy", args.lattices):
            writer.write(utt, lattice)
    logger.info("Done copying %d lattices.", writer.num_written)
    if not writer.num_written:
        raise DktError("holds no lattices", path=args.lattices)
