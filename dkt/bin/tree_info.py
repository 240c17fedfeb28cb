"""``dkt tree-info <tree>``: sizes of a decision tree, as Kaldi prints them."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("tree")


def run(args: argparse.Namespace) -> None:
    """Print the sizes."""
    from dkt.hmm.inspection import tree_info
    from dkt.hmm.tree import load_tree

    print(tree_info(load_tree(args.tree)))
