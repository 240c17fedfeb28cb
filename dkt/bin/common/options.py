"""Argument types that every sub-command shares."""

from __future__ import annotations

import argparse
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dkt.base import ranges
from dkt.base.errors import DktError
from dkt.base.ranges import Range
from dkt.base.tally import DEFAULT_MAX_DROPPED
from dkt.targets.top_k import DEFAULT as DEFAULT_TOP_K
from dkt.targets.top_k import TopK
from dkt.util.oov import DEFAULT_MAX_OOV
from dkt.util.option_text import boolean
from dkt.util.symbols import OOV_POLICIES

if TYPE_CHECKING:
    from dkt.feat.speaker_inputs import SpeakerInputs
    from dkt.nnet.nnet3.directory import Nnet3Options


_SHOWN = 80
_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)


@dataclass(frozen=True)
class Number:
    """The type of an option that is a number within a range: an ``int`` or a ``float``, as the range says.

    Attributes:
        allowed: the range.
        words: what may stand instead of a number, and is then the value.
    """

    allowed: Range
    words: tuple[str, ...] = ()

    def __call__(self, text: str) -> Any:
        """The value of the option; raises what argparse turns into an error that names it."""
        if text in self.words:
            return text
        try:
            return self.allowed.parse(text)
        except ValueError as error:
            words = f", nor {' or '.join(self.words)}" if self.words else ""
            raise argparse.ArgumentTypeError(f"{error}{words}") from None


@dataclass(frozen=True)
class Numbers:
    """The type of an option that is a list of numbers, all within a range.

    Attributes:
        allowed: the range.
        separator: what stands between two; None for white space.
        least: how many there are at least.
        distinct: whether duplicates are refused.
        as_written: the value is a tuple of texts, plain decimals that become part of names of files.
    """

    allowed: Range
    separator: str | None = None
    least: int = 1
    distinct: bool = False
    as_written: bool = False

    def __call__(self, text: str) -> tuple[Any, ...]:
        """The value of the option; raises what argparse turns into an error that names it."""
        words = text.split(self.separator) if text.strip() else []
        try:
            values = tuple(self.allowed.parse(word) for word in words)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{error} in '{text[:_SHOWN]}'") from None
        if self.as_written and not all(_DECIMAL.fullmatch(word) for word in words):
            raise argparse.ArgumentTypeError(f"expected decimal numbers, got '{text[:_SHOWN]}'")
        if len(values) < self.least:
            raise argparse.ArgumentTypeError(f"expected {self.least} or more numbers, got '{text[:_SHOWN]}'")
        if self.distinct and len(set(values)) < len(values):
            raise argparse.ArgumentTypeError(f"a duplicate number in '{text[:_SHOWN]}'")
        return tuple(words) if self.as_written else values


@dataclass(frozen=True)
class OptionLine:
    """The type of an option that is a line of options of a program of Kaldi's, such as ``--delta-order=2``.

    Attributes:
        name: the field of ``dkt.feat.pipeline.FeatureOptions``.
    """

    name: str

    def __call__(self, text: str) -> str:
        """The line as it is; raises what argparse turns into an error that names the option."""
        from dkt.feat.pipeline import FeatureOptions

        try:
            FeatureOptions().replace(**{self.name: text}).check(lambda name: name)
        except DktError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        return text


def top_k(text: str) -> TopK:
    """How many posteriors of a frame are kept, or ``all``."""
    try:
        return TopK.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_top_k(parser: argparse._ActionsContainer, text: str) -> None:
    """Add ``--top-k``, the help of which is ``text``."""
    parser.add_argument("--top-k", type=top_k, default=DEFAULT_TOP_K, help=text)


def add_speaker_inputs(parser: argparse.ArgumentParser, dev: bool = False) -> None:
    """Add ``--transform-dir`` and ``--ivectors`` and, with ``dev``, those of the dev data."""
    for suffix, whose in (("", ""), ("-dev", " of the dev data"))[: 2 if dev else 1]:
        parser.add_argument(
            f"--transform-dir{suffix}", metavar="DIR", help=f"fMLLR transforms{whose}: trans.1 and so on"
        )
        parser.add_argument(
            f"--ivectors{suffix}",
            metavar="SOURCE",
            help=f"i-vectors to append{whose}: a directory of ivector_online.scp, or an rspecifier",
        )


