"""``dkt forward [options] <model> <data-dir or features-rspecifier> <wspecifier>``, as ``nnet-forward``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dkt.base import ranges
from dkt.base.errors import DktError
from dkt.bin.common.devices import add_device_options, choose_device
from dkt.bin.common.options import (
    Number,
    add_max_dropped,
    add_nnet3_options,
    add_speaker_inputs,
    nnet3_options,
    speaker_inputs,
)
from dkt.util.option_text import boolean

if TYPE_CHECKING:
    import numpy as np

    from dkt.base.tally import Tally
    from dkt.nnet.scorer import Forwarder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--no-softmax", type=boolean, default=False, help="logits, not posteriors")
    parser.add_argument("--apply-log", type=boolean, default=False, help="log of the posteriors")
    parser.add_argument("--class-frame-counts", help="ali_train_pdf.counts: subtract their log-priors")
    for name, allowed, default, text in (
        ("prior-scale", ranges.PRIOR_SCALE, 1.0, "multiplies the log-priors"),
        ("prior-floor", ranges.NOT_ALL, 1e-10, "disables pdfs that are rarer"),
    ):
        parser.add_argument(f"--{name}", type=Number(allowed), default=default, help=text)
    parser.add_argument(
        "--feature-transform", metavar="NNET1", help="applied to the features of an rspecifier first"
    )
    add_nnet3_options(parser)
    add_speaker_inputs(parser)
    add_max_dropped(parser)
    add_device_options(parser)
    parser.add_argument(
        "model", help="final.pt, or a network of Kaldi's nnet3, or the directory of either; or one of nnet1"
    )
    parser.add_argument(
        "features", help="a data directory, or an rspecifier of features after CMVN and deltas"
    )
    parser.add_argument("wspecifier")


def run(args: argparse.Namespace) -> None:
    """Run the network."""
    from dkt.hmm.counts import load_counts
    from dkt.nnet.pdf_prior import log_priors

    num_pdfs = _check_arguments(args)
    priors = None
    if args.class_frame_counts:
        priors = log_priors(load_counts(args.class_frame_counts), args.prior_floor)

    from dkt.base.tally import Tally
    from dkt.nnet.forward import forward
    from dkt.nnet.nnet1.network import Nnet1
    from dkt.nnet.scorer import OutputOptions, load_scorer
    from dkt.util.table import MatrixWriter

    options = OutputOptions(args.no_softmax, args.apply_log, priors, args.prior_scale)
    if num_pdfs is not None:
        options.check(num_pdfs)
    device = choose_device(args)
    # As in Kaldi, an empty name is none.
    transform = Nnet1.read(args.feature_transform, device) if args.feature_transform else None
    scorer = load_scorer(args.model, options, device, nnet3_options(args))
    tally = Tally("forward", args.max_dropped)
    features = _features(args, scorer, tally)
    with MatrixWriter(args.wspecifier) as writer:
        forward(scorer, features, options, writer, args.features, tally, transform)


def _check_arguments(args: argparse.Namespace) -> int | None:
    """Look at the arguments before PyTorch is loaded and a GPU is chosen.

    Returns:
        P of the model; None where only its components tell it.
    """
    from dkt.bin.common.network_arguments import check_file, check_model, check_source
    from dkt.nnet.nnet3.directory import has_nnet3_network, network_file
    from dkt.util.specifiers import parse_wspecifier

    parse_wspecifier(args.wspecifier)
    if args.feature_transform:
        check_file(args.feature_transform)
    header = check_model(args.model)
    check_source(args.features, speaker_inputs(args), header)
    if Path(args.features).is_dir():
        if header is None and not has_nnet3_network(network_file(args.model)):
            raise DktError(
                "a network of Kaldi's does not know what is done to the features of a data directory",
                path=args.features,
                hint="give 'ark:dkt feats --nnet-dir=DIR DATA ark:- |'",
            )
        if args.feature_transform:
            raise DktError(
                "the features of a data directory go through the model's own pipeline",
                path=args.features,
                hint="leave out --feature-transform",
            )
    return None if header is None else header.info["num_pdfs"]


def _features(args: argparse.Namespace, scorer: Forwarder, tally: Tally) -> Iterator[tuple[str, np.ndarray]]:
    from dkt.feat.pipeline import FeatureOptions
    from dkt.feat.reader import read_features

    return read_features(args.features, scorer.pipeline or FeatureOptions(), tally, speaker_inputs(args))
