"""``dkt ali-to-pdf <final.mdl> <alignments-rspecifier> <pdfs-wspecifier>``: transition-ids to pdf-ids."""

from __future__ import annotations

import argparse
import logging

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("model", help="the final.mdl that made the alignments")
    parser.add_argument(
        "alignments", metavar="alignments-rspecifier", help="ark:ali.1.gz, or 'ark:gunzip -c ali.*.gz |'"
    )
    parser.add_argument("pdfs", metavar="pdfs-wspecifier", help="for example ark,t:-")


def run(args: argparse.Namespace) -> None:
    """Convert the table."""
    from dkt.hmm.alignments import read_alignments
    from dkt.hmm.transition_model import load_transition_model
    from dkt.util.table import IntVectorWriter

    model = load_transition_model(args.model)
    with IntVectorWriter(args.pdfs) as writer:
        for utt, ids in read_alignments(args.alignments, model):
            writer.write(utt, model.id2pdf[ids])
    logger.info("Converted %d alignments to pdf sequences.", writer.num_written)
