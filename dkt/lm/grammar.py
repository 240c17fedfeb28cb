"""The grammar G.fst: an ARPA language model as an acceptor of words."""

from __future__ import annotations

import logging
import math
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dkt.base.directory_kinds import Kind, refuse_other_kinds
from dkt.base.errors import DktError
from dkt.base.files import cannot_write, copy_file
from dkt.base.findings import VERBOSE, list_names, some
from dkt.fstext.fst import write_fst
from dkt.lm.arpa import NGram, iter_arpa
from dkt.util.symbols import BACKOFF, BOS, EOS, EPS, read_symbol_table

if TYPE_CHECKING:
    import kaldifst

logger = logging.getLogger(__name__)

_LANG_FILES = ("phones.txt", "words.txt", "topo", "L.fst", "L_disambig.fst", "oov.txt", "oov.int")
_LN10 = math.log(10.0)

#: input label, output label, cost, next state
_Arc = tuple[int, int, float, int]


class _Grammar:
    """States for histories and arcs for words, n-gram by n-gram.

    Source: Kaldi's ``lm/arpa-lm-compiler.cc`` with a disambiguation symbol, state for state the same FST.

    Args:
        order: the order of the model; n-grams of this order get no state of their own.
        words: the symbol table of the words.
    """

    def __init__(self, order: int, words: Mapping[str, int]) -> None:
        self.order = order
        self.words = words
        self.backoff = words[BACKOFF]
        self.start: int | None = None
        self.arcs: list[list[_Arc]] = [[]]
        self.final: list[float] = [math.inf]
        self.skipped: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self._state: dict[NGram, int] = {(): 0}

    def add(self, ngram: NGram, log_prob: float, backoff: float) -> None:
        """Add an n-gram, after all n-grams of lower orders; ``log_prob`` and ``backoff`` are log10."""
        *history, word = ngram
        source = self._state.get(tuple(history))
        if not self._takes(ngram, log_prob):
            return
        if source is None:
            self.skipped["their history is not an n-gram"] += 1
            return
        cost = -log_prob * _LN10
        if word == EOS:
            self.final[source] = cost
            return
        target = self._target(ngram[1:] if len(ngram) == self.order else ngram, -backoff * _LN10)
        if word == BOS:
            self.start = target
        else:
            self.arcs[source].append((self.words[word], self.words[word], cost, target))

    def _takes(self, ngram: NGram, log_prob: float) -> bool:
        unknown = [word for word in ngram if word not in self.words and word not in (BOS, EOS)]
        if unknown:
            self.unknown.update(unknown[:1])
            return False
        if BOS in ngram[1:] or EOS in ngram[:-1]:
            self.skipped["<s> or </s> is out of place"] += 1
            return False
        if log_prob == -math.inf and ngram != (BOS,):
            self.skipped["their probability is zero"] += 1
            return False
        return True

    def _target(self, history: NGram, backoff_cost: float) -> int:
        """The state of a history, made with its backoff arc if it is new."""
        state = self._state.get(history)
        if state is None:
            state = self._state[history] = len(self.arcs)
            shorter = history[1:]
            while shorter not in self._state:
                shorter = shorter[1:]
            self.arcs.append([(self.backoff, 0, backoff_cost, self._state[shorter])])
            self.final.append(math.inf)
        return state

    def remove_redundant(self) -> None:
        """Lead arcs past states that can do nothing but back off, which leaves these states unreachable."""

        def redundant(state: int) -> bool:
            arcs = self.arcs[state]
            return len(arcs) == 1 and arcs[0][0] == self.backoff and self.final[state] == math.inf

        if self.start is not None and redundant(self.start):
            (_, olabel, cost, target) = self.arcs[self.start][0]
            self.arcs[self.start] = [(0, olabel, cost, target)]
        for state, arcs in enumerate(self.arcs):
            for place, (ilabel, olabel, cost, target) in enumerate(arcs):
                while redundant(target):
                    cost += self.arcs[target][0][2]
                    target = self.arcs[target][0][3]
                self.arcs[state][place] = (ilabel, olabel, cost, target)

    def to_fst(self) -> kaldifst.StdVectorFst:
        """The FST, its arcs sorted by input word, without states that no sentence passes."""
        import kaldifst

        fst = kaldifst.StdVectorFst()
        for _ in self.arcs:
            fst.add_state()
        fst.start = self.start
        for state, arcs in enumerate(self.arcs):
            if self.final[state] != math.inf:
                fst.set_final(state, self.final[state])
            for ilabel, olabel, cost, target in arcs:
                fst.add_arc(state, kaldifst.StdArc(ilabel, olabel, cost, target))
        kaldifst.connect(fst)
        kaldifst.arcsort(fst, "ilabel")
        return fst


