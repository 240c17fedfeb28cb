"""``dkt decode-faster-mapped``: one-best decoding, as Kaldi's program of that name."""

from __future__ import annotations

import argparse
import logging
from contextlib import ExitStack

from dkt.base import ranges
from dkt.base.errors import DktError
from dkt.base.tally import Tally
from dkt.bin.common.options import Number, add_max_dropped
from dkt.bin.common.search_options import add_acoustic_scale, add_beams
from dkt.decoder.decode_table import decode_table
from dkt.decoder.decoding_graph import load_graph
from dkt.decoder.faster_decoder import Searcher, SearchResult
from dkt.hmm.transition_model import load_transition_model
from dkt.util.option_text import boolean
from dkt.util.symbols import read_symbol_table, to_words
from dkt.util.table import IntVectorWriter, TextWriter, read_matrices

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options and arguments."""
    add_beams(parser, beam=16.0, max_active=ranges.MAX_INT, min_active=20)
    add_acoustic_scale(parser)
    parser.add_argument(
        "--word-ins-penalty",
        type=Number(ranges.WORD_PENALTY),
        default=0.0,
        help="cost of every word; higher gives fewer words",
    )
    parser.add_argument("--word-symbol-table", help="words.txt, to log the words")
    parser.add_argument(
        "--words-as-text", type=boolean, default=False, help="write words, not their integers"
    )
    add_max_dropped(parser)
    parser.add_argument("model", help="final.mdl, for its transition-ids")
    parser.add_argument("fst", help="HCLG.fst")
    parser.add_argument("loglikes", metavar="loglikes-rspecifier")
    parser.add_argument("words", metavar="words-wspecifier")
    parser.add_argument("alignments", metavar="alignments-wspecifier", nargs="?")


def run(args: argparse.Namespace) -> None:
    """Decode every utterance of the table."""
    if args.words_as_text and not args.word_symbol_table:
        raise DktError("--words-as-text=true needs --word-symbol-table")
    table = args.word_symbol_table
    symbols = {index: word for word, index in read_symbol_table(table).items()} if table else {}
    transitions = load_transition_model(args.model)
    searcher = Searcher(
        load_graph(args.fst, transitions, symbols if table else None),
        transitions.id2pdf,
        beam=args.beam,
        max_active=args.max_active,
        min_active=args.min_active,
        acoustic_scale=args.acoustic_scale,
        word_ins_penalty=args.word_ins_penalty,
        allow_partial=args.allow_partial,
    )
    tally = Tally("decode", args.max_dropped)
    with ExitStack() as files:
        writer = TextWriter(args.words) if args.words_as_text else IntVectorWriter(args.words)
        words = files.enter_context(writer)
        alignments = files.enter_context(IntVectorWriter(args.alignments)) if args.alignments else None

        def write(utt: str, result: SearchResult) -> None:
            text = " ".join(to_words(result.words, symbols, table)) if table else ""
            words.write(utt, text if args.words_as_text else result.words)
            if alignments is not None:
                alignments.write(utt, result.alignment)
            if table:
                logger.info("%s %s", utt, text)

        decode_table(searcher, read_matrices(args.loglikes), args.loglikes, tally, write)
    tally.finish(args.loglikes)
