"""``dkt compute-cmvn-stats <data-dir or feats-rspecifier> <wspecifier or wxfilename>``."""

from __future__ import annotations

import argparse
from pathlib import Path

from dkt.bin.common.options import add_max_dropped
from dkt.util.option_text import boolean

_FEATS = "feats.scp"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--per-utt", type=boolean, default=False, help="of each utterance, not each speaker")
    parser.add_argument("--paste", default=_FEATS, metavar="NAMES", help="script files to paste first")
    parser.add_argument("--spk2utt", default="", help="rspecifier: statistics of each speaker of a table")
    parser.add_argument("--weights", default="", help="rspecifier: weights of the frames of a table")
    parser.add_argument(
        "--binary", type=boolean, default=True, help="form of the statistics of a whole table"
    )
    add_max_dropped(parser)
    parser.add_argument(
        "data_dir",
        metavar="data-dir",
        help="statistics of its speakers; or, as of Kaldi's program, an rspecifier of features",
    )
    parser.add_argument(
        "stats_wspecifier", help="for example ark,scp:cmvn.ark,cmvn.scp; a file: statistics of a whole table"
    )


def run(args: argparse.Namespace) -> None:
    """Compute CMVN statistics."""
    from dkt.base.errors import DktError
    from dkt.feat.cmvn import compute_cmvn
    from dkt.feat.cmvn_tables import compute
    from dkt.util.data_dir import DataDir
    from dkt.util.specifiers import is_specifier

    if is_specifier(args.data_dir) and not Path(args.data_dir).is_dir():
        if args.per_utt or args.paste != _FEATS:
            raise DktError("--per-utt and --paste are of data directories", path=args.data_dir)
        options = args.spk2utt, args.weights, args.binary, args.max_dropped
        compute(args.data_dir, args.stats_wspecifier, *options)
        return
    if args.spk2utt or args.weights:
        raise DktError(
            "--spk2utt and --weights go with a table of features", path=args.data_dir, hint="give scp:FILE"
        )
    compute_cmvn(DataDir(args.data_dir), args.stats_wspecifier, args.per_utt, args.paste, args.max_dropped)
