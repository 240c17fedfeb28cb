"""``dkt lattice-oracle``: fewest errors of any path of lattices, as Kaldi's program of that name."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from dkt.base import ranges
from dkt.bin.common.lattice_options import WordSymbols, add_word_symbols
from dkt.bin.common.options import Numbers, add_max_dropped

# No word of a lattice: what the reference says and the symbol table does not have is always an error.
_UNKNOWN = -1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options and arguments."""
    add_word_symbols(parser, "references are words, not their integers, and words are written")
    parser.add_argument(
        "--wildcard-symbols",
        type=Numbers(ranges.COUNT, ":", least=0),
        default=(),
        help="integers of words that are not errors: 1:2:3",
    )
    add_max_dropped(parser)
    parser.add_argument("lattices", metavar="lattice-rspecifier")
    parser.add_argument("references", metavar="reference-rspecifier")
    parser.add_argument("words", metavar="transcriptions-wspecifier")
    parser.add_argument("distances", metavar="edit-distance-wspecifier", nargs="?")


def run(args: argparse.Namespace) -> None:
    """Find the oracle path of every lattice of the table."""
    from dkt.base.tally import Tally
    from dkt.lat.io import read_compact_lattices
    from dkt.lat.oracle import OraclePath
    from dkt.lat.programs import take_oracle_paths
    from dkt.util.number_tables import NumberWriter

    symbols = WordSymbols(args)
    references = _read_references(args.references, symbols)
    tally = Tally("lattice-oracle", args.max_dropped)
    with ExitStack() as files:
        words = files.enter_context(symbols.writer(args.words)) if args.words else None
        distances = files.enter_context(NumberWriter(args.distances)) if args.distances else None

        def write(utt: str, path: OraclePath) -> None:
            symbols.log(f"{utt} (oracle)", path.words)
            if words is not None:
                words.write(utt, symbols.entry(path.words))
            if distances is not None:
                distances.write(utt, path.num_errors)

        lattices = read_compact_lattices(args.lattices)
        take_oracle_paths(lattices, references, args.wildcard_symbols, tally, write)
    tally.finish(args.lattices)


def _read_references(rspecifier: str, symbols: WordSymbols) -> Mapping[str, Sequence[int]]:
    from dkt.base.errors import DktError
    from dkt.util.symbols import read_texts
    from dkt.util.table import read_int_vectors
    from dkt.util.text import natural

    if not symbols.as_text:
        try:
            return {utt: ids.tolist() for utt, ids in read_int_vectors(rspecifier)}
        except DktError as error:
            if "expected integers" not in str(error) and "expected numbers" not in str(error):
                raise
            hint = "give references of words with --words-as-text=true --word-symbol-table=words.txt"
            raise DktError(str(error), hint=hint) from None
    texts = read_texts(rspecifier)
    references = {
        utt: [symbols.numbers.get(word, _UNKNOWN) for word in words] for utt, words in texts.items()
    }
    found = [number for numbers in references.values() for number in numbers]
    if found and set(found) == {_UNKNOWN}:
        word = next(word for words in texts.values() for word in words)
        raise DktError(
            f"none of the {len(found)} words is in the symbol table, the first '{word}'",
            path=rspecifier,
            hint="leave out --words-as-text for references of integers"
            if natural(word) is not None
            else "use the words.txt of the graph",
        )
    return references
