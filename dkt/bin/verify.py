"""``dkt verify <file or directory>...``: are files of dkt as they were written?"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from dkt.base.errors import DktError

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="path",
        help="a final.pt or checkpoint.pt; a file with checksums beside it, as final.mdl, tree or HCLG.fst; "
        "or a directory of them",
    )


def run(args: argparse.Namespace) -> int:
    """Look at the checksums; the exit status is 1 if one is wrong."""
    files: list[Path] = []
    for path in map(Path, args.paths):
        files += _files(path) if path.is_dir() else [path]
    if not files:
        raise DktError("there is no file ending in .pt, and none with checksums", path=args.paths[0])
    failed = 0
    for file in files:
        try:
            _verify(file)
        except DktError as error:
            logger.error("%s", error)
            failed += 1
    logger.info("%d files, %d of them damaged", len(files), failed)
    return int(failed > 0)


def _files(directory: Path) -> list[Path]:
    """What can be verified in a directory and those within."""
    from dkt.base.checksums import NAME, recorded

    found = [
        *directory.rglob("*.pt"),
        *(path for file in directory.rglob(NAME) for path in recorded(file.parent)),
    ]
    return sorted(found)


def _verify(path: Path) -> None:
    """Raise DktError if a file is not as it was written."""
    from dkt.base import checksums, sealed
    from dkt.base.files import read_file

    if path.suffix == ".pt":
        sealed.verify_sealed(path)
    elif not checksums.verify_recorded(path, read_file(path)):
        raise DktError("is not what dkt wrote, or nothing is recorded of it", path=path)
