"""Progress of long work: a bar on a terminal, now and then a plain line in a log."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 30.0


class Progress:
    """Counts work done; use it as a context manager.

    Args:
        what: the work, as it should read.
        total: units of work in all.
        unit: the name of one unit.
    """

    def __init__(self, what: str, total: int, unit: str) -> None:
        self.what = what
        self.total = total
        self.unit = unit
        self.done = 0
        self._bar: tqdm | None = None
        self._next_line = 0.0

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._bar = tqdm(total=self.total, desc=self.what, unit=self.unit, leave=False, unit_scale=True)
        self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, count: int) -> None:
        """Count ``count`` more units as done."""
        self.done += count
        if self._bar is not None:
            self._bar.update(count)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
            share = 100.0 * self.done / max(self.total, 1)
            logger.info("%s: %.0f %% (%d of %d %s)", self.what, share, self.done, self.total, self.unit)
