"""``dkt config-files [--recipe=<network>] <config> [<data-dir>...]``: files that a configuration reads."""

from __future__ import annotations

import argparse
from pathlib import Path

from dkt.base.errors import DktError
from dkt.nnet.networks import NETWORKS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--recipe",
        choices=(*NETWORKS, "any"),
        metavar="NETWORK",
        default=None,
        help=f"check the configuration of this training ({', '.join(NETWORKS)}; any: what its network.type "
        "says), and the matrices that it names, first",
    )
    parser.add_argument("config", help="YAML")
    parser.add_argument("data_dirs", nargs="*", metavar="data-dir", help="where it may name files, too")


def run(args: argparse.Namespace) -> None:
    """Print the names, one per line."""
    from dkt.base.config import named_files

    if args.recipe is not None:
        _check(args.recipe, args.config)
    for name in named_files(args.config, [Path(place) for place in args.data_dirs]):
        print(name)


def _check(recipe: str, config: str) -> None:
    from dkt.base.config import read_yaml

    values = read_yaml(config)  # a wrong file is told before PyTorch is loaded
    from dkt.train.recipes import load_recipe

    settings = load_recipe(None if recipe == "any" else recipe, config, values=values)
    try:
        settings.features.check_files()
    except DktError as error:
        raise DktError(f"names a matrix that cannot be used: {error}", path=config) from None
