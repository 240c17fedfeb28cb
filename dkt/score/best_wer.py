"""The best word error rate of an LM-weight grid: LM weights and word insertion penalties."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dkt.base.errors import DktError
from dkt.util.text import Content, read_lines, write_lines

logger = logging.getLogger(__name__)

_NAME = re.compile(r"wer_(?P<lmwt>\d+(?:\.\d+)?)(?:_(?P<wip>-?\d+(?:\.\d+)?))?", re.ASCII)
_LINE = re.compile(r"%WER \S+ \[ (?P<errors>\d+) / (?P<words>\d+), .*", re.ASCII)


@dataclass(frozen=True)
class ScanPoint:
    """The word error rate at one language-model weight and word insertion penalty.

    Attributes:
        path: the file it was read from.
        lmwt, wip: weight and penalty as the file's name writes them; ``wip`` is None where it has none.
        line: the ``%WER`` line.
        error_rate: errors per word of the references.
    """

    path: Path
    lmwt: str
    wip: str | None
    line: str
    error_rate: float

    def __str__(self) -> str:
        return f"{self.line} {self.path}"


def read_scan(directory: str | Path) -> list[ScanPoint]:
    """The LM-weight grid of a decoding directory: files ``wer_<lmwt>_<wip>`` or ``wer_<lmwt>``.

    Kaldi's scripts write them into the directory itself; else its ``scoring_kaldi`` is looked through.

    Returns:
        The points by penalty, then by weight.

    Raises:
        DktError: there is no such directory, no such file, or none with a result.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise DktError("no such decoding directory", path=directory)
    files = _scan_files(directory) or _scan_files(directory / "scoring_kaldi")
    if not files:
        raise DktError("no files wer_<lmwt>_<wip>", path=directory, hint="score the directory first")
    points = [point for path, name in files if (point := _read_point(path, name)) is not None]
    if not points:
        raise DktError("no file wer_* holds a result", path=directory, hint="see the logs of the scoring")
    return sorted(points, key=lambda point: (float(point.wip or 0), float(point.lmwt)))


def _scan_files(directory: Path) -> list[tuple[Path, re.Match[str]]]:
    return [(path, name) for path in sorted(directory.glob("wer_*")) if (name := _NAME.fullmatch(path.name))]


def _read_point(path: Path, name: re.Match[str]) -> ScanPoint | None:
    for line in read_lines(path, Content.FREE):
        found = _LINE.fullmatch(line)
        if found and int(found["words"]):
            rate = int(found["errors"]) / int(found["words"])
            return ScanPoint(path, name["lmwt"], name["wip"], line, rate)
    logger.warning("%s: left out because it holds no %%WER line", path)
    return None


def lowest(points: Sequence[ScanPoint]) -> ScanPoint:
    """The lowest error rate; among equals the smallest penalty, then the smallest weight, as with Kaldi."""
    return min(points, key=lambda point: (point.error_rate, float(point.wip or 0), float(point.lmwt)))


def best_of_scan(points: Sequence[ScanPoint]) -> ScanPoint:
    """As ``lowest``, with warnings.

    Kaldi's ``steps/scoring/score_kaldi_wer.sh`` and ``utils/best_wer.sh`` take the first of that order. A
    best point at the edge of the grid is told in the log: beyond the edge there may be a better one. Not so
    where a point that is not at that edge is as good.
    """
    best = lowest(points)
    equals = [point for point in points if point.error_rate == best.error_rate]
    weights = sorted({float(point.lmwt) for point in points})
    alone = len({point.lmwt for point in equals}) == 1
    if alone and len(weights) > 1 and float(best.lmwt) in (weights[0], weights[-1]):
        logger.warning(
            "%s: the best weight, %s, is at the edge of the LM-weight grid, from %g to %g: widen it",
            best.path,
            best.lmwt,
            weights[0],
            weights[-1],
        )
    penalties = sorted({float(point.wip) for point in points if point.wip is not None})
    alone = len({point.wip for point in equals}) == 1
    edges = (penalties[0], penalties[-1]) if len(penalties) > 1 else ()
    if alone and best.wip is not None and float(best.wip) in edges:
        logger.warning(
            "%s: the best word insertion penalty, %s, is the %s of the grid, from %g to %g: widen it",
            best.path,
            best.wip,
            "smallest" if float(best.wip) == penalties[0] else "largest",
            penalties[0],
            penalties[-1],
        )
    if "[PARTIAL]" in best.line:
        logger.warning("%s: some utterances have no hypothesis", best.path)
    return best


def write_best(directory: str | Path, best: ScanPoint) -> None:
    """Write ``scoring_kaldi/best_wer`` and ``scoring_kaldi/wer_details/{lmwt,wip}`` as Kaldi does.

    Raises:
        DktError: they cannot be written.
    """
    scoring = Path(directory) / "scoring_kaldi"
    details = scoring / "wer_details"
    try:
        details.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DktError(f"cannot be written: {error.strerror}", path=details) from None
    write_lines(scoring / "best_wer", [str(best)])
    write_lines(details / "lmwt", [best.lmwt])
    if best.wip is not None:
        write_lines(details / "wip", [best.wip])
