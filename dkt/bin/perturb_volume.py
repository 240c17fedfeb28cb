"""``dkt perturb-volume [options] <source-dir> <target-dir>``."""

from __future__ import annotations

import argparse

from dkt.base import ranges
from dkt.bin.common.copies import add_copies, modifies_speakers
from dkt.bin.common.options import Number, hold


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments; names and defaults are those of Kaldi's ``perturb_data_dir_volume.sh``."""
    scale = Number(ranges.VOLUME)
    parser.add_argument("--scale-low", type=scale, default=0.125, help="the least factor on the samples")
    parser.add_argument("--scale-high", type=scale, default=2.0, help="the largest")
    parser.add_argument("--random-seed", type=Number(ranges.SEED), default=0, help="of the draws")
    parser.add_argument(
        "--reco2vol", metavar="FILE", help="lines <recording> <factor>, to take instead of drawing factors"
    )
    parser.add_argument("--write-reco2vol", metavar="FILE", help="where to write such lines")
    add_copies(parser)


def run(args: argparse.Namespace) -> None:
    """Write the data directory and its recordings."""
    from dkt.feat.data_copies import Naming
    from dkt.feat.volume_perturb import perturb_volume

    naming = Naming.of(args.utt_prefix, args.utt_suffix, modifies_speakers(args))
    with hold(args, args.target_dir, "perturb-volume"):
        perturb_volume(
            args.source_dir,
            args.target_dir,
            naming,
            include_original=args.include_original,
            scales=(args.scale_low, args.scale_high),
            seed=args.random_seed,
            reco2vol=args.reco2vol,
            write_reco2vol=args.write_reco2vol,
            max_dropped=args.max_dropped,
        )
