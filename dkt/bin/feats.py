"""``dkt feats [options] <data-dir or features-rspecifier> [<wspecifier>]``: features as a model gets them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dkt.base import ranges
from dkt.base.errors import DktError
from dkt.bin.common.options import Number, OptionLine, add_max_dropped, add_speaker_inputs, speaker_inputs
from dkt.util.option_text import boolean

if TYPE_CHECKING:
    import numpy as np

    from dkt.feat.pipeline import FeatureOptions

_OPTIONS = ("cmvn_opts", "delta_opts", "splice_opts", "online_cmvn_opts")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--gmm-dir", help="as this GMM or alignment directory says")
    source.add_argument("--nnet-dir", help="as this directory of Kaldi's steps/nnet/train.sh says")
    source.add_argument("--model", help="as this final.pt of dkt says")
    for name in _OPTIONS:
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=OptionLine(name), metavar="OPTIONS", help="in Kaldi's words")
    parser.add_argument("--global-cmvn-stats", metavar="MATRIX", help="what online CMVN begins with")
    parser.add_argument("--transform", metavar="MATRIX", help="LDA or MLLT, as final.mat")
    parser.add_argument(
        "--paste", metavar="NAMES", help="script files of the data to paste (default: feats.scp)"
    )
    add_speaker_inputs(parser)
    parser.add_argument("--compress", type=boolean, default=False, help="compress as copy-feats does")
    parser.add_argument(
        "--compression-method",
        type=Number(ranges.COMPRESSION_METHOD),
        default=2,
        help="Kaldi's number, 1 to 7",
    )
    add_max_dropped(parser)
    parser.add_argument("features", help="a data directory, or an rspecifier: features left as they are")
    parser.add_argument("wspecifier", nargs="?", help="without it, a table of frames, dimension and range")


def _base(args: argparse.Namespace) -> FeatureOptions:
    from dkt.feat.pipeline import FeatureOptions

    if args.gmm_dir is not None:
        return FeatureOptions.of_gmm_dir(args.gmm_dir)
    if args.nnet_dir is not None:
        return FeatureOptions.of_nnet_dir(args.nnet_dir)
    if args.model is not None:
        from dkt.bin.common.network_arguments import check_model, check_source

        # Before PyTorch is loaded.
        check_source(args.features, speaker_inputs(args), check_model(args.model))
        from dkt.nnet.model_file import load_model, model_file

        return load_model(model_file(args.model))[0].feature_options
    return FeatureOptions()


def _feature_options(args: argparse.Namespace) -> FeatureOptions:
    from dkt.feat.pipeline import MatrixFile
    from dkt.feat.speaker_inputs import Ivectors

    names = (*_OPTIONS, "paste")
    changes = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    for name in ("transform", "global_cmvn_stats"):
        if getattr(args, name) is not None:
            changes[name] = MatrixFile.read(getattr(args, name))
    options = _base(args).replace(**changes)
    if args.model is None:
        # What a model was trained on stands in it; elsewhere the call decides.
        if args.transform_dir is not None:
            options = options.replace(speaker_transforms=True)
        if args.ivectors is not None and not options.ivector_dim:
            options = options.replace(ivector_dim=Ivectors(args.ivectors).dim)
    return options


def _print_table(features: Iterator[tuple[str, np.ndarray]]) -> None:
    print("utterance frames dim min mean max")
    for utt, frames in features:
        shown = (frames.min(), frames.mean(dtype=float), frames.max()) if frames.size else (0.0, 0.0, 0.0)
        print(utt, *frames.shape, *(f"{value:.4g}" for value in shown))


def run(args: argparse.Namespace) -> None:
    """Write the features, or tell of them."""
    from dkt.base.tally import Tally
    from dkt.feat.pipeline import FeatureOptions
    from dkt.feat.reader import read_features
    from dkt.util.table import MatrixWriter

    if args.nnet_dir is not None and (Path(args.nnet_dir) / "final.pt").is_file():
        raise DktError("holds a model of dkt", path=args.nnet_dir, hint="give it by --model")
    options = _feature_options(args)
    if options != FeatureOptions() and not Path(args.features).is_dir():
        raise DktError(
            "features of an rspecifier are left as they are", path=args.features, hint="give a data directory"
        )
    tally = Tally("features", args.max_dropped)

    def counted() -> Iterator[tuple[str, np.ndarray]]:
        for utt, frames in read_features(args.features, options, tally, speaker_inputs(args)):
            yield utt, frames
            tally.done()

    if args.wspecifier is None:
        _print_table(counted())
    else:
        method = args.compression_method if args.compress else None
        with MatrixWriter(args.wspecifier, method) as writer:
            for utt, frames in counted():
                writer.write(utt, frames)
    tally.finish(args.features)
