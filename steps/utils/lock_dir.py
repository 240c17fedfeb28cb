"""Marks a directory as one that a step writes in, gives it back, or looks whether anybody works there.

See dkt.base.directory_lock.

lock_dir.py [--release | --look] [--steal] <pid of the step> <name of the step> <directory>
"""

import argparse
import logging
import sys
from pathlib import Path

# Called from a shell script with an isolated Python: the package is that of this checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dkt.base.directory_lock import STEP_LOCK, refuse_held, release_step, take_step
from dkt.base.errors import DktError


def main() -> int:
    """Take, give back or look at the lock; returns the exit status."""
    parser = argparse.ArgumentParser(prog="lock_dir.py", description=__doc__)
    parser.add_argument("--release", action="store_true")
    parser.add_argument("--look", action="store_true")
    parser.add_argument("--steal", action="store_true")
    parser.add_argument("pid", type=int)
    parser.add_argument("name")
    parser.add_argument("directory", type=Path)
    args = parser.parse_args()
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
    path = args.directory / STEP_LOCK
    try:
        if args.release:
            release_step(path, args.pid)
        elif args.look:
            refuse_held(args.directory, args.steal)
        else:
            take_step(path, args.name, args.pid, args.steal)
    except DktError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
