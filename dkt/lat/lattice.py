"""Lattices as Kaldi has them: of single transition-ids, and compact ones with a string of them on each arc.

A cost has two parts, kept apart so that weights between them can be tried on what was found once: that of the
graph (language model, transitions, pronunciations) and that of the acoustics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


class _Graph:
    """What both kinds of lattice know of their states and arcs."""

    offsets: np.ndarray
    nextstates: np.ndarray
    final_graph: np.ndarray

    @property
    def is_final(self) -> np.ndarray:
        """Whether each state is final, shape ``(S,)``."""
        return self.final_graph < np.inf

    @property
    def sources(self) -> np.ndarray:
        """The state that each arc leaves, int64 of shape ``(A,)``."""
        return np.repeat(np.arange(self.num_states), np.diff(self.offsets))

    @property
    def num_states(self) -> int:
        """The number of states, S."""
        return len(self.final_graph)

    @property
    def num_arcs(self) -> int:
        """The number of arcs, A."""
        return len(self.nextstates)


@dataclass(frozen=True)
class Lattice(_Graph):
    """A state-level lattice of S states and A arcs: one transition-id, or none, per arc.

    Attributes:
        start: the start state, or -1 if the lattice is empty.
        offsets: int64 of shape ``(S + 1,)``; state s has the arcs ``offsets[s]`` to ``offsets[s + 1]``.
        ilabels: transition-ids, 0 for none; int32 of shape ``(A,)``.
        olabels: words, 0 for none; int32 of shape ``(A,)``.
        graph_costs, acoustic_costs: float32 of shape ``(A,)``.
        nextstates: int32 of shape ``(A,)``.
        final_graph, final_acoustic: float32 of shape ``(S,)``; inf for a state that is not final.
    """

    start: int
    offsets: np.ndarray
    ilabels: np.ndarray
    olabels: np.ndarray
    graph_costs: np.ndarray
    acoustic_costs: np.ndarray
    nextstates: np.ndarray
    final_graph: np.ndarray
    final_acoustic: np.ndarray


@dataclass(frozen=True)
class CompactLattice(_Graph):
    """A lattice of S states and A arcs: a word, or none, and a string of transition-ids per arc.

    Attributes:
        start: the start state, or -1 if the lattice is empty.
        offsets: int64 of shape ``(S + 1,)``; state s has the arcs ``offsets[s]`` to ``offsets[s + 1]``.
        labels: words, 0 for none; int32 of shape ``(A,)``.
        graph_costs, acoustic_costs: float32 of shape ``(A,)``.
        strings: the transition-ids of each arc, A arrays of int32.
        nextstates: int32 of shape ``(A,)``.
        final_graph, final_acoustic: float32 of shape ``(S,)``; inf for a state that is not final.
        final_strings: the transition-ids that end at a final state, S arrays of int32; empty where not final.
    """

    start: int
    offsets: np.ndarray
    labels: np.ndarray
    graph_costs: np.ndarray
    acoustic_costs: np.ndarray
    strings: Sequence[np.ndarray]
    nextstates: np.ndarray
    final_graph: np.ndarray
    final_acoustic: np.ndarray
    final_strings: Sequence[np.ndarray]


def joined(strings: Sequence[np.ndarray]) -> np.ndarray:
    """The transition-ids of all strings end to end, int32."""
    return np.concatenate([*strings, np.empty(0, dtype=np.int32)]).astype(np.int32, copy=False)


def lengths_of(strings: Sequence[np.ndarray]) -> np.ndarray:
    """The length of each string, int64."""
    return np.fromiter(map(len, strings), dtype=np.int64, count=len(strings))


def parted(ids: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """The inverse of ``joined``: strings of these lengths, views of ``ids``."""
    ends = np.cumsum(lengths)
    return [ids[begin:end] for begin, end in zip((ends - lengths).tolist(), ends.tolist(), strict=True)]
