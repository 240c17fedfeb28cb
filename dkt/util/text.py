"""Text files in Kaldi's sense: lines that end in a newline, fields parted by ASCII white space, UTF-8."""

from __future__ import annotations

import enum
import gzip
import logging
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from dkt.base.errors import DktError
from dkt.base.files import replace_file
from dkt.util.kaldi_io import open_input

logger = logging.getLogger(__name__)

# Kaldi parts fields by ASCII white space alone: a no-break or ideographic space is part of a word.
_WHITE_SPACE = " \t\n\r\f\v"
_FIELD = re.compile(r"\S+", re.ASCII)
_NATURAL = re.compile(r"[0-9]{1,9}", re.ASCII)
_KEYED_LINE = re.compile(r"\s*(\S+)\s*(.*)", re.ASCII | re.DOTALL)

_GZIP = b"\x1f\x8b"
#: What some editors put before the first character of a file: it becomes part of the first word.
BYTE_ORDER_MARK = "\ufeff"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
# What utils/validate_text.pl and validate_dict_dir.pl take for white space, but not for one of Kaldi's: words
# that look apart are one, or one that looks alike is another. So does a byte order mark.
_ODD_SPACES = "\v\f\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
# What nobody sees: control characters (validate_data_dir.sh --non-print), what has no width, steers the
# direction of writing, or was lost in a conversion.
_CONTROLS = "\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f"
_UNSEEN = f"{_CONTROLS}\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufff9-\ufffd"
# Joiners, which the spelling of some scripts needs.
_JOINERS = "\u200c\u200d"
_REFUSED = re.compile(f"[{_ODD_SPACES}]")
_HIDDEN = re.compile(f"[{_UNSEEN}]|(?<![^\x00-\u024f])[{_JOINERS}]")
_SUSPECT = re.compile(f"[{_ODD_SPACES}{_UNSEEN}{_JOINERS}]")
_NAMES = {"\v": "LINE TABULATION", "\f": "FORM FEED", "\x85": "NEXT LINE", BYTE_ORDER_MARK: "BYTE ORDER MARK"}


class Content(enum.Enum):
    """Where in a line the characters have to be those of words.

    Attributes:
        WORDS: everywhere: transcripts, lexicons, tables of symbols and speakers, language models.
        SCRIPT: in the key, the first field: what follows names a file or a command, which are as they are.
        FREE: nowhere: option files with their comments, reports.
    """

    WORDS = "words"
    SCRIPT = "script"
    FREE = "free"


def describe_character(char: str) -> str:
    """A character as an error names it: ``U+3000 (IDEOGRAPHIC SPACE)``."""
    name = _NAMES.get(char) or unicodedata.name(char, "CONTROL CHARACTER")
    return f"U+{ord(char):04X} ({name})"


def refused_character(line: str, content: Content = Content.WORDS) -> str | None:
    """The first character of a line that no text may hold: odd white space, or a byte order mark.

    Source: ``validate_utf8_whitespaces`` of Kaldi's ``utils/validate_text.pl``.
    """
    match = None if content is Content.FREE else _REFUSED.search(line)
    if match is None or content is Content.WORDS:
        return match and match[0]
    key = _KEYED_LINE.match(line)
    match = _REFUSED.search(key[1]) if key else match
    return match and match[0]


def hidden_character(line: str) -> str | None:
    """The first character of a line that cannot be seen: a control character, a zero-width space."""
    match = _HIDDEN.search(line)
    return match and match[0]


def refusal(char: str, path: str | Path) -> tuple[str, str]:
    """What is wrong with a character that ``refused_character`` found, and what to do about it."""
    if char == BYTE_ORDER_MARK:
        return (
            f"a byte order mark, {describe_character(char)}",
            f"remove it: sed -i 's/\\xEF\\xBB\\xBF//' {path}",
        )
    return (
        f"{describe_character(char)}, white space that is neither a space nor a tab",
        f"put a space in its place: perl -CSD -i -pe 's/\\x{{{ord(char):04X}}}/ /g' {path}",
    )


def fields(line: str) -> list[str]:
    """The fields of a line, parted by ASCII white space as Kaldi's tools do it."""
    return _FIELD.findall(line)


def natural(word: str) -> int | None:
    """The integer from 0 on that ``word`` is in ASCII digits, nine at most; None if it is something else."""
    return int(word) if _NATURAL.fullmatch(word) else None


def unpack(data: bytes, path: str | Path) -> bytes:
    """The bytes of a file, unpacked if they are those of a gzip file, whatever its name.

    Raises:
        DktError: it is a broken gzip file, or one that grows as no data do.
    """
    if not data.startswith(_GZIP):
        return data
    # Imported here: it needs numpy, for which commands that only read text need not wait.
    from dkt.base.bounded import decompress_gzip

    return decompress_gzip(data, path)


