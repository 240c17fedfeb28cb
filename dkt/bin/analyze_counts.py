"""``dkt analyze-counts [options] <alignments-rspecifier> <counts-wxfilename>``: ``ali_train_pdf.counts``."""

from __future__ import annotations

import argparse
import logging

from dkt.base import ranges
from dkt.bin.common.flags import add_flag
from dkt.bin.common.options import Number, add_max_dropped

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments, named as in Kaldi; ``--posteriors`` and ``--apply-exp`` are additions."""
    add_flag(parser, "--binary", "write in binary form")
    parser.add_argument(
        "--counts-dim",
        type=Number(ranges.LABELS),
        default=0,
        help="the number of labels, 0 for as many as occur",
    )
    parser.add_argument("--frame-weights", default="", help="rspecifier of vectors, one weight per frame")
    parser.add_argument("--utt-weights", default="", help="rspecifier of numbers, one weight per utterance")
    parser.add_argument("--symbol-table", default="", help="names of the labels: print the sorted counts")
    add_flag(
        parser,
        "--posteriors",
        "the table holds posteriors of pdfs: write their sums, for priors that are the mean posterior",
    )
    add_flag(parser, "--apply-exp", "with --posteriors: the table holds log-posteriors")
    add_max_dropped(parser)
    parser.add_argument("alignments", metavar="alignments-rspecifier", help="pdf-ids or other labels from 0")
    parser.add_argument("counts", metavar="counts-wxfilename", help="where the counts go; - for stdout")


def run(args: argparse.Namespace) -> None:
    """Count, write, and print the table of counts if asked to."""
    from dkt.base.errors import DktError
    from dkt.base.tally import Tally
    from dkt.hmm.counts import (
        HALF_FRAME,
        FrameWeights,
        count_labels,
        count_table,
        save_counts,
        sum_posterior_table,
        symbol_finder,
        warn_of_zeros,
    )
    from dkt.util.symbols import read_symbol_table

    if args.apply_exp and not args.posteriors:
        raise DktError("--apply-exp is of log-posteriors", hint="add --posteriors=true")
    symbol = symbol_finder(read_symbol_table(args.symbol_table)) if args.symbol_table else None
    weights = FrameWeights(args.frame_weights, args.utt_weights)
    tally = Tally("analyze-counts", args.max_dropped)
    if args.posteriors:
        counts = sum_posterior_table(args.alignments, weights, tally, args.counts_dim, args.apply_exp)
    else:
        counts = count_labels(args.alignments, weights, tally, args.counts_dim)
    tally.finish(args.alignments)
    warn_of_zeros(counts)
    save_counts(args.counts, counts if args.posteriors else counts + HALF_FRAME, args.binary)
    if symbol or args.verbose:
        logger.info("%s", count_table(counts, symbol))
    logger.info("Counts written to %s", args.counts)
