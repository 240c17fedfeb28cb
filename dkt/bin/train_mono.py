"""``dkt train-mono [options] <data-dir> <lang-dir> <exp-dir>``: Kaldi's ``steps/train_mono.sh``."""

from __future__ import annotations

import argparse

from dkt.base import ranges
from dkt.bin.common.fields import add_fields, of_arguments
from dkt.bin.common.options import Number, Numbers, OptionLine, add_alignment_arguments, hold
from dkt.gmm.mono import MonoOptions, train_mono


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments; names and defaults are those of Kaldi's script."""
    add_fields(
        parser,
        MonoOptions(),
        num_iters=(Number(ranges.MONO_ITERS), "iterations"),
        totgauss=(Number(ranges.GAUSSIANS), "Gaussians aimed at"),
        max_iter_inc=(Number(ranges.ITERATION), "last iteration after which Gaussians are added"),
        realign_iters=(Numbers(ranges.ITERATION, least=0), "iterations that begin with an alignment"),
        cmvn_opts=(OptionLine("cmvn_opts"), "options of apply-cmvn"),
        delta_opts=(OptionLine("delta_opts"), "options of add-deltas"),
        boost_silence=(
            Number(ranges.SILENCE_FACTOR),
            "factor on the likelihoods of silence in alignment",
        ),
        power=(Number(ranges.POWER), "exponent of a pdf's frames in its share of the Gaussians"),
        seed=(Number(ranges.SEED), "of the splitting of Gaussians"),
    )
    add_alignment_arguments(parser)
    parser.add_argument("exp_dir", metavar="exp-dir", help="directory to write")


def run(args: argparse.Namespace) -> None:
    """Train the system."""
    with hold(args, args.exp_dir, "train-mono"):
        train_mono(args.data_dir, args.lang_dir, args.exp_dir, of_arguments(MonoOptions, args))
