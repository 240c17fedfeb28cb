"""``dkt compute-wer``: word error rate, as Kaldi prints it."""

from __future__ import annotations

import argparse

from dkt.bin.common.flags import add_flag
from dkt.score.compute_wer import MODES, compute_wer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments, named as in Kaldi's ``compute-wer``."""
    parser.add_argument(
        "--mode",
        choices=MODES,
        default=MODES[0],
        help="for a reference without a hypothesis: stop, leave it out, or score it as empty",
    )
    add_flag(parser, "--text", "of no effect, there for the sake of Kaldi's scripts")
    parser.add_argument("ref", metavar="ref-rspecifier", help="references: ark:FILE, ark:-, or a file")
    parser.add_argument("hyp", metavar="hyp-rspecifier", help="hypotheses: ark:FILE, ark:-, or a file")


def run(args: argparse.Namespace) -> None:
    """Print the error rates."""
    print(compute_wer(args.ref, args.hyp, args.mode).report())
