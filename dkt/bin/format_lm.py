"""``dkt format-lm``: G.fst from an ARPA language model, in a copy of a lang directory."""

from __future__ import annotations

import argparse

from dkt.lm.grammar import format_lm


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("lang_in", metavar="lang-in", help="lang directory")
    parser.add_argument("arpa", help="ARPA language model, maybe compressed (.gz)")
    parser.add_argument("lang_out", metavar="lang-out", help="directory to write; may be lang-in")


def run(args: argparse.Namespace) -> None:
    """Copy the lang directory and add G.fst."""
    format_lm(args.lang_in, args.arpa, args.lang_out)
