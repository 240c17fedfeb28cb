"""The one exception that bad input raises."""

from __future__ import annotations

import re
from pathlib import Path

# Controls of C0 but tabs and ends of lines, of C1, and what turns the direction of writing.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

_LONGEST_NAME = 300


def printable(text: str) -> str:
    """A message with the characters that a terminal would obey written as escapes, as ``\\x1b``.

    Names and contents of files are told in messages, and may hold anything.
    """
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def _short(name: str) -> str:
    """A name for a message; of one that goes on and on, as in a damaged file, its beginning and its end."""
    name = printable(name)
    return (
        name
        if len(name) <= _LONGEST_NAME
        else f"{name[: _LONGEST_NAME // 2]}...{name[-_LONGEST_NAME // 2 :]}"
    )


class DktError(Exception):
    """Bad input or usage, told in one line that names the culprit and what to do.

    Args:
        message: what was expected and what was found.
        path: the file or directory at fault.
        utt: the utterance at fault.
        hint: what the user should do about it.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | Path | None = None,
        utt: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.path = None if path is None else str(path)
        self.utt = utt
        where = [] if path is None else [_short(str(path))]
        if utt is not None:
            where.append(f"utterance '{_short(utt)}'")
        text = ": ".join([*where, message])
        if hint:
            text = f"{text} - {hint}"
        super().__init__(printable(" ".join(text.split())))


class DamagedError(DktError):
    """A file does not hold what was written there: an older one, or the same made anew, may serve."""
