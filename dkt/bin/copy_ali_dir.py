"""``dkt copy-ali-dir [options] <data-dir> <src-ali-dir> <ali-dir>``: as Kaldi's ``steps/copy_ali_dir.sh``."""

from __future__ import annotations

import argparse

from dkt.base import ranges
from dkt.bin.common.options import Number, add_max_dropped, add_steal_lock, hold
from dkt.util.option_text import boolean


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--prefixes",
        default="",
        help="prefixes of copies, with blanks between them, without their dash; if not given, utt2uniq tells "
        "which utterances are copies of which",
    )
    parser.add_argument(
        "--include-original",
        type=boolean,
        default=True,
        metavar="BOOL",
        help="utterances of the data that are aligned themselves come along",
    )
    parser.add_argument("--nj", type=Number(ranges.JOBS), default=4, help="number of ali.JOB.gz")
    add_max_dropped(parser)
    add_steal_lock(parser)
    parser.add_argument("data_dir", metavar="data-dir", help="data directory of the copies")
    parser.add_argument("src_ali_dir", metavar="src-ali-dir", help="alignments of their originals")
    parser.add_argument("ali_dir", metavar="ali-dir", help="directory to write")


def run(args: argparse.Namespace) -> None:
    """Copy the alignments."""
    from dkt.gmm.copy_alignments import copy_alignments

    with hold(args, args.ali_dir, "copy-ali-dir"):
        copy_alignments(
            args.data_dir,
            args.src_ali_dir,
            args.ali_dir,
            prefixes=args.prefixes.split(),
            include_original=args.include_original,
            num_jobs=args.nj,
            max_dropped=args.max_dropped,
        )