def arpa_to_fst(path: str | Path, words: Mapping[str, int]) -> kaldifst.StdVectorFst:
    """G for an ARPA language model, as Kaldi's ``arpa2fst --disambig-symbol=#0`` on a symbol table makes it.

    States stand for histories: ``<s>`` is the start, ``</s>`` the cost of ending in a state, and a backoff
    takes ``#0`` in and gives nothing out. N-grams with words outside ``words`` are left out and counted.

    Args:
        path: the ARPA file, maybe compressed.
        words: the symbol table of the words.

    Returns:
        The FST, costs in natural log.

    Raises:
        DktError: the ARPA file is malformed, holds ``<eps>`` or ``#0`` as a word, lacks ``<s>`` or accepts no
            sentence, or ``words`` lacks ``#0``.
    """
    if BACKOFF not in words:
        raise DktError(f"words.txt has no '{BACKOFF}'", hint="make the lang directory with dkt prepare-lang")
    order, entries = iter_arpa(path)
    grammar = _Grammar(order, words)
    for ngram, log_prob, backoff in entries:
        for symbol in (EPS, BACKOFF):
            if symbol in ngram:
                raise DktError(f"'{symbol}' is a word of an n-gram, but it is a reserved symbol", path=path)
        grammar.add(ngram, log_prob, backoff)
    _report(grammar, path)
    if grammar.start is None:
        raise DktError(f"there is no unigram '{BOS}'", path=path, hint="train it with <s> and </s>")
    grammar.remove_redundant()
    fst = grammar.to_fst()
    if fst.num_states == 0:
        raise DktError(f"the grammar accepts no sentence: no n-gram ends in '{EOS}'", path=path)
    return fst


def _report(grammar: _Grammar, path: str | Path) -> None:
    if grammar.unknown:
        named = some(sorted(grammar.unknown), VERBOSE)
        list_names(logger, "not in words.txt", sorted(grammar.unknown))
        logger.warning(
            "%s: %d n-grams are left out because %d words are not in words.txt (%s)",
            path,
            grammar.unknown.total(),
            len(grammar.unknown),
            named,
        )
    for reason, count in grammar.skipped.items():
        logger.warning("%s: %d n-grams are left out because %s", path, count, reason)


def format_lm(lang_in: str | Path, arpa: str | Path, lang_out: str | Path) -> None:
    """Copy a lang directory and add ``G.fst``, as Kaldi's ``utils/format_lm.sh`` does.

    Args:
        lang_in: the lang directory.
        arpa: the ARPA language model, maybe compressed.
        lang_out: the directory to write; may be ``lang_in``.

    Raises:
        DktError: ``lang_in`` is not complete, ``arpa_to_fst`` fails, or a file cannot be written.
    """
    source, target = Path(lang_in), Path(lang_out)
    refuse_other_kinds(target, Kind.LANG)
    for name in (*_LANG_FILES, "phones"):
        if not (source / name).exists():
            raise DktError(
                f"'{name}' is missing", path=source, hint="make the lang directory with dkt prepare-lang"
            )
    fst = arpa_to_fst(arpa, read_symbol_table(source / "words.txt"))
    if not (target.exists() and target.samefile(source)):
        _copy_lang(source, target)
    write_fst(fst, target / "G.fst")
    num_arcs = sum(fst.num_arcs(state) for state in range(fst.num_states))
    logger.info("%s: G.fst has %d states and %d arcs", target, fst.num_states, num_arcs)


def _copy_lang(source: Path, target: Path) -> None:
    try:
        target.mkdir(parents=True, exist_ok=True)
        (target / "G.fst").unlink(missing_ok=True)
        shutil.rmtree(target / "phones", ignore_errors=True)
        folders = [path for path in source.glob("phones/**/*") if path.is_dir()]
        for folder in (source / "phones", *folders):
            (target / folder.relative_to(source)).mkdir()
    except OSError as error:
        raise cannot_write(error.filename or target, error) from None
    # Not copytree() or copy(): a copy of read-only files should be writable.
    for file in (*source.glob("phones/**/*"), *(source / name for name in _LANG_FILES)):
        if not file.is_dir():
            copy_file(file, target / file.relative_to(source))
