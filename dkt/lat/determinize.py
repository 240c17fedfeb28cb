"""Determinisation of lattices: one path for every sequence of words within the beam, the best there is.

The result is what Kaldi's ``DeterminizeLatticePruned`` gives (``lat/determinize-lattice-pruned.cc``; Povey et
al., "Generating exact lattices in the WFST framework", 2012): a state stands for the set of all places, each
with a residual cost and a residual string of transition-ids, where one can be after the words so far. States
are taken in the order of the best whole path through them, so that what lies outside the beam is never made,
and stopping early leaves the lattice of a narrower beam.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from dkt.base.threads import check_abandoned
from dkt.lat.lattice import CompactLattice
from dkt.lat.word_closure import TID_BYTES, TOLERANCE, LegStrings, WordClosure
from dkt.lat.word_steps import WordStep, words_after

#: Residual costs that differ by less are taken for equal, as with Kaldi's --delta: sums in another order.
DELTA = 1.0 / 1024.0
#: What a place takes besides its string, about.
PLACE_BYTES = 64


@dataclass(frozen=True)
class Determinized:
    """A determinised lattice.

    Attributes:
        lattice: with acoustic costs as the closure has them; states in topological order. Empty if no path
            is whole.
        beam: within which it is whole: smaller than was asked for if memory ran out.
    """

    lattice: CompactLattice
    beam: float


@dataclass(frozen=True)
class _Places:
    """Where one can be: junctions, each once, with residual costs and the bytes of residual strings."""

    junctions: np.ndarray
    graph: np.ndarray
    acoustic: np.ndarray
    strings: list[bytes]

    def key(self) -> tuple[bytes, bytes, tuple[bytes, ...]]:
        return self.junctions.tobytes(), _rounded(self.graph + self.acoustic), tuple(self.strings)


@dataclass(frozen=True)
class _Arc:
    """A word; or, with ``nextstate`` -1, the end."""

    label: int
    graph: float
    acoustic: float
    string: bytes
    nextstate: int


@dataclass
class _State:
    places: _Places
    rest: float  # cost of the best path from here to the end
    forward: float = np.inf  # and from the start to here
    arcs: list[_Arc] | None = field(default=None)  # None: not made yet


def determinize(closure: WordClosure, beam: float, max_mem: int = 0) -> Determinized:
    """Determinise what was found of an utterance.

    Args:
        closure: of its raw lattice, made with this beam or a larger one.
        beam: paths worse than the best by more than this are left out.
        max_mem: about how many bytes the places may take; with more the lattice ends at a narrower beam. 0:
            no limit.
    """
    states = _States(closure, beam)
    beam = states.make(max_mem)
    return Determinized(states.to_lattice(), beam)


class _States:
    """The states of a determinised lattice, which are made on the way."""

    def __init__(self, closure: WordClosure, beam: float) -> None:
        self.closure = closure
        self.beam = beam
        self.best = float(closure.entry_beta[0])
        self.states: list[_State] = []
        self._numbers: dict[tuple[bytes, bytes, tuple[bytes, ...]], int] = {}
        self._queue: list[tuple[float, int]] = []
        self._legs = LegStrings(closure)
        self._from_one: dict[tuple[bytes, bytes], _Arc] = {}
        self._known_used: dict[tuple[bytes, bytes], np.ndarray] = {}
        self._bytes = 0
        legs = np.arange(closure.leg_offsets[0], closure.leg_offsets[1])
        if not (len(legs) and np.isfinite(self.best)):
            return
        legs = legs[np.argsort(closure.leg_junctions[legs])]
        costs = closure.leg_graph[legs], closure.leg_acoustic[legs]
        used = self._used(closure.leg_junctions[legs], *costs)
        # Nothing that all paths begin with is taken out: no arc leads to the start.
        strings = [self._legs[leg] for leg in legs[used].tolist()]
        places = _Places(closure.leg_junctions[legs][used], costs[0][used], costs[1][used], strings)
        self._reach(self._number(places), 0.0)

    def make(self, max_mem: int) -> float:
        """Make the states within the beam, the best first; gives the beam within which all are there."""
        has_best = False
        while self._queue:
            check_abandoned()
            cost, number = heapq.heappop(self._queue)
            state = self.states[number]
            if state.arcs is not None:
                continue
            # The best path is what there must be at least.
            if max_mem and self._bytes > max_mem and has_best:
                return cost - self.best
            state.arcs = [*self._leave(state), *self._end(state)]
            has_best |= any(
                arc.nextstate < 0 and state.forward + arc.graph + arc.acoustic <= self.best + TOLERANCE
                for arc in state.arcs
            )
        return self.beam

    def _reach(self, number: int, forward: float) -> None:
        state = self.states[number]
        if state.arcs is None and forward < state.forward:
            state.forward = forward
            heapq.heappush(self._queue, (forward + state.rest, number))

    def _number(self, places: _Places) -> int:
        number = self._numbers.setdefault(places.key(), len(self.states))
        if number == len(self.states):
            rest = places.graph + places.acoustic + self.closure.beta[places.junctions]
            self.states.append(_State(places, float(rest.min())))
            self._bytes += sum(map(len, places.strings)) + PLACE_BYTES * len(places.strings)
        return number

    def _used(self, junctions: np.ndarray, graph: np.ndarray, acoustic: np.ndarray) -> np.ndarray:
        """The rows of those places that the best way to anywhere comes from.

        The others are dropped: they change nothing but that sets of places would not be found to be equal.
        """
        costs = graph + acoustic
        # Most sets are met again and again.
        key = junctions.tobytes(), _rounded(costs)
        used = self._known_used.get(key)
        if used is None:
            limit = float((costs + self.closure.beta[junctions]).min()) + self.beam + TOLERANCE
            is_used = np.zeros(len(junctions), dtype=bool)
            for step in words_after(self.closure, junctions, graph, acoustic, limit, self.beam):
                is_used[step.owners] = True
            final = costs + self.closure.final[junctions]
            is_used[np.argmin(final)] |= bool(np.isfinite(final).any())
            # Costs so large that their sums are rounded by more than the tolerance.
            is_used |= not is_used.any()
            used = self._known_used[key] = np.flatnonzero(is_used)
        return used

    def _leave(self, state: _State) -> Iterator[_Arc]:
        """The arcs of a state whose best cost is known."""
        places = state.places
        limit = self.best + self.beam + TOLERANCE - state.forward
        for step in words_after(
            self.closure, places.junctions, places.graph, places.acoustic, limit, self.beam
        ):
            arc = self._arc(places, step)
            self._reach(arc.nextstate, state.forward + arc.graph + arc.acoustic)
            yield arc

    def _arc(self, places: _Places, step: WordStep) -> _Arc:
        """The arc of a word; where all places come from one, all but what that brings may be known."""
        owner = int(step.owners[0])
        if (step.owners != owner).any():
            return self._arrive(step, [places.strings[o] for o in step.owners.tolist()])
        key = step.words.tobytes(), step.legs.tobytes()
        graph, acoustic = float(places.graph[owner]), float(places.acoustic[owner])
        arc = self._from_one.get(key)
        if arc is None:
            alone = replace(step, graph=step.graph - graph, acoustic=step.acoustic - acoustic)
            arc = self._from_one[key] = self._arrive(alone, [b""] * len(step.legs))
        return replace(
            arc,
            graph=arc.graph + graph,
            acoustic=arc.acoustic + acoustic,
            string=places.strings[owner] + arc.string,
        )

    def _arrive(self, step: WordStep, before: list[bytes]) -> _Arc:
        """The arc to the places after a step, without what they share: costs and the beginning of strings."""
        best = int(np.argmin(step.graph + step.acoustic + self.closure.beta[step.junctions]))
        graph, acoustic = float(step.graph[best]), float(step.acoustic[best])
        residual = step.graph - graph, step.acoustic - acoustic
        used = self._used(step.junctions, *residual)
        tids, legs = self.closure.word_tids[step.words[used]].tolist(), step.legs[used].tolist()
        strings = [
            b"".join((before[row], tid.to_bytes(TID_BYTES, "little") if tid else b"", self._legs[leg]))
            for row, tid, leg in zip(used.tolist(), tids, legs, strict=True)
        ]
        # What the first and the last of sorted strings share, all share.
        size = _common(min(strings), max(strings))
        rest = [string[size:] for string in strings]
        places = _Places(step.junctions[used], residual[0][used], residual[1][used], rest)
        return _Arc(step.label, graph, acoustic, strings[0][:size], self._number(places))

    def _end(self, state: _State) -> Iterator[_Arc]:
        places = state.places
        graph = places.graph + self.closure.final[places.junctions]
        best = int(np.argmin(graph + places.acoustic))
        total = state.forward + graph[best] + places.acoustic[best]
        if total <= self.best + self.beam + TOLERANCE:
            yield _Arc(0, float(graph[best]), float(places.acoustic[best]), places.strings[best], -1)

    def to_lattice(self) -> CompactLattice:
        """The states that were made and lead to the end, in topological order."""
        order = self._ordered()
        numbers = {state: number for number, state in enumerate(order)}
        arcs = [[a for a in self.states[s].arcs or [] if a.nextstate in numbers] for s in order]
        flat = [arc for leaving in arcs for arc in leaving]
        ends = [next((a for a in self.states[s].arcs or [] if a.nextstate < 0), None) for s in order]
        return CompactLattice(
            start=0 if order else -1,
            offsets=np.cumsum([0, *map(len, arcs)], dtype=np.int64),
            labels=np.array([arc.label for arc in flat], dtype=np.int32),
            graph_costs=np.array([arc.graph for arc in flat], dtype=np.float32),
            acoustic_costs=np.array([arc.acoustic for arc in flat], dtype=np.float32),
            strings=[_tids(arc.string) for arc in flat],
            nextstates=np.array([numbers[arc.nextstate] for arc in flat], dtype=np.int32),
            final_graph=np.array([end.graph if end else np.inf for end in ends], dtype=np.float32),
            final_acoustic=np.array([end.acoustic if end else np.inf for end in ends], dtype=np.float32),
            final_strings=[_tids(end.string if end else b"") for end in ends],
        )

    def _ordered(self) -> list[int]:
        """Depth first, children before parents, turned round; states that lead nowhere are left out."""
        useful: dict[int, bool] = {}
        finished: list[int] = []
        stack = [(state, iter(self.states[state].arcs or [])) for state in range(len(self.states))[:1]]
        while stack:
            state, arcs = stack[-1]
            child = next((a.nextstate for a in arcs if a.nextstate >= 0 and a.nextstate not in useful), None)
            if child is not None:
                stack.append((child, iter(self.states[child].arcs or [])))
                continue
            stack.pop()
            leaving = self.states[state].arcs or []
            useful[state] = any(a.nextstate < 0 or useful[a.nextstate] for a in leaving)
            if useful[state]:
                finished.append(state)
        return finished[::-1]


def _rounded(costs: np.ndarray) -> bytes:
    return np.round(costs / DELTA).astype(np.int64).tobytes()


def _common(first: bytes, second: bytes) -> int:
    """How many bytes of whole transition-ids two strings have in common at their beginning."""
    size = min(len(first), len(second))
    if first[:size] == second[:size]:
        return size
    differ = np.frombuffer(first[:size], dtype="<i4") != np.frombuffer(second[:size], dtype="<i4")
    return int(np.argmax(differ)) * TID_BYTES


def _tids(string: bytes) -> np.ndarray:
    return np.frombuffer(string, dtype="<i4")
