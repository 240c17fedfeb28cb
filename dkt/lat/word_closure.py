"""The best ways through a raw lattice between one word and the next, all of them, and nothing else.

Determinisation asks again and again where one can be before the next word: this answers it once. A *junction*
is a state that a word's arc leaves, or a final one; an *entry* is the start, or a state that a word's arc
leads to. A *leg* goes from an entry to a junction without a word: the best of all such ways.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from dkt.base.errors import DktError
from dkt.base.grouping import best_of_each, expand, offsets_of
from dkt.base.threads import check_abandoned
from dkt.lat.raw_lattice import RawLattice

# Costs are sums in different orders: paths on the edge of the beam shall not break into pieces.
TOLERANCE = 1e-6
#: Transition-ids in strings are little-endian int32.
TID_BYTES = 4
#: Of 36 bytes each, and twice that for moments.
MAX_WAYS = 20_000_000


@dataclass(frozen=True)
class WordClosure:
    """Legs and words of a raw lattice.

    Attributes:
        junctions: raw states, int64 of shape ``(J,)``.
        beta: cost from each junction to the end, float64 of shape ``(J,)``.
        final: final cost of each junction, inf where not final.
        word_offsets: the words that leave junction j are ``word_offsets[j]`` to ``word_offsets[j + 1]``.
        words, word_tids: label and transition-id (0 for none) of each such arc.
        word_graph, word_acoustic: its costs.
        word_entries: the entry that it leads to.
        entry_beta: cost from each entry to the end, float64 of shape ``(E,)``; entry 0 is the start.
        leg_offsets: the legs of entry e are ``leg_offsets[e]`` to ``leg_offsets[e + 1]``.
        leg_junctions, leg_graph, leg_acoustic: where each leg leads to, and its costs.
        leg_ends: where its last transition-id stands in ``history`` and ``history_tids``.
        history, history_tids: a transition-id (0 for none) and where the one before it stands, -1 for
            nowhere.
    """

    junctions: np.ndarray
    beta: np.ndarray
    final: np.ndarray
    word_offsets: np.ndarray
    words: np.ndarray
    word_tids: np.ndarray
    word_graph: np.ndarray
    word_acoustic: np.ndarray
    word_entries: np.ndarray
    entry_beta: np.ndarray
    leg_offsets: np.ndarray
    leg_junctions: np.ndarray
    leg_graph: np.ndarray
    leg_acoustic: np.ndarray
    leg_ends: np.ndarray
    history: np.ndarray
    history_tids: np.ndarray


# A way from an entry to a state, its costs, its last transition-id, and the way that it lengthens (-1: none).
_WAY = np.dtype(
    [("entry", "i4"), ("state", "i4"), ("graph", "f8"), ("acoustic", "f8"), ("before", "i8"), ("tid", "i4")]
)


class TooManyWaysError(DktError):
    """A lattice has more ways between words than may be held at once."""


def close_words(lattice: RawLattice, beam: float, max_ways: int = MAX_WAYS) -> WordClosure:
    """Find the junctions, the entries and the legs of a raw lattice.

    Args:
        lattice: what was found.
        beam: legs that lie on no whole path within so much of the best one are left out.
        max_ways: ways from entries to states held at once.

    Raises:
        TooManyWaysError: there are more of them.
    """
    is_word = lattice.olabels != 0
    entry_states = np.unique(np.append(lattice.targets[is_word], lattice.start))
    # Entry 0 is the start.
    entry_states = np.concatenate([[lattice.start], entry_states[entry_states != lattice.start]])
    is_junction = np.isfinite(lattice.final)
    is_junction[lattice.sources[is_word]] = True
    ways = _all_ways(lattice, entry_states, beam, max_ways)
    return _assemble(lattice, entry_states, np.flatnonzero(is_junction), ways)


def _all_ways(lattice: RawLattice, entry_states: np.ndarray, beam: float, max_ways: int) -> np.ndarray:
    """The best way from every entry to every state without a word, in the order of states (``_WAY``)."""
    silent = np.flatnonzero(lattice.olabels == 0)
    arc_bounds = np.searchsorted(lattice.targets[silent], lattice.layers)
    order = np.argsort(entry_states, kind="stable")
    entry_bounds = np.searchsorted(entry_states[order], lattice.layers)
    slack = lattice.beta[lattice.start] + beam + TOLERANCE - lattice.alpha[entry_states]
    first = np.zeros(lattice.num_states + 1, dtype=np.int64)  # of the ways to each state
    ways, size = np.empty(4096, dtype=_WAY), 0
    for layer, (begin, end) in enumerate(pairwise(lattice.layers)):
        check_abandoned()
        longer = _lengthen(lattice, silent[arc_bounds[layer] : arc_bounds[layer + 1]], ways, first)
        new = _begin(entry_states, order[entry_bounds[layer] : entry_bounds[layer + 1]])
        found = np.concatenate([longer, new]) if len(new) else longer
        costs = found["graph"] + found["acoustic"]
        near = np.flatnonzero(costs + lattice.beta[found["state"]] <= slack[found["entry"]])
        found = found[near[best_of_each(found["state"][near], found["entry"][near], costs[near])]]
        counts = np.bincount(found["state"] - begin, minlength=end - begin)
        first[begin + 1 : end + 1] = size + np.cumsum(counts)
        if size + len(found) > max_ways:
            raise TooManyWaysError(f"more than {max_ways} ways between words")
        if size + len(found) > len(ways):
            ways = np.concatenate([ways[:size], np.empty(size + len(found), dtype=_WAY)])
        ways[size : size + len(found)] = found
        size += len(found)
    return ways[:size]


def _lengthen(lattice: RawLattice, arcs: np.ndarray, ways: np.ndarray, first: np.ndarray) -> np.ndarray:
    """All ways to the sources of the arcs, each lengthened by the arc."""
    sources = lattice.sources[arcs]
    owners, rows = expand(first[sources], first[sources + 1])
    taken = arcs[owners]
    longer = ways[rows]
    longer["state"] = lattice.targets[taken]
    longer["graph"] += lattice.graph_costs[taken]
    longer["acoustic"] += lattice.acoustic_costs[taken]
    longer["before"] = rows
    longer["tid"] = lattice.ilabels[taken]
    return longer


def _begin(entry_states: np.ndarray, entries: np.ndarray) -> np.ndarray:
    """The ways of no arc."""
    ways = np.zeros(len(entries), dtype=_WAY)
    ways["entry"] = entries
    ways["state"] = entry_states[entries]
    ways["before"] = -1
    return ways


def _assemble(
    lattice: RawLattice, entry_states: np.ndarray, junctions: np.ndarray, ways: np.ndarray
) -> WordClosure:
    junction_of = np.full(lattice.num_states, -1)
    junction_of[junctions] = np.arange(len(junctions))
    entry_of = np.full(lattice.num_states, -1)
    entry_of[entry_states] = np.arange(len(entry_states))
    words = np.flatnonzero(lattice.olabels != 0)
    words = words[np.argsort(lattice.sources[words], kind="stable")]
    legs = np.flatnonzero(junction_of[ways["state"]] >= 0)
    legs = legs[np.argsort(ways["entry"][legs], kind="stable")]
    return WordClosure(
        junctions=junctions,
        beta=lattice.beta[junctions],
        final=lattice.final[junctions],
        word_offsets=offsets_of(junction_of[lattice.sources[words]], len(junctions)),
        words=lattice.olabels[words],
        word_tids=lattice.ilabels[words],
        word_graph=lattice.graph_costs[words],
        word_acoustic=lattice.acoustic_costs[words],
        word_entries=entry_of[lattice.targets[words]],
        entry_beta=lattice.beta[entry_states],
        leg_offsets=offsets_of(ways["entry"][legs], len(entry_states)),
        leg_junctions=junction_of[ways["state"][legs]],
        leg_graph=ways["graph"][legs],
        leg_acoustic=ways["acoustic"][legs],
        leg_ends=legs,
        history=np.ascontiguousarray(ways["before"]),
        history_tids=np.ascontiguousarray(ways["tid"]),
    )


class LegStrings:
    """The transition-ids of legs as bytes, each found once."""

    def __init__(self, closure: WordClosure) -> None:
        self._ends = closure.leg_ends.data
        self._history = closure.history.data
        self._tids = closure.history_tids.data
        self._known: dict[int, bytes] = {}

    def __getitem__(self, leg: int) -> bytes:
        string = self._known.get(leg)
        if string is None:
            tids: list[int] = []
            way = self._ends[leg]
            while way >= 0:
                if self._tids[way]:
                    tids.append(self._tids[way])
                way = self._history[way]
            string = self._known[leg] = np.array(tids[::-1], dtype="<i4").tobytes()
        return string
