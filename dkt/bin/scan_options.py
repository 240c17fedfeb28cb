"""The options that name the points of a scan."""

from __future__ import annotations

import argparse

from dkt.hmm.scan_points import parse_points


def add_points(parser: argparse.ArgumentParser) -> None:
    """Declare ``--lmwts`` and ``--word-ins-penalties``."""
    parser.add_argument(
        "--lmwts",
        default="7 8 9 10 11 12 13",
        help="language-model weights; the acoustic scale is 1 / weight",
    )
    parser.add_argument("--word-ins-penalties", default="0.0 0.5 1.0", help="costs of every word")


def points(args: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The weights and the penalties, as written.

    Raises:
        DktError: they are no lists of different numbers.
    """
    return parse_points(args.lmwts, "--lmwts"), parse_points(args.word_ins_penalties, "--word-ins-penalties")