def _decode(data: bytes, path: str | Path) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if data.startswith(_UTF16):
            raise DktError(
                "is UTF-16, expected UTF-8", path=path, hint="convert it: iconv -f UTF-16 -t UTF-8"
            ) from None
        line = data.count(b"\n", 0, error.start) + 1
        raise DktError(
            f"line {line} is not UTF-8", path=path, hint="convert it, for example with iconv -t UTF-8"
        ) from None


def decode_lines(data: bytes, path: str | Path, content: Content = Content.WORDS) -> list[str]:
    """Lines of UTF-8 text without their newlines; characters that nobody sees are warned of.

    Args:
        data: the bytes of a file, perhaps those of a gzip file.
        path: the name that errors tell.
        content: where the characters have to be those of words.

    Raises:
        DktError: the bytes are a broken gzip file or not UTF-8, a line ends in a carriage return, or holds
            a zero byte or a character of ``refused_character``.
    """
    text = _decode(unpack(data, path), path)
    if "\r" in text:
        line = text.count("\n", 0, text.index("\r")) + 1
        raise DktError(
            f"line {line} holds a carriage return, expected Unix line ends",
            path=path,
            hint="convert the file with dos2unix",
        )
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DktError(f"line {line} holds a zero byte: the file is damaged, or is not text", path=path)
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    _check_characters(text, lines, path, content)
    return lines


def _check_characters(text: str, lines: list[str], path: str | Path, content: Content) -> None:
    if text.startswith(BYTE_ORDER_MARK):
        what, hint = refusal(BYTE_ORDER_MARK, path)
        raise DktError(f"begins with {what}", path=path, hint=hint)
    # A search of the whole is quick; most files are in order.
    if content is Content.FREE or not _SUSPECT.search(text):
        return
    hidden = []
    for number, line in enumerate(lines, 1):
        char = refused_character(line, content)
        if char is not None:
            what, hint = refusal(char, path)
            raise DktError(f"line {number} holds {what}", path=path, hint=hint)
        if content is Content.WORDS and (char := hidden_character(line)):
            hidden.append((number, char))
    if hidden:
        number, char = hidden[0]
        logger.warning(
            "%s: %d lines hold a character that cannot be seen, the first line %d: %s - remove it",
            path,
            len(hidden),
            number,
            describe_character(char),
        )


def read_lines(path: str | Path, content: Content = Content.WORDS) -> list[str]:
    """Lines of a text file without their newlines.

    Args:
        path: a file, compressed by gzip or not, or another of Kaldi's extended filenames.
        content: where the characters have to be those of words.

    Raises:
        DktError: it cannot be read, or ``decode_lines`` refuses it.
    """
    with open_input(str(path)) as stream:
        data = stream.read()
    if not data and str(path).endswith(".gz"):
        # gzip of nothing is 20 bytes: this is what a full disk leaves.
        raise DktError("broken gzip file: it is empty", path=path)
    return decode_lines(data, path, content)


def parse_keyed_lines(lines: Iterable[str], path: str | Path) -> dict[str, str]:
    """Lines ``<key> <rest>``: key to the rest, which may be empty, in the order of the lines.

    Args:
        lines: entry n of the result is line n.
        path: the name that errors tell.

    Raises:
        DktError: a line is empty, or there is a duplicate key.
    """
    entries: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        match = _KEYED_LINE.match(line)
        if match is None:
            raise DktError(f"line {number} is empty", path=path, hint="remove it, or begin it with a key")
        key, rest = match.groups()
        if key in entries:
            raise DktError(f"line {number}: duplicate key", path=path, utt=key)
        entries[key] = rest.rstrip(_WHITE_SPACE)
    return entries


def read_keyed_lines(path: str | Path, content: Content = Content.WORDS) -> dict[str, str]:
    """A file of lines ``<key> <rest>``, as ``parse_keyed_lines`` gives them.

    Raises:
        DktError: as ``read_lines`` and ``parse_keyed_lines``.
    """
    return parse_keyed_lines(read_lines(path, content), path)


def write_lines(path: str | Path, lines: list[str]) -> None:
    """Write lines to a text file, compressed if its name ends in ``.gz``, whole or not at all.

    Raises:
        DktError: the file cannot be written.
    """
    data = "".join(f"{line}\n" for line in lines).encode("utf-8")
    if Path(path).suffix == ".gz":
        data = gzip.compress(data, compresslevel=6, mtime=0)
    replace_file(path, data)
