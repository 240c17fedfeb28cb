"""The path of a lattice with the fewest word errors against a reference (``latbin/lattice-oracle.cc``)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from dkt.lat.lattice import CompactLattice
from dkt.lat.order import topological_order
from dkt.lat.paths import incoming_arcs

_UNREACHED = 1 << 30


@dataclass(frozen=True)
class OraclePath:
    """The path of a lattice that is nearest to a reference.

    Attributes:
        words: integers of its words, wildcards left out.
        num_words: words of the reference, wildcards left out.
        num_ins, num_del, num_sub: words inserted, deleted and substituted.
    """

    words: list[int]
    num_words: int
    num_ins: int
    num_del: int
    num_sub: int

    @property
    def num_errors(self) -> int:
        """Insertions, deletions and substitutions together."""
        return self.num_ins + self.num_del + self.num_sub


def oracle_path(
    lattice: CompactLattice, reference: Sequence[int], wildcards: Collection[int] = ()
) -> OraclePath | None:
    """The path with the fewest errors, None if no path leads to a final state. Costs do not matter.

    Args:
        lattice: with words as labels; arcs without one count for nothing.
        reference: integers of words.
        wildcards: words that count for nothing on either side.

    Raises:
        DktError: the lattice has a cycle.
    """
    words = np.where(np.isin(lattice.labels, [*wildcards]), 0, lattice.labels)
    kept = np.array([word for word in reference if word and word not in wildcards], dtype=np.int64)
    order = topological_order(lattice)
    search = _Search(lattice, words, kept, dict(incoming_arcs(lattice, order)))
    if lattice.start >= 0:
        search.count_errors(order)
    ends = order[lattice.is_final[order]]
    totals = search.errors[ends, -1]
    if totals.min(initial=_UNREACHED) >= _UNREACHED:
        return None
    return search.trace(int(ends[totals.argmin()]))


class _Search:
    """Fewest errors from the start to each state with each number of reference words used: ``(S, R + 1)``."""

    def __init__(
        self, lattice: CompactLattice, words: np.ndarray, ref: np.ndarray, incoming: dict[int, np.ndarray]
    ) -> None:
        self._start, self._sources, self._words, self._ref = lattice.start, lattice.sources, words, ref
        self._incoming = incoming
        self.errors = np.full((lattice.num_states, len(ref) + 1), _UNREACHED, dtype=np.int32)

    def count_errors(self, order: np.ndarray) -> None:
        """Fill in the errors, state by state in topological order."""
        deletions = np.arange(len(self._ref) + 1, dtype=np.int32)
        for state in order.tolist():
            row = self.errors[state]
            if state == self._start:
                row[0] = 0
            elif state in self._incoming:
                kept, matched = self._by_arc(self._incoming[state])
                row[:] = kept.min(axis=0)
                row[1:] = np.minimum(row[1:], matched.min(axis=0))
            np.minimum.accumulate(row - deletions, out=row)
            # What was not reached stays so: the errors of a state that nothing leads to are not numbers.
            row[:] = np.minimum(row + deletions, _UNREACHED)

    def _by_arc(self, arcs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Errors after each arc when it uses no word of the reference, and, from the first word on, one."""
        before, words = self.errors[self._sources[arcs]], self._words[arcs, None]
        kept = before + (words != 0)
        matched = np.where(words != 0, before[:, :-1] + (words != self._ref), _UNREACHED)
        return np.minimum(kept, _UNREACHED), np.minimum(matched, _UNREACHED)

    def trace(self, state: int) -> OraclePath:
        """The path that ends in ``state``, with all words of the reference used."""
        used = len(self._ref)
        words: list[int] = []
        num_ins = num_del = num_sub = 0
        while state != self._start or used > 0:
            errors = self.errors[state, used]
            arcs = self._incoming.get(state, np.empty(0, dtype=np.int64))
            kept, matched = self._by_arc(arcs)
            if used and (fits := np.flatnonzero(matched[:, used - 1] == errors)).size:
                arc = int(arcs[fits[0]])
                num_sub += int(self._words[arc] != self._ref[used - 1])
                used -= 1
            elif used and self.errors[state, used - 1] + 1 == errors:
                num_del += 1
                used -= 1
                continue
            else:
                arc = int(arcs[np.flatnonzero(kept[:, used] == errors)[0]])
                num_ins += int(self._words[arc] != 0)
            words.append(int(self._words[arc]))
            state = int(self._sources[arc])
        return OraclePath(
            words=[word for word in reversed(words) if word],
            num_words=len(self._ref),
            num_ins=num_ins,
            num_del=num_del,
            num_sub=num_sub,
        )
