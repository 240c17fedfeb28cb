"""ARPA language models: reading, writing, and the probabilities of sentences."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dkt.base.errors import DktError
from dkt.base.ranges import real_number
from dkt.util.symbols import BOS, EOS
from dkt.util.text import fields, natural, read_lines, write_lines

logger = logging.getLogger(__name__)

#: log10 of a probability that is zero, by the custom of ARPA files.
LOG_ZERO = -99.0
# Probabilities of 1 are written as a little above 0 at times; no backoff weight is the quotient of more than
# what double precision can tell from nothing.
_ROUNDING, _MOST_BACKOFF = 1.0e-3, 20.0
NGram = tuple[str, ...]


@dataclass(frozen=True)
class Perplexity:
    """How well a model predicts a text, counted as SRILM counts.

    Attributes:
        num_sentences: sentences, each of which ends in one ``</s>``.
        num_words: words, without ``</s>``.
        num_oovs: words outside the vocabulary.
        num_zero_probs: words of the vocabulary with probability zero.
        log_prob: log10 probability of the text without OOVs and zero probabilities.
        log_prob_oovs: log10 probability of the OOVs as the model's unknown word, None without one.
    """

    num_sentences: int
    num_words: int
    num_oovs: int
    num_zero_probs: int
    log_prob: float
    log_prob_oovs: float | None

    @property
    def ppl(self) -> float:
        """Perplexity a word, ``</s>`` included, OOVs left out: SRILM's ``ppl``."""
        return self._per(self.log_prob, self._scored + self.num_sentences)

    @property
    def ppl1(self) -> float:
        """Perplexity a word, ``</s>`` not counted, OOVs left out: SRILM's ``ppl1``."""
        return self._per(self.log_prob, self._scored)

    @property
    def ppl_with_oovs(self) -> float:
        """Perplexity a word, ``</s>`` included, with OOVs at the probability of the unknown word."""
        if self.log_prob_oovs is None:
            return math.inf if self.num_oovs else self.ppl
        return self._per(
            self.log_prob + self.log_prob_oovs, self._scored + self.num_oovs + self.num_sentences
        )

    def report(self, name: str | Path) -> str:
        """The lines that SRILM's ``ngram -ppl`` prints for the text ``name``, and the figure with OOVs."""
        return (
            f"file {name}: {self.num_sentences} sentences, {self.num_words} words, {self.num_oovs} OOVs\n"
            f"{self.num_zero_probs} zeroprobs, logprob= {self.log_prob:.2f} ppl= {self.ppl:.2f} "
            f"ppl1= {self.ppl1:.2f}\n"
            f"ppl with OOVs= {self.ppl_with_oovs:.2f}"
        )

    @property
    def _scored(self) -> int:
        return self.num_words - self.num_oovs - self.num_zero_probs

    @staticmethod
    def _per(log_prob: float, count: int) -> float:
        return 10.0 ** (-log_prob / count) if count else math.nan


@dataclass
class ArpaModel:
    """A backoff n-gram model.

    Attributes:
        ngrams: a table for each order, n-gram to (log10 probability, log10 backoff weight).
        unk: the unknown word of the vocabulary, None in a closed vocabulary.
    """

    ngrams: list[dict[NGram, tuple[float, float]]]
    unk: str | None = None
    vocabulary: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.vocabulary = {ngram[0] for ngram in self.ngrams[0]}
        if self.unk not in self.vocabulary:
            self.unk = None

    @property
    def order(self) -> int:
        """The order of the longest n-grams."""
        return len(self.ngrams)

    def log10_prob(self, history: Sequence[str], word: str) -> float:
        """log10 p(word | history), with backoff; -inf for a word outside the vocabulary."""
        context = tuple(history)[-(self.order - 1) :] if self.order > 1 else ()
        backoff = 0.0
        while True:
            found = self.ngrams[len(context)].get((*context, word))
            if found is not None:
                return backoff + found[0] if found[0] > LOG_ZERO else -math.inf
            if not context:
                return -math.inf
            backoff += self.ngrams[len(context) - 1].get(context, (0.0, 0.0))[1]
            context = context[1:]

    def sentence_log10_probs(self, sentence: Sequence[str]) -> list[float]:
        """log10 probabilities of the words of a sentence and of its end."""
        tokens = [BOS, *(word if word in self.vocabulary else self.unk or word for word in sentence), EOS]
        return [self.log10_prob(tokens[:n], tokens[n]) for n in range(1, len(tokens))]

    def perplexity(self, sentences: Sequence[Sequence[str]]) -> Perplexity:
        """The perplexity of a text; see ``Perplexity`` for what is counted how."""
        num_words = num_oovs = num_zero_probs = 0
        log_prob, log_prob_oovs = [], []
        for sentence in sentences:
            num_words += len(sentence)
            log_probs = self.sentence_log10_probs(sentence)
            for token, value in zip([*sentence, EOS], log_probs, strict=True):
                if token == self.unk or token not in self.vocabulary:
                    num_oovs += 1
                    log_prob_oovs.append(value)
                elif value == -math.inf:
                    num_zero_probs += 1
                else:
                    log_prob.append(value)
        return Perplexity(
            num_sentences=len(sentences),
            num_words=num_words,
            num_oovs=num_oovs,
            num_zero_probs=num_zero_probs,
            log_prob=math.fsum(log_prob),
            log_prob_oovs=None if self.unk is None else math.fsum(log_prob_oovs),
        )


