"""``dkt prepare-lang``: a lang directory from a dictionary directory."""

from __future__ import annotations

import argparse

from dkt.base import ranges
from dkt.bin.common.options import Number, boolean
from dkt.lang.lang import LangOptions, prepare_lang


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments; names and defaults are those of Kaldi's ``utils/prepare_lang.sh``."""
    defaults = LangOptions()
    parser.add_argument(
        "--position-dependent-phones",
        type=boolean,
        default=defaults.position_dependent_phones,
        help="mark phones by their place in the word (_B, _E, _I, _S)",
    )
    parser.add_argument(
        "--sil-prob",
        type=Number(ranges.NOT_ALL),
        default=defaults.sil_prob,
        help="probability of silence between words",
    )
    parser.add_argument(
        "--num-sil-states",
        type=Number(ranges.STATES),
        default=defaults.num_sil_states,
        help="states of a silence",
    )
    parser.add_argument(
        "--num-nonsil-states",
        type=Number(ranges.STATES),
        default=defaults.num_nonsil_states,
        help="states of a phone",
    )
    parser.add_argument(
        "--share-silence-phones",
        type=boolean,
        default=defaults.share_silence_phones,
        help="let all silence phones share their pdfs",
    )
    parser.add_argument("dict_dir", metavar="dict-dir", help="dictionary directory")
    parser.add_argument("oov_word", metavar="oov-word", help="word of the lexicon for words outside it")
    parser.add_argument("lang_dir", metavar="lang-dir", help="lang directory to write")


def run(args: argparse.Namespace) -> None:
    """Make the lang directory."""
    options = LangOptions(
        position_dependent_phones=args.position_dependent_phones,
        sil_prob=args.sil_prob,
        num_sil_states=args.num_sil_states,
        num_nonsil_states=args.num_nonsil_states,
        share_silence_phones=args.share_silence_phones,
    )
    prepare_lang(args.dict_dir, args.oov_word, args.lang_dir, options)
