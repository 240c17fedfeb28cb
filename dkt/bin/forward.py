"""``dkt forward [options] <model> <data-dir or features-rspecifier> <wspecifier>``."""

from __future__ import annotations

import argparse

from dkt.bin.devices import add_device_options, choose_device
from dkt.bin.options import add_max_loss, add_side_inputs, boolean, side_inputs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--no-softmax", type=boolean, default=False, help="logits, not posteriors")
    parser.add_argument("--apply-log", type=boolean, default=False, help="log of the posteriors")
    parser.add_argument("--class-frame-counts", help="ali_train_pdf.counts: subtract their log-priors")
    parser.add_argument("--prior-scale", type=float, default=1.0, help="multiplies the log-priors")
    parser.add_argument("--prior-floor", type=float, default=1e-10, help="disables pdfs that are rarer")
    add_side_inputs(parser)
    add_max_loss(parser)
    add_device_options(parser)
    parser.add_argument("model", help="final.pt")
    parser.add_argument("features", help="a data directory, or an rspecifier of features after CMVN")
    parser.add_argument("wspecifier")


def run(args: argparse.Namespace) -> None:
    """Run the network."""
    from dkt.alignments import load_counts, log_priors
    from dkt.feature_reader import read_features
    from dkt.forward import OutputOptions, forward
    from dkt.nnet.modelfile import load_model
    from dkt.tables import MatrixWriter
    from dkt.tally import Tally

    device = choose_device(args)
    info, network = load_model(args.model, device)
    priors = None
    if args.class_frame_counts:
        priors = log_priors(load_counts(args.class_frame_counts), args.prior_floor)
    options = OutputOptions(args.no_softmax, args.apply_log, priors, args.prior_scale)
    tally = Tally("forward", args.max_loss)
    features = read_features(args.features, info.feature_options, tally, side_inputs(args))
    with MatrixWriter(args.wspecifier) as writer:
        forward(network, info, features, options, writer, device, args.features, tally)
