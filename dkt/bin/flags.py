"""Boolean options of Kaldi's programs: ``--binary``, ``--binary=true``, ``--binary=false``."""

from __future__ import annotations

import argparse

_WORDS = {"store_true": ("true", "True", "t", "T", "1"), "store_false": ("false", "False", "f", "F", "0")}


def add_flag(parser: argparse.ArgumentParser, name: str, text: str) -> None:
    """Add a boolean option that is false unless given (``ParseOptions::ToBool``).

    Args:
        parser: where to.
        name: with its dashes.
        text: the help.
    """
    # A bare "--binary" stands in front of the arguments: an option with a value would swallow the first one.
    dest = name.lstrip("-").replace("-", "_")
    parser.add_argument(name, dest=dest, action="store_true", help=text)
    for action, words in _WORDS.items():
        spellings = [f"{name}={word}" for word in words]
        parser.add_argument(
            *spellings, dest=dest, action=action, default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )
