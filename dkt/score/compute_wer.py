"""Word error rate of hypotheses against references, counted and printed as Kaldi's ``compute-wer`` does."""

from __future__ import annotations

import logging
import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from dkt.base.errors import DktError
from dkt.base.findings import VERBOSE, list_names, some
from dkt.util.oov import OovCount
from dkt.util.symbols import read_texts, text_filename
from dkt.util.text import natural

logger = logging.getLogger(__name__)

# From this share of the words of the references on, words that look alike are not chance.
_TOLD_FROM = 0.02

#: What to do with a reference without a hypothesis: stop, leave it out, or score it as empty.
MODES = ("strict", "present", "all")


@dataclass
class WerStats:
    """Errors of words and sentences.

    Attributes:
        num_words: words of the references.
        num_ins, num_del, num_sub: words inserted, deleted and substituted.
        num_sentences: sentences scored.
        num_sentence_errors: those with at least one error.
        num_absent: references without a hypothesis.
    """

    num_words: int = 0
    num_ins: int = 0
    num_del: int = 0
    num_sub: int = 0
    num_sentences: int = 0
    num_sentence_errors: int = 0
    num_absent: int = 0

    @property
    def num_errors(self) -> int:
        """Insertions, deletions and substitutions together."""
        return self.num_ins + self.num_del + self.num_sub

    @property
    def wer(self) -> float:
        """Word error rate in percent."""
        return _percent(self.num_errors, self.num_words)

    @property
    def ser(self) -> float:
        """Sentence error rate in percent."""
        return _percent(self.num_sentence_errors, self.num_sentences)

    def add(self, ref: Sequence[str], hyp: Sequence[str]) -> None:
        """Count one sentence; of several best alignments the one is taken that Kaldi takes."""
        import kaldialign

        distance = kaldialign.edit_distance(list(ref), list(hyp))
        self.num_words += len(ref)
        self.num_ins += distance["ins"]
        self.num_del += distance["del"]
        self.num_sub += distance["sub"]
        self.num_sentences += 1
        self.num_sentence_errors += distance["total"] != 0

    def report(self) -> str:
        """The three lines that Kaldi's ``compute-wer`` prints."""
        partial = " [PARTIAL]" if self.num_absent else ""
        return (
            f"%WER {self.wer:.2f} [ {self.num_errors} / {self.num_words}, {self.num_ins} ins, "
            f"{self.num_del} del, {self.num_sub} sub ]{partial}\n"
            f"%SER {self.ser:.2f} [ {self.num_sentence_errors} / {self.num_sentences} ]\n"
            f"Scored {self.num_sentences} sentences, {self.num_absent} not present in hyp."
        )


def _percent(count: int, total: int) -> float:
    """Kaldi keeps the percentage in single precision, which can turn the second decimal."""
    return struct.unpack("f", struct.pack("f", 100.0 * count / total))[0]


def compute_wer(ref_rspecifier: str, hyp_rspecifier: str, mode: str = "strict") -> WerStats:
    """Score the texts of two tables, see ``read_texts`` and ``score``.

    Raises:
        DktError: a table cannot be read, standard input is given twice, or ``score`` fails.
    """
    if text_filename(ref_rspecifier) == text_filename(hyp_rspecifier) == "-":
        raise DktError("references and hypotheses cannot both come from standard input")
    refs, hyps = read_texts(ref_rspecifier), read_texts(hyp_rspecifier)
    _warn_of_integers(refs, hyps, ref_rspecifier, hyp_rspecifier)
    stats = score(refs, hyps, mode, ref_name=ref_rspecifier, hyp_name=hyp_rspecifier)
    tell_spellings(refs, hyps, ref_rspecifier)
    return stats


def _warn_of_integers(
    refs: Mapping[str, Sequence[str]], hyps: Mapping[str, Sequence[str]], ref_name: str, hyp_name: str
) -> None:
    """Warn where one side is words and the other their integers: every word would be an error."""

    def all_integers(texts: Mapping[str, Sequence[str]]) -> bool:
        words = [word for text in texts.values() for word in text]
        return bool(words) and all(natural(word) is not None for word in words)

    of_integers = [name for name, texts in ((ref_name, refs), (hyp_name, hyps)) if all_integers(texts)]
    if len(of_integers) == 1:
        logger.warning(
            "%s holds integers and the other table words: map them (int2sym.pl, or --words-as-text=true of "
            "the command that wrote them)",
            of_integers.pop(),
        )


def score(
    refs: Mapping[str, Sequence[str]],
    hyps: Mapping[str, Sequence[str]],
    mode: str = "strict",
    *,
    ref_name: str = "the references",
    hyp_name: str = "the hypotheses",
) -> WerStats:
    """Count the errors of ``hyps`` against ``refs``.

    Source: Kaldi's ``bin/compute-wer.cc``. Hypotheses without a reference are left out, with a warning.

    Args:
        refs: utterance to words.
        hyps: utterance to words; may be empty for an utterance.
        mode: for a reference without a hypothesis ``"strict"`` stops, ``"present"`` leaves it out and
            ``"all"`` scores it as empty.
        ref_name, hyp_name: what errors call the two.

    Raises:
        DktError: a hypothesis is missing under ``"strict"``, no utterance can be scored, or the references
            have no word.
    """
    if mode not in MODES:
        raise DktError(f"--mode is '{mode}', expected one of {', '.join(MODES)}")
    stats = WerStats()
    for utt, ref in refs.items():
        if utt not in hyps:
            if mode == "strict":
                raise DktError(
                    "there is no hypothesis for this utterance",
                    path=hyp_name,
                    utt=utt,
                    hint="decode it, or score what there is with --mode=present or --mode=all",
                )
            stats.num_absent += 1
            if mode == "present":
                continue
        stats.add(ref, hyps.get(utt, ()))
    if stats.num_sentences == 0:
        raise DktError(f"no utterance can be scored: {hyp_name} has none of its {len(refs)}", path=ref_name)
    if stats.num_words == 0:
        raise DktError("the references have no words, so there is no word error rate", path=ref_name)
    _report_surplus([utt for utt in hyps if utt not in refs], hyp_name)
    return stats


def tell_spellings(
    refs: Mapping[str, Sequence[str]],
    hyps: Mapping[str, Sequence[str]],
    ref_name: str,
    words: Collection[str] | None = None,
) -> None:
    """Warn where words of the references are written in another way than those that can be recognised.

    Another Unicode form is always told, as the difference cannot be seen; another letter case, punctuation
    and the like where there is much of it.

    Args:
        refs, hyps: utterance to words.
        ref_name: what a warning calls the references.
        words: the words that can be recognised; None for those of the hypotheses.
    """
    texts = [refs[utt] for utt in refs if utt in hyps]
    known = words or {word for utt in hyps if utt in refs for word in hyps[utt]}
    count = OovCount.of(texts, known, ref_name)
    for cause in count.causes():
        if cause.hidden or cause.count >= _TOLD_FROM * count.num_words:
            wrong, right = cause.example
            logger.warning(
                "%s: %d of %d words count as errors, differing from those of %s in %s ('%s' for '%s') - %s",
                ref_name,
                cause.count,
                count.num_words,
                "the hypotheses" if words is None else "words.txt",
                cause.name,
                wrong,
                right,
                cause.mend,
            )


def _report_surplus(utts: Sequence[str], hyp_name: str) -> None:
    if utts:
        logger.warning("%s: %d hypotheses have no reference (%s)", hyp_name, len(utts), some(utts, VERBOSE))
        list_names(logger, "hypothesis without a reference", utts)
