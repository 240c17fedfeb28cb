"""``dkt compute-fmllr-feats [options] <gmm-dir> <data-dir> <ali-rspecifier> <feats> <transforms>``."""

from __future__ import annotations

import argparse
from pathlib import Path

from dkt.base import ranges
from dkt.bin.common.options import Number, Numbers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--silence-phones", type=Numbers(ranges.ID, ":"), required=True, help="integers, as 1:2:3"
    )
    parser.add_argument(
        "--fmllr-min-count",
        type=Number(ranges.FRAME_COUNT),
        default=500.0,
        help="frames of speech that a speaker has to have",
    )
    parser.add_argument("gmm_dir", metavar="gmm-dir", help="with final.mdl and the option files")
    parser.add_argument("data_dir", metavar="data-dir", help="with feats.scp, cmvn.scp and utt2spk")
    parser.add_argument(
        "ali", metavar="ali-rspecifier", help="transition-ids of its utterances; or an alignment directory"
    )
    parser.add_argument("feats", metavar="feats-wspecifier")
    parser.add_argument("transforms", metavar="transforms-wspecifier", help="one per speaker")


def run(args: argparse.Namespace) -> None:
    """Estimate the transforms and write the features."""
    from dkt.feat.pipeline import FeatureOptions
    from dkt.feat.reader import FeatureReader
    from dkt.gmm.gmm import load_gmm
    from dkt.hmm.alignments import AlignmentDir
    from dkt.transform.fmllr_features import FmllrModel, estimate_transforms, write_transformed
    from dkt.util.data_dir import DataDir
    from dkt.util.specifiers import is_specifier
    from dkt.util.table import MatrixWriter, read_int_vectors

    directory = Path(args.gmm_dir)
    transitions, gmm = load_gmm(directory / "final.mdl")
    model = FmllrModel(gmm, transitions, frozenset(args.silence_phones), args.fmllr_min_count)
    reader = FeatureReader(DataDir(args.data_dir), FeatureOptions.of_gmm_dir(directory))
    of_directory = not is_specifier(args.ali) and Path(args.ali).is_dir()
    alignments = AlignmentDir(args.ali).transition_ids() if of_directory else read_int_vectors(args.ali)
    transforms = estimate_transforms(model, reader, alignments, args.ali)
    with MatrixWriter(args.transforms) as writer:
        for speaker, transform in transforms.items():
            writer.write(speaker, transform)
    with MatrixWriter(args.feats) as writer:
        write_transformed(reader, transforms, writer)
