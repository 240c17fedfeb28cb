"""The one exception that bad input raises."""

from __future__ import annotations

from pathlib import Path


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
        where = [] if path is None else [str(path)]
        if utt is not None:
            where.append(f"utterance '{utt}'")
        text = ": ".join([*where, message])
        if hint:
            text = f"{text} - {hint}"
        super().__init__(" ".join(text.split()))


class DamagedError(DktError):
    """A file does not hold what was written there: an older one, or the same made anew, may serve."""
