"""Options that commands share which make copies of the utterances of a data directory."""

from __future__ import annotations

import argparse

from dkt.bin.common.options import add_max_unreadable, add_steal_lock
from dkt.util.option_text import boolean


def add_copies(parser: argparse.ArgumentParser) -> None:
    """Add how copies are named, whether the originals come along, and the two directories."""
    parser.add_argument("--utt-prefix", default="", help="<prefix>-<utterance> is the name of a copy")
    parser.add_argument("--utt-suffix", default="", help="<utterance>-<suffix> is the name of a copy")
    parser.add_argument(
        "--modify-spk-id",
        type=boolean,
        metavar="BOOL",
        help="prefix or suffix are in the names of speakers too: true with a prefix if not given, as Kaldi's "
        "files are sorted by speaker, false with a suffix",
    )
    parser.add_argument(
        "--include-original",
        type=boolean,
        default=False,
        metavar="BOOL",
        help="the utterances as they are come along",
    )
    add_directories(parser, "utt2spk")


def add_directories(parser: argparse.ArgumentParser, needed: str) -> None:
    """Add the two directories, and what is done where one cannot be read, or another writes.

    Args:
        parser: of the command.
        needed: the file that the source has beside ``wav.scp``.
    """
    add_max_unreadable(parser)
    add_steal_lock(parser)
    parser.add_argument("source_dir", metavar="source-dir", help=f"data directory with wav.scp and {needed}")
    parser.add_argument("target_dir", metavar="target-dir", help="directory to write")


def modifies_speakers(args: argparse.Namespace) -> bool:
    """Whether names of speakers change with those of utterances."""
    return bool(args.utt_prefix) if args.modify_spk_id is None else args.modify_spk_id
