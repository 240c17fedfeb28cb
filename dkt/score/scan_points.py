"""The points of an LM-weight grid, LM weights and word insertion penalties, and their files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

from dkt.base.errors import DktError
from dkt.util.text import write_lines

#: A language-model weight and a word insertion penalty, as written: they name the files of the grid.
Point = tuple[str, str]


def acoustic_scale(lmwt: str) -> float:
    """The acoustic scale at a language-model weight: 1 / weight.

    Raises:
        DktError: the weight is not above 0.
    """
    if float(lmwt) <= 0.0:
        raise DktError(f"--lmwts holds {lmwt}, expected numbers above 0")
    return 1.0 / float(lmwt)


class ScanTexts:
    """The texts found at the points of an LM-weight grid, written to ``out_dir/<lmwt>_<penalty>.txt``.

    Args:
        lmwts, penalties: as they are to stand in the file names.
        out_dir: made at once, so that a long search does not end in an error.

    Raises:
        DktError: the directory cannot be made.
    """

    def __init__(self, lmwts: Sequence[str], penalties: Sequence[str], out_dir: str | Path) -> None:
        self._lines: dict[Point, list[str]] = {point: [] for point in product(lmwts, penalties)}
        self._out_dir = Path(out_dir)
        try:
            self._out_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DktError(f"cannot be made: {error.strerror}", path=out_dir) from None

    def __iter__(self) -> Iterator[Point]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, point: Point, utt: str, words: Sequence[str]) -> None:
        """Keep the words of an utterance at a point; without a path none, which counts as deletions."""
        self._lines[point].append(" ".join([utt, *words]))

    def write(self) -> None:
        """Write every file, each whole or not at all.

        Raises:
            DktError: one cannot be written.
        """
        for (lmwt, penalty), lines in self._lines.items():
            write_lines(self._out_dir / f"{lmwt}_{penalty}.txt", lines)
