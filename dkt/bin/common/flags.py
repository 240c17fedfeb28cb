"""Boolean options of Kaldi's programs: ``--binary``, ``--binary=true``, ``--binary=false``."""

from __future__ import annotations

import argparse

from dkt.util.option_text import boolean


def add_flag(parser: argparse._ActionsContainer, name: str, text: str) -> None:
    """Add a boolean option that is false unless given.

    ``dkt.bin.common.kaldi_options`` reads a bare one as true.

    Args:
        parser: where to; a group of a parser will do.
        name: with its dashes.
        text: the help.
    """
    parser.add_argument(name, type=boolean, default=False, metavar="BOOL", help=text)
