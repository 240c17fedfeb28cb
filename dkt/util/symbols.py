"""Symbol tables (``words.txt``, ``phones.txt``) and transcripts turned into the integers of one."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from dkt.base.errors import DktError
from dkt.base.findings import list_names
from dkt.util.kaldi_io import open_input
from dkt.util.oov import OovCount
from dkt.util.specifiers import parse_rspecifier
from dkt.util.text import decode_lines, fields, natural, parse_keyed_lines, read_lines, write_lines

logger = logging.getLogger(__name__)

EPS = "<eps>"
BACKOFF = "#0"
BOS = "<s>"
EOS = "</s>"
#: Symbols of ``words.txt`` that are not words: they may stand in no lexicon and no transcript.
RESERVED = (EPS, BACKOFF, BOS, EOS)

#: What to do with a word that is not in ``words.txt``: count it as the OOV word, as Kaldi does, or stop.
OOV_POLICIES = ("map", "error")


def read_symbol_table(path: str | Path) -> dict[str, int]:
    """A symbol table in OpenFst's text form (``<symbol> <id>`` a line).

    Returns:
        Symbol to id, in the order of the file.

    Raises:
        DktError: the file is missing or empty, a line is malformed, or there is a duplicate symbol or id.
    """
    table: dict[str, int] = {}
    owner: dict[int, str] = {}
    for number, line in enumerate(read_lines(path), 1):
        parts = fields(line)
        index = natural(parts[1]) if len(parts) == 2 else None
        if index is None:
            raise DktError(f"line {number}: expected '<symbol> <id>', found '{line}'", path=path)
        symbol = parts[0]
        if symbol in table:
            raise DktError(f"line {number}: duplicate symbol '{symbol}'", path=path)
        if index in owner:
            raise DktError(f"line {number}: id {index} is that of '{owner[index]}' already", path=path)
        table[symbol] = index
        owner[index] = symbol
    if not table:
        raise DktError("the symbol table is empty", path=path)
    return table


def write_symbol_table(path: str | Path, symbols: Sequence[str]) -> dict[str, int]:
    """Write ``symbols`` numbered from 0 as a symbol table and return it.

    Raises:
        DktError: the file cannot be written.
    """
    table = {symbol: index for index, symbol in enumerate(symbols)}
    write_lines(path, [f"{symbol} {index}" for symbol, index in table.items()])
    return table


def read_transcripts(path: str | Path) -> dict[str, list[str]]:
    """Transcripts in Kaldi's form (``<utterance-id> <word> ...`` a line).

    Returns:
        Utterance to words, in the order of the file; a transcript may be empty.

    Raises:
        DktError: the file is missing, a line is empty, or there is a duplicate key.
    """
    return parse_transcripts(read_lines(path), path)


def parse_transcripts(lines: Sequence[str], path: str | Path) -> dict[str, list[str]]:
    """Transcripts from lines of text; ``path`` is the name that errors tell.

    Raises:
        DktError: a line is empty, or there is a duplicate key.
    """
    return {utt: fields(words) for utt, words in parse_keyed_lines(lines, path).items()}


def to_words(ids: Iterable[int], words: dict[int, str], path: str) -> list[str]:
    """Words from integers; ``path`` is the symbol table, for errors.

    Raises:
        DktError: an integer is not in the table.
    """
    ids = list(ids)
    for index in ids:
        if index not in words:
            raise DktError(
                f"no word has the integer {index}", path=path, hint="use the words.txt of the graph"
            )
    return [words[index] for index in ids]


def transcripts_to_ints(
    transcripts: Mapping[str, Sequence[str]],
    words: Mapping[str, int],
    oov_word: str | None = None,
    *,
    policy: str = "map",
    path: str | Path = "text",
    max_oov: float = 1.0,
) -> dict[str, list[int]]:
    """Transcripts as the integers of ``words.txt``.

    Args:
        transcripts: utterance to words.
        words: the symbol table of the words.
        oov_word: the word that stands for every word outside ``words`` (``oov.txt`` of the lang directory).
        policy: ``"map"`` counts words outside the lexicon as ``oov_word`` and logs how many there were, as
            Kaldi's ``sym2int.pl --map-oov``; ``"error"`` stops at the first one.
        path: the file that errors and the log name.
        max_oov: the share of words that may be counted so.

    Raises:
        DktError: an unknown word under ``"error"`` or without ``oov_word``, an ``oov_word`` outside
            ``words``, more than ``max_oov`` unknown words, or a reserved symbol in a transcript.
    """
    if policy not in OOV_POLICIES:
        raise DktError(f"--oov-policy is '{policy}', expected one of {', '.join(OOV_POLICIES)}")
    if oov_word is not None and oov_word not in words:
        raise DktError(f"the OOV word '{oov_word}' is not in words.txt", path=path)
    oov = None if policy == "error" or oov_word is None else words[oov_word]
    numbered: dict[str, list[int]] = {}
    for utt, transcript in transcripts.items():
        numbered[utt] = []
        for word in transcript:
            if word in RESERVED:
                raise DktError(f"'{word}' is a reserved symbol, not a word", path=path, utt=utt)
            index = words.get(word)
            if index is None:
                if oov is None:
                    raise _unknown_word(word, path, utt)
                index = oov
            numbered[utt].append(index)
    count = OovCount.of(transcripts.values(), words, path, oov_word)
    count.check(max_oov)
    if count.unknown:
        logger.warning("%s: %s", path, count.describe(mapped=True))
        list_names(logger, "out of vocabulary", count.by_frequency())
    return numbered


def _unknown_word(word: str, path: str | Path, utt: str) -> DktError:
    return DktError(
        f"word '{word}' is not in the lexicon",
        path=path,
        utt=utt,
        hint="add it to the lexicon and prepare the lang directory again, or use --oov-policy=map",
    )


def read_texts(rspecifier: str) -> dict[str, list[str]]:
    """Utterance to words, or to word ids as text.

    Args:
        rspecifier: ``ark:FILE``, ``ark:-``, ``ark:COMMAND |``, or a file's name.

    Raises:
        DktError: it cannot be read, a line is empty, or there is a duplicate key.
    """
    with open_input(text_filename(rspecifier)) as stream:
        return parse_transcripts(decode_lines(stream.read(), rspecifier), rspecifier)


def text_filename(rspecifier: str) -> str:
    """The file of an rspecifier of texts, or the name of a file as it is.

    Raises:
        DktError: it is a script file.
    """
    kinds = rspecifier.partition(":")[0].split(",")
    if ":" not in rspecifier or not {"ark", "scp"} & set(kinds):
        return rspecifier
    spec = parse_rspecifier(rspecifier)
    if spec.kind != "ark":
        raise DktError("texts are read from archives only", path=rspecifier, hint="write ark:FILE")
    return spec.filename
