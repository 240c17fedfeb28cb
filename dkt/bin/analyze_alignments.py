"""``dkt analyze-alignments <lang-dir> <ali-dir>...``: what Kaldi's ``analyze_alignments.sh`` is for."""

from __future__ import annotations

import argparse

from dkt.bin.options import add_max_oov


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--data", metavar="DIR", help="their data directory: its words are counted, too")
    parser.add_argument("--num-retried", type=int, help="utterances that needed the second try, to be told")
    add_max_oov(parser)
    parser.add_argument("lang_dir", metavar="lang-dir", help="lang directory")
    parser.add_argument("ali_dirs", metavar="ali-dir", nargs="+", help="alignments, all together")


def run(args: argparse.Namespace) -> None:
    """Log one line of figures, warn of what is implausible; fail on what cannot be right."""
    from pathlib import Path

    from dkt.alignment_quality import AlignmentQuality, SilencePhones, judge_and_tell
    from dkt.alignments import AlignmentDir
    from dkt.datadir import DEFAULT_FRAME_SHIFT, DataDir
    from dkt.hmm.oov import OovCount
    from dkt.hmm.symbols import read_symbol_table
    from dkt.text import fields

    dirs = [AlignmentDir(path) for path in args.ali_dirs]
    data = None if args.data is None else DataDir(args.data)
    oov = ""
    if data is not None:
        words = read_symbol_table(Path(args.lang_dir) / "words.txt")
        count = OovCount.of((fields(text) for text in data.text.values()), words, data.path / "text")
        count.check(args.max_oov)
        oov = count.figures()
    phones = SilencePhones.of(dirs[0].path, args.lang_dir)
    frame_shift = DEFAULT_FRAME_SHIFT if data is None else data.frame_shift
    quality = AlignmentQuality(dirs[0].transitions, phones, frame_shift, args.num_retried)
    for directory in dirs:
        for utt, ids in directory.transition_ids():
            quality.add(utt, ids)
    judge_and_tell(quality, args.data or args.ali_dirs[0], oov, args.allow_implausible)
