"""Argument types that every sub-command shares."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from dkt.hmm.oov import DEFAULT_MAX_OOV
from dkt.tally import DEFAULT_MAX_LOSS

if TYPE_CHECKING:
    from dkt.side_inputs import SideInputs


def boolean(text: str) -> bool:
    """Kaldi's boolean options: ``--name=true`` or ``--name=false`` (``ParseOptions::ToBool``)."""
    if text.lower() in ("true", "t", "1"):
        return True
    if text.lower() in ("false", "f", "0"):
        return False
    raise argparse.ArgumentTypeError(f"expected true or false, got '{text}'")


def share(text: str) -> float:
    """A number from 0 to 1."""
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got '{text}'")
    return value


def positive_int(text: str) -> int:
    """An integer above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected an integer above 0, got '{text}'")
    return value


def top_k(text: str) -> int | None:
    """How many posteriors of a frame are kept; None for ``all``."""
    return None if text == "all" else int(text)


def add_side_inputs(parser: argparse.ArgumentParser, dev: bool = False) -> None:
    """Add ``--transform-dir`` and ``--ivectors`` and, with ``dev``, those of the cross-validation data."""
    for suffix, whose in (("", ""), ("-dev", " of the cross-validation data"))[: 2 if dev else 1]:
        parser.add_argument(
            f"--transform-dir{suffix}", metavar="DIR", help=f"fMLLR transforms{whose}: trans.1 and so on"
        )
        parser.add_argument(
            f"--ivectors{suffix}",
            metavar="SOURCE",
            help=f"i-vectors to append{whose}: a directory of ivector_online.scp, or an rspecifier",
        )


def side_inputs(args: argparse.Namespace, suffix: str = "") -> SideInputs:
    """What the options of ``add_side_inputs`` say; ``suffix`` is empty or ``_dev``."""
    from dkt.side_inputs import SideInputs

    return SideInputs(getattr(args, f"transform_dir{suffix}"), getattr(args, f"ivectors{suffix}"))


def add_cache_dir(parser: argparse.ArgumentParser) -> None:
    """Add ``--cache-dir``, where a training keeps its packed features."""
    parser.add_argument(
        "--cache-dir",
        metavar="DIR",
        help="where packed features are kept for the next training: .packed of the data directories if not "
        "given, none to read from the archives all along",
    )


def add_max_oov(parser: argparse.ArgumentParser) -> None:
    """Add ``--max-oov`` and ``--allow-implausible``: what may be wrong with transcripts and alignments."""
    parser.add_argument(
        "--max-oov",
        type=share,
        default=DEFAULT_MAX_OOV,
        help="share of words that may be outside the lexicon before it is an error",
    )
    parser.add_argument(
        "--allow-implausible",
        type=boolean,
        default=False,
        metavar="BOOL",
        help="alignments that cannot be right are a warning, not an error",
    )


def add_max_loss(parser: argparse.ArgumentParser) -> None:
    """Add ``--max-loss``, the share of utterances that may be lost before it is an error."""
    parser.add_argument(
        "--max-loss",
        type=share,
        default=DEFAULT_MAX_LOSS,
        help="share of utterances that may be dropped before it is an error",
    )
