"""``dkt copy-post [--scale=X] <post-rspecifier> <wspecifier>``: Posteriors to another form or place."""

from __future__ import annotations

import argparse
import logging

from dkt.base import ranges
from dkt.bin.common.options import Number

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--scale", type=Number(ranges.FACTOR), default=1.0, help="multiplies the weights")
    parser.add_argument("posteriors", metavar="post-rspecifier")
    parser.add_argument("wspecifier")


def run(args: argparse.Namespace) -> None:
    """Copy the table."""
    from dkt.base.errors import DktError
    from dkt.hmm.posterior import PosteriorWriter, read_posteriors
    from dkt.hmm.posterior_sums import scale_posterior

    with PosteriorWriter(args.wspecifier) as writer:
        for utt, posterior in read_posteriors(args.posteriors):
            writer.write(utt, scale_posterior(posterior, args.scale))
    logger.info("Done copying %d posteriors.", writer.num_written)
    if not writer.num_written:
        raise DktError("holds no posteriors", path=args.posteriors)
