"""``dkt align [options] <data-dir> <lang-dir> <model-dir> <ali-dir>``: as Kaldi's ``steps/align_si.sh``."""

from __future__ import annotations

import argparse

from dkt.base import ranges
from dkt.bin.common.options import Number, add_max_dropped, add_max_oov, add_steal_lock, hold
from dkt.decoder.viterbi import AlignOptions
from dkt.gmm.align import align_directory
from dkt.util.symbols import OOV_POLICIES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments; names and defaults are those of Kaldi's script."""
    defaults = AlignOptions()
    parser.add_argument(
        "--nj", type=Number(ranges.JOBS), default=4, help="number of processes, and of ali.JOB.gz"
    )
    parser.add_argument("--beam", type=Number(ranges.BEAM), default=defaults.beam, help="beam of the search")
    parser.add_argument(
        "--retry-beam",
        type=Number(ranges.RETRY_BEAM),
        default=defaults.retry_beam,
        help="beam of a second try, 0 for none",
    )
    for name in ("acoustic", "transition", "self-loop"):
        default = getattr(defaults, f"{name.replace('-', '_')}_scale")
        help_text = f"scale of the {name} log-probabilities"
        scale = ranges.ACOUSTIC_SCALE if name == "acoustic" else ranges.COST_SCALE
        parser.add_argument(f"--{name}-scale", type=Number(scale), default=default, help=help_text)
    parser.add_argument(
        "--boost-silence",
        type=Number(ranges.SILENCE_FACTOR),
        default=1.0,
        help="factor on the likelihoods of silence",
    )
    parser.add_argument(
        "--oov-policy",
        choices=OOV_POLICIES,
        default="map",
        help="words outside the lexicon count as that of oov.txt, or are an error",
    )
    parser.add_argument(
        "--loglikes",
        metavar="RSPECIFIER",
        help="log-likelihoods of the pdfs, of a network for example, to align by instead of the GMM's",
    )
    add_max_dropped(parser)
    add_steal_lock(parser)
    add_max_oov(parser)
    parser.add_argument(
        "data_dir", metavar="data-dir", help="data directory with feats.scp, cmvn.scp and text"
    )
    parser.add_argument("lang_dir", metavar="lang-dir", help="lang directory")
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
            options=AlignOptions(
                beam=args.beam,
                retry_beam=args.retry_beam,
                acoustic_scale=args.acoustic_scale,
                transition_scale=args.transition_scale,
                self_loop_scale=args.self_loop_scale,
            ),
            num_jobs=args.nj,
            silence_boost=args.boost_silence,
            oov_policy=args.oov_policy,
            max_dropped=args.max_dropped,
            max_oov=args.max_oov,
            allow_implausible=args.allow_implausible,
        )
