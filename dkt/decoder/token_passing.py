"""Frame-synchronous beam search that keeps every path near the best one, for lattices.

The same tokens as Kaldi's ``LatticeFasterDecoder`` keeps (``decoder/lattice-faster-decoder.cc``), but all of
a frame at once: its arcs are arrays. Costs are double precision, so nothing is subtracted to keep them small.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from dkt.base.errors import DktError
from dkt.decoder.search_errors import negative_loop
from dkt.decoder.search_graph import AcousticCosts, SearchGraph


@dataclass
class Beams:
    """What bounds a search; names, defaults and meanings are those of ``latgen-faster-mapped``.

    Attributes:
        beam: paths worse than the best by more than this are pruned, in units of the scaled costs.
        max_active: at most about so many states are kept at a frame.
        min_active: at least so many are, whatever the beam.
        lattice_beam: a lattice keeps what is on a whole path worse than the best by no more than this.
        beam_delta: what is added to a beam that max_active or min_active made.
        prune_interval: frames between two prunings of what was kept.
    """

    beam: float = 16.0
    max_active: int = 2**31 - 1
    min_active: int = 200
    lattice_beam: float = 10.0
    beam_delta: float = 0.5
    prune_interval: int = 25

    def __post_init__(self) -> None:
        for name in ("beam", "lattice_beam", "beam_delta"):
            if not getattr(self, name) > 0.0:
                raise DktError(
                    f"--{name.replace('_', '-')} is {getattr(self, name)}, expected a number above 0"
                )
        if self.max_active < 2 or not 0 <= self.min_active <= self.max_active:
            raise DktError(
                f"--max-active is {self.max_active} and --min-active {self.min_active}, expected 2 or more, "
                "and no more than that"
            )
        if self.prune_interval < 1:
            raise DktError(f"--prune-interval is {self.prune_interval}, expected 1 or more")

    def cutoff(self, costs: np.ndarray) -> tuple[float, float]:
        """Which tokens go on (``LatticeFasterDecoderTpl::GetCutoff``).

        Args:
            costs: of the tokens of a frame, shape ``(n,)``.

        Returns:
            The cost up to which they do, and the beam for the next frame.
        """
        best = float(costs.min())
        within = best + self.beam
        if len(costs) > self.max_active:
            most = float(np.partition(costs, self.max_active)[self.max_active])
            if most < within:
                return most, most - best + self.beam_delta
        if len(costs) > self.min_active:
            least = (
                best if self.min_active == 0 else float(np.partition(costs, self.min_active)[self.min_active])
            )
            if least > within:
                return least, least - best + self.beam_delta
            return within, self.beam
        return np.inf, np.inf


@dataclass
class Links:
    """Arcs taken: from a token, to a token, and which arc of the graph; int32 arrays of one length."""

    sources: np.ndarray
    targets: np.ndarray
    arcs: np.ndarray

    def __len__(self) -> int:
        return len(self.arcs)

    def where(self, keep: np.ndarray) -> Links:
        """Those that a mask picks."""
        return Links(self.sources[keep], self.targets[keep], self.arcs[keep])

    @classmethod
    def none(cls) -> Links:
        """No links."""
        empty = np.empty(0, dtype=np.int32)
        return cls(empty, empty, empty)


@dataclass
class Frame:
    """The tokens between two frames, n of them, and the arcs that leave them.

    Attributes:
        states: of the graph, int32 of shape ``(n,)``, each once.
        costs: of the best path to each, float64 of shape ``(n,)``.
        inner: arcs without a frame, to tokens of this Frame.
        outer: arcs that take the next frame, to tokens of the next Frame.
        extra: how much worse than the best the best whole path through each token is, as far as known.
    """

    states: np.ndarray
    costs: np.ndarray
    inner: Links
    outer: Links = field(default_factory=Links.none)
    extra: np.ndarray = field(default_factory=lambda: np.empty(0))

    @property
    def num_links(self) -> int:
        """How many arcs are kept."""
        return len(self.inner) + len(self.outer)


class TokenPassing:
    """Passes tokens through a graph, frame by frame.

    Args:
        graph: what is searched.
        beams: how widely.
    """

    def __init__(self, graph: SearchGraph, beams: Beams) -> None:
        self.graph = graph
        self.beams = beams
        # The token of each state, -1 for none: always reset after use, as graphs are larger than frames.
        self._slots = np.full(len(graph.final), -1, dtype=np.int32)
        self._has_nonemitting = graph.has_nonemitting

    def begin(self) -> Frame:
        """The tokens before the first frame."""
        states = np.array([self.graph.start], dtype=np.int32)
        return self._close(states, np.zeros(1), self.beams.beam)

    def advance(self, frame: Frame, acoustic: AcousticCosts, t: int) -> Frame:
        """Take one frame.

        Args:
            frame: the tokens before it; gets its arcs that take the frame.
            acoustic: of the utterance.
            t: which frame it is.

        Returns:
            The tokens after it: none if no arc could be taken.
        """
        arcs = self.graph.emitting
        cutoff, beam = self.beams.cutoff(frame.costs)
        active = np.flatnonzero(frame.costs <= cutoff)
        owners, taken = arcs.leaving(frame.states[active])
        costs = frame.costs[active][owners] + arcs.weights[taken] + acoustic.at(t, self.graph.pdfs[taken])
        cutoff = costs.min(initial=np.inf) + beam
        keep = np.flatnonzero(costs < cutoff) if cutoff < np.inf else np.flatnonzero(costs < np.inf)
        taken, costs = taken[keep], costs[keep]
        states, targets = self._number(arcs.nextstates[taken])
        best = np.full(len(states), np.inf)
        np.minimum.at(best, targets, costs)
        frame.outer = Links(active[owners[keep]].astype(np.int32), targets, taken.astype(np.int32))
        return self._close(states, best, cutoff)

    def _number(self, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """States, each once, and for every one given its number among them."""
        self._slots[states] = np.arange(len(states), dtype=np.int32)
        unique = states[self._slots[states] == np.arange(len(states))]
        self._slots[unique] = np.arange(len(unique), dtype=np.int32)
        numbers = self._slots[states]
        self._slots[unique] = -1
        return unique, numbers

    def _close(self, states: np.ndarray, costs: np.ndarray, cutoff: float) -> Frame:
        """Follow the arcs without a frame, as long as they bring a token or lower a cost."""
        arcs = self.graph.nonemitting
        self._slots[states] = np.arange(len(states), dtype=np.int32)
        changed = np.flatnonzero(self._has_nonemitting[states])
        for _ in range(len(self.graph.final) + 1):
            owners, taken, reached = self._follow(states, costs, changed, cutoff)
            if not len(taken):
                break
            nextstates = arcs.nextstates[taken]
            new = nextstates[self._slots[nextstates] < 0]
            if len(new):
                new, _ = self._number(new)
                self._slots[new] = np.arange(len(states), len(states) + len(new), dtype=np.int32)
                states = np.concatenate([states, new])
                costs = np.concatenate([costs, np.full(len(new), np.inf)])
            targets = self._slots[nextstates]
            lower = reached < costs[targets]
            np.minimum.at(costs, targets[lower], reached[lower])
            changed = np.unique(targets[lower])
            changed = changed[self._has_nonemitting[states[changed]]]
        else:
            self._slots[:] = -1
            raise negative_loop()
        owners, taken, _ = self._follow(states, costs, np.flatnonzero(self._has_nonemitting[states]), cutoff)
        inner = Links(owners.astype(np.int32), self._slots[arcs.nextstates[taken]], taken.astype(np.int32))
        self._slots[states] = -1
        return Frame(states, costs, inner)

    def _follow(
        self, states: np.ndarray, costs: np.ndarray, tokens: np.ndarray, cutoff: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The arcs without a frame of some tokens, under the cutoff: token, arc and the cost behind it."""
        arcs = self.graph.nonemitting
        owners, taken = arcs.leaving(states[tokens])
        reached = costs[tokens][owners] + arcs.weights[taken]
        keep = reached < cutoff
        return tokens[owners[keep]], taken[keep], reached[keep]
