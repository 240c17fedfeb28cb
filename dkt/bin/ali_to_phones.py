"""``dkt ali-to-phones [options] <final.mdl> <alignments-rspecifier> <wspecifier or ctm-wxfilename>``."""

from __future__ import annotations

import argparse
import logging

from dkt.base import ranges
from dkt.bin.common.flags import add_flag
from dkt.bin.common.options import Number

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments, named as in Kaldi."""
    add_flag(parser, "--per-frame", "one phone per frame, not one per segment")
    add_flag(parser, "--write-lengths", "pairs of a phone and its number of frames")
    add_flag(parser, "--ctm-output", "times in CTM form, confidences left out as in Kaldi")
    parser.add_argument(
        "--frame-shift",
        type=Number(ranges.SECONDS_A_FRAME),
        default=0.01,
        help="seconds, for --ctm-output",
    )
    parser.add_argument("model", help="the final.mdl that made the alignments")
    parser.add_argument(
        "alignments", metavar="alignments-rspecifier", help="ark:ali.1.gz, or 'ark:gunzip -c ali.*.gz |'"
    )
    parser.add_argument("phones", metavar="phones-wspecifier|ctm-wxfilename", help="for example ark,t:-")


def run(args: argparse.Namespace) -> None:
    """Convert the table."""
    from dkt.base.errors import DktError
    from dkt.hmm.phone_output import PhoneForm, write_phones
    from dkt.hmm.transition_model import load_transition_model

    if args.per_frame and args.write_lengths:
        raise DktError("--per-frame and --write-lengths exclude each other")
    form: PhoneForm = "segments"
    if args.ctm_output:
        form = "ctm"
    elif args.write_lengths:
        form = "lengths"
    elif args.per_frame:
        form = "frames"
    model = load_transition_model(args.model)
    num_done = write_phones(model, args.alignments, args.phones, form, args.frame_shift)
    logger.info("Done %d utterances.", num_done)
