"""``dkt gmm-compute-likes [options] <model> <data-dir or features-rspecifier> <likes-wspecifier>``."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from dkt.base.tally import Tally
from dkt.bin.common.options import add_max_dropped, add_speaker_inputs, speaker_inputs
from dkt.feat.pipeline import FeatureOptions
from dkt.feat.reader import read_features
from dkt.gmm.gmm import load_gmm
from dkt.util.table import MatrixWriter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_speaker_inputs(parser)
    add_max_dropped(parser)
    parser.add_argument("model", help="final.mdl of a GMM system")
    parser.add_argument(
        "features",
        help="a data directory, or an rspecifier of features after CMVN and deltas",
    )
    parser.add_argument("likes", metavar="likes-wspecifier", help="where the log-likelihoods go")


def run(args: argparse.Namespace) -> None:
    """Write a matrix of one row per frame and one column per pdf for every utterance."""
    _, gmm = load_gmm(args.model)
    options = FeatureOptions.of_gmm_dir(Path(args.model).parent)
    options = options.replace(speaker_transforms=args.transform_dir is not None)
    tally = Tally("gmm-compute-likes", args.max_dropped)
    with MatrixWriter(args.likes) as writer:
        for utt, features in read_features(args.features, options, tally, speaker_inputs(args)):
            gmm.check_dim(features, args.features, utt)
            loglikes = gmm.loglikes(features)
            if not np.isfinite(loglikes).all():
                tally.drop(utt, "a likelihood is not a number: the features hold absurd values")
                continue
            writer.write(utt, loglikes)
            tally.done()
    tally.finish(args.features)
