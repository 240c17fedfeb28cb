"""What lies behind a word error rate, written as Kaldi's ``steps/scoring/score_kaldi_wer.sh`` leaves it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from dkt.base.errors import DktError
from dkt.score.best_wer import ScanPoint
from dkt.score.compute_wer import tell_spellings
from dkt.util.symbols import read_symbol_table, read_transcripts
from dkt.util.text import fields, read_keyed_lines, read_lines, write_lines

logger = logging.getLogger(__name__)

#: Pairs of a word of the reference and one of the hypothesis; ``NO_WORD`` stands in an insertion or deletion.
WordPairs = Sequence[tuple[str, str]]
NO_WORD = "***"
_COLUMNS = ("#SENT", "#WORD", "Corr", "Sub", "Ins", "Del", "Err", "S.Err")
_MIN_SPEAKER_WIDTH = 15
_MAX_WORD_WIDTH = 16
_LONG_NAMES = {"C": "correct", "S": "substitution", "I": "insertion", "D": "deletion"}
_REPLICATIONS = 10000


def align_words(ref: Sequence[str], hyp: Sequence[str]) -> list[tuple[str, str]]:
    """The alignment with the fewest errors whose insertions, deletions and substitutions ``WerStats`` counts.

    Ties: traced back from the last words, an insertion is taken where it costs no more than the rest, else
    a deletion where it costs no more than the pair of both words. Kaldi's ``align-text`` prefers the pair,
    then the deletion: the same number of errors, but at a tie another split than its ``compute-wer`` prints.
    """
    import kaldialign

    return kaldialign.align(list(ref), list(hyp), NO_WORD)


def operation(ref: str, hyp: str) -> str:
    """``C``, ``S``, ``I`` or ``D``: what one pair of an alignment is."""
    if hyp == NO_WORD:
        return "D"
    if ref == NO_WORD:
        return "I"
    return "C" if ref == hyp else "S"


def per_utt_lines(alignments: Mapping[str, WordPairs]) -> list[str]:
    """Four lines per utterance: reference, hypothesis and operations in columns, and how many of each.

    Source of the form: Kaldi's ``utils/scoring/wer_per_utt_details.pl``.
    """
    lines = []
    for utt, alignment in alignments.items():
        columns = [(ref, hyp, operation(ref, hyp)) for ref, hyp in alignment]
        widths = [max(map(len, column)) for column in columns]
        for place, name in enumerate(("ref ", "hyp ", "op  ")):
            cells = [_centred(column[place], width) for column, width in zip(columns, widths, strict=True)]
            lines.append(f"{utt} {name} " + "  ".join(cells))
        counts = _count(alignment)
        lines.append(f"{utt} #csid " + " ".join(str(counts[name]) for name in "CSID"))
    return lines


def _centred(word: str, width: int) -> str:
    right = (width - len(word)) // 2
    return " " * (width - len(word) - right) + word + " " * right


def _count(alignment: WordPairs) -> Counter[str]:
    return Counter(operation(ref, hyp) for ref, hyp in alignment)


def per_spk_lines(alignments: Mapping[str, WordPairs], utt2spk: Mapping[str, str]) -> list[str]:
    """A table with the counts and percentages of every speaker and, last, of all of them.

    Source of the form: Kaldi's ``utils/scoring/wer_per_spk_details.pl``.

    Args:
        alignments: utterance to alignment.
        utt2spk: speakers of at least these utterances.
    """
    totals: dict[str, Counter[str]] = {}
    for utt, alignment in alignments.items():
        counts = _count(alignment)
        counts["sentences"] = 1
        counts["wrong"] = int(counts["S"] + counts["I"] + counts["D"] > 0)
        totals.setdefault(utt2spk[utt], Counter()).update(counts)
    rows = [(spk, totals[spk]) for spk in sorted(totals)]
    rows.append(("SUM", sum(totals.values(), Counter())))
    width = max(_MIN_SPEAKER_WIDTH, *map(len, utt2spk.values()))
    lines = [f"{'SPEAKER':<{width}} id  " + " ".join(f"{name:>10}" for name in _COLUMNS)]
    for spk, total in rows:
        lines += _speaker_lines(f"{spk:<{width}}", total)
    return lines


def _speaker_lines(name: str, total: Counter[str]) -> list[str]:
    sentences, wrong = total["sentences"], total["wrong"]
    words = total["C"] + total["S"] + total["D"]
    counts = [total["C"], total["S"], total["I"], total["D"], total["S"] + total["I"] + total["D"]]
    lines = [f"{name} raw " + " ".join(f"{count:10d}" for count in (sentences, words, *counts, wrong))]
    if words:
        rates = [100 * count / words for count in counts] + [100 * wrong / sentences]
        cells = [f"{sentences:10d}", f"{words:10d}", *(f"{rate:10.2f}" for rate in rates)]
        lines.append(f"{name} sys " + " ".join(cells))
    return lines


def ops_lines(alignments: Mapping[str, WordPairs]) -> list[str]:
    """How often each word was recognised, taken for another, inserted and deleted; the frequent ones first.

    Source of the form: Kaldi's ``utils/scoring/wer_ops_details.pl``, sorted as in the C locale by ``sort -b
    -i -k 1,1 -k 4,4rn -k 2,2 -k 3,3``.
    """
    counts = Counter(pair for alignment in alignments.values() for pair in alignment)
    if not counts:
        return []
    word_width = min(_MAX_WORD_WIDTH, max(len(word) for pair in counts for word in pair))
    count_width = len(str(max(counts.values())))
    entries = []
    for (ref, hyp), count in counts.items():
        name = _LONG_NAMES[operation(ref, hyp)]
        line = f"{name:<12}  {ref:>{word_width}}    {hyp:>{word_width}}    {count:>{count_width}}"
        entries.append(((name, -count, _printable(ref), _printable(hyp), line.encode()), line))
    return [line for _, line in sorted(entries)]


def _printable(word: str) -> bytes:
    """What ``sort -i`` compares in the C locale: words beyond ASCII are told apart by the whole line."""
    return bytes(byte for byte in word.encode() if 0x20 <= byte < 0x7F)


def bootstrap_line(refs: Sequence[Sequence[str]], hyps: Sequence[Sequence[str]]) -> str:
    """The word error rate's 95 % confidence interval, as Kaldi's ``compute-wer-bootci`` prints it.

    Source: Bisani and Ney, Bootstrap estimates for confidence intervals in ASR (ICASSP 2004). The random
    draws are the same at every call; they are not Kaldi's, so that the last digits may differ.

    Args:
        refs, hyps: words of the utterances in the same order.
    """
    import kaldialign

    found = kaldialign.bootstrap_wer_ci(
        list(map(list, refs)), list(map(list, hyps)), replications=_REPLICATIONS, seed=0
    )
    wer, low, high = (100 * found[name] for name in ("wer", "ci95min", "ci95max"))
    return f"Set1: %WER {wer:.2f} 95% Conf Interval [ {low:.2f}, {high:.2f} ]"


def write_details(
    directory: str | Path,
    data: str | Path,
    points: Sequence[ScanPoint],
    best: ScanPoint,
    words: str | Path | None = None,
) -> None:
    """Write ``test_filt.txt`` and ``wer_details/{per_utt,per_spk,ops,wer_bootci}`` into ``scoring_kaldi``.

    The hypotheses of the grid, ``scoring/<lmwt>_<wip>.txt``, move to ``penalty_<wip>/<lmwt>.txt`` there.
    Utterances without a hypothesis are left out. Without ``utt2spk`` there is no ``per_spk``.

    Args:
        directory: the decoding directory, with ``scoring_kaldi/wer_details``: see
            ``dkt.score.best_wer.write_best``.
        data: the data directory; of it ``text`` and ``utt2spk`` are read.
        points: those of the grid.
        best: the point of it that the details are about.
        words: ``words.txt`` of the graph, with which the spelling of the references is compared; None for
            the words of the hypotheses.

    Raises:
        DktError: a file is missing, cannot be read or written, a transcript holds ``NO_WORD``, an
            utterance has no speaker, or none has a hypothesis.
    """
    scoring, text, speakers = Path(directory) / "scoring_kaldi", Path(data) / "text", Path(data) / "utt2spk"
    details = scoring / "wer_details"
    _move_hypotheses(Path(directory), points)
    write_lines(scoring / "test_filt.txt", read_lines(text))
    refs = _read_words(text)
    path = _hypotheses(Path(directory), best)
    hyps = _read_words(path)
    utts = [utt for utt in refs if utt in hyps]
    if not utts:
        raise DktError(f"has a hypothesis for none of the {len(refs)} utterances of {text}", path=path)
    tell_spellings(refs, hyps, str(text), None if words is None else read_symbol_table(words))
    alignments = {utt: align_words(refs[utt], hyps[utt]) for utt in utts}
    write_lines(details / "per_utt", per_utt_lines(alignments))
    write_lines(details / "ops", ops_lines(alignments))
    bootstrap = bootstrap_line([refs[utt] for utt in utts], [hyps[utt] for utt in utts])
    write_lines(details / "wer_bootci", [bootstrap])
    if speakers.exists():
        write_lines(details / "per_spk", per_spk_lines(alignments, _read_speakers(speakers, utts)))
    else:
        logger.info("%s is not there, so there is no table of speakers", speakers)
        (details / "per_spk").unlink(missing_ok=True)


def _move_hypotheses(directory: Path, points: Sequence[ScanPoint]) -> None:
    for point in points:
        source = directory / "scoring" / f"{point.lmwt}_{point.wip}.txt"
        if not source.exists():
            continue
        target = _hypotheses(directory, point)
        try:
            target.parent.mkdir(exist_ok=True)
            source.replace(target)
        except OSError as error:
            raise DktError(f"cannot be moved to {target}: {error.strerror}", path=source) from None


def _hypotheses(directory: Path, point: ScanPoint) -> Path:
    if point.wip is None:
        raise DktError("has no details: its name tells no word insertion penalty", path=point.path)
    return directory / "scoring_kaldi" / f"penalty_{point.wip}" / f"{point.lmwt}.txt"


def _read_words(path: Path) -> dict[str, list[str]]:
    texts = read_transcripts(path)
    for utt, words in texts.items():
        if NO_WORD in words:
            raise DktError(
                f"'{NO_WORD}' stands for no word in the details, it cannot be one", path=path, utt=utt
            )
    return texts


def _read_speakers(path: Path, utts: Sequence[str]) -> dict[str, str]:
    speakers = read_keyed_lines(path)
    for utt, speaker in speakers.items():
        if len(fields(speaker)) != 1:
            raise DktError(f"expected '<utterance> <speaker>', found '{utt} {speaker}'", path=path, utt=utt)
    for utt in utts:
        if utt not in speakers:
            raise DktError("has no speaker", path=path, utt=utt)
    return speakers
