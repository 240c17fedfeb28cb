"""``dkt verify <file or directory>...``: are files of dkt as they were written?"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from dkt.errors import DktError

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "paths", nargs="+", metavar="path", help="a final.pt or checkpoint.pt, or an experiment directory"
    )


def run(args: argparse.Namespace) -> int:
    """Look at the checksums; the exit status is 1 if one is wrong."""
    from dkt.sealed import verify

    files: list[Path] = []
    for path in map(Path, args.paths):
        files += sorted(path.rglob("*.pt")) if path.is_dir() else [path]
    if not files:
        raise DktError("there is no file ending in .pt", path=args.paths[0])
    failed = 0
    for file in files:
        try:
            verify(file)
        except DktError as error:
            logger.error("%s", error)
            failed += 1
    logger.info("%d files, %d of them damaged", len(files), failed)
    return int(failed > 0)
