"""``dkt mkgraph``: the decoding graph of a lang directory and a model (Kaldi's ``utils/mkgraph.sh``)."""

from __future__ import annotations

import argparse

from dkt.base import ranges
from dkt.bin.common.options import Number, add_steal_lock
from dkt.decoder.mkgraph import mkgraph


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options and arguments."""
    add_steal_lock(parser)
    for name, default in (("transition", 1.0), ("self-loop", 0.1)):
        parser.add_argument(
            f"--{name}-scale",
            type=Number(ranges.COST_SCALE),
            default=default,
            help=f"scale of {name} probabilities",
        )
    parser.add_argument("lang_dir", metavar="lang-dir", help="holds L_disambig.fst and G.fst")
    parser.add_argument("model_dir", metavar="model-dir", help="holds tree and final.mdl")
    parser.add_argument("graph_dir", metavar="graph-dir", help="where HCLG.fst is written")


def run(args: argparse.Namespace) -> None:
    """Make the graph unless it is up to date."""
    scales = (args.transition_scale, args.self_loop_scale)
    mkgraph(args.lang_dir, args.model_dir, args.graph_dir, *scales, steal_lock=args.steal_lock)
