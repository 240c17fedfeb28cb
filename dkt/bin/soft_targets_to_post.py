"""``dkt soft-targets-to-post [options] <targets-dir> <wspecifier>``: soft targets as Kaldi's Posteriors."""

from __future__ import annotations

import argparse
import logging

from dkt.base import ranges
from dkt.bin.common.options import Number

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--temperature",
        type=Number(ranges.TEMPERATURE),
        default=1.0,
        help="T: posteriors are raised to 1/T and normalised",
    )
    parser.add_argument(
        "--tail",
        choices=("drop", "spread"),
        default="drop",
        help="the mass of the pdfs beyond the k largest: left out, and the rest normalised; or shared "
        "equally by them, so that every frame lists all pdfs",
    )
    parser.add_argument(
        "--min-post",
        type=Number(ranges.NOT_ALL),
        default=0.0,
        help="smaller posteriors are left out, but the largest of a frame, and the rest normalised",
    )
    parser.add_argument("targets_dir", metavar="targets-dir", help="of dkt make-soft-targets or its step")
    parser.add_argument("wspecifier", help="of Posteriors of pdf-ids; every frame sums to 1")


def run(args: argparse.Namespace) -> None:
    """Write the Posteriors."""
    from dkt.util.specifiers import parse_wspecifier

    # Before PyTorch is loaded.
    parse_wspecifier(args.wspecifier)

    from dkt.base.errors import DktError
    from dkt.base.progress import Progress
    from dkt.hmm.posterior import PosteriorWriter
    from dkt.targets.store import TargetDir
    from dkt.targets.to_posterior import PosteriorOptions, tail_share, to_posterior

    options = PosteriorOptions(args.temperature, args.tail, args.min_post)
    store = TargetDir(args.targets_dir)
    logger.info("soft targets: %s", store.header.describe())
    num_frames = num_entries = 0
    tail: float | None = 0.0
    with (
        PosteriorWriter(args.wspecifier) as writer,
        Progress("posteriors", len(store), "utterances") as progress,
    ):
        for utt in store:
            targets = store[utt]
            try:
                posterior = to_posterior(targets, store.header.num_pdfs, options)
            except DktError as error:
                raise DktError(str(error), path=args.targets_dir, utt=utt) from None
            writer.write(utt, posterior)
            share = tail_share(targets, options.temperature)
            tail = None if tail is None or share is None else tail + float(share.sum())
            num_frames += len(posterior)
            num_entries += len(posterior.ids)
            progress.advance(1)
    store.close()
    logger.info(
        "Done %d utterances, %d frames, %.4g posteriors a frame; beyond the %d largest of the teacher there "
        "was %s of the mass at temperature %g (--tail=%s)",
        writer.num_written,
        num_frames,
        num_entries / max(num_frames, 1),
        store.header.num_kept,
        "an unknown share" if tail is None else f"{tail / max(num_frames, 1):.3g}",
        options.temperature,
        options.tail,
    )
