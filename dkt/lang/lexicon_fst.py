"""The lexicon as a transducer from phones to words: position marks, disambiguation symbols, L.fst."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from dkt.lang.lexicon import Pronunciation

if TYPE_CHECKING:
    import kaldifst

_START, _LOOP, _SILENCE = 0, 1, 2


def mark_positions(lexicon: Sequence[Pronunciation]) -> list[Pronunciation]:
    """Mark each phone by its place in the word: ``_B`` begin, ``_I`` internal, ``_E`` end, ``_S`` alone."""
    return [replace(entry, phones=_marked(entry.phones)) for entry in lexicon]


def _marked(phones: tuple[str, ...]) -> tuple[str, ...]:
    if len(phones) == 1:
        return (f"{phones[0]}_S",)
    return (f"{phones[0]}_B", *(f"{phone}_I" for phone in phones[1:-1]), f"{phones[-1]}_E")


def add_disambig(lexicon: Sequence[Pronunciation]) -> tuple[list[Pronunciation], int]:
    """End each pronunciation that is a homophone or a prefix of another in ``#1``, ``#2``, ...

    Without them the composition of lexicon and grammar could not be determinized. Source: Kaldi's
    ``utils/add_lex_disambig.pl``.

    Returns:
        The pronunciations, and the highest number used (0 where none was needed).
    """
    count = Counter(entry.phones for entry in lexicon)
    prefixes = {entry.phones[:n] for entry in lexicon for n in range(1, len(entry.phones))}
    used: Counter[tuple[str, ...]] = Counter()
    marked = []
    for entry in lexicon:
        if count[entry.phones] > 1 or entry.phones in prefixes:
            used[entry.phones] += 1
            entry = replace(entry, phones=(*entry.phones, f"#{used[entry.phones]}"))
        marked.append(entry)
    return marked, max(used.values(), default=0)


class _Builder:
    """An FST made arc by arc, labels given as symbols."""

    def __init__(self, phones: Mapping[str, int], words: Mapping[str, int], num_states: int) -> None:
        import kaldifst

        self._arc = kaldifst.StdArc
        self._phones = phones
        self._words = words
        self.fst = kaldifst.StdVectorFst()
        for _ in range(num_states):
            self.fst.add_state()
        self.fst.start = _START

    def add_arc(self, source: int, target: int, phone: str, word: str, cost: float) -> None:
        self.fst.add_arc(source, self._arc(self._phones[phone], self._words[word], cost, target))

    def add_word(self, entry: Pronunciation, source: int, ends: Sequence[tuple[int, float]]) -> None:
        """A path for ``entry`` that leaves ``source`` and enters each of ``ends`` at its cost."""
        word, cost = entry.word, -math.log(entry.prob)
        for phone in entry.phones[:-1]:
            target = self.fst.add_state()
            self.add_arc(source, target, phone, word, cost)
            source, word, cost = target, "<eps>", 0.0
        for target, end_cost in ends:
            self.add_arc(source, target, entry.phones[-1], word, cost + end_cost)


def make_lexicon_fst(
    lexicon: Sequence[Pronunciation],
    phones: Mapping[str, int],
    words: Mapping[str, int],
    *,
    sil_phone: str,
    sil_prob: float,
    sil_disambig: str | None = None,
    word_disambig: str | None = None,
) -> kaldifst.StdVectorFst:
    """L: phones in, words out, with optional silence at the start and after each word.

    Source: Kaldi's ``utils/lang/make_lexicon_fst.py`` and ``fstaddselfloops``; state for state the same FST.

    Args:
        lexicon: the pronunciations, with disambiguation symbols where the FST is for a graph.
        phones: the symbol table of the phones.
        words: the symbol table of the words.
        sil_phone: the optional silence.
        sil_prob: its probability, in [0, 1); at 0 there is no optional silence.
        sil_disambig: the symbol that follows each optional silence, for a graph.
        word_disambig: the symbol of G's backoff arcs, let through by a loop, for a graph.

    Returns:
        The FST, its arcs sorted by word.
    """
    import kaldifst

    if sil_prob == 0.0:
        loop = _START
        builder = _Builder(phones, words, 1)
        ends = [(loop, 0.0)]
    else:
        loop = _LOOP
        builder = _Builder(phones, words, 3)
        ends = _add_silence(builder, sil_phone, sil_prob, sil_disambig)
    for entry in lexicon:
        builder.add_word(entry, loop, ends)
    builder.fst.set_final(loop, 0.0)
    if word_disambig is not None:
        builder.add_arc(loop, loop, word_disambig, word_disambig, 0.0)
    kaldifst.arcsort(builder.fst, "olabel")
    return builder.fst


def _add_silence(
    builder: _Builder, sil_phone: str, sil_prob: float, sil_disambig: str | None
) -> list[tuple[int, float]]:
    """The arcs of the optional silence; returns where a word may end, and at which cost."""
    sil_cost, no_sil_cost = -math.log(sil_prob), -math.log(1.0 - sil_prob)
    builder.add_arc(_START, _LOOP, "<eps>", "<eps>", no_sil_cost)
    builder.add_arc(_START, _SILENCE, "<eps>", "<eps>", sil_cost)
    if sil_disambig is None:
        builder.add_arc(_SILENCE, _LOOP, sil_phone, "<eps>", 0.0)
    else:
        after = builder.fst.add_state()
        builder.add_arc(_SILENCE, after, sil_phone, "<eps>", 0.0)
        builder.add_arc(after, _LOOP, sil_disambig, "<eps>", 0.0)
    return [(_LOOP, no_sil_cost), (_SILENCE, sil_cost)]
