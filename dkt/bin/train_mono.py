"""``dkt train-mono [options] <data-dir> <lang-dir> <exp-dir>``: Kaldi's ``steps/train_mono.sh``."""

from __future__ import annotations

import argparse

from dkt.base import ranges
from dkt.bin.common.options import (
    Number,
    Numbers,
    OptionLine,
    add_max_dropped,
    add_max_oov,
    add_steal_lock,
    hold,
)
from dkt.gmm.mono import MonoOptions, train_mono
from dkt.util.symbols import OOV_POLICIES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments; names and defaults are those of Kaldi's script."""
    defaults = MonoOptions()
    parser.add_argument(
        "--nj", type=Number(ranges.JOBS), default=4, help="number of processes, and of ali.JOB.gz"
    )
    parser.add_argument(
        "--num-iters", type=Number(ranges.MONO_ITERS), default=defaults.num_iters, help="iterations"
    )
    parser.add_argument(
        "--totgauss", type=Number(ranges.GAUSSIANS), default=defaults.totgauss, help="Gaussians aimed at"
    )
    parser.add_argument(
        "--max-iter-inc",
        type=Number(ranges.ITERATION),
        default=defaults.max_iter_inc,
        help="last iteration after which Gaussians are added",
    )
    parser.add_argument(
        "--realign-iters",
        type=Numbers(ranges.ITERATION, least=0),
        default=" ".join(map(str, defaults.realign_iters)),
        help="iterations that begin with an alignment",
    )
    for option, default, program in (
        ("cmvn_opts", defaults.cmvn_opts, "apply-cmvn"),
        ("delta_opts", defaults.delta_opts, "add-deltas"),
    ):
        name = f"--{option.replace('_', '-')}"
        parser.add_argument(name, type=OptionLine(option), default=default, help=f"options of {program}")
    parser.add_argument(
        "--boost-silence",
        type=Number(ranges.SILENCE_FACTOR),
        default=defaults.boost_silence,
        help="factor on the likelihoods of silence in alignment",
    )
    parser.add_argument(
        "--power",
        type=Number(ranges.POWER),
        default=defaults.power,
        help="exponent of a pdf's frames in its share of the Gaussians",
    )
    parser.add_argument(
        "--seed", type=Number(ranges.SEED), default=defaults.seed, help="of the splitting of Gaussians"
    )
    parser.add_argument(
        "--oov-policy",
        choices=OOV_POLICIES,
        default=defaults.oov_policy,
        help="words outside the lexicon count as that of oov.txt, or are an error",
    )
    add_max_dropped(parser)
    add_steal_lock(parser)
    add_max_oov(parser)
    parser.add_argument(
        "data_dir", metavar="data-dir", help="data directory with feats.scp, cmvn.scp and text"
    )
    parser.add_argument("lang_dir", metavar="lang-dir", help="lang directory")
    parser.add_argument("exp_dir", metavar="exp-dir", help="directory to write")


def run(args: argparse.Namespace) -> None:
    """Train the system."""
    options = MonoOptions(
        nj=args.nj,
        num_iters=args.num_iters,
        totgauss=args.totgauss,
        max_iter_inc=args.max_iter_inc,
        realign_iters=args.realign_iters,
        cmvn_opts=args.cmvn_opts,
        delta_opts=args.delta_opts,
        boost_silence=args.boost_silence,
        power=args.power,
        seed=args.seed,
        oov_policy=args.oov_policy,
        max_dropped=args.max_dropped,
        max_oov=args.max_oov,
        allow_implausible=args.allow_implausible,
    )
    with hold(args, args.exp_dir, "train-mono"):
        train_mono(args.data_dir, args.lang_dir, args.exp_dir, options)
