"""Argument types that every sub-command shares."""

from __future__ import annotations

import argparse

from dkt.tally import DEFAULT_MAX_LOSS


def boolean(text: str) -> bool:
    """Kaldi's boolean options: ``--name=true`` or ``--name=false``."""
    if text in ("true", "True", "t", "T", "1"):
        return True
    if text in ("false", "False", "f", "F", "0"):
        return False
    raise argparse.ArgumentTypeError(f"expected true or false, got '{text}'")


def share(text: str) -> float:
    """A number from 0 to 1."""
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got '{text}'")
    return value


def positive_int(text: str) -> int:
    """An integer above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected an integer above 0, got '{text}'")
    return value


def top_k(text: str) -> int | None:
    """How many posteriors of a frame are kept; None for ``all``."""
    return None if text == "all" else int(text)


def add_max_loss(parser: argparse.ArgumentParser) -> None:
    """Add ``--max-loss``, the share of utterances that may be lost before it is an error."""
    parser.add_argument(
        "--max-loss",
        type=share,
        default=DEFAULT_MAX_LOSS,
        help="share of utterances that may be dropped before it is an error",
    )
