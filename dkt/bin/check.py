"""``dkt check [--lang=data/lang] <data-dir> [<ali-dir> [<other-ali-dir>]]``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from dkt.base import ranges
from dkt.base.errors import printable
from dkt.bin.common.flags import add_flag
from dkt.bin.common.options import Number, add_max_dropped, add_max_oov, add_speaker_inputs, speaker_inputs
from dkt.nnet.networks import NETWORKS
from dkt.util.option_text import boolean

if TYPE_CHECKING:
    from dkt.feat.pipeline import FeatureOptions
    from dkt.train.recipes import Recipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_flag(parser, "--no-feats", "feats.scp need not be there")
    add_flag(parser, "--no-text", "text need not be there")
    add_flag(parser, "--no-wav", "wav.scp need not be there")
    add_flag(parser, "--no-spk-sort", "utt2spk need not be sorted by speaker")
    add_flag(parser, "--non-print", "let characters pass that cannot be printed")
    parser.add_argument(
        "--cmvn",
        choices=("optional", "required"),
        default="required",
        help="whether missing or broken CMVN statistics are an error, as to a training with CMVN",
    )
    parser.add_argument("--train-config", metavar="YAML", help="configuration of the training to come")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="overrides it, as in a training",
    )
    parser.add_argument(
        "--recipe",
        choices=(*NETWORKS, "any"),
        metavar="NETWORK",
        help=f"what it trains: {', '.join(NETWORKS)}; any: what network.type says (default: that, or dnn)",
    )
    add_speaker_inputs(parser)
    parser.add_argument(
        "--list", metavar="FILE", help="file to write all names to that are at fault, of which a few are told"
    )
    parser.add_argument(
        "--train-data", metavar="DIR", help="the training data, where those checked are dev data"
    )
    parser.add_argument("--nj", type=Number(ranges.JOBS), help="jobs of a GMM training or alignment to come")
    parser.add_argument(
        "--read-feats", type=boolean, default=True, help="read all features: look for NaN, measure lengths"
    )
    add_flag(parser, "--strict", "warnings are errors, as to Kaldi's validate_data_dir.sh")
    parser.add_argument("--lang", help="lang directory, to compare its phones")
    parser.add_argument(
        "--frame-shift",
        type=Number(ranges.FRAME_SHIFT),
        help="seconds; by default the file frame_shift of the data, or 0.01",
    )
    add_max_dropped(parser)
    add_max_oov(parser)
    parser.add_argument("data_dir")
    parser.add_argument("ali_dir", nargs="?", help="alignments of the data")
    parser.add_argument(
        "other_dir",
        nargs="?",
        help="other alignments, or the directory of the graph's model: must be of the same pdfs",
    )


def _recipe(args: argparse.Namespace) -> Recipe | None:
    """The configuration of the training of a network, if any of it is given."""
    if args.train_config is None and not args.set and args.recipe is None:
        return None
    from dkt.base.config import read_yaml

    values = {} if args.train_config is None else read_yaml(args.train_config)
    from dkt.train.recipes import load_recipe  # brings PyTorch

    kind = None if args.recipe == "any" else args.recipe
    default = None if args.recipe == "any" else "dnn"
    return load_recipe(kind, args.train_config, args.set, values=values, default_kind=default)


def _pipeline(args: argparse.Namespace, recipe: Recipe | None) -> FeatureOptions:
    """What the training does to the features."""
    from dkt.feat.pipeline import FeatureOptions
    from dkt.feat.speaker_inputs import Ivectors
    from dkt.util.data_dir import DataDir

    side = speaker_inputs(args)
    if recipe is not None:
        return recipe.features.options(DataDir(args.data_dir), side)
    return FeatureOptions(
        cmvn_opts="" if args.cmvn == "required" else None,
        speaker_transforms=side.transform_dir is not None,
        ivector_dim=0 if side.ivectors is None else Ivectors(side.ivectors).dim,
    )


def run(args: argparse.Namespace) -> None:
    """Print what was found and what a training would use; fail if it would."""
    from dkt.base.findings import Level
    from dkt.util.data_dir import DataDir
    from dkt.util.text import write_lines
    from dkt.validate.check import CheckOptions, check
    from dkt.validate.data import DataCheckOptions

    recipe = _recipe(args)
    pipeline = _pipeline(args, recipe)
    cmvn = pipeline.cmvn_opts is not None if recipe is not None else args.cmvn == "required"
    options = CheckOptions(
        DataCheckOptions(
            no_feats=args.no_feats,
            no_text=args.no_text,
            no_wav=args.no_wav,
            no_spk_sort=args.no_spk_sort,
            non_print=args.non_print,
            cmvn=Level.ERROR if cmvn else Level.WARNING,
            # Without alignments a GMM comes next.
            transcribed=args.ali_dir is None and not args.no_text,
        ),
        read_feats=args.read_feats,
        frame_shift=args.frame_shift,
        max_dropped=args.max_dropped,
        strict=args.strict,
        pipeline=pipeline,
        side=speaker_inputs(args),
        recipe=recipe,
        num_jobs=args.nj,
        max_oov=args.max_oov,
        allow_implausible=args.allow_implausible,
        train_data=None if args.train_data is None else DataDir(args.train_data),
        list_file=args.list,
    )
    report = check(DataDir(args.data_dir), args.ali_dir, args.other_dir, args.lang, options)
    if args.list:
        write_lines(args.list, report.listed())
    # Both tell what is in files.
    print(printable(report.findings.table()))
    # Flushed: in a log the error follows the table.
    print(printable(f"\n{report.summary()}"), flush=True)
    report.finish()
