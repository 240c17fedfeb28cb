"""What a language model is trained on: sentences and a vocabulary."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path

from dkt.base.errors import DktError
from dkt.util.symbols import BOS, EOS, RESERVED, parse_transcripts, read_symbol_table
from dkt.util.text import fields, read_lines

logger = logging.getLogger(__name__)


def read_sentences(path: str | Path, utt_ids: bool = False) -> list[list[str]]:
    """The sentences of a text, one per line; empty ones are left out and counted in the log.

    Args:
        path: the text, maybe compressed.
        utt_ids: whether the first field of a line is an utterance id, as in the ``text`` of a data directory.

    Raises:
        DktError: the file is missing or holds no sentence, there is a duplicate key, or a reserved symbol
            stands in a sentence (``<s>`` may begin and ``</s>`` end one).
    """
    lines = read_lines(path)
    if utt_ids:
        rows = list(parse_transcripts(lines, path).items())
    else:
        rows = [(f"line {number}", fields(line)) for number, line in enumerate(lines, 1)]
    sentences = []
    for name, words in rows:
        words = words[words[:1] == [BOS] :]
        words = words[:-1] if words[-1:] == [EOS] else words
        for word in words:
            if word in RESERVED:
                raise DktError(f"{name}: '{word}' is a reserved symbol, not a word", path=path)
        if words:
            sentences.append(words)
    if not sentences:
        raise DktError("the text has no sentence", path=path)
    if len(sentences) < len(rows):
        logger.info("%s: %d of %d lines have no words", path, len(rows) - len(sentences), len(rows))
    return sentences


def read_vocabulary(path: str | Path, *, symbol_table: bool, exclude: Collection[str] = ()) -> set[str]:
    """The words that a language model is to predict.

    Args:
        path: ``words.txt`` of a lang directory, or a list with one word per line.
        symbol_table: whether it is the former; its symbols that are not words (``<eps>``, ``#0``, ``<s>``,
            ``</s>``) are left out.
        exclude: words to leave out too.

    Raises:
        DktError: the file is missing or malformed, or does not hold a word of ``exclude``.
    """
    if symbol_table:
        words = set(read_symbol_table(path))
    else:
        words = set()
        for number, line in enumerate(read_lines(path), 1):
            parts = fields(line)
            if len(parts) != 1:
                raise DktError(f"line {number}: expected one word, found '{line}'", path=path)
            words.add(parts[0])
    for word in exclude:
        if word not in words:
            raise DktError(f"--exclude-words names '{word}', which is not in the vocabulary", path=path)
    return words.difference(RESERVED, exclude)
