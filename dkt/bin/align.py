"""``dkt align [options] <data-dir> <lang-dir> <model-dir> <ali-dir>``: as Kaldi's ``steps/align_si.sh``."""

from __future__ import annotations

import argparse

from dkt.base import ranges
from dkt.bin.common.fields import add_fields, of_arguments
from dkt.bin.common.options import Number, add_alignment_arguments, hold
from dkt.decoder.viterbi import AlignOptions
from dkt.gmm.align import align_directory


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments; names and defaults are those of Kaldi's script."""
    add_fields(
        parser,
        AlignOptions(),
        beam=(Number(ranges.BEAM), "beam of the alignment"),
        retry_beam=(Number(ranges.RETRY_BEAM), "beam of a second try, 0 for none"),
        acoustic_scale=(Number(ranges.ACOUSTIC_SCALE), "scale of the acoustic log-probabilities"),
        transition_scale=(Number(ranges.COST_SCALE), "scale of the transition log-probabilities"),
        self_loop_scale=(Number(ranges.COST_SCALE), "scale of the self-loop log-probabilities"),
    )
    parser.add_argument(
        "--boost-silence",
        type=Number(ranges.SILENCE_FACTOR),
        default=1.0,
        help="factor on the likelihoods of silence",
    )
    parser.add_argument(
        "--loglikes",
        metavar="RSPECIFIER",
        help="log-likelihoods of the pdfs, of a network for example, to align by instead of the GMM's",
    )
    add_alignment_arguments(parser)
    parser.add_argument("model_dir", metavar="model-dir", help="directory with final.mdl and tree")
    parser.add_argument("ali_dir", metavar="ali-dir", help="directory to write")


def run(args: argparse.Namespace) -> None:
    """Align the data directory."""
    with hold(args, args.ali_dir, "align"):
        align_directory(
            args.data_dir,
            args.lang_dir,
            args.model_dir,
            args.ali_dir,
            loglikes=args.loglikes,
            options=of_arguments(AlignOptions, args),
            num_jobs=args.nj,
            silence_boost=args.boost_silence,
            oov_policy=args.oov_policy,
            max_dropped=args.max_dropped,
            max_oov=args.max_oov,
            allow_implausible=args.allow_implausible,
        )
