"""Progress of a long pass over a table: now and then a line in the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from dkt.util.kaldi_io import is_input_pipe
from dkt.util.scripts import read_script
from dkt.util.specifiers import is_specifier, parse_rspecifier

logger = logging.getLogger(__name__)

#: Seconds between two lines, and before the first.
INTERVAL = 30.0
_FRAMES_PER_SECOND = 100.0

V = TypeVar("V")
Entry = tuple[str, V]


def told(
    entries: Iterable[Entry],
    what: str,
    rspecifier: str = "",
    count_frames: Callable[[V], int] | None = None,
) -> Iterator[Entry]:
    """The entries as they are; a line every half minute tells how many were dealt with, and how fast.

    Args:
        entries: utterances and what belongs to each.
        what: the pass, as it should read.
        rspecifier: the table, whose length is told where it can be known; empty where it cannot.
        count_frames: the frames of an entry, for the real-time factor; None where nobody counts them.
    """
    begin = last = time.monotonic()
    total = num_entries(rspecifier)
    num_frames = 0
    for count, entry in enumerate(entries):
        now = time.monotonic()
        if count and now >= last + INTERVAL:
            last = now
            _tell(what, count, total, now - begin, num_frames)
        yield entry
        num_frames += count_frames(entry[1]) if count_frames else 0


def _tell(what: str, count: int, total: int | None, seconds: float, num_frames: int) -> None:
    of_all = f" of {total}" if total else ""
    speed = f"{count / max(seconds, 1e-3):.2f} a second"
    if num_frames:
        speed = f"real-time factor {seconds * _FRAMES_PER_SECOND / num_frames:.3f}"
    left = f", about {seconds * (total - count) / count / 60:.0f} min to go" if total else ""
    logger.info("%s: %d%s utterances in %.0f s, %s%s", what, count, of_all, seconds, speed, left)


def num_entries(rspecifier: str) -> int | None:
    """How many entries a table has; None if only reading it would tell."""
    if not is_specifier(rspecifier):
        return None
    spec = parse_rspecifier(rspecifier)
    if spec.kind != "scp" or is_input_pipe(spec.filename) or spec.filename.strip() == "-":
        return None
    return len(read_script(spec.filename))
