"""``dkt prepare-lang``: a lang directory from a dictionary directory."""

from __future__ import annotations

import argparse

from dkt.base import ranges
from dkt.bin.common.fields import add_fields, of_arguments
from dkt.bin.common.options import Number
from dkt.lang.lang import LangOptions, prepare_lang
from dkt.util.option_text import boolean


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments; names and defaults are those of Kaldi's ``utils/prepare_lang.sh``."""
    add_fields(
        parser,
        LangOptions(),
        position_dependent_phones=(boolean, "mark phones by their place in the word (_B, _E, _I, _S)"),
        sil_prob=(Number(ranges.NOT_ALL), "probability of silence between words"),
        num_sil_states=(Number(ranges.STATES), "states of a silence"),
        num_nonsil_states=(Number(ranges.STATES), "states of a phone"),
        share_silence_phones=(boolean, "let all silence phones share their pdfs"),
    )
    parser.add_argument("dict_dir", metavar="dict-dir", help="dictionary directory")
    parser.add_argument("oov_word", metavar="oov-word", help="word of the lexicon for words outside it")
    parser.add_argument("lang_dir", metavar="lang-dir", help="lang directory to write")


def run(args: argparse.Namespace) -> None:
    """Make the lang directory."""
    prepare_lang(args.dict_dir, args.oov_word, args.lang_dir, of_arguments(LangOptions, args))
