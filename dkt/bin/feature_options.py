"""The arguments that ``compute-fbank-feats`` and ``compute-mfcc-feats`` share."""

from __future__ import annotations

import argparse
from pathlib import Path

from dkt import ranges
from dkt.bin.options import Number, boolean
from dkt.errors import DktError

#: Kaldi compresses features by this method unless told otherwise.
_COMPRESSION_METHOD = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--config", help="Kaldi configuration file: lines --name=value")
    parser.add_argument(
        "--sample-frequency",
        type=Number(ranges.KALDI["sample-frequency"]),
        help="overrides the configuration, in Hz",
    )
    parser.add_argument("--segments", help="cut the recordings by this file")
    parser.add_argument("--compress", type=boolean, default=False, help="compress as copy-feats does")
    parser.add_argument("--write-num-frames", help="also write '<utterance> <frames>' to this file")
    parser.add_argument(
        "--max-loss",
        type=Number(ranges.SHARE),
        default=0.0,
        help="share of unreadable recordings allowed",
    )
    parser.add_argument("wav_rspecifier", help="scp:wav.scp")
    parser.add_argument("feats_wspecifier", help="for example ark,scp:raw_fbank.ark,raw_fbank.scp")


def compute(kind: str, args: argparse.Namespace) -> None:
    """Compute features of the kind ``fbank`` or ``mfcc``."""
    from dkt.hmm.audio import Recordings
    from dkt.hmm.extraction import FeatureExtractor, read_config
    from dkt.hmm.make_features import compute_features
    from dkt.specifiers import parse_rspecifier
    from dkt.tables import MatrixWriter, read_script

    spec = parse_rspecifier(args.wav_rspecifier)
    if spec.kind != "scp":
        raise DktError("expected scp:wav.scp", path=args.wav_rspecifier)
    options = read_config(args.config) if args.config else {}
    if args.sample_frequency:
        options["sample-frequency"] = repr(args.sample_frequency)
    try:
        extractor = FeatureExtractor(kind, options)
    except DktError as error:
        raise DktError(str(error), path=args.config) from None
    recordings = Recordings(read_script(spec.filename), Path(args.segments) if args.segments else None)
    method = _COMPRESSION_METHOD if args.compress else None
    with MatrixWriter(args.feats_wspecifier, method) as writer:
        compute_features(recordings, extractor, writer, args.write_num_frames, args.max_loss)
