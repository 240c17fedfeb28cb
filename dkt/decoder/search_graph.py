"""A decoding graph laid out for a search by array operations: arcs with and without a frame apart."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dkt.base.grouping import expand
from dkt.fstext.fst import FstArrays


@dataclass(frozen=True)
class ArcSet:
    """Some arcs of a graph of S states, A of them, in the order of the states that they leave.

    Attributes:
        offsets: int64 of shape ``(S + 1,)``; those of state s are ``offsets[s]`` to ``offsets[s + 1]``.
        ilabels, olabels, nextstates: int32 of shape ``(A,)``.
        weights: float64 of shape ``(A,)``.
    """

    offsets: np.ndarray
    ilabels: np.ndarray
    olabels: np.ndarray
    weights: np.ndarray
    nextstates: np.ndarray

    @classmethod
    def of(cls, graph: FstArrays, mask: np.ndarray) -> ArcSet:
        """The arcs of a graph that a mask of shape ``(num_arcs,)`` picks."""
        counted = np.concatenate([[0], np.cumsum(mask)])
        arcs = graph.arcs[mask]
        ilabels, olabels, nextstates = (arcs[name].copy() for name in ("ilabel", "olabel", "nextstate"))
        return cls(counted[graph.offsets], ilabels, olabels, arcs["weight"].astype(np.float64), nextstates)

    def leaving(self, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The arcs that leave the states.

        Args:
            states: int of shape ``(n,)``.

        Returns:
            For each arc the place of its state in ``states``, and the arc's index.
        """
        return expand(self.offsets[states], self.offsets[states + 1])


@dataclass(frozen=True)
class AcousticCosts:
    """The scaled acoustic costs of an utterance, worked out where they are asked for.

    Attributes:
        loglikes: log-likelihoods of the pdfs, shape ``(T, P)``.
        scale: factor on them.
    """

    loglikes: np.ndarray
    scale: float

    def at(self, frame: int, pdfs: np.ndarray) -> np.ndarray:
        """The costs of some pdfs at a frame, float64."""
        return -self.scale * self.loglikes[frame, pdfs].astype(np.float64)


@dataclass(frozen=True)
class SearchGraph:
    """A decoding graph.

    Attributes:
        start: the start state.
        final: final costs, float64 of shape ``(S,)``; inf where not final.
        emitting: the arcs that take a frame; their input labels are transition-ids.
        pdfs: the pdf of each of them, int32.
        nonemitting: the others.
    """

    start: int
    final: np.ndarray
    emitting: ArcSet
    pdfs: np.ndarray
    nonemitting: ArcSet

    @cached_property
    def has_nonemitting(self) -> np.ndarray:
        """Whether each state has arcs without a frame, shape ``(S,)``."""
        return np.diff(self.nonemitting.offsets) > 0

    @classmethod
    def of(cls, graph: FstArrays, id2pdf: np.ndarray) -> SearchGraph:
        """Lay out a graph; ``id2pdf`` has the pdf of every transition-id, index 0 is not used."""
        emits = graph.arcs["ilabel"] != 0
        emitting = ArcSet.of(graph, emits)
        pdfs = np.asarray(id2pdf)[emitting.ilabels].astype(np.int32)
        return cls(graph.start, graph.final.astype(np.float64), emitting, pdfs, ArcSet.of(graph, ~emits))
