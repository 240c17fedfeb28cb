"""``dkt acc-lda [options] <final.mdl> <features-rspecifier> <posterior-rspecifier> <lda-acc-out>``."""

from __future__ import annotations

import argparse

from dkt.base import ranges
from dkt.bin.common.flags import add_flag
from dkt.bin.common.options import Number, Numbers, add_max_dropped
from dkt.util.option_text import boolean


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--binary", type=boolean, default=True, help="write in binary form")
    parser.add_argument(
        "--rand-prune",
        type=Number(ranges.RAND_PRUNE),
        default=0.0,
        help="leave frames out at random, the others weighing more; 4 is usual",
    )
    parser.add_argument("--srand", type=Number(ranges.SEED), default=0, help="seed of --rand-prune")
    add_flag(parser, "--ali", "read alignments, not posteriors")
    parser.add_argument(
        "--silence-phones",
        type=Numbers(ranges.ID, ":"),
        default=(),
        help="for example 1:2:3, as in phones/silence.csl",
    )
    parser.add_argument(
        "--silence-weight",
        type=Number(ranges.WEIGHT),
        default=0.0,
        help="multiplies posteriors of silence",
    )
    add_max_dropped(parser)
    parser.add_argument("model", help="final.mdl of the system that made the posteriors")
    parser.add_argument("features", metavar="features-rspecifier", help="features, spliced already")
    parser.add_argument("posteriors", metavar="posterior-rspecifier", help="posteriors of transition-ids")
    parser.add_argument("acc", metavar="lda-acc-out", help="file to write")


def run(args: argparse.Namespace) -> None:
    """Accumulate LDA statistics."""
    from dkt.base.tally import Tally
    from dkt.hmm.transition_model import load_transition_model
    from dkt.transform.acc_lda import LabelTable, PosteriorWeighting, accumulate_tables
    from dkt.transform.lda_files import save_accumulator

    options = PosteriorWeighting(args.silence_phones, args.silence_weight, args.rand_prune, args.srand)
    stats = accumulate_tables(
        load_transition_model(args.model),
        args.features,
        LabelTable(args.posteriors, args.ali),
        options,
        Tally("acc-lda", args.max_dropped),
    )
    save_accumulator(args.acc, stats, args.binary)
