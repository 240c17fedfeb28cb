"""Counting of what a pass over the data could not use, so that no utterance is lost in silence."""

from __future__ import annotations

import logging
from collections import defaultdict

from dkt.base.errors import DktError
from dkt.base.findings import kind_of, shorten, some

logger = logging.getLogger(__name__)

DEFAULT_MAX_DROPPED = 0.05
_KINDS_TOLD = 3
_LONGEST_REASON = 250


class Tally:
    """Utterances done and dropped in one pass, with the reason for each loss.

    Args:
        what: the pass, as it should read in the log (``"align"``).
        max_dropped: the share of utterances, in [0, 1], that may be lost before ``finish`` fails.
        place: where all that are lost are listed.
    """

    def __init__(self, what: str, max_dropped: float = DEFAULT_MAX_DROPPED, place: str = "the log") -> None:
        if not 0.0 <= max_dropped <= 1.0:
            raise DktError(f"--max-dropped is {max_dropped}, expected a share from 0 to 1")
        self.what = what
        self.place = place
        self.max_dropped = max_dropped
        self.num_done = 0
        self.dropped: dict[str, list[str]] = defaultdict(list)

    def done(self, count: int = 1) -> None:
        """Count ``count`` utterances as used."""
        self.num_done += count

    def drop(self, utt: str, reason: str) -> None:
        """Count ``utt`` as lost and log it with ``reason``: the log is where all that are lost are listed."""
        self.dropped[reason].append(utt)
        logger.warning("%s: dropped utterance '%s': %s", self.what, utt, reason)

    @property
    def num_dropped(self) -> int:
        """The number of utterances lost so far."""
        return sum(len(utts) for utts in self.dropped.values())

    def kinds(self) -> dict[str, list[str]]:
        """The reasons that differ in more than names and numbers, the first of each, and their utterances."""
        kinds: dict[str, tuple[str, list[str]]] = {}
        for reason, utts in self.dropped.items():
            kinds.setdefault(kind_of(reason, utts[0]), (reason, []))[1].extend(utts)
        return dict(kinds.values())

    def summary(self) -> str:
        """One line: what was done, what was lost and why; of many utterances a few are named."""
        line = f"{self.what}: {self.num_done} utterances done, {self.num_dropped} dropped"
        kinds = self.kinds()
        for reason, utts in list(kinds.items())[:_KINDS_TOLD]:
            line += (
                f"; {len(utts)} ({some(utts, f'all in {self.place}')}): {shorten(reason, _LONGEST_REASON)}"
            )
        return line + (f"; and others, see {self.place}" if len(kinds) > _KINDS_TOLD else "")

    def finish(self, path: str | None = None) -> None:
        """Log the summary and fail if too much was lost.

        Args:
            path: the file to name in the error.

        Raises:
            DktError: nothing was done, or the share lost is over ``max_dropped``.
        """
        logger.info("%s", self.summary())
        total = self.num_done + self.num_dropped
        if self.num_done == 0:
            raise DktError(f"no utterance could be used; {self.summary()}", path=path)
        if self.num_dropped > self.max_dropped * total:
            raise DktError(
                f"{self.num_dropped} of {total} utterances were dropped, over the limit of "
                f"{100 * self.max_dropped:g} %; {self.summary()}",
                path=path,
                hint="mend the data, or allow it with --max-dropped",
            )
