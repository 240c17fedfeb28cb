"""``dkt lattice-scan``: best paths at several LM weights and word insertion penalties."""

from __future__ import annotations

import argparse

from dkt.base.tally import Tally
from dkt.bin.common.options import add_max_dropped
from dkt.bin.common.scan_options import add_points
from dkt.lat.io import read_compact_lattices
from dkt.lat.scan import scan_lattices
from dkt.util.symbols import read_symbol_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options and arguments."""
    add_points(parser)
    add_max_dropped(parser)
    parser.add_argument("lattices", metavar="lattice-rspecifier")
    parser.add_argument("words", help="words.txt")
    parser.add_argument("out_dir", metavar="out-dir", help="receives <weight>_<penalty>.txt")


def run(args: argparse.Namespace) -> None:
    """Find the best paths of every lattice at every point."""
    lmwts, penalties = args.lmwts, args.word_ins_penalties
    words = {number: word for word, number in read_symbol_table(args.words).items()}
    tally = Tally("lattice-scan", args.max_dropped)
    lattices = read_compact_lattices(args.lattices)
    scan_lattices(lattices, lmwts, penalties, words, args.out_dir, tally)
    tally.finish(args.lattices)
