"""``dkt latgen``: lattices from log-likelihoods, as Kaldi's ``latgen-faster-mapped`` and ``-parallel``."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from contextlib import ExitStack

from dkt.base import ranges
from dkt.base.tally import Tally
from dkt.bin.common.options import Number, add_max_dropped
from dkt.bin.common.search_options import add_acoustic_scale, add_beams
from dkt.decoder.decode_table import decode_table
from dkt.decoder.decoding_graph import load_graph
from dkt.decoder.lattice_decoder import LatticeSearcher
from dkt.decoder.lattice_generation import GeneratedLattice, LatticeGenerator
from dkt.decoder.token_passing import Beams
from dkt.hmm.transition_model import load_transition_model
from dkt.lat.io import LatticeWriter
from dkt.util.option_text import boolean
from dkt.util.symbols import read_symbol_table, to_words
from dkt.util.table import IntVectorWriter, read_matrices

logger = logging.getLogger(__name__)

# Of Kaldi's programs, and without meaning here: the memory of the decoder, steps of the determinisation,
# threads that wait for others.
_WITHOUT_MEANING: dict[str, Callable[[str], object]] = {
    "phone-determinize": boolean,
    "word-determinize": boolean,
    "minimize": boolean,
    "delta": Number(ranges.SHARE),
    "hash-ratio": Number(ranges.WEIGHT),
    "prune-scale": Number(ranges.SHARE),
    "memory-pool-tokens-block-size": Number(ranges.COUNT),
    "memory-pool-links-block-size": Number(ranges.COUNT),
    "num-threads-total": Number(ranges.COUNT),
}
# Kaldi determinises phone by phone first, and so puts together a little more of what lies beyond the beam.
# With this much more of a beam the best path of a lattice against a reference has as many errors as in
# Kaldi's.
_MARGIN = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options and arguments."""
    add_beams(parser, beam=16.0, max_active=ranges.MAX_INT, min_active=200, allow_partial=False)
    for name, allowed, default, text in (
        ("lattice-beam", ranges.BEAM, 10.0, "larger: deeper lattices, slower"),
        ("prune-interval", ranges.PRUNE_INTERVAL, 25, "frames between prunings"),
        ("beam-delta", ranges.BEAM, 0.5, "added to a beam that --max-active made"),
    ):
        parser.add_argument(f"--{name}", type=Number(allowed), default=default, help=text)
    add_acoustic_scale(parser)
    parser.add_argument(
        "--determinize-lattice",
        type=boolean,
        default=True,
        help="compact lattices, each sequence of words once; else those of the decoder, state by state",
    )
    parser.add_argument(
        "--max-mem",
        type=Number(ranges.MAX_MEM),
        default=50_000_000,
        help="bytes, about, of a determinisation, which then ends at a narrower beam; 0 for no limit",
    )
    parser.add_argument(
        "--num-threads",
        type=Number(ranges.THREADS),
        default=1,
        help="utterances decoded at a time; results, and their order, do not depend on it",
    )
    parser.add_argument("--word-symbol-table", help="words.txt, to log the words")
    for name, kind in _WITHOUT_MEANING.items():
        parser.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)
    add_max_dropped(parser)
    parser.add_argument("model", help="final.mdl, for its transition-ids")
    parser.add_argument("fst", help="HCLG.fst")
    parser.add_argument("loglikes", metavar="loglikes-rspecifier")
    parser.add_argument("lattices", metavar="lattice-wspecifier")
    parser.add_argument("words", metavar="words-wspecifier", nargs="?")
    parser.add_argument("alignments", metavar="alignments-wspecifier", nargs="?")


def run(args: argparse.Namespace) -> None:
    """Make a lattice of every utterance of the table."""
    for name in _WITHOUT_MEANING:
        if getattr(args, name.replace("-", "_")) is not None:
            logger.warning("--%s is Kaldi's and without effect here", name)
    table = args.word_symbol_table
    symbols = {index: word for word, index in read_symbol_table(table).items()} if table else {}
    transitions = load_transition_model(args.model)
    searcher = LatticeSearcher(
        load_graph(args.fst, transitions, symbols if table else None),
        transitions.id2pdf,
        Beams(
            beam=args.beam,
            max_active=args.max_active,
            min_active=args.min_active,
            lattice_beam=args.lattice_beam + (_MARGIN if args.determinize_lattice else 0.0),
            beam_delta=args.beam_delta,
            prune_interval=args.prune_interval,
        ),
        acoustic_scale=args.acoustic_scale,
        allow_partial=args.allow_partial,
    )
    generator = LatticeGenerator(searcher, args.determinize_lattice, args.max_mem)
    tally = Tally("decode", args.max_dropped)
    with ExitStack() as files:
        lattices = files.enter_context(LatticeWriter(args.lattices))
        words = files.enter_context(IntVectorWriter(args.words)) if args.words else None
        alignments = files.enter_context(IntVectorWriter(args.alignments)) if args.alignments else None

        def write(utt: str, result: GeneratedLattice) -> None:
            if words is not None:
                words.write(utt, result.words)
            if alignments is not None:
                alignments.write(utt, result.alignment)
            if table:
                logger.info("%s %s", utt, " ".join(to_words(result.words, symbols, table)))
            if result.beam < args.lattice_beam:
                logger.warning(
                    "the lattice of utterance '%s' is whole within a beam of %.2f", utt, result.beam
                )
            lattices.write(utt, result.lattice)

        loglikes = read_matrices(args.loglikes)
        decode_table(generator, loglikes, args.loglikes, tally, write, args.num_threads)
    tally.finish(args.loglikes)
