"""Pruning the arcs of a decoding that lie on no whole path near the best one.

As ``LatticeFasterDecoderTpl::PruneForwardLinks`` (``decoder/lattice-faster-decoder.cc``): going backwards,
the extra cost of a token is how much worse than the best path to the end the best path through it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dkt.decoder.search_errors import loop_without_frames
from dkt.decoder.search_graph import AcousticCosts, ArcSet, SearchGraph
from dkt.decoder.token_passing import Frame, Links
from dkt.lat.raw_lattice import RawLattice


def prune(
    graph: SearchGraph, frames: Sequence[Frame], acoustic: AcousticCosts, first: int, beam: float
) -> None:
    """Prune the arcs of consecutive frames, in place.

    Args:
        graph: that was searched.
        frames: tokens, of which the last have their extra costs.
        acoustic: of the utterance.
        first: the frame of speech that comes after the first of ``frames``. Above 0 the tokens of the first
            of them stay, as arcs of earlier frames lead to them.
        beam: how much worse than the best a path may be.
    """
    last = frames[-1]
    last.extra, last.inner = _through(last, last.extra, graph.nonemitting, beam)
    kept = _compact(last) if len(last.outer) == 0 else None
    for index in range(len(frames) - 2, -1, -1):
        frame = frames[index]
        if kept is not None:
            targets = kept[frame.outer.targets]
            frame.outer = Links(frame.outer.sources, targets, frame.outer.arcs).where(targets >= 0)
        extra = np.full(len(frame.states), np.inf)
        slack = _slack(frame, frames[index + 1], frame.outer, graph.emitting)
        slack += acoustic.at(first + index, graph.pdfs[frame.outer.arcs])
        frame.outer = _keep(frame.outer, slack, beam, extra)
        frame.extra, frame.inner = _through(frame, extra, graph.nonemitting, beam)
        kept = _compact(frame) if index or first == 0 else None


def _slack(frame: Frame, after: Frame, links: Links, arcs: ArcSet) -> np.ndarray:
    """Of each arc, how much worse than the best the best path over it is, but for its acoustic cost."""
    return after.extra[links.targets] + (
        frame.costs[links.sources] + arcs.weights[links.arcs] - after.costs[links.targets]
    )


def _keep(links: Links, slack: np.ndarray, beam: float, extra: np.ndarray) -> Links:
    """The arcs within the beam, whose extra costs become those of their sources where they are lower."""
    keep = slack <= beam
    links = links.where(keep)
    # Rounding may take what is the best path itself a little below zero.
    np.minimum.at(extra, links.sources, np.maximum(slack[keep], 0.0))
    return links


def _through(frame: Frame, extra: np.ndarray, arcs: ArcSet, beam: float) -> tuple[np.ndarray, Links]:
    """Extra costs that know of the arcs without a frame, and those of these arcs that are kept."""
    frame.extra = extra.copy()
    # One pass more for every further arc of a chain; none is pruned before all extra costs are known.
    while len(frame.inner):
        before = frame.extra.copy()
        slack = _slack(frame, frame, frame.inner, arcs)
        links = _keep(frame.inner, slack, beam, frame.extra)
        if np.array_equal(before, frame.extra):
            return frame.extra, links
    return frame.extra, frame.inner


def _compact(frame: Frame) -> np.ndarray:
    """Drop the tokens that no path within the beam goes through; for each its new number, -1 for none."""
    keep = np.isfinite(frame.extra)
    numbers = np.where(keep, np.cumsum(keep) - 1, -1).astype(np.int32)
    frame.states, frame.costs, frame.extra = frame.states[keep], frame.costs[keep], frame.extra[keep]
    for links in (frame.inner, frame.outer):
        links.sources = numbers[links.sources]
    frame.inner.targets = numbers[frame.inner.targets]
    return numbers


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
        raise loop_without_frames()
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
