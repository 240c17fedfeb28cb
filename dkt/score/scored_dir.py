"""What the scoring of a decode directory left: dkt's, or Kaldi's ``steps/scoring/score_kaldi_wer.sh``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dkt.base.errors import DktError
from dkt.score.wer_details import NO_WORD, WordPairs
from dkt.util.symbols import read_transcripts
from dkt.util.text import Content, fields, natural, read_lines

_SCORING = "scoring_kaldi"
_WER = re.compile(
    r"%WER (?P<wer>[0-9.]+|nan|inf) \[ (?P<err>\d+) / (?P<words>\d+),"
    r"(?: (?P<ins>\d+) ins, (?P<dels>\d+) del, (?P<sub>\d+) sub \])?(?P<partial> \[PARTIAL\])?",
    re.ASCII,
)
_HINT = "score the directory again"
_PLACES = ("ref", "hyp", "op", "#csid")
# Columns of per_spk: sentences, words, correct, substituted, inserted, deleted, errors, wrong sentences.
_WORDS, _ERRORS, _NUM_COLUMNS = 1, 6, 8


@dataclass(frozen=True)
class BestWer:
    """The line of ``best_wer``.

    Attributes:
        wer: in percent, as printed.
        num_errors, num_words: of all utterances scored.
        num_ins, num_del, num_sub: insertions, deletions, substitutions; None where they are not told.
        partial: some utterances have no hypothesis, and were left out.
    """

    wer: float
    num_errors: int
    num_words: int
    num_ins: int | None = None
    num_del: int | None = None
    num_sub: int | None = None
    partial: bool = False


def parse_best_wer(line: str) -> BestWer | None:
    """What a ``%WER`` line says; None of another line."""
    found = _WER.search(line)
    if found is None:
        return None
    num_ins, num_del, num_sub = (
        None if found[name] is None else int(found[name]) for name in ("ins", "dels", "sub")
    )
    return BestWer(
        float(found["wer"]),
        int(found["err"]),
        int(found["words"]),
        num_ins,
        num_del,
        num_sub,
        found["partial"] is not None,
    )


def read_best_wer(directory: Path) -> BestWer | None:
    """The best word error rate that the scoring of a decode directory found; None without one.

    Raises:
        DktError: the file of it is damaged.
    """
    path = directory / _SCORING / "best_wer"
    if not path.exists():
        return None
    found = parse_best_wer(path.read_text(encoding="utf-8", errors="replace"))
    if found is None:
        raise DktError("holds no %WER line", path=path, hint=_HINT)
    return found


@dataclass(frozen=True)
class UnitCounts:
    """Words of the references of a speaker or an utterance, and errors in them."""

    words: int
    errors: int


@dataclass(frozen=True)
class Scoring:
    """The best point of a scored decode directory; what was not left there is None.

    Attributes:
        path: the decode directory.
        best: its word error rate.
        references: utterance to words, all that were to be scored (``test_filt.txt``).
        alignments: utterance to the pairs of its words (``wer_details/per_utt``).
        speakers: speaker to counts (``wer_details/per_spk``).
    """

    path: Path
    best: BestWer
    references: Mapping[str, tuple[str, ...]] | None
    alignments: Mapping[str, WordPairs] | None
    speakers: Mapping[str, UnitCounts] | None

    def utterances(self) -> dict[str, UnitCounts] | None:
        """Counts of each utterance that was scored."""
        if self.alignments is None:
            return None
        return {
            utt: UnitCounts(sum(ref != NO_WORD for ref, _ in pairs), sum(ref != hyp for ref, hyp in pairs))
            for utt, pairs in self.alignments.items()
        }


def read_scoring(directory: Path) -> Scoring | None:
    """What a decode directory was scored to; None if it was not.

    Raises:
        DktError: a file of it is damaged, or its details are not those of its best word error rate.
    """
    best = read_best_wer(directory)
    if best is None:
        return None
    scoring = directory / _SCORING
    texts, per_utt, per_spk = (
        scoring / name for name in ("test_filt.txt", "wer_details/per_utt", "wer_details/per_spk")
    )
    references = None
    if texts.exists():
        references = {utt: tuple(words) for utt, words in read_transcripts(texts).items()}
    scored = Scoring(
        directory,
        best,
        references,
        _read_per_utt(per_utt) if per_utt.exists() else None,
        _read_per_spk(per_spk) if per_spk.exists() else None,
    )
    for path, counts in ((per_utt, scored.utterances()), (per_spk, scored.speakers)):
        _check_sums(path, counts, best)
    return scored


def _check_sums(path: Path, counts: Mapping[str, UnitCounts] | None, best: BestWer) -> None:
    if counts is None:
        return
    errors, words = sum(c.errors for c in counts.values()), sum(c.words for c in counts.values())
    if (errors, words) != (best.num_errors, best.num_words):
        raise DktError(
            f"tells {errors} errors in {words} words, but best_wer {best.num_errors} in {best.num_words}",
            path=path,
            hint=_HINT,
        )


def _read_per_utt(path: Path) -> dict[str, list[tuple[str, str]]]:
    """The alignments of ``per_utt``: four lines an utterance, of which the first two are needed."""
    rows: dict[str, dict[str, list[str]]] = {}
    for number, line in enumerate(read_lines(path, Content.FREE), 1):
        words = fields(line)
        if len(words) < 2 or words[1] not in _PLACES:
            raise DktError(
                f"line {number}: expected '<utterance> ref|hyp|op|#csid ...'", path=path, hint=_HINT
            )
        of_utt = rows.setdefault(words[0], {})
        if words[1] in of_utt:
            raise DktError(f"line {number}: a second line '{words[1]}'", path=path, utt=words[0], hint=_HINT)
        of_utt[words[1]] = words[2:]
    alignments = {}
    for utt, of_utt in rows.items():
        ref, hyp = of_utt.get("ref"), of_utt.get("hyp")
        if ref is None or hyp is None or len(ref) != len(hyp):
            raise DktError("has no lines 'ref' and 'hyp' of as many words", path=path, utt=utt, hint=_HINT)
        alignments[utt] = list(zip(ref, hyp, strict=True))
    return alignments


def _read_per_spk(path: Path) -> dict[str, UnitCounts]:
    """The lines ``<speaker> raw ...`` of ``per_spk``, without the sum at its end."""
    rows: list[tuple[str, UnitCounts]] = []
    for number, line in enumerate(read_lines(path, Content.FREE), 1):
        words = fields(line)
        if len(words) < 2 or words[1] != "raw":
            continue
        counts = [natural(word) for word in words[2:]]
        if len(counts) != _NUM_COLUMNS or None in counts:
            raise DktError(
                f"line {number}: expected {_NUM_COLUMNS} counts of a speaker", path=path, hint=_HINT
            )
        rows.append((words[0], UnitCounts(counts[_WORDS] or 0, counts[_ERRORS] or 0)))
    if not rows or rows[-1][0] != "SUM":
        raise DktError("has no line SUM at its end", path=path, hint=_HINT)
    speakers = dict(rows[:-1])
    if len(speakers) < len(rows) - 1:
        raise DktError("tells of a speaker twice", path=path, hint=_HINT)
    return speakers
