"""``dkt train-dnn --config=dnn.yaml <data-train> <data-dev> <ali-train> <ali-dev> <exp-dir>``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dkt.bin.common.devices import add_device_options, choose_device
from dkt.bin.common.options import (
    add_cache_dir,
    add_max_dropped,
    add_speaker_inputs,
    add_steal_lock,
    hold,
    speaker_inputs,
)

if TYPE_CHECKING:
    from dkt.train.train_dnn import DnnRecipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--config", help="YAML; what it leaves out keeps its default")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="overrides it; of several of one key the last",
    )
    add_speaker_inputs(parser, dev=True)
    add_max_dropped(parser)
    add_cache_dir(parser)
    add_steal_lock(parser)
    add_device_options(parser)
    parser.add_argument("data_train")
    parser.add_argument("data_dev", help="for cross-validation")
    parser.add_argument("ali_train")
    parser.add_argument("ali_dev")
    parser.add_argument("exp_dir")


def run(args: argparse.Namespace) -> None:
    """Train the DNN."""
    # Who is second is told at once, not when PyTorch is there and the data are looked at.
    with hold(args, args.exp_dir, "train-dnn"):
        _train(args)


def _recipe(args: argparse.Namespace) -> DnnRecipe:
    from dkt.base.config import load_config, read_yaml

    if args.config:
        read_yaml(args.config)  # a wrong file is told before PyTorch is loaded
    from dkt.train.train_dnn import DnnRecipe

    return load_config(DnnRecipe, args.config, args.set)


def _train(args: argparse.Namespace) -> None:
    from dkt.base.directory_kinds import Kind, refuse_other_kinds
    from dkt.hmm.alignments import AlignmentDir
    from dkt.util.data_dir import DataDir

    # What is wrong is told before a GPU is chosen and, without a configuration to look at, before PyTorch is
    # loaded.
    recipe = _recipe(args) if args.config or args.set else None
    for suffix in ("", "_dev"):
        speaker_inputs(args, suffix).check()
    refuse_other_kinds(args.exp_dir, Kind.NETWORK)
    data = DataDir(args.data_train), DataDir(args.data_dev)
    alignments = AlignmentDir(args.ali_train), AlignmentDir(args.ali_dev)

    from dkt.dataset.cache import FOLDER
    from dkt.train.inputs import TrainingInputs
    from dkt.train.train_dnn import train_dnn

    recipe = recipe or _recipe(args)
    inputs = TrainingInputs(
        *data,
        *alignments,
        args.max_dropped,
        side_train=speaker_inputs(args),
        side_dev=speaker_inputs(args, "_dev"),
        cache_otherwise=Path(args.exp_dir) / FOLDER,
        cache_dir=args.cache_dir,
    )
    inputs.check()
    recipe.features.check_files()
    train_dnn(recipe, inputs, Path(args.exp_dir), choose_device(args), args.steal_lock)
