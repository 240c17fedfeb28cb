"""Scaled costs of lattices, their best paths, at many scales at once, and the times of their states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dkt.base.errors import DktError
from dkt.lat.lattice import CompactLattice, lengths_of
from dkt.lat.order import topological_order

# So many costs of arcs are held at once: more points than that are taken in turn.
_MOST_COSTS = 1 << 22


@dataclass(frozen=True)
class CostScale:
    """How the costs of a lattice are weighed (``lattice-scale``, then ``lattice-add-penalty``).

    Attributes:
        lm_scale: factor on graph costs.
        acoustic_scale: factor on acoustic costs.
        word_ins_penalty: added to the scaled graph cost of every arc with a word.
    """

    lm_scale: float = 1.0
    acoustic_scale: float = 1.0
    word_ins_penalty: float = 0.0


@dataclass(frozen=True)
class BestPath:
    """The path of the smallest sum of costs, weighed as was asked for.

    Attributes:
        words: integers of ``words.txt``, those of arcs without a word left out.
        alignment: transition-ids, int32 of shape ``(T,)``.
        graph_cost: penalties included.
        acoustic_cost: of all frames.
    """

    words: list[int]
    alignment: np.ndarray
    graph_cost: float
    acoustic_cost: float


def scale_lattice(lattice: CompactLattice, scale: CostScale) -> CompactLattice:
    """A lattice with its costs weighed; final costs have no penalty."""
    is_word = lattice.labels != 0
    penalty = np.float32(scale.word_ins_penalty)
    return replace(
        lattice,
        graph_costs=_scaled(lattice.graph_costs, scale.lm_scale) + penalty * is_word.astype(np.float32),
        acoustic_costs=_scaled(lattice.acoustic_costs, scale.acoustic_scale),
        final_graph=_scaled(lattice.final_graph, scale.lm_scale),
        final_acoustic=_scaled(lattice.final_acoustic, scale.acoustic_scale),
    )


def _scaled(costs: np.ndarray, scale: float) -> np.ndarray:
    # In double precision and back, the scale itself in single precision: ties then fall as in Kaldi.
    scaled = costs.astype(np.float64)
    scaled[np.isfinite(costs)] *= np.float64(np.float32(scale))  # 0 times infinity would not be a number
    return scaled.astype(np.float32)


def best_path(lattice: CompactLattice, scale: CostScale = CostScale()) -> BestPath | None:
    """The best path at one scale; None if no path leads to a final state.

    Raises:
        DktError: the lattice has a cycle.
    """
    return best_paths(lattice, [scale])[0]


def best_paths(lattice: CompactLattice, scales: Sequence[CostScale]) -> list[BestPath | None]:
    """The best path at each scale, None where no path leads to a final state.

    Of equally good paths it is the one that Kaldi takes (``CompactLatticeShortestPath`` in
    ``lat/lattice-functions.cc``). Every arc is looked at once for all scales.

    Raises:
        DktError: the lattice has a cycle.
    """
    if lattice.start < 0:
        return [None] * len(scales)
    step = max(1, _MOST_COSTS // max(lattice.num_arcs, 1))
    order = topological_order(lattice)
    parts = (scales[begin : begin + step] for begin in range(0, len(scales), step))
    return [path for part in parts for path in _best_paths(lattice, part, order)]


def _best_paths(
    lattice: CompactLattice, scales: Sequence[CostScale], order: np.ndarray
) -> Iterator[BestPath | None]:
    scaled = [scale_lattice(lattice, scale) for scale in scales]
    arc_costs = np.stack([_total(each.graph_costs, each.acoustic_costs) for each in scaled], axis=1)
    costs = np.full((lattice.num_states, len(scales)), np.inf)
    costs[lattice.start] = 0.0
    best_arcs = np.full((lattice.num_states, len(scales)), -1)
    columns = np.arange(len(scales))
    sources = lattice.sources
    for state, arcs in incoming_arcs(lattice, order):
        candidates = costs[sources[arcs]] + arc_costs[arcs]
        best = candidates.argmin(axis=0)
        least = candidates[best, columns]
        # The start may have arcs from states that cannot be reached, at infinite cost.
        better = least < costs[state]
        costs[state] = np.where(better, least, costs[state])
        best_arcs[state] = np.where(better, arcs[best], -1)
    final = np.stack([_total(each.final_graph, each.final_acoustic) for each in scaled], axis=1)
    totals = (costs + final)[order]
    ends = order[totals.argmin(axis=0)]
    reached = np.isfinite(totals.min(axis=0))
    for column, (each, end, found) in enumerate(zip(scaled, ends, reached, strict=True)):
        yield _path(each, _trace(lattice, best_arcs[:, column], int(end)), int(end)) if found else None


def _total(graph: np.ndarray, acoustic: np.ndarray) -> np.ndarray:
    return graph.astype(np.float64) + acoustic.astype(np.float64)


def incoming_arcs(lattice: CompactLattice, order: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """The states that arcs lead to, in ``order``, each with these arcs in the order of their sources."""
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    targets = rank[lattice.nextstates]
    arcs = np.lexsort((rank[lattice.sources], targets))
    begins = np.searchsorted(targets[arcs], np.arange(len(order) + 1)).tolist()
    for place, state in enumerate(order.tolist()):
        if begins[place] < begins[place + 1]:
            yield state, arcs[begins[place] : begins[place + 1]]


def _trace(lattice: CompactLattice, best_arcs: np.ndarray, end: int) -> list[int]:
    arcs, state = [], end
    while (arc := int(best_arcs[state])) >= 0:
        arcs.append(arc)
        state = int(np.searchsorted(lattice.offsets, arc, side="right")) - 1
    return arcs[::-1]


def _path(lattice: CompactLattice, arcs: list[int], end: int) -> BestPath:
    strings = [*(lattice.strings[arc] for arc in arcs), lattice.final_strings[end]]
    graph = lattice.graph_costs[arcs].astype(np.float64).sum() + lattice.final_graph[end]
    acoustic = lattice.acoustic_costs[arcs].astype(np.float64).sum() + lattice.final_acoustic[end]
    return BestPath(
        words=[word for word in lattice.labels[arcs].tolist() if word],
        alignment=np.concatenate(strings),
        graph_cost=float(graph),
        acoustic_cost=float(acoustic),
    )


def count_frames(lattice: CompactLattice) -> int:
    """The number of frames of every path, 0 where there is no path (``CompactLatticeStateTimes``).

    Raises:
        DktError: paths differ in their numbers of frames, or the lattice has a cycle.
    """
    unknown = -1
    times = np.full(lattice.num_states, unknown)
    if lattice.start >= 0:
        times[lattice.start] = 0
    lengths, sources = lengths_of(lattice.strings), lattice.sources
    for state, arcs in incoming_arcs(lattice, topological_order(lattice)):
        arcs = arcs[times[sources[arcs]] != unknown]
        if len(arcs):
            times[state] = _the_one(times[sources[arcs]] + lengths[arcs])
    is_end = lattice.is_final & (times != unknown)
    ends = times + lengths_of(lattice.final_strings)
    return _the_one(ends[is_end]) if is_end.any() else 0


def _the_one(times: np.ndarray) -> int:
    if times.min() != times.max():
        raise DktError(f"paths of the lattice take {times.min()} and {times.max()} frames to one state")
    return int(times[0])


def count_arc_frames(lattice: CompactLattice) -> int:
    """Frames of all arcs together; by ``count_frames``, how many cross a frame (``CompactLatticeDepth``)."""
    return int(lengths_of(lattice.strings).sum() + lengths_of(lattice.final_strings).sum())
