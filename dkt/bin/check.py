"""``dkt check [--lang=data/lang] <data-dir> [<ali-dir> [<other-ali-dir>]]``."""

from __future__ import annotations

import argparse

from dkt import ranges
from dkt.bin.flags import add_flag
from dkt.bin.options import Number, add_max_loss, boolean


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_flag(parser, "--no-feats", "feats.scp need not be there")
    add_flag(parser, "--no-text", "text need not be there")
    add_flag(parser, "--no-wav", "wav.scp need not be there")
    add_flag(parser, "--no-spk-sort", "utt2spk need not be sorted by speaker")
    add_flag(parser, "--non-print", "let characters pass that cannot be printed")
    parser.add_argument(
        "--cmvn",
        choices=("optional", "required"),
        default="optional",
        help="whether missing or broken CMVN statistics are an error or a warning",
    )
    parser.add_argument(
        "--read-feats", type=boolean, default=True, help="read all features: look for NaN, measure lengths"
    )
    add_flag(parser, "--strict", "warnings are errors, as to Kaldi's validate_data_dir.sh")
    parser.add_argument("--lang", help="lang directory, to compare its phones")
    parser.add_argument(
        "--frame-shift",
        type=Number(ranges.SECONDS_A_FRAME),
        help="seconds; by default the file frame_shift of the data, or 0.01",
    )
    add_max_loss(parser)
    parser.add_argument("data_dir")
    parser.add_argument("ali_dir", nargs="?", help="alignments of the data")
    parser.add_argument(
        "other_dir",
        nargs="?",
        help="other alignments, or the directory of the graph's model: must be of the same pdfs",
    )


def run(args: argparse.Namespace) -> None:
    """Print what was found and what a training would use; fail if it would."""
    from dkt.check import CheckOptions, check
    from dkt.check_data import DataCheckOptions
    from dkt.datadir import DataDir
    from dkt.findings import Level

    options = CheckOptions(
        DataCheckOptions(
            no_feats=args.no_feats,
            no_text=args.no_text,
            no_wav=args.no_wav,
            no_spk_sort=args.no_spk_sort,
            non_print=args.non_print,
            cmvn=Level.ERROR if args.cmvn == "required" else Level.WARNING,
        ),
        read_feats=args.read_feats,
        frame_shift=args.frame_shift,
        max_loss=args.max_loss,
        strict=args.strict,
    )
    report = check(DataDir(args.data_dir), args.ali_dir, args.other_dir, args.lang, options)
    print(report.findings.table())
    # Flushed: in a log the error follows the table.
    print(f"\n{report.summary()}", flush=True)
    report.finish()
