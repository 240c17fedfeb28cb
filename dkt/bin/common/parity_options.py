"""Options of the commands that compare the outputs of a written network on utterances."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dkt.base import ranges
from dkt.bin.common.options import Number, add_speaker_inputs, speaker_inputs

if TYPE_CHECKING:
    from dkt.export.parity import ParityData


def add_parity_data(parser: argparse.ArgumentParser, without: str) -> None:
    """Add ``--data``, ``--num-utts`` and the options of speakers; ``without`` tells what is taken else."""
    parser.add_argument("--data", metavar="DIR", help=f"utterances to compare the outputs on ({without})")
    parser.add_argument(
        "--num-utts", type=Number(ranges.ID), default=10, help="how many of them, the first ones"
    )
    add_speaker_inputs(parser)


def parity_data(args: argparse.Namespace, otherwise: Path | None = None) -> ParityData | None:
    """What the options of ``add_parity_data`` say, with the directory ``otherwise`` without ``--data``."""
    from dkt.export.parity import ParityData

    data = Path(args.data) if args.data else otherwise
    return None if data is None else ParityData(data, speaker_inputs(args), args.num_utts)
