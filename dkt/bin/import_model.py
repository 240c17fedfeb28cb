"""``dkt import --format F <kaldi-dir> <model-dir>``: a network that Kaldi trained, as one of dkt."""

from __future__ import annotations

import argparse
from pathlib import Path

from dkt.bin.common.parity_options import add_parity_data, parity_data
from dkt.util.option_text import boolean


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--format", required=True, choices=("nnet1", "nnet3"), help="what to read")
    add_parity_data(parser, "random frames without")
    parser.add_argument(
        "--as-it-is",
        type=boolean,
        default=False,
        help="nnet1: keep components where dkt has a kind of its own, with the rates of Kaldi's training",
    )
    parser.add_argument("--nnet3-output", default="output", help="nnet3: the output that is compared")
    parser.add_argument("source", metavar="kaldi-dir", help="a directory of steps/nnet or steps/nnet3")
    parser.add_argument("out", metavar="model-dir", help="a new directory")


def run(args: argparse.Namespace) -> None:
    """Import the network."""
    from dkt.export.from_nnet1 import import_nnet1
    from dkt.export.kaldi_nnet3 import rewrite_nnet3

    data = parity_data(args)
    if args.format == "nnet1":
        import_nnet1(Path(args.source), Path(args.out), data, args.as_it_is)
    else:
        rewrite_nnet3(Path(args.source), Path(args.out), data, args.nnet3_output)
