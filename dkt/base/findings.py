"""What a check of data finds: collected, not raised at the first fault, and shown as a table."""

from __future__ import annotations

import enum
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict, Unpack

from dkt.base.errors import DktError

_NAMED = 5
_LONGEST_NAME = 60


class Level(enum.Enum):
    """How bad it is: an error makes a training fail or learn nonsense."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """One row of the table.

    Attributes:
        check: what was looked at.
        level: the verdict.
        text: what was found.
    """

    check: str
    level: Level
    text: str


# What differs between two names of the same fault.
_PARTICULARS = re.compile(r"'[^']*'|\S*/\S*|\d+(?:\.\d+)?")


def kind_of(fault: str, name: str) -> str:
    """A fault without names and numbers: that of another utterance is the same if the rest is."""
    return _PARTICULARS.sub("", fault.replace(name, ""))


def shorten(text: str, limit: int) -> str:
    """The text, or its beginning and ``...`` where it is longer than ``limit`` characters."""
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def some(names: Sequence[str], rest: str = "") -> str:
    """The first few names, as every message about many of them has it: ``a, b, c, d, e, ... <rest>``.

    Args:
        names: all of them.
        rest: where all are listed, such as ``all in the log``; told if some are left out.
    """
    told = ", ".join(shorten(name, _LONGEST_NAME) for name in names[:_NAMED])
    if len(names) <= _NAMED:
        return told
    return f"{told}, ... {rest}".rstrip()


#: Of ``some``, where ``list_names`` follows.
VERBOSE = "all with --verbose=1"


def list_names(logger: logging.Logger, what: str, names: Sequence[str]) -> None:
    """Log every name in a line of its own, for those who ask by ``--verbose=1``, if ``some`` left any out."""
    if len(names) > _NAMED:
        for name in names:
            logger.debug("%s: %s", what, name)


def plural(count: int, noun: str) -> str:
    """``1 utterance`` and ``2 utterances``."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


class _Particulars(TypedDict, total=False):
    """What may be told of a fault, see ``Findings.add``."""

    path: str | Path | None
    names: Sequence[str]
    hint: str | None


class Findings:
    """Collects what the checks of a data directory find.

    Args:
        list_file: where all names will be listed (``listed``), as messages with many of them tell.
    """

    def __init__(self, list_file: str | None = None) -> None:
        self.rows: list[Finding] = []
        self.place = list_file or "FILE with --list=FILE"
        self._listed: list[str] = []

    def add(
        self,
        level: Level,
        check: str,
        message: str,
        *,
        path: str | Path | None = None,
        names: Sequence[str] = (),
        hint: str | None = None,
    ) -> None:
        """Note a fault.

        Args:
            level: how bad it is.
            check: what was looked at.
            message: what was expected and what was found.
            path: the file at fault.
            names: the utterances (or speakers, lines) at fault, of which the first few are told.
            hint: what the user should do about it.
        """
        listed = f"{message} ({some(names, f'all in {self.place}')})" if names else message
        self._listed += [f"{check}\t{level.value}\t{name}\t{message}" for name in names]
        self.rows.append(Finding(check, level, str(DktError(listed, path=path, hint=hint))))

    def error(self, check: str, message: str, **particulars: Unpack[_Particulars]) -> None:
        """Note what makes a training fail, as ``add``."""
        self.add(Level.ERROR, check, message, **particulars)

    def warn(self, check: str, message: str, **particulars: Unpack[_Particulars]) -> None:
        """Note what a training gets over, as ``add``."""
        self.add(Level.WARNING, check, message, **particulars)

    def passed(self, check: str, text: str) -> None:
        """Note that a check found nothing, unless it has found something."""
        if not any(row.check == check for row in self.rows):
            self.rows.append(Finding(check, Level.OK, text))

    def lower(self, check: str) -> None:
        """Turn the errors of a check into warnings."""
        self.rows = [
            replace(row, level=Level.WARNING) if row.check == check and row.level is Level.ERROR else row
            for row in self.rows
        ]

    def sort(self, checks: Sequence[str]) -> None:
        """Bring the rows into the order of ``checks``, other checks behind them."""
        place = {check: number for number, check in enumerate(checks)}
        self.rows.sort(key=lambda row: place.get(row.check, len(place)))

    def listed(self) -> list[str]:
        """A line for each name at fault: check, verdict, name and fault, with tabs between them."""
        return self._listed

    def of_level(self, level: Level) -> list[Finding]:
        """The findings of one level."""
        return [row for row in self.rows if row.level is level]

    def table(self) -> str:
        """One line per finding: check, verdict, what was found."""
        cells = [("check", "result", "found"), *((r.check, r.level.value, r.text) for r in self.rows)]
        widths = [max(len(row[column]) for row in cells) for column in (0, 1)]
        return "\n".join(
            f"{check:<{widths[0]}}  {level:<{widths[1]}}  {text}" for check, level, text in cells
        )
