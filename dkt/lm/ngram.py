"""Estimation of interpolated n-gram models: modified Kneser-Ney and Witten-Bell smoothing."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dkt.base.errors import DktError
from dkt.lm.arpa import LOG_ZERO, ArpaModel
from dkt.util.symbols import BOS, EOS, RESERVED

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

logger = logging.getLogger(__name__)

MAX_ORDER = 3
SMOOTHINGS = ("kneser-ney", "witten-bell")
# An n-gram is one integer, its last word in the lowest bits: three words of 21 bits fit into 63.
_BITS = 21


@dataclass(frozen=True)
class _Table:
    """The n-grams of one order that occur: their keys, ascending, and their counts."""

    keys: Ints
    counts: Ints


@dataclass(frozen=True)
class _Level:
    """The estimates of one order: keys, ascending, probabilities and backoff weights."""

    keys: Ints
    probs: Floats
    backoffs: Floats


def train_ngram(
    sentences: Sequence[Sequence[str]],
    order: int,
    *,
    smoothing: str = "kneser-ney",
    vocabulary: Collection[str] | None = None,
    unk: str = "<unk>",
) -> ArpaModel:
    """Estimate an interpolated n-gram model without cut-offs and give it in backoff form.

    Kneser-Ney is the modified one: three discounts per order from its counts of counts, and one discount
    where those are degenerate. An order where even that cannot be had, as in small vocabularies, is smoothed
    by Witten-Bell; so is the whole model if this is the highest order, as for digits. Witten-Bell gives the
    lower order the weight T(h) / (C(h) + T(h)), where C(h) counts the words after the history h and T(h) the
    different ones. The unigrams are interpolated with the uniform distribution.
    Source: Chen and Goodman (1998), "An Empirical Study of Smoothing Techniques for Language Modeling",
    Harvard TR-10-98, sections 2.5 (Witten-Bell) and 3 (modified Kneser-Ney).

    Args:
        sentences: the training text.
        order: 1 to 3.
        smoothing: ``"kneser-ney"`` or ``"witten-bell"``.
        vocabulary: the words to predict, seen or not; by default those of the text.
        unk: the word that words of the text outside ``vocabulary`` count as; it joins the vocabulary if there
            are any.

    Returns:
        The model, n-grams in the order of their words; for every history the probabilities of the
        vocabulary and ``</s>`` sum to one.

    Raises:
        DktError: no sentence, an unknown ``order`` or ``smoothing``, a reserved ``unk``, or too large a
            vocabulary.
    """
    _check_options(order, smoothing, unk)
    if not sentences:
        raise DktError("the training text has no sentence")
    words = _vocabulary(sentences, vocabulary, unk)
    index = {word: n for n, word in enumerate(words)}
    counted = _count(_encode(sentences, index, unk), order, index[BOS])
    tables, discounts = _choose_discounts(counted, smoothing, index[BOS])
    levels = _estimate(tables, discounts, len(words), index[BOS])
    model = _to_arpa(levels, words, unk)
    logger.info(
        "%d sentences: %s",
        len(sentences),
        ", ".join(f"{len(table)} {n}-grams" for n, table in enumerate(model.ngrams, 1)),
    )
    return model


def _check_options(order: int, smoothing: str, unk: str) -> None:
    if not 1 <= order <= MAX_ORDER:
        raise DktError(f"--order is {order}, expected 1 to {MAX_ORDER}")
    if smoothing not in SMOOTHINGS:
        raise DktError(f"--smoothing is '{smoothing}', expected one of {', '.join(SMOOTHINGS)}")
    if unk in RESERVED:
        raise DktError(f"--unk is '{unk}', which is a reserved symbol")


def _choose_discounts(
    tables: Sequence[_Table], smoothing: str, bos: int
) -> tuple[Sequence[_Table], Sequence[Floats | None]]:
    """The counts that the n-grams are estimated from, and the discounts of each order; None: Witten-Bell."""
    if smoothing == "kneser-ney":
        adjusted = _continuation_counts(tables, bos)
        found = [kneser_ney_discounts(table.counts, n) for n, table in enumerate(adjusted, 1)]
        # The counts of the lower orders suit what discounts leave: without any above, they are not for them.
        if found[-1] is not None:
            return adjusted, found
        if len(tables) > 1:
            logger.warning("as the %d-grams are, so is the whole model smoothed by Witten-Bell", len(tables))
    return tables, [None] * len(tables)


def _vocabulary(
    sentences: Iterable[Sequence[str]], vocabulary: Collection[str] | None, unk: str
) -> list[str]:
    """The words of the model with ``<s>`` and ``</s>``, sorted."""
    seen = {word for sentence in sentences for word in sentence}
    known = (seen if vocabulary is None else set(vocabulary)) - set(RESERVED)
    if seen - known:
        known.add(unk)
    if len(known) + 2 >= 1 << _BITS:
        raise DktError(f"the vocabulary has {len(known)} words, at most {(1 << _BITS) - 3} are supported")
    return sorted({*known, BOS, EOS})


def _encode(sentences: Iterable[Sequence[str]], index: dict[str, int], unk: str) -> Ints:
    """All sentences one after the other as word indices, each begun by ``<s>`` and ended by ``</s>``."""
    bos, eos = index[BOS], index[EOS]
    stream: list[int] = []
    num_words = 0
    for sentence in sentences:
        # -1 marks an unknown word until the stream is complete.
        stream += [bos, *(index.get(word, -1) for word in sentence), eos]
        num_words += len(sentence)
    ids = np.array(stream, dtype=np.int64)
    num_unknown = int(np.count_nonzero(ids < 0))
    if num_unknown:
        ids[ids < 0] = index[unk]
        logger.warning(
            "%d of %d words (%.2f %%) are not in the vocabulary and count as '%s'",
            num_unknown,
            num_words,
            100 * num_unknown / num_words,
            unk,
        )
    return ids


def _count(ids: Ints, order: int, bos: int) -> list[_Table]:
    """The n-grams of each order up to ``order`` that end in a word or ``</s>``, within sentences."""
    starts = np.flatnonzero(ids == bos)
    position = np.arange(len(ids)) - np.repeat(starts, np.diff([*starts, len(ids)]))
    tables = []
    for n in range(1, order + 1):
        ends = np.flatnonzero(position >= max(n - 1, 1))
        keys = np.zeros(len(ends), dtype=np.int64)
        for back in range(n - 1, -1, -1):
            keys = (keys << _BITS) | ids[ends - back]
        tables.append(_Table(*np.unique(keys, return_counts=True)))
    return tables


def _suffixes(keys: Ints, n: int) -> Ints:
    """The last ``n`` words of each n-gram."""
    return keys & ((1 << (_BITS * n)) - 1)


def _continuation_counts(tables: Sequence[_Table], bos: int) -> list[_Table]:
    """Below the highest order, count after how many different words an n-gram stands.

    Nothing stands before ``<s>``: n-grams that begin with it keep their counts.
    """
    adjusted = []
    for n, (table, longer) in enumerate(pairwise(tables), 1):
        found = np.searchsorted(table.keys, _suffixes(longer.keys, n))
        counts = np.bincount(found, minlength=len(table.keys))
        begins = (table.keys >> (_BITS * (n - 1))) == bos
        adjusted.append(replace(table, counts=np.where(begins, table.counts, counts)))
    return [*adjusted, tables[-1]]


def kneser_ney_discounts(counts: Ints, order: int) -> Floats | None:
    """What modified Kneser-Ney takes off counts of 0, 1, 2 and 3 or more.

    Y = n1 / (n1 + 2 n2), D1 = 1 - 2 Y n2 / n1, D2 = 2 - 3 Y n3 / n2, D3 = 3 - 4 Y n4 / n3, where n_c is the
    number of n-grams counted c times (Chen and Goodman 1998, TR-10-98, section 3). Where n3 or n4 is zero or
    a discount is not above zero, Y is taken off every count.

    Returns:
        Four discounts; None where n1 or n2 is zero, as then nothing can be estimated.
    """
    n1, n2, n3, n4 = (int(np.count_nonzero(counts == c)) for c in (1, 2, 3, 4))
    found = f"of the {order}-grams {n1}, {n2}, {n3} and {n4} are counted once, twice, 3 and 4 times"
    if n1 == 0 or n2 == 0:
        logger.warning(
            "%s, too few for the discounts of Kneser-Ney: they are smoothed by Witten-Bell instead", found
        )
        return None
    y = n1 / (n1 + 2 * n2)
    if n3 and n4:
        discounts = np.array([0.0, y, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
        if discounts[1:].min() > 0.0:
            return discounts
    logger.warning("%s, too few for three discounts: one discount of %.3f is used", found, y)
    return np.array([0.0, y, y, y])


def _estimate(
    tables: Sequence[_Table], discounts: Sequence[Floats | None], num_words: int, bos: int
) -> list[_Level]:
    """Interpolate order by order, from the uniform distribution upwards; without discounts by Witten-Bell."""
    uniform = np.full(num_words, 1.0 / (num_words - 1))
    uniform[bos] = 0.0
    # Every word gets a unigram, seen or not.
    everything = np.arange(num_words)
    counts = np.zeros(num_words, dtype=np.int64)
    counts[tables[0].keys] = tables[0].counts
    kept, given = _shares(counts, np.zeros(num_words, dtype=np.int64), discounts[0])
    levels = [_Level(everything, kept + given[0] * uniform, np.ones(num_words))]
    for n, table in enumerate(tables[1:], 2):
        lower = levels[-1]
        contexts, of_context = np.unique(table.keys >> _BITS, return_inverse=True)
        kept, given = _shares(table.counts, of_context, discounts[n - 1])
        below = lower.probs[np.searchsorted(lower.keys, _suffixes(table.keys, n - 1))]
        lower.backoffs[np.searchsorted(lower.keys, contexts)] = given
        levels.append(_Level(table.keys, kept + given[of_context] * below, np.ones(len(table.keys))))
    return levels


def _shares(counts: Ints, of_context: Ints, discounts: Floats | None) -> tuple[Floats, Floats]:
    """What each n-gram keeps of its history's probability, and what each history gives to the lower order."""
    total = np.bincount(of_context, counts)
    if discounts is None:
        types = np.bincount(of_context, counts > 0)
        return counts / (total + types)[of_context], types / (total + types)
    taken = discounts[np.minimum(counts, 3)]
    return (counts - taken) / total[of_context], np.bincount(of_context, taken) / total


def _to_arpa(levels: Sequence[_Level], words: Sequence[str], unk: str) -> ArpaModel:
    mask = (1 << _BITS) - 1
    tables = []
    for n, level in enumerate(levels, 1):
        columns = [((level.keys >> (_BITS * (n - 1 - place))) & mask).tolist() for place in range(n)]
        ngrams = zip(*([words[i] for i in column] for column in columns), strict=True)
        with np.errstate(divide="ignore"):
            log_probs = np.maximum(np.log10(level.probs), LOG_ZERO).tolist()
        tables.append(
            dict(zip(ngrams, zip(log_probs, np.log10(level.backoffs).tolist(), strict=True), strict=True))
        )
    return ArpaModel(tables, unk)
