"""Whether something may be written in a directory: exit status 1 if it holds another kind.

See dkt.base.directory_kinds.

refuse_other_kinds.py <directory> <kind> [<final.mdl of the alignments>]
"""

import sys
from pathlib import Path

# Called from a shell script with an isolated Python: the package is that of this checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dkt.base.directory_kinds import Kind, refuse_other_kinds
from dkt.base.errors import DktError


def main() -> int:
    """Look at the directory; returns the exit status."""
    directory, kind, *model = sys.argv[1:]
    try:
        refuse_other_kinds(directory, Kind[kind.upper()], *map(Path, model))
    except DktError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
