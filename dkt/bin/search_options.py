"""Options of the commands that search a graph."""

from __future__ import annotations

import argparse

from dkt.bin.options import boolean

#: No bound: what Kaldi's programs have by default.
MAX_INT = 2**31 - 1


def add_beams(
    parser: argparse.ArgumentParser, beam: float, max_active: int, min_active: int, allow_partial: bool = True
) -> None:
    """Declare the options that bound a search, with these defaults."""
    parser.add_argument("--beam", type=float, default=beam, help="larger: slower, more accurate")
    parser.add_argument("--max-active", type=int, default=max_active, help="active states a frame at most")
    parser.add_argument("--min-active", type=int, default=min_active, help="active states kept at least")
    parser.add_argument(
        "--allow-partial",
        type=boolean,
        default=allow_partial,
        help="accept paths that end in no final state",
    )
