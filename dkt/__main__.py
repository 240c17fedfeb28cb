"""The program ``dkt``, and ``python -m dkt``."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # What signal is made of: signal itself takes milliseconds.
import sys


def run_program() -> int:
    """Run the sub-command of the command line; the exit status, see ``dkt.bin.main``.

    Before its work and after it, as while modules are loaded, SIGINT ends the program at once and in silence.
    """
    # One that is ignored, as in a script's background, stays so.
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    from dkt.bin import main

    return main()


if __name__ == "__main__":
    sys.exit(run_program())
