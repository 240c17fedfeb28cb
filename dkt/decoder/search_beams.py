"""The beams that directories were decoded with, so that error rates are compared with like ones."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

#: The options that bound a search, as the marks of the steps write them.
BOUNDS = ("beam", "lattice_beam", "max_active", "min_active")
_NUMBER = r"['\"]?([0-9][0-9.eE+]*)"
_MARKED = re.compile(rf"^({'|'.join(BOUNDS)})={_NUMBER}", re.MULTILINE)
_LOGGED = re.compile(rf"--({'|'.join(BOUNDS).replace('_', '[-_]')})={_NUMBER}")
# The command stands at the head of a log.
_HEAD = 1 << 14


def beams_of(directory: Path) -> dict[str, float]:
    """What a search was bounded by, as the mark of its step tells, or else a log of its jobs.

    Args:
        directory: a decoding directory of dkt's or of Kaldi's steps.
    """
    for path, pattern in (
        *((mark, _MARKED) for mark in sorted(directory.glob(".decode*.done"))),
        *((log, _LOGGED) for log in sorted(directory.glob("log/decode.*.log"))),
    ):
        with path.open("rb") as stream:
            head = stream.read(_HEAD).decode("utf-8", errors="replace")
        found = {name.replace("-", "_"): number for name, number in pattern.findall(head)}
        if found:
            return {name: float(number) for name, number in found.items()}
    return {}


def compare_beams(systems: Sequence[tuple[str, Path]], decoded: Mapping[str, str]) -> str:
    """A sentence that names the beams of the decodings, if they differ; empty if not.

    Args:
        systems: names and directories.
        decoded: the decode directories in them, by the data that were decoded, as ``dev`` and ``test``.
    """
    searches = {
        f"{name} {part}": found
        for name, directory in systems
        for part, place in decoded.items()
        if (found := beams_of(directory / place))
    }
    # A search for best words has no lattice beam: that says nothing about the others.
    differing = [
        bound for bound in BOUNDS if len({found[bound] for found in searches.values() if bound in found}) > 1
    ]
    if not differing:
        return ""
    told = [
        f"{name} {', '.join(f'{bound} {found[bound]:g}' for bound in differing if bound in found)}"
        for name, found in searches.items()
        if any(bound in found for bound in differing)
    ]
    return f"decoded with different beams, compare with care: {'; '.join(told)}"
