"""``dkt info [--json] <dir>...``: what directories hold, as Kaldi's ``steps/info/*_dir_info.pl`` tell it."""

from __future__ import annotations

import argparse
import logging

from dkt.base.errors import DktError, printable
from dkt.bin.common.flags import add_flag

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_flag(parser, "--json", "a list in JSON, of the same")
    parser.add_argument(
        "dirs",
        metavar="dir",
        nargs="+",
        help="of a network, a GMM, alignments, data, a lang, a graph, soft targets or lattices",
    )


def run(args: argparse.Namespace) -> int:
    """Print one line per directory, or all as JSON; the exit status is 1 if one cannot be told of."""
    from dkt.train.dir_info import as_json, as_line, directory_info

    infos = []
    for directory in args.dirs:
        try:
            infos.append(directory_info(directory))
        except DktError as error:
            logger.error("%s", error)
            continue
        if not args.json:
            print(printable(as_line(infos[-1])))
    if args.json:
        print(as_json(infos))
    return int(len(infos) < len(args.dirs))
