"""How Kaldi's programs read options (``util/parse-options.cc``), wherever these stand."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from dkt.base.errors import DktError
from dkt.util.text import describe_character, hidden_character, refusal, refused_character

_TRUE, _FALSE = ("true", "t", "1", ""), ("false", "f", "0")
_WHITE_SPACE = b" \t\n\r\f\v"


def plain_name(name: str) -> str:
    """The name of an option as it was declared: small letters, ``-`` for ``_`` (``NormalizeArgName``)."""
    return name.lower().replace("_", "-")


def split_option(text: str) -> tuple[str, str | None]:
    """Split ``--name=value`` into the plain name, without dashes, and the value; None without ``=``.

    Raises:
        ValueError: it does not begin with two dashes and a name.
    """
    name, equals, value = text.partition("=")
    if not name.startswith("--") or len(name) == 2:
        raise ValueError(f"expected '--name=value', found '{text}'")
    return plain_name(name[2:].rstrip()), value.strip() if equals else None


def to_bool(text: str) -> bool:
    """A boolean value: ``true``, ``t``, ``1`` or nothing, ``false``, ``f`` or ``0``, in any case.

    Raises:
        ValueError: it is none.
    """
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError(f"expected true or false, got '{text}'")


def boolean(text: str) -> bool:
    """As ``to_bool``; the type of an option of argparse, whose errors name the option."""
    try:
        return to_bool(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def read_option_lines(path: str | Path) -> Iterator[tuple[int, str, str | None]]:
    """The options of a file as ``--config`` takes them; ``#`` begins a comment.

    Returns:
        The number of the line, the plain name and the value, as of ``split_option``.

    Raises:
        DktError: the file cannot be read, or a line holds something else.
    """
    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise DktError(f"cannot be read: {getattr(error, 'strerror', None) or error}", path=path) from None
    for number, line in enumerate(data.split(b"\n"), 1):
        # Comments may be in any encoding.
        option = line.partition(b"#")[0].strip(_WHITE_SPACE)
        if not option:
            continue
        try:
            text = option.decode("utf-8")
            _check_characters(text, number, path)
            name, value = split_option(text)
        except ValueError as error:
            reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else error
            raise DktError(f"line {number}: {reason}", path=path) from None
        yield number, name, value


def _check_characters(text: str, number: int, path: str | Path) -> None:
    """Raise DktError for what nobody sees, and for white space that Kaldi does not take for such."""
    char = refused_character(text)
    if char is not None:
        what, hint = refusal(char, path)
        raise DktError(f"line {number} holds {what}", path=path, hint=hint)
    char = hidden_character(text)
    if char is not None:
        what = describe_character(char)
        raise DktError(
            f"line {number} holds a character that cannot be seen, {what}", path=path, hint="remove it"
        )
