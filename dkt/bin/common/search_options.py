"""Options of the commands that decode with a graph."""

from __future__ import annotations

import argparse

from dkt.base import ranges
from dkt.bin.common.options import Number
from dkt.util.option_text import boolean


def add_beams(
    parser: argparse.ArgumentParser, beam: float, max_active: int, min_active: int, allow_partial: bool = True
) -> None:
    """Declare the options that bound a decoding, with these defaults."""
    for name, allowed, default, text in (
        ("beam", ranges.BEAM, beam, "larger: slower, more accurate"),
        ("max-active", ranges.MAX_ACTIVE, max_active, "active states per frame at most"),
        ("min-active", ranges.MIN_ACTIVE, min_active, "active states kept at least"),
    ):
        parser.add_argument(f"--{name}", type=Number(allowed), default=default, help=text)
    parser.add_argument(
        "--allow-partial",
        type=boolean,
        default=allow_partial,
        help="accept paths that end in no final state",
    )


def add_acoustic_scale(parser: argparse.ArgumentParser) -> None:
    """Declare ``--acoustic-scale`` of a decoding."""
    parser.add_argument(
        "--acoustic-scale",
        type=Number(ranges.ACOUSTIC_SCALE),
        default=0.1,
        help="factor on log-likelihoods",
    )
