"""The HMM states of a transcript in a row, with the places where silence may stand between them."""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dkt.decoder.viterbi import AlignmentError
from dkt.fstext.fst import FstArrays

_TIE_BREAK = 1.0e-3
_COST_OF_SILENCE = 1.0e3  # the row is of speech alone wherever the graph has such a path


@dataclass(frozen=True)
class StateRow:
    """HMM states that follow one another.

    Attributes:
        labels: transition-ids that enter them, shape ``(N,)``, int32.
        loops: transition-ids of their self-loops, 0 where there is none, shape ``(N,)``, int32.
    """

    labels: np.ndarray
    loops: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, places: slice) -> StateRow:
        return StateRow(self.labels[places], self.loops[places])

    def spread(self, num_frames: int) -> np.ndarray:
        """Transition-ids of ``num_frames`` frames, shared out evenly over the states.

        Raises:
            AlignmentError: there are fewer frames than states, or more and no state that can take them.
        """
        counts = np.ones(len(self), dtype=np.int64)
        with_loop = np.flatnonzero(self.loops)
        extra = num_frames - len(self)
        if extra < 0:
            raise AlignmentError("there are fewer frames than its transcript needs")
        if extra:
            if not len(with_loop):
                raise AlignmentError("its graph has no self-loop to stretch")
            counts[with_loop] += extra // len(with_loop)
            counts[with_loop[: extra % len(with_loop)]] += 1
        ids = np.repeat(self.loops, counts)
        ids[np.cumsum(counts) - counts] = self.labels
        return ids


@dataclass(frozen=True)
class StateChain:
    """The shortest path through a training graph, without the silence that is optional.

    Attributes:
        states: the states of the path.
        silent: which of them are of silence all the same, because the transcript demands it, shape ``(N,)``.
        pauses: optional silence by its place: before the state of that number, or at the end for number N.
        graph_cost: of the path: pronunciations, and the choice of no silence.
    """

    states: StateRow
    silent: np.ndarray
    pauses: dict[int, StateRow]
    graph_cost: float


def state_chain(fst: FstArrays, is_silence: np.ndarray, utt: str) -> StateChain:
    """The states of a transcript, from its training graph.

    Args:
        fst: the graph over transition-ids, each self-loop behind the arc that enters its state.
        is_silence: shape ``(num_transition_ids + 1,)``, the transition-ids of the optional silence.
        utt: the utterance; which of several shortest paths is taken depends on its name. Silence has many,
            and pronunciations may be alike: chance spreads the utterances over them.

    Raises:
        AlignmentError: the graph has no path.
    """
    rng = np.random.default_rng(zlib.crc32(utt.encode("utf-8")))
    labels, targets = fst.arcs["ilabel"], fst.arcs["nextstate"]
    silent = is_silence[labels]
    costs = (labels != 0) * np.where(silent, _COST_OF_SILENCE, 1.0) + _TIE_BREAK * rng.random(len(labels))
    walks = _Walks(fst, costs)
    final = np.isfinite(fst.final)
    path = walks.shortest(fst.start, np.ones(len(labels), dtype=bool), lambda state, _: bool(final[state]))
    if path is None:
        raise AlignmentError("its graph has no path")
    loops = _self_loops(fst)

    def row(arcs: list[int]) -> StateRow:
        emitting = [arc for arc in arcs if labels[arc] != 0]
        return StateRow(labels[emitting], loops[targets[emitting]])

    end = int(targets[path[-1]]) if path else fst.start
    graph_cost = float(fst.arcs["weight"][path].sum()) + float(fst.final[end])
    emitting = [arc for arc in path if labels[arc] != 0]
    pauses = {place: row(arcs) for place, arcs in _pauses(walks, emitting, silent, final).items()}
    return StateChain(row(path), silent[emitting], pauses, graph_cost)


def _pauses(
    walks: _Walks, emitting: list[int], silent: np.ndarray, final: np.ndarray
) -> dict[int, list[int]]:
    """Shortest walks through silence from one arc of a path to the next, by the place of the next."""
    is_quiet = silent | (np.array(walks.labels) == 0)
    pauses = {}
    for place in range(len(emitting) + 1):
        before = emitting[place - 1] if place else None
        after = emitting[place] if place < len(emitting) else None
        if any(arc is not None and silent[arc] for arc in (before, after)):
            continue
        start = walks.fst.start if before is None else walks.targets[before]

        def reached(state: int, emitted: bool, after: int | None = after) -> bool:
            if not emitted or after is None:
                return emitted and bool(final[state])
            return any(walks.is_same(arc, after) for arc in walks.leaving(state))

        if any(is_quiet[arc] and walks.targets[arc] != start for arc in walks.leaving(start)):
            arcs = walks.shortest(start, is_quiet, reached)
            if arcs is not None:
                pauses[place] = arcs
    return pauses


class _Walks:
    """Shortest walks over the arcs of a graph that are not self-loops (Dijkstra)."""

    def __init__(self, fst: FstArrays, costs: np.ndarray) -> None:
        self.fst = fst
        self.labels = fst.arcs["ilabel"].tolist()
        self.targets = fst.arcs["nextstate"].tolist()
        self._offsets = fst.offsets.tolist()
        self._costs = costs.tolist()

    def leaving(self, state: int) -> range:
        """The arcs that leave a state."""
        return range(self._offsets[state], self._offsets[state + 1])

    def is_same(self, arc: int, other: int) -> bool:
        """Whether two arcs have the same label and lead to the same state."""
        return self.labels[arc] == self.labels[other] and self.targets[arc] == self.targets[other]

    def shortest(
        self, start: int, allowed: np.ndarray, reached: Callable[[int, bool], bool]
    ) -> list[int] | None:
        """The arcs of the cheapest walk to where ``reached(state, whether any arc was emitting)`` holds."""
        queue: list[tuple[float, int, bool, int]] = [(0.0, start, False, -1)]
        steps: list[tuple[int, int]] = []  # an arc, and the number of the step before
        seen: set[tuple[int, bool]] = set()
        while queue:
            cost, state, emitted, step = heapq.heappop(queue)
            if (state, emitted) in seen:
                continue
            seen.add((state, emitted))
            if reached(state, emitted):
                return self._trace_back(steps, step)
            for arc in self.leaving(state):
                if self.targets[arc] != state and allowed[arc]:
                    place = (self.targets[arc], emitted or self.labels[arc] != 0)
                    heapq.heappush(queue, (cost + self._costs[arc], *place, len(steps)))
                    steps.append((arc, step))
        return None

    @staticmethod
    def _trace_back(steps: list[tuple[int, int]], step: int) -> list[int]:
        arcs = []
        while step >= 0:
            arc, step = steps[step]
            arcs.append(arc)
        return arcs[::-1]


def _self_loops(fst: FstArrays) -> np.ndarray:
    """The label of each state's self-loop or 0, shape ``(S,)``, int32."""
    sources = fst.sources
    arcs = np.flatnonzero((sources == fst.arcs["nextstate"]) & (fst.arcs["ilabel"] != 0))
    loops = np.zeros(fst.num_states, dtype=np.int32)
    loops[sources[arcs]] = fst.arcs["ilabel"][arcs]
    return loops
