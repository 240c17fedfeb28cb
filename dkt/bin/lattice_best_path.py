"""``dkt lattice-best-path``: words and alignments of best paths, as Kaldi's program of that name."""

from __future__ import annotations

import argparse
from contextlib import ExitStack

from dkt.base import ranges
from dkt.bin.common.lattice_options import WordSymbols, add_word_symbols
from dkt.bin.common.options import Number, add_max_dropped


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options and arguments."""
    for name, text in (("acoustic-scale", "factor on acoustic costs"), ("lm-scale", "factor on graph costs")):
        parser.add_argument(f"--{name}", type=Number(ranges.COST_SCALE), default=1.0, help=text)
    add_word_symbols(parser)
    add_max_dropped(parser)
    parser.add_argument("lattices", metavar="lattice-rspecifier")
    parser.add_argument("words", metavar="transcriptions-wspecifier", nargs="?")
    parser.add_argument("alignments", metavar="alignments-wspecifier", nargs="?")


def run(args: argparse.Namespace) -> None:
    """Find the best path of every lattice of the table."""
    from dkt.base.tally import Tally
    from dkt.lat.io import read_compact_lattices
    from dkt.lat.paths import BestPath, CostScale
    from dkt.lat.programs import take_best_paths
    from dkt.util.table import IntVectorWriter

    symbols = WordSymbols(args)
    tally = Tally("lattice-best-path", args.max_dropped)
    with ExitStack() as files:
        words = files.enter_context(symbols.writer(args.words)) if args.words else None
        alignments = files.enter_context(IntVectorWriter(args.alignments)) if args.alignments else None

        def write(utt: str, path: BestPath) -> None:
            symbols.log(utt, path.words)
            if words is not None:
                words.write(utt, symbols.entry(path.words))
            if alignments is not None:
                alignments.write(utt, path.alignment)

        scale = CostScale(args.lm_scale, args.acoustic_scale)
        take_best_paths(read_compact_lattices(args.lattices), scale, tally, write)
    tally.finish(args.lattices)
