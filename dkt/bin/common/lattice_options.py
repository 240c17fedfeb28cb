"""Words of lattices in and out of commands: as integers, or as text by a symbol table."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

from dkt.base.errors import DktError
from dkt.util.option_text import boolean
from dkt.util.symbols import read_symbol_table, to_words
from dkt.util.table import IntVectorWriter, TableWriter, TextWriter

logger = logging.getLogger(__name__)


def add_word_symbols(parser: argparse.ArgumentParser, what: str = "write words, not their integers") -> None:
    """Declare ``--word-symbol-table`` and ``--words-as-text``, the help of which is ``what``."""
    parser.add_argument("--word-symbol-table", help="words.txt, to log the words")
    parser.add_argument("--words-as-text", type=boolean, default=False, help=what)


class WordSymbols:
    """What the options of ``add_word_symbols`` say.

    Raises:
        DktError: words as text are asked for without a table, or the table cannot be read.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self._path: str = args.word_symbol_table or ""
        self.as_text: bool = args.words_as_text
        if self.as_text and not self._path:
            raise DktError("--words-as-text=true needs --word-symbol-table")
        self.numbers = read_symbol_table(self._path) if self._path else {}
        self._words = {number: word for word, number in self.numbers.items()}

    def log(self, name: str, numbers: Sequence[int]) -> None:
        """Log the words, if there is a table, after ``name``."""
        if self._path:
            logger.info("%s %s", name, self._text(numbers))

    def writer(self, wspecifier: str) -> TableWriter:
        """A writer of texts or of integers."""
        return TextWriter(wspecifier) if self.as_text else IntVectorWriter(wspecifier)

    def entry(self, numbers: Sequence[int]) -> str | Sequence[int]:
        """What the writer takes."""
        return self._text(numbers) if self.as_text else numbers

    def _text(self, numbers: Sequence[int]) -> str:
        return " ".join(to_words(numbers, self._words, self._path))
