"""Whether a model is as it was written: exit status 1 for one that is empty or damaged; see dkt.base.sealed.

is_whole.py <file>
"""

import sys
from pathlib import Path

# Called from a shell script with an isolated Python: the package is that of this checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dkt.base.errors import DktError
from dkt.base.files import read_file
from dkt.base.sealed import ZIP, check_zip


def main() -> int:
    """Look at the file; returns the exit status."""
    try:
        data = read_file(sys.argv[1])
        # What is something else, whoever reads it will say.
        if not data or data.startswith(ZIP):
            check_zip(data, sys.argv[1])
    except DktError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
