"""Options about the processor that computes."""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING

from dkt.bin.options import positive_int
from dkt.errors import DktError

if TYPE_CHECKING:
    import torch


logger = logging.getLogger(__name__)


def add_device_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--use-gpu`` and ``--num-threads``."""
    parser.add_argument(
        "--use-gpu", choices=["yes", "no", "optional"], default="optional", help="as in Kaldi"
    )
    parser.add_argument("--num-threads", type=positive_int, default=None, help="default: all processors")


def choose_device(args: argparse.Namespace) -> torch.device:
    """The device that the options ask for.

    Raises:
        DktError: a GPU is asked for and there is none.
    """
    import torch

    device = _choose(args)
    if device.type == "cuda":
        logger.info("computing on %s", torch.cuda.get_device_name(device))
    else:
        logger.info("computing on the CPU with %d threads", torch.get_num_threads())
    return device


def _choose(args: argparse.Namespace) -> torch.device:
    import torch

    if args.num_threads is not None:
        torch.set_num_threads(args.num_threads)
    if args.use_gpu == "no" or (args.use_gpu == "optional" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise DktError("--use-gpu=yes, but PyTorch finds no GPU", hint="run with --use-gpu=no")
    return torch.device("cuda")
