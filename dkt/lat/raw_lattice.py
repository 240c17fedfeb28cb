"""What a search leaves: every path near the best, one transition-id or none per arc, in layers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dkt.base.grouping import offsets_of
from dkt.lat.lattice import Lattice


@dataclass(frozen=True)
class RawLattice:
    """A lattice of S states and A arcs, which lead to higher layers and stand in the order of their targets.

    Attributes:
        start: the start state.
        layers: int64 of shape ``(number of layers + 1,)``; the states of layer k are ``layers[k]`` to
            ``layers[k + 1]``. No arc joins two states of a layer.
        alpha: cost of the best path to each state, float64 of shape ``(S,)``.
        final: final graph costs, float64 of shape ``(S,)``; inf where not final.
        sources, targets, ilabels, olabels: int32 of shape ``(A,)``.
        graph_costs, acoustic_costs: float64 of shape ``(A,)``; the latter are scaled.
    """

    start: int
    layers: np.ndarray
    alpha: np.ndarray
    final: np.ndarray
    sources: np.ndarray
    targets: np.ndarray
    ilabels: np.ndarray
    olabels: np.ndarray
    graph_costs: np.ndarray
    acoustic_costs: np.ndarray

    @property
    def num_states(self) -> int:
        """The number of states, S."""
        return len(self.alpha)

    @cached_property
    def costs(self) -> np.ndarray:
        """The whole cost of each arc, shape ``(A,)``."""
        return self.graph_costs + self.acoustic_costs

    @cached_property
    def offsets(self) -> np.ndarray:
        """Where the arcs to each state are: ``offsets[s]`` to ``offsets[s + 1]``, shape ``(S + 1,)``."""
        return np.searchsorted(self.targets, np.arange(self.num_states + 1))

    @cached_property
    def beta(self) -> np.ndarray:
        """Cost of the best path from each state to the end, final cost included; shape ``(S,)``."""
        beta = self.final.copy()
        arcs = self.offsets[self.layers]
        costs = self.costs
        # A layer's own costs are known before those of the arcs that lead to it.
        for begin, end in zip(arcs[-2::-1], arcs[:0:-1], strict=True):
            if end > begin:
                through = costs[begin:end] + beta[self.targets[begin:end]]
                np.minimum.at(beta, self.sources[begin:end], through)
        return beta

    def best_path(self) -> np.ndarray:
        """The arcs of the best path, in order."""
        state = int(np.argmin(self.alpha + self.final))
        path: list[int] = []
        while state != self.start:
            begin, end = self.offsets[state], self.offsets[state + 1]
            costs = self.alpha[self.sources[begin:end]] + self.costs[begin:end]
            path.append(int(begin + np.argmin(costs)))
            state = int(self.sources[path[-1]])
        return np.array(path[::-1], dtype=np.int64)

    def to_lattice(self, acoustic_scale: float = 1.0) -> Lattice:
        """As a lattice to write, with acoustic costs divided by the scale of the search."""
        order = np.argsort(self.sources, kind="stable")
        return Lattice(
            start=self.start,
            offsets=offsets_of(self.sources, self.num_states),
            ilabels=self.ilabels[order],
            olabels=self.olabels[order],
            graph_costs=self.graph_costs[order].astype(np.float32),
            acoustic_costs=(self.acoustic_costs[order] / acoustic_scale).astype(np.float32),
            nextstates=self.targets[order],
            final_graph=self.final.astype(np.float32),
            final_acoustic=np.where(np.isfinite(self.final), 0.0, np.inf).astype(np.float32),
        )
