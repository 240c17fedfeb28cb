"""Kaldi's names of tables: ``ark:``, ``scp:`` and their options (``util/kaldi-table.h``)."""

from __future__ import annotations

from dataclasses import dataclass

from dkt.errors import DktError


@dataclass
class Specifier:
    """A parsed rspecifier or wspecifier: ``kind`` is ark or scp, ``options`` the letters after it."""

    kind: str
    options: set[str]
    filename: str
    scp_filename: str | None = None


def parse_rspecifier(rspecifier: str) -> Specifier:
    """Split ``ark,s,cs:filename`` or ``scp:filename``.

    Raises:
        DktError: it is neither.
    """
    head, colon, filename = rspecifier.partition(":")
    words = head.split(",")
    kinds = [w for w in words if w in ("ark", "scp")]
    if not colon or len(kinds) != 1 or not filename.strip():
        raise DktError(
            "is no rspecifier",
            path=rspecifier,
            hint="write ark:FILE, scp:FILE or 'ark:COMMAND |' as in Kaldi",
        )
    return Specifier(kinds[0], set(words) - {kinds[0]}, filename.strip())


def parse_wspecifier(wspecifier: str) -> Specifier:
    """Split ``ark:filename``, ``ark,t:filename`` or ``ark,scp:archive,script``.

    Raises:
        DktError: it is none of these.
    """
    head, colon, filename = wspecifier.partition(":")
    words = head.split(",")
    options = set(words) - {"ark", "scp"}
    if colon and filename.strip() and "ark" in words and "scp" in words:
        first, comma, second = filename.rpartition(",")
        archive, script = (first, second) if words.index("ark") < words.index("scp") else (second, first)
        if comma and archive and script:
            return Specifier("ark", options, archive.strip(), script.strip())
    elif colon and filename.strip() and "ark" in words:
        return Specifier("ark", options, filename.strip())
    raise DktError(
        "is no wspecifier", path=wspecifier, hint="write ark:FILE, ark,t:FILE or ark,scp:FILE.ark,FILE.scp"
    )
