"""``dkt augment-data [options] <source-dir> <target-dir>``."""

from __future__ import annotations

import argparse

from dkt.base import ranges
from dkt.bin.common.copies import add_copies, modifies_speakers
from dkt.bin.common.options import Number, Numbers, hold


def _snrs(text: str) -> object:
    from dkt.feat.noise_sources import SnrChoice

    try:
        return SnrChoice.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _kinds(text: str) -> tuple[str, ...]:
    from dkt.feat.noise_sources import GENERATED_KINDS

    kinds = tuple(text.split(":")) if text else ()
    for kind in kinds:
        if kind not in GENERATED_KINDS:
            raise argparse.ArgumentTypeError(f"expected some of {', '.join(GENERATED_KINDS)}, got '{kind}'")
    return kinds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments; names and defaults are those of Kaldi's ``augment_data_dir.py``."""
    parser.add_argument(
        "--bg-noise-dir", metavar="DIR", help="data directory of noises that sound all along an utterance"
    )
    parser.add_argument(
        "--bg-noise-types",
        type=_kinds,
        default="",
        metavar="KINDS",
        help="in place of such noises some of white, pink and babble (what other speakers of the data say), "
        "colons between them: one of the kinds for each utterance",
    )
    parser.add_argument(
        "--fg-noise-dir", metavar="DIR", help="data directory of noises that come one after the other"
    )
    for side in ("bg", "fg"):
        parser.add_argument(
            f"--{side}-snrs",
            type=_snrs,
            default="20:10:0",
            metavar="SNRS",
            help="signal-to-noise ratios to draw from, in dB: a list, or a range as 0..20",
        )
    parser.add_argument(
        "--num-bg-noises",
        type=Numbers(ranges.NOISES, separator=":"),
        metavar="NUMBERS",
        help="how many noises sound at a time, numbers to draw from: 1 if not given, of babble 3:4:5:6:7",
    )
    parser.add_argument(
        "--fg-interval",
        type=Number(ranges.DURATION),
        default=0.0,
        help="seconds between the end of a noise of --fg-noise-dir and the next",
    )
    parser.add_argument(
        "--num-replications",
        type=Number(ranges.REPLICATIONS_OF_DATA),
        default=1,
        help="copies of each utterance; of several the prefix or suffix has the number behind it",
    )
    parser.add_argument("--random-seed", type=Number(ranges.SEED), default=123, help="of the draws")
    add_copies(parser)


def _numbered(affix: str, number: int, count: int) -> str:
    return f"{affix}{number}" if affix and count > 1 else affix


def run(args: argparse.Namespace) -> None:
    """Write the data directory and its recordings."""
    from dkt.bin.common.fields import of_arguments
    from dkt.feat.augment import AugmentOptions, augment
    from dkt.feat.data_copies import Naming

    of_speakers, count = modifies_speakers(args), args.num_replications
    namings = [
        Naming.of(_numbered(args.utt_prefix, n, count), _numbered(args.utt_suffix, n, count), of_speakers)
        for n in range(1, count + 1)
    ]
    with hold(args, args.target_dir, "augment-data"):
        augment(
            args.source_dir,
            args.target_dir,
            namings,
            of_arguments(AugmentOptions, args),
            include_original=args.include_original,
            max_dropped=args.max_dropped,
        )
