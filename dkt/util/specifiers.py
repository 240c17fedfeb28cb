"""Kaldi's names of tables: ``ark:``, ``scp:`` and their options (``util/kaldi-table.h``)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from dkt.base.errors import DktError

_RSPECIFIER_OPTIONS = {"o", "s", "cs", "p", "bg", "b", "t"}
_WSPECIFIER_OPTIONS = {"b", "t", "f", "p"}
_NEGATABLE = {"o", "s", "cs", "p", "f"}


@dataclass
class Specifier:
    """A parsed rspecifier or wspecifier.

    Attributes:
        kind: ark or scp.
        options: the letters that hold at the end: ``np`` takes ``p`` away, ``b`` takes ``t`` away.
        filename: of the archive or the script.
        scp_filename: of the script that is written with the archive.
    """

    kind: str
    options: set[str]
    filename: str
    scp_filename: str | None = None


def is_specifier(name: str) -> bool:
    """Whether a name is that of a table, ``ark:...`` or ``scp:...``, rather than of a file."""
    head, colon, _ = name.partition(":")
    return bool(colon) and bool({word.strip() for word in head.split(",")} & {"ark", "scp"})


def parse_rspecifier(rspecifier: str) -> Specifier:
    """Split ``ark,s,cs:filename`` or ``scp:filename`` (``ClassifyRspecifier``).

    Raises:
        DktError: it is neither, or has an option that Kaldi does not know.
    """
    kinds, options, filename = _split(rspecifier, "an rspecifier", _RSPECIFIER_OPTIONS)
    if len(kinds) != 1 or not filename:
        raise DktError(
            "not an rspecifier",
            path=rspecifier,
            hint="write ark:FILE, scp:FILE or 'ark:COMMAND |' as in Kaldi",
        )
    return Specifier(kinds[0], options, filename)


def parse_wspecifier(wspecifier: str) -> Specifier:
    """Split ``ark:filename``, ``ark,t:filename`` or ``ark,scp:archive,script`` (``ClassifyWspecifier``).

    Raises:
        DktError: it is none of these, or has an option that Kaldi does not know.
    """
    kinds, options, filename = _split(wspecifier, "a wspecifier", _WSPECIFIER_OPTIONS)
    if kinds == ["ark"] and filename:
        return Specifier("ark", options, filename)
    if kinds == ["ark", "scp"]:
        archive, _, script = (part.strip() for part in filename.partition(","))
        if archive and script:
            return Specifier("ark", options, archive, script)
    raise DktError(
        "not a wspecifier", path=wspecifier, hint="write ark:FILE, ark,t:FILE or ark,scp:FILE.ark,FILE.scp"
    )


def file_name(path: str | Path) -> str:
    """The name of a file, for a wspecifier: one that begins like a pipe does is a file still."""
    name = str(path)
    return name if re.match(r"[\w./]", name) else str(Path.cwd() / name)


def _split(text: str, what: str, known: set[str]) -> tuple[list[str], set[str], str]:
    head, _, filename = text.partition(":")
    kinds: list[str] = []
    options: set[str] = set()
    for word in (word.strip() for word in head.split(",")):
        if word in ("ark", "scp"):
            kinds.append(word)
        elif word in known:
            options.add(word)
            options -= {"b": {"t"}, "t": {"b"}}.get(word, set())
        elif word[:1] == "n" and word[1:] in known & _NEGATABLE:
            options.discard(word[1:])
        elif kinds:
            what = f"'{word}' is not an option of {what}"
            raise DktError(what, path=text, hint=f"known: {sorted(known)}")
        else:
            return [], set(), ""
    return kinds, options, filename.strip()
