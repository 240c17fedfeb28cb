"""Giving up the arcs of a search that lie on no whole path near the best one.

As ``LatticeFasterDecoderTpl::PruneForwardLinks`` (``decoder/lattice-faster-decoder.cc``): going backwards,
the extra cost of a token is how much worse than the best path to the end the best path through it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dkt.hmm.search_graph import AcousticCosts, ArcSet, SearchGraph
from dkt.hmm.token_passing import Frame, Links


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
    # One pass more for every further arc of a chain; none is given up before all extra costs are known.
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
