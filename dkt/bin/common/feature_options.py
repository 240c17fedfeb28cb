"""The arguments that ``compute-fbank-feats`` and ``compute-mfcc-feats`` share: those of Kaldi's programs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dkt.base import ranges
from dkt.base.errors import DktError
from dkt.bin.common.options import Number, add_max_unreadable
from dkt.util.option_text import boolean

if TYPE_CHECKING:
    from dkt.feat.wave import Recordings
    from dkt.feat.wave_archive import WaveArchive

#: Kaldi compresses features by this method unless told otherwise.
_COMPRESSION_METHOD = 2


def add_arguments(kind: str) -> Callable[[argparse.ArgumentParser], None]:
    """What adds the arguments of the program for features of the kind ``fbank`` or ``mfcc``."""

    def add(parser: argparse.ArgumentParser) -> None:
        from dkt.feat.extraction import option_defaults, option_types

        defaults = option_defaults(kind)
        for name, of_type in option_types(kind).items():
            converter: dict[str, Any] = {"type": boolean} if of_type is bool else {}
            if of_type in (int, float):
                converter = {"type": Number(ranges.KALDI[name])}
            parser.add_argument(
                f"--{name}",
                **converter,
                metavar=of_type.__name__.upper(),
                help=_help(name, defaults),
            )
        _add_program_options(parser)
        parser.add_argument("wav_rspecifier", help="scp:wav.scp, or an archive of wav files: ark:FILE")
        parser.add_argument("feats_wspecifier", help="for example ark,scp:raw_fbank.ark,raw_fbank.scp")

    return add


def _help(name: str, defaults: dict[str, Any]) -> str:
    """That of an option which is passed on only if it is given: its default is not the parser's."""
    if name not in defaults:
        return "as of Kaldi's program, and without effect"
    value = defaults[name]
    shown = f"{value:g}" if isinstance(value, float) else str(value).lower()
    others = ", which has 1" if name == "dither" else ""
    return f"as of Kaldi's program{others} (default: {shown})"


def _add_program_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--channel",
        type=Number(ranges.CHANNEL),
        default=-1,
        help="channel of the recordings, from 0; -1 expects one",
    )
    parser.add_argument(
        "--min-duration",
        type=Number(ranges.DURATION),
        default=0.0,
        help="shorter utterances, in seconds, get no features",
    )
    parser.add_argument(
        "--subtract-mean", type=boolean, default=False, help="subtract the mean of each utterance"
    )
    parser.add_argument("--output-format", default="kaldi", help="kaldi; htk is not written")
    parser.add_argument(
        "--vtln-warp", type=Number(ranges.WARP), default=1.0, help="warping factor of all utterances"
    )
    parser.add_argument("--vtln-map", default="", help="rspecifier of warping factors of utterances")
    parser.add_argument(
        "--utt2spk", default="", help="rspecifier, with --vtln-map: its factors are of speakers"
    )
    parser.add_argument("--write-utt2dur", default="", help="wspecifier of durations, in seconds")
    parser.add_argument("--segments", help="cut the recordings by this file")
    parser.add_argument("--compress", type=boolean, default=False, help="compress as copy-feats does")
    parser.add_argument(
        "--write-num-frames",
        default="",
        help="file to receive '<utterance> <frames>' too, or a wspecifier, as of copy-feats",
    )
    add_max_unreadable(parser)


def run_extraction(kind: str, args: argparse.Namespace) -> None:
    """Compute features of the kind ``fbank`` or ``mfcc``."""
    from dkt.feat.compute import FeatureJob, compute_features
    from dkt.feat.extraction import FeatureExtractor, option_types
    from dkt.feat.vtln import WarpFactors
    from dkt.util.table import MatrixWriter

    if args.output_format != "kaldi":
        raise DktError(
            f"--output-format is '{args.output_format}', and only kaldi is written",
            hint="convert the features with copy-feats-to-htk",
        )
    given = {name: getattr(args, name.replace("-", "_")) for name in option_types(kind)}
    options = {name: str(value) for name, value in given.items() if value is not None}
    job = FeatureJob(
        FeatureExtractor(kind, options),
        warps=WarpFactors(args.vtln_warp, args.vtln_map, args.utt2spk),
        min_duration=args.min_duration,
        subtract_mean=args.subtract_mean,
        num_frames=args.write_num_frames,
        durations=args.write_utt2dur,
    )
    method = _COMPRESSION_METHOD if args.compress else None
    with MatrixWriter(args.feats_wspecifier, method) as writer:
        compute_features(_recordings(args), job, writer, args.max_dropped)


def _recordings(args: argparse.Namespace) -> Recordings | WaveArchive:
    from dkt.feat.wave import Recordings
    from dkt.feat.wave_archive import WaveArchive
    from dkt.util.specifiers import parse_rspecifier
    from dkt.util.table import read_script

    spec = parse_rspecifier(args.wav_rspecifier)
    channel = None if args.channel == -1 else args.channel
    if spec.kind == "scp":
        return Recordings(read_script(spec.filename), Path(args.segments) if args.segments else None, channel)
    if args.segments:
        raise DktError(
            "--segments goes with scp:wav.scp, whose recordings are read in any order",
            path=args.wav_rspecifier,
            hint="give the scp file that wav-copy writes beside an archive (ark,scp:FILE.ark,FILE.scp)",
        )
    return WaveArchive(spec.filename, channel)
