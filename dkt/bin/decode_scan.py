"""``dkt decode-scan``: one-best decoding at several LM weights and word insertion penalties."""

from __future__ import annotations

import argparse
from pathlib import Path

from dkt.base.tally import Tally
from dkt.bin.common.options import add_max_dropped
from dkt.bin.common.scan_options import add_points
from dkt.bin.common.search_options import add_beams
from dkt.decoder.decoding_graph import load_graph
from dkt.decoder.faster_decoder import Searcher
from dkt.decoder.scan import scan
from dkt.hmm.transition_model import load_transition_model
from dkt.util.symbols import read_symbol_table
from dkt.util.table import read_matrices


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options and arguments."""
    add_beams(parser, beam=13.0, max_active=7000, min_active=200)
    add_points(parser)
    add_max_dropped(parser)
    parser.add_argument("model", help="final.mdl, for its transition-ids")
    parser.add_argument("graph", help="the graph directory, or HCLG.fst itself")
    parser.add_argument("words", help="words.txt")
    parser.add_argument("loglikes", metavar="loglikes-rspecifier")
    parser.add_argument("out_dir", metavar="out-dir", help="receives <weight>_<penalty>.txt")


def run(args: argparse.Namespace) -> None:
    """Decode every utterance at every point."""
    lmwts, penalties = args.lmwts, args.word_ins_penalties
    graph = Path(args.graph)
    words = {index: word for word, index in read_symbol_table(args.words).items()}
    transitions = load_transition_model(args.model)
    fst = load_graph(graph / "HCLG.fst" if graph.is_dir() else args.graph, transitions, words)
    searchers = {
        penalty: Searcher(
            fst,
            transitions.id2pdf,
            beam=args.beam,
            max_active=args.max_active,
            min_active=args.min_active,
            word_ins_penalty=float(penalty),
            allow_partial=args.allow_partial,
        )
        for penalty in penalties
    }
    tally = Tally("decode", args.max_dropped)
    scan(searchers, lmwts, read_matrices(args.loglikes), args.loglikes, words, args.out_dir, tally)
    tally.finish(args.loglikes)
