"""What a search leaves: every path near the best, one transition-id or none an arc, in layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dkt.errors import DktError
from dkt.hmm.grouping import offsets_of
from dkt.hmm.lattice import Lattice
from dkt.hmm.search_graph import AcousticCosts, SearchGraph
from dkt.hmm.token_passing import Frame


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


def collect(
    graph: SearchGraph, frames: Sequence[Frame], acoustic: AcousticCosts, final: np.ndarray
) -> RawLattice:
    """The lattice of pruned tokens.

    Args:
        graph: that was searched.
        frames: the tokens before the first frame of speech, after it, and so on.
        acoustic: of the utterance.
        final: final costs of the last tokens.
    """
    numbers, layers = _number_states(frames)
    num_states = int(layers[-1])
    parts = [_arcs_of(graph, frames, acoustic, numbers, index) for index in range(len(frames))]
    sources, targets, ilabels, olabels, graph_costs, acoustic_costs = (
        np.concatenate(columns) for columns in zip(*parts, strict=True)
    )
    order = np.lexsort((sources, targets))
    alpha = np.empty(num_states)
    final_costs = np.full(num_states, np.inf)
    for frame, number in zip(frames, numbers, strict=True):
        alpha[number] = frame.costs
    final_costs[numbers[-1]] = final
    start = numbers[0][np.flatnonzero(frames[0].states == graph.start)[0]]
    return RawLattice(
        int(start),
        layers,
        alpha,
        final_costs,
        sources[order],
        targets[order],
        ilabels[order],
        olabels[order],
        graph_costs[order],
        acoustic_costs[order],
    )


def _number_states(frames: Sequence[Frame]) -> tuple[list[np.ndarray], np.ndarray]:
    """The number of each token of each frame, and where the layers begin and end."""
    numbers: list[np.ndarray] = []
    layers = [0]
    for frame in frames:
        levels = _levels(frame)
        order = np.argsort(levels, kind="stable")
        number = np.empty(len(levels), dtype=np.int32)
        number[order] = layers[-1] + np.arange(len(levels), dtype=np.int32)
        numbers.append(number)
        layers += (layers[-1] + np.cumsum(np.bincount(levels))).tolist()
    return numbers, np.array(layers, dtype=np.int64)


def _levels(frame: Frame) -> np.ndarray:
    """The length of the longest chain of arcs without a frame that leads to each token."""
    levels = np.zeros(len(frame.states), dtype=np.int64)
    links = frame.inner
    for _ in range(len(levels) + 1):
        higher = levels[links.sources] + 1
        late = higher > levels[links.targets]
        if not late.any():
            break
        np.maximum.at(levels, links.targets[late], higher[late])
    else:
        raise DktError("the graph has a loop of arcs without frames", hint="make it again without them")
    return levels


def _arcs_of(
    graph: SearchGraph,
    frames: Sequence[Frame],
    acoustic: AcousticCosts,
    numbers: Sequence[np.ndarray],
    index: int,
) -> tuple[np.ndarray, ...]:
    """Sources, targets, labels and costs of the arcs that leave the tokens of one frame."""
    frame = frames[index]
    inner, outer = graph.nonemitting, graph.emitting
    after = numbers[index + 1] if index + 1 < len(frames) else numbers[index]
    ilabels = outer.ilabels[frame.outer.arcs]
    acoustic_costs = acoustic.at(index, graph.pdfs[frame.outer.arcs]) if len(ilabels) else np.empty(0)

    def both(of_inner: np.ndarray, of_outer: np.ndarray) -> np.ndarray:
        return np.concatenate([of_inner, of_outer])

    links_in, links_out = frame.inner, frame.outer
    return (
        numbers[index][both(links_in.sources, links_out.sources)],
        both(numbers[index][links_in.targets], after[links_out.targets]),
        both(np.zeros(len(links_in), dtype=np.int32), ilabels),
        both(inner.olabels[links_in.arcs], outer.olabels[links_out.arcs]),
        both(inner.weights[links_in.arcs], outer.weights[links_out.arcs]),
        both(np.zeros(len(links_in)), acoustic_costs),
    )