def speaker_inputs(args: argparse.Namespace, suffix: str = "") -> SpeakerInputs:
    """What the options of ``add_speaker_inputs`` say; ``suffix`` is empty or ``_dev``."""
    from dkt.feat.speaker_inputs import SpeakerInputs

    return SpeakerInputs(getattr(args, f"transform_dir{suffix}"), getattr(args, f"ivectors{suffix}"))


def add_nnet3_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--nnet3-output`` and ``--frame-subsampling-factor``."""
    parser.add_argument(
        "--nnet3-output",
        default="output",
        metavar="NAME",
        help="of a network of nnet3: its output-node, output-xent for the posteriors of a chain model",
    )
    parser.add_argument(
        "--frame-subsampling-factor",
        type=Number(ranges.ID),
        default=None,
        metavar="N",
        help="of a network of nnet3: it is computed every N frames, and what it gives repeated N times, so "
        "that there is a row for every frame (default: as the file of this name in its directory says, "
        "else 1)",
    )


def nnet3_options(args: argparse.Namespace) -> Nnet3Options:
    """What the options of ``add_nnet3_options`` say."""
    from dkt.nnet.nnet3.directory import Nnet3Options

    return Nnet3Options(args.nnet3_output, args.frame_subsampling_factor)


def _directory(text: str) -> str:
    if not text.strip():
        # Path("") is the working directory.
        raise argparse.ArgumentTypeError("expected the name of a directory, found nothing")
    return text


def add_cache_dir(parser: argparse.ArgumentParser) -> None:
    """Add ``--cache-dir``, where a training keeps its packed features."""
    parser.add_argument(
        "--cache-dir",
        type=_directory,
        metavar="DIR",
        help="where packed features are kept for the next training: .packed of the data directories if not "
        "given, or of the experiment where those cannot be written in; none to read from the archives all "
        "along",
    )


def add_steal_lock(parser: argparse.ArgumentParser) -> None:
    """Add ``--steal-lock``, for a directory whose lock a process of another host left behind."""
    parser.add_argument(
        "--steal-lock",
        type=boolean,
        default=False,
        metavar="BOOL",
        help="take the directory to write in from another process: one of another host that is dead",
    )


def hold(args: argparse.Namespace, directory: str, command: str) -> AbstractContextManager[None]:
    """The directory, held for a command that has the option of ``add_steal_lock``."""
    from dkt.base.directory_lock import hold_directory

    return hold_directory(directory, f"dkt {command}", args.steal_lock)


def add_max_oov(parser: argparse.ArgumentParser) -> None:
    """Add ``--max-oov`` and ``--allow-implausible``: what may be wrong with transcripts and alignments."""
    parser.add_argument(
        "--max-oov",
        type=Number(ranges.SHARE),
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


def add_alignment_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what all commands take that align transcripts by a GMM: jobs, limits, data and lang directory."""
    parser.add_argument(
        "--nj", type=Number(ranges.JOBS), default=4, help="number of processes, and of ali.JOB.gz"
    )
    parser.add_argument(
        "--oov-policy",
        choices=OOV_POLICIES,
        default=OOV_POLICIES[0],
        help="words outside the lexicon count as that of oov.txt, or are an error",
    )
    add_max_dropped(parser)
    add_steal_lock(parser)
    add_max_oov(parser)
    parser.add_argument(
        "data_dir", metavar="data-dir", help="data directory with feats.scp, cmvn.scp and text"
    )
    parser.add_argument("lang_dir", metavar="lang-dir", help="lang directory")


def add_max_dropped(
    parser: argparse.ArgumentParser,
    default: float = DEFAULT_MAX_DROPPED,
    text: str = "share of utterances that may be dropped before it is an error",
) -> None:
    """Add ``--max-dropped``, the help of which is ``text``."""
    parser.add_argument("--max-dropped", type=Number(ranges.SHARE), default=default, help=text)


def add_max_unreadable(parser: argparse.ArgumentParser) -> None:
    """Add ``--max-dropped`` of a command that reads recordings: none unless the user says so."""
    add_max_dropped(parser, 0.0, "share of unreadable recordings allowed")
