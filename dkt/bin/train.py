"""``dkt train --config=net.yaml <data-train> <data-dev> <ali-train> <ali-dev> <exp-dir>``."""

from __future__ import annotations

import argparse

from dkt.bin.common.training import add_training_options, train


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_training_options(parser)


def run(args: argparse.Namespace) -> None:
    """Train the network that the key ``network.type`` of the configuration names."""
    train(args, "train", None)
