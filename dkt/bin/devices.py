"""Options about the processor that computes."""

from __future__ import annotations

import argparse
import logging
import os
from typing import TYPE_CHECKING

from dkt import ranges
from dkt.bin.options import Number
from dkt.bin.processors import available, busy
from dkt.errors import DktError

if TYPE_CHECKING:
    import torch

    from dkt.bin.gpus import Choice


logger = logging.getLogger(__name__)


def add_device_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--use-gpu`` and ``--num-threads``."""
    parser.add_argument(
        "--use-gpu", choices=["yes", "no", "optional"], default="optional", help="as in Kaldi"
    )
    parser.add_argument(
        "--num-threads",
        type=Number(ranges.THREADS),
        default=None,
        help="default: all processors that it may use",
    )


def choose_device(args: argparse.Namespace) -> torch.device:
    """The device that the options ask for: a GPU is chosen, and the others are hidden from CUDA.

    Raises:
        DktError: a GPU is asked for and there is none that can be used.
    """
    import torch

    from dkt.bin.gpus import release, take_gpu

    _set_threads(args.num_threads)
    reason = ""
    if args.use_gpu != "no":
        choice = take_gpu()
        reason = choice.why if choice.gpu is None else _fault(choice)
        if choice.gpu is not None and not reason:
            logger.info("computing on %s (%s): %s", choice.gpu, choice.why, torch.cuda.get_device_name(0))
            return torch.device("cuda")
        release()
        if args.use_gpu == "yes":
            raise DktError(f"--use-gpu=yes, but no GPU can be used: {reason}", hint="run with --use-gpu=no")
    why = f" (no GPU: {reason})" if reason else ""
    if args.num_threads is None:
        _warn_if_busy()
    logger.info("computing on the CPU with %d threads%s", torch.get_num_threads(), why)
    return torch.device("cpu")


def _set_threads(given: int | None) -> None:
    """Set the number of threads; one that depends on the load would make results depend on it."""
    import torch

    if given is not None:
        torch.set_num_threads(given)
    elif "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(available())


def _warn_if_busy() -> None:
    """Warn where threads would wait for processors that others use; looking takes a moment."""
    import torch

    threads = torch.get_num_threads()
    if threads == 1:
        return
    taken = busy()
    free = (os.cpu_count() or 1) - round(taken)
    if threads > max(free, 1):
        logger.warning(
            "other programs keep %.1f of %d processors busy: threads that wait for each other are slow then; "
            "--num-threads=%d is faster",
            taken,
            os.cpu_count() or 1,
            max(free, 1),
        )


def _fault(choice: Choice) -> str:
    """Why the chosen GPU is of no use; empty if it computes."""
    import torch

    fault = ""
    if not torch.cuda.is_available():
        fault = "was built without CUDA" if torch.version.cuda is None else "finds no GPU"
        fault = f"PyTorch {torch.__version__} {fault}"
    else:
        try:
            torch.zeros(1, device="cuda")
        except RuntimeError as error:  # taken for another process alone, or too new for this PyTorch
            fault = str(error).splitlines()[0]
    return f"{choice.gpu} was chosen ({choice.why}), but {fault}" if fault else ""
