"""``dkt best-wer``: the best word error rate of a scan, and where it was found."""

from __future__ import annotations

import argparse

from dkt.hmm.wer_scan import best_of_scan, read_scan, write_best


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--write",
        action="store_true",
        help="write scoring_kaldi/best_wer and scoring_kaldi/wer_details/{lmwt,wip} as Kaldi does",
    )
    parser.add_argument(
        "dirs", metavar="dir", nargs="+", help="decoding directory with files wer_<lmwt>_<wip>"
    )


def run(args: argparse.Namespace) -> None:
    """Print the best line of each directory."""
    for directory in args.dirs:
        best = best_of_scan(read_scan(directory))
        print(best)
        if args.write:
            write_best(directory, best)
