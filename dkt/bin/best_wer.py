"""``dkt best-wer``: the best word error rate of an LM-weight grid, and where it was found."""

from __future__ import annotations

import argparse

from dkt.base.errors import DktError
from dkt.bin.common.flags import add_flag
from dkt.score.best_wer import best_of_scan, read_scan, write_best
from dkt.score.wer_details import write_details


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_flag(
        parser,
        "--write",
        "write scoring_kaldi/best_wer and scoring_kaldi/wer_details/{lmwt,wip} as Kaldi does",
    )
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="data directory (text, utt2spk): with --write, write also scoring_kaldi/test_filt.txt and "
        "wer_details/{per_utt,per_spk,ops,wer_bootci}, and move the texts of the grid to "
        "scoring_kaldi/penalty_<wip>/<lmwt>.txt, as Kaldi does",
    )
    parser.add_argument(
        "--words",
        metavar="FILE",
        help="words.txt of the graph: with --data, words are told that differ in spelling",
    )
    parser.add_argument(
        "dirs", metavar="dir", nargs="+", help="decoding directory with files wer_<lmwt>_<wip>"
    )


def run(args: argparse.Namespace) -> None:
    """Print the best line of each directory."""
    if args.data and not args.write:
        raise DktError("--data tells what to write: give --write, too")
    for directory in args.dirs:
        points = read_scan(directory)
        best = best_of_scan(points)
        print(best)
        if args.write:
            write_best(directory, best)
        if args.data:
            write_details(directory, args.data, points, best, args.words)
