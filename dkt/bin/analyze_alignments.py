"""``dkt analyze-alignments <lang-dir> <ali-dir>...``: what Kaldi's ``analyze_alignments.sh`` is for."""

from __future__ import annotations

import argparse
import logging

from dkt.base import ranges
from dkt.base.errors import DktError
from dkt.bin.common.options import Number, add_max_oov

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
        "ali_dirs",
        metavar="ali-dir",
        nargs="+",
        help="alignments; those of one model, as of the jobs of a step, are judged together",
    )


def run(args: argparse.Namespace) -> None:
    """Log a line of figures for each model, warn of what is implausible; fail on what cannot be right."""
    from pathlib import Path

    from dkt.base.files import read_file
    from dkt.gmm.align import check_phones, read_oov
    from dkt.hmm.alignment_quality import AlignmentQuality, SilencePhones, judge_and_tell
    from dkt.hmm.alignments import AlignmentDir
    from dkt.util.data_dir import DEFAULT_FRAME_SHIFT, DataDir
    from dkt.util.oov import OovCount
    from dkt.util.symbols import read_symbol_table
    from dkt.util.text import fields

    lang = Path(args.lang_dir)
    groups: dict[bytes, list[AlignmentDir]] = {}
    for path in args.ali_dirs:
        directory = AlignmentDir(path)
        groups.setdefault(read_file(directory.path / "final.mdl"), []).append(directory)
        if (directory.path / "phones.txt").exists():
            check_phones(lang / "phones.txt", directory.path / "phones.txt")
    several = len(groups) > 1
    if several and args.num_retried is not None:
        raise DktError("--num-retried is of alignments by one model", hint="give the directories one by one")
    data = None if args.data is None else DataDir(args.data)
    oov = ""
    if data is not None:
        words = read_symbol_table(lang / "words.txt")
        oov_word = read_oov(lang) if (lang / "oov.txt").exists() else None
        transcripts = (fields(text) for text in data.text.values())
        count = OovCount.of(transcripts, words, data.path / "text", oov_word)
        count.check(args.max_oov)
        oov = count.figures()
    frame_shift = DEFAULT_FRAME_SHIFT if data is None else data.frame_shift
    absurd: list[DktError] = []
    for dirs in groups.values():
        phones = SilencePhones.of(dirs[0].path, lang)
        quality = AlignmentQuality(dirs[0].transitions, phones, frame_shift, args.num_retried)
        for directory in dirs:
            for utt, ids in directory.transition_ids():
                quality.add(utt, ids)
        what = args.data if args.data and not several else ", ".join(str(each.path) for each in dirs)
        try:
            judge_and_tell(quality, what, oov, args.allow_implausible)
        except DktError as error:
            # The others are judged too.
            absurd.append(error)
            if several:
                logger.warning("%s", error)
    if absurd:
        raise absurd[0]
