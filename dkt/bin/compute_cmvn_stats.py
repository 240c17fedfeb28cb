"""``dkt compute-cmvn-stats <data-dir> <wspecifier>``."""

from __future__ import annotations

import argparse

from dkt.bin.options import boolean


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--per-utt", type=boolean, default=False, help="of each utterance, not each speaker")
    parser.add_argument("--streams", default="feats.scp", help="script files whose features are pasted first")
    parser.add_argument("data_dir")
    parser.add_argument("stats_wspecifier", help="for example ark,scp:cmvn.ark,cmvn.scp")


def run(args: argparse.Namespace) -> None:
    """Compute CMVN statistics."""
    from dkt.cmvn import compute_cmvn
    from dkt.datadir import DataDir

    compute_cmvn(DataDir(args.data_dir), args.stats_wspecifier, args.per_utt, args.streams)
