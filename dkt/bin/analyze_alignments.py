"""``dkt analyze-alignments <lang-dir> <ali-dir>...``: what Kaldi's ``analyze_alignments.sh`` is for."""

from __future__ import annotations

import argparse
import logging

from dkt import ranges
from dkt.bin.options import Number, add_max_oov
from dkt.errors import DktError

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--data", metavar="DIR", help="their data directory: its words are counted, too")
    parser.add_argument(
        "--num-retried",
        type=Number(ranges.COUNT),
        help="utterances that needed the second try, to be told",
    )
    add_max_oov(parser)
    parser.add_argument("lang_dir", metavar="lang-dir", help="lang directory")
    parser.add_argument(
        "ali_dirs", metavar="ali-dir", nargs="+", help="alignments, each judged by its own model"
    )


def run(args: argparse.Namespace) -> None:
    """Log a line of figures for each directory, warn of what is implausible; fail on what cannot be right."""
    from pathlib import Path

    from dkt.alignment_quality import AlignmentQuality, SilencePhones, judge_and_tell
    from dkt.alignments import AlignmentDir
    from dkt.datadir import DEFAULT_FRAME_SHIFT, DataDir
    from dkt.hmm.align import check_phones
    from dkt.hmm.oov import OovCount
    from dkt.hmm.symbols import read_symbol_table
    from dkt.text import fields

    lang, several = Path(args.lang_dir), len(args.ali_dirs) > 1
    if several and args.num_retried is not None:
        raise DktError("--num-retried is of one alignment directory", hint="give them one by one")
    dirs = [AlignmentDir(path) for path in args.ali_dirs]
    for directory in dirs:
        if (directory.path / "phones.txt").exists():
            check_phones(lang / "phones.txt", directory.path / "phones.txt")
    data = None if args.data is None else DataDir(args.data)
    oov = ""
    if data is not None:
        words = read_symbol_table(lang / "words.txt")
        count = OovCount.of((fields(text) for text in data.text.values()), words, data.path / "text")
        count.check(args.max_oov)
        oov = count.figures()
    frame_shift = DEFAULT_FRAME_SHIFT if data is None else data.frame_shift
    absurd: list[DktError] = []
    for directory in dirs:
        phones = SilencePhones.of(directory.path, lang)
        quality = AlignmentQuality(directory.transitions, phones, frame_shift, args.num_retried)
        for utt, ids in directory.transition_ids():
            quality.add(utt, ids)
        what = directory.path if several or args.data is None else args.data
        try:
            judge_and_tell(quality, what, oov, args.allow_implausible)
        except DktError as error:
            # The other directories are judged too.
            absurd.append(error)
            if several:
                logger.warning("%s", error)
    if absurd:
        raise absurd[0]
