"""The options that name the points of an LM-weight grid."""

from __future__ import annotations

import argparse

from dkt.base import ranges
from dkt.bin.common.options import Numbers


def add_points(parser: argparse.ArgumentParser) -> None:
    """Declare ``--lmwts`` and ``--word-ins-penalties``."""
    for name, allowed, default, text in (
        ("lmwts", ranges.LM_WEIGHT, "7 8 9 10 11 12 13", "language-model weights: 1 / acoustic scale"),
        ("word-ins-penalties", ranges.WORD_PENALTY, "0.0 0.5 1.0", "costs of every word"),
    ):
        kind = Numbers(allowed, distinct=True, as_written=True)
        parser.add_argument(f"--{name}", type=kind, default=default, help=text)
