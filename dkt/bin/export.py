"""``dkt export --format F <model-dir> <out-dir>``: a trained model as Kaldi, vosk or onnxruntime read it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dkt.base import ranges
from dkt.base.errors import DktError
from dkt.bin.common.options import Number
from dkt.bin.common.parity_options import add_parity_data, parity_data
from dkt.util.option_text import boolean

if TYPE_CHECKING:
    from dkt.export.vosk import VoskOptions

# Not from dkt.export, which takes seconds to load.
_FORMATS = ("nnet1", "nnet3", "onnx", "vosk")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--format", required=True, choices=_FORMATS, help="what to write")
    add_parity_data(parser, "the dev data of the training")
    parser.add_argument("--binary", type=boolean, default=True, help="Kaldi's binary form, or its text form")
    vosk = parser.add_argument_group("options of the format vosk")
    vosk.add_argument("--graph", metavar="DIR", help="the graph directory of mkgraph.sh")
    for kind in ("mfcc", "fbank"):
        vosk.add_argument(
            f"--{kind}-config", metavar="FILE", help=f"if the features are {kind}: their options"
        )
    for name, allowed, default, text in (
        ("lmwt", ranges.ACOUSTIC_SCALE, 10.0, "the language-model weight of the words"),
        ("beam", ranges.BEAM, 13.0, "of the search"),
        ("lattice-beam", ranges.BEAM, 6.0, "of the lattices"),
        ("max-active", ranges.MAX_ACTIVE, 7000, "states of the search that stay"),
    ):
        vosk.add_argument(f"--{name}", type=Number(allowed), default=default, help=text)
    parser.add_argument(
        "model", metavar="model-dir", help="a network that was trained by dkt; for nnet3 one of Kaldi, too"
    )
    parser.add_argument("out", metavar="out-dir", help="a new directory")


def run(args: argparse.Namespace) -> None:
    """Export the model."""
    _check_options(args)
    from dkt.export.formats import ExportOptions, export_model
    from dkt.export.kaldi_nnet3 import is_nnet3_model, rewrite_nnet3
    from dkt.export.trained import open_trained

    if args.format == "nnet3" and is_nnet3_model(args.model):
        rewrite_nnet3(Path(args.model), Path(args.out), parity_data(args), binary=args.binary)
        return
    model = open_trained(args.model)
    data = parity_data(args, None if args.data else model.data_of_training())
    if data is None:
        raise DktError(
            "does not tell which data it was trained with, or they are gone",
            path=args.model,
            hint="give --data DIR, for the outputs to be compared on",
        )
    vosk = _vosk_options(args) if args.format == "vosk" else None
    export_model(model, args.format, Path(args.out), data, ExportOptions(args.binary, vosk))


def _check_options(args: argparse.Namespace) -> None:
    """Raise DktError for options that another format needs, or has no use for."""
    given = [name for name in ("graph", "mfcc_config", "fbank_config") if getattr(args, name)]
    if args.format == "vosk":
        if given not in (["graph", "mfcc_config"], ["graph", "fbank_config"]):
            raise DktError("--format vosk needs --graph and one of --mfcc-config and --fbank-config")
    elif given:
        raise DktError(f"--format {args.format} has no use for --{given[0].replace('_', '-')}")
    if not args.binary and args.format in ("onnx", "vosk"):
        raise DktError(f"--binary=false: --format {args.format} has no text form")


def _vosk_options(args: argparse.Namespace) -> VoskOptions:
    from dkt.export.vosk import VoskOptions

    kind, config = ("mfcc", args.mfcc_config) if args.mfcc_config else ("fbank", args.fbank_config)
    search = (args.lmwt, args.beam, args.lattice_beam, args.max_active)
    return VoskOptions(Path(args.graph), kind, Path(config), *search)
