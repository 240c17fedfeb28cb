"""Options about the processor that computes."""

from __future__ import annotations

import argparse
import logging
import os
from typing import TYPE_CHECKING

from dkt.base import ranges
from dkt.base.errors import DktError
from dkt.bin.common.options import Number
from dkt.bin.common.processors import SpareProcessors, available

if TYPE_CHECKING:
    import torch

    from dkt.bin.common.gpus import Choice
    from dkt.nnet.threads import Policy


logger = logging.getLogger(__name__)

_AUTO = 0


def add_device_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--use-gpu`` and ``--num-threads``."""
    parser.add_argument(
        "--use-gpu", choices=["yes", "no", "optional"], default="optional", help="as in Kaldi"
    )
    parser.add_argument(
        "--num-threads",
        type=num_threads,
        metavar="N|auto",
        help="a number of CPU threads, or auto: as many as pay, one where other programs keep the processors "
        "busy; results do not depend on it. Without it OMP_NUM_THREADS, or auto where that is not set",
    )


def num_threads(text: str) -> int:
    """A number of threads; 0 for ``auto``."""
    return _AUTO if text == "auto" else Number(ranges.THREADS)(text)


def choose_device(args: argparse.Namespace) -> torch.device:
    """The device that the options ask for: a GPU is chosen, and the others are hidden from CUDA.

    One line of the log says what it is, and how many CPU threads compute.

    Raises:
        DktError: a GPU is asked for and there is none that can be used.
    """
    import torch

    from dkt.bin.common.gpus import release, take_gpu
    from dkt.nnet import threads

    why_none = ""
    if args.use_gpu != "no":
        choice = take_gpu()
        reason = choice.why if choice.gpu is None else _fault(choice)
        if choice.gpu is not None and not reason:
            threads.use(threads.Fixed())
            torch.set_num_threads(args.num_threads or 1)
            logger.info("computing on %s (%s): %s", choice.gpu, choice.why, torch.cuda.get_device_name(0))
            return torch.device("cuda")
        release()
        if args.use_gpu == "yes":
            raise DktError(f"--use-gpu=yes, but no GPU can be used: {reason}", hint="run with --use-gpu=no")
        why_none = f"no GPU ({reason}): " if choice.listed else "no GPU: "
        if not choice.listed:
            logger.debug("no GPU: %s", reason)
    policy, said = thread_policy(args.num_threads)
    threads.use(policy)
    logger.info("%s%s", why_none, said)
    return torch.device("cpu")


def thread_policy(given: int | None) -> tuple[Policy, str]:
    """What decides on the number of threads, and what it is in words, of the value of ``--num-threads``."""
    from dkt.nnet.pace import Pace
    from dkt.nnet.threads import Fixed

    if given:
        return Fixed(given), f"{_threads(given)} (--num-threads)"
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if given != _AUTO and wanted.isdecimal() and int(wanted) > 0:
        return Fixed(int(wanted)), f"{_threads(int(wanted))} (OMP_NUM_THREADS)"
    processors = available()
    if processors == 1:
        return Fixed(1), f"{_threads(1)} (one processor is allowed)"
    pace = Pace(processors, SpareProcessors())
    return pace, f"{_threads(1)}, more of {processors} processors as soon as they pay"


def _threads(number: int) -> str:
    return f"{number} CPU thread" if number == 1 else f"{number} CPU threads"


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
    if not fault:
        return ""
    if not choice.listed:  # nobody has seen it
        return f"{choice.why}; {fault}"
    return f"{choice.gpu} was chosen ({choice.why}), but {fault}"