def write_arpa(model: ArpaModel, path: str | Path) -> None:
    """Write an ARPA file, compressed if its name ends in ``.gz``, n-grams in the order of the tables.

    Raises:
        DktError: the file cannot be written.
    """
    lines = ["", "\\data\\"]
    lines += [f"ngram {order}={len(table)}" for order, table in enumerate(model.ngrams, 1)]
    for order, table in enumerate(model.ngrams, 1):
        lines += ["", f"\\{order}-grams:"]
        for ngram, (log_prob, backoff) in table.items():
            line = f"{_number(log_prob)}\t{' '.join(ngram)}"
            lines.append(f"{line}\t{_number(backoff)}" if backoff else line)
    lines += ["", "\\end\\"]
    write_lines(path, lines)


def _number(value: float) -> str:
    """Seven decimals keep the sum over a vocabulary within 1e-6 of one."""
    return f"{value:.7f}".rstrip("0").rstrip(".")


def iter_arpa(path: str | Path) -> tuple[int, Iterator[tuple[NGram, float, float]]]:
    """The order of an ARPA file and its n-grams, one after the other.

    Returns:
        The order, and (n-gram, log10 probability, log10 backoff weight) in the order of the file.

    Raises:
        DktError: the file is missing, cut short or malformed; the line is named.
    """
    lines = iter(enumerate(read_lines(path), 1))
    counts = _read_header(lines, path)
    return len(counts), _iter_sections(lines, counts, path)


def _read_header(lines: Iterator[tuple[int, str]], path: str | Path) -> list[int]:
    """The number of n-grams of each order; leaves ``lines`` after ``\\1-grams:``."""
    if not any(line.strip() == "\\data\\" for _, line in lines):
        raise DktError("no \\data\\ section: not an ARPA language model", path=path)
    counts: list[int] = []
    for number, line in lines:
        parts = fields(line.replace("=", " = "))
        if not parts:
            continue
        if parts == ["\\1-grams:"] and counts:
            return counts
        count = natural(parts[3]) if len(parts) == 4 else None
        if count is None or parts[:2] != ["ngram", str(len(counts) + 1)]:
            raise DktError(
                f"line {number}: expected 'ngram {len(counts) + 1}=<count>', found '{line}'", path=path
            )
        counts.append(count)
    raise DktError("the file ends in its header", path=path, hint="it was cut short: make it again")


def _iter_sections(
    lines: Iterator[tuple[int, str]], counts: list[int], path: str | Path
) -> Iterator[tuple[NGram, float, float]]:
    order, found = 1, 0
    seen = _Repetitions(path)
    for number, line in lines:
        parts = fields(line)
        if not parts:
            continue
        if len(parts) > 1 or not parts[0].startswith("\\"):
            found += 1
            ngram, log_prob, backoff = _parse_ngram(parts, order, number, path)
            seen.add(ngram, number)
            yield ngram, log_prob, backoff
            continue
        seen.report(order)
        if found != counts[order - 1]:
            logger.warning(
                "%s: the header promises %d %d-grams, found %d", path, counts[order - 1], order, found
            )
        order, found = order + 1, 0
        expected = "\\end\\" if order > len(counts) else f"\\{order}-grams:"
        if parts[0] != expected:
            raise DktError(f"line {number}: expected '{expected}', found '{line}'", path=path)
        if parts[0] == "\\end\\":
            return
    raise DktError("the file ends without \\end\\", path=path, hint="it was cut short: make it again")


class _Repetitions:
    """Counts the n-grams of a section that stand in it before.

    Kaldi's ``arpa2fst`` takes each for an n-gram of its own, and says nothing.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = path
        # Hashes: the n-grams of a large model themselves would take several times the memory.
        self._seen: set[int] = set()
        self._count, self._first = 0, ""

    def add(self, ngram: NGram, number: int) -> None:
        """Take the n-gram of line ``number``."""
        key = hash(ngram)
        if key in self._seen:
            self._count += 1
            self._first = self._first or f"'{' '.join(ngram)}' in line {number}"
        self._seen.add(key)

    def report(self, order: int) -> None:
        """Warn at the end of a section, and begin anew."""
        if self._count:
            logger.warning(
                "%s: %d %d-grams are duplicates, the first %s: each is taken, as by Kaldi's arpa2fst, "
                "and the probabilities sum to more than one - make the language model anew",
                self._path,
                self._count,
                order,
                self._first,
            )
        self._seen.clear()
        self._count, self._first = 0, ""


def _parse_ngram(parts: list[str], order: int, number: int, path: str | Path) -> tuple[NGram, float, float]:
    if len(parts) not in (order + 1, order + 2):
        raise DktError(
            f"line {number}: expected a log-probability, {order} words and maybe a backoff weight, "
            f"found {len(parts)} fields",
            path=path,
        )
    try:
        log_prob = _log10(parts[0])
        backoff = _log10(parts[order + 1]) if len(parts) == order + 2 else 0.0
    except ValueError:
        raise DktError(
            f"line {number}: expected numbers around the n-gram, found '{' '.join(parts)}'", path=path
        ) from None
    if log_prob > _ROUNDING:
        raise DktError(
            f"line {number}: the log-probability is {log_prob:g}, expected 0 or less",
            path=path,
            hint="the file is damaged, or holds costs or probabilities: make it again",
        )
    if backoff > _MOST_BACKOFF:
        raise DktError(
            f"line {number}: the backoff weight is {backoff:g}, expected at most {_MOST_BACKOFF:g} (log10)",
            path=path,
            hint="the file is damaged: make it again",
        )
    return tuple(parts[1 : order + 1]), log_prob, max(backoff, LOG_ZERO)


def _log10(text: str) -> float:
    """The number of a text; some tools write ``-inf`` for the logarithm of zero.

    Raises:
        ValueError: it is none.
    """
    return -math.inf if text.lower() in ("-inf", "-infinity") else real_number(text)
