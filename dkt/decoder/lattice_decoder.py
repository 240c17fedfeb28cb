"""From log-likelihoods to a lattice of every path near the best one."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np

from dkt.base.threads import check_abandoned
from dkt.decoder.decode_table import check_acoustic_scale, check_graph, check_loglikes
from dkt.decoder.native_search import NativeSearch, find_raw
from dkt.decoder.search_errors import TooManyLinksError, lost_in_rounding, no_final_state, no_path_left
from dkt.decoder.search_graph import AcousticCosts, SearchGraph
from dkt.decoder.token_lattice import collect, prune
from dkt.decoder.token_passing import Beams, Frame, TokenPassing
from dkt.fstext.fst import FstArrays
from dkt.lat.raw_lattice import RawLattice

logger = logging.getLogger(__name__)

# Arcs held at once, of 12 bytes each (and as much again for a moment): a beam that needs more is made
# smaller.
MAX_LINKS = 40_000_000
_BACK_OFF = 0.75


@dataclass(frozen=True)
class FoundLattice:
    """What was found of one utterance.

    Attributes:
        lattice: costs of the graph, and scaled acoustic costs.
        reached_final: whether a path ends in a final state; else every last state is taken for one.
        lattice_beam: within which paths are kept: smaller than was asked for if the arcs were too many.
    """

    lattice: RawLattice
    reached_final: bool
    lattice_beam: float


class LatticeSearcher:
    """Searches one graph for the lattices of one utterance after another.

    P is the number of pdfs, T the number of frames.

    Args:
        graph: transition-ids on the input, words on the output.
        id2pdf: the pdf of every transition-id, shape ``(num_transition_ids + 1,)``; index 0 is not used.
        beams: how widely to search, and how much to keep.
        acoustic_scale: factor on log-likelihoods.
        allow_partial: take every last state for a final one if no path ends in one.
        max_links: arcs held at once; with more the beam of the utterance is made smaller, with a warning.

    Raises:
        DktError: a setting is impossible, the graph is empty, or it belongs to another model.
    """

    def __init__(
        self,
        graph: FstArrays,
        id2pdf: np.ndarray,
        beams: Beams,
        acoustic_scale: float = 0.1,
        allow_partial: bool = False,
        max_links: int = MAX_LINKS,
    ) -> None:
        id2pdf = np.asarray(id2pdf)
        check_graph(graph, len(id2pdf) - 1)
        check_acoustic_scale(acoustic_scale)
        self.beams = beams
        self.acoustic_scale = acoustic_scale
        self.allow_partial = allow_partial
        self.max_links = max_links
        self.num_pdfs = int(id2pdf[1:].max()) + 1
        self._graph = SearchGraph.of(graph, id2pdf)
        self._native = NativeSearch.of(self._graph)

    def search(self, loglikes: np.ndarray, acoustic_scale: float | None = None) -> FoundLattice:
        """Find the lattice of one utterance.

        Args:
            loglikes: log-likelihoods of the pdfs, shape ``(T, P)``. -inf forbids a pdf.
            acoustic_scale: used instead of the searcher's own if given.

        Raises:
            NoPathError: every path was pruned, or none ends in a final state and ``allow_partial`` is off.
            DktError: there is no frame, a wrong number of pdfs, or a score is NaN or +inf.
        """
        check_loglikes(loglikes, self.num_pdfs)
        scale = self.acoustic_scale if acoustic_scale is None else acoustic_scale
        acoustic = AcousticCosts(loglikes, scale)
        beams = self.beams
        while True:
            try:
                return self._search(acoustic, beams)
            except TooManyLinksError:
                smaller = replace(
                    beams, beam=beams.beam * _BACK_OFF, lattice_beam=beams.lattice_beam * _BACK_OFF
                )
                logger.warning(
                    "the decoder held more than %d arcs: beams %g and %g instead of %g and %g",
                    self.max_links,
                    smaller.beam,
                    smaller.lattice_beam,
                    beams.beam,
                    beams.lattice_beam,
                )
                beams = smaller

    def _search(self, acoustic: AcousticCosts, beams: Beams) -> FoundLattice:
        if self._native is not None:
            found = find_raw(self._native, acoustic, beams, self.max_links, self.allow_partial)
            return FoundLattice(*found, beams.lattice_beam)
        passing = TokenPassing(self._graph, beams)
        frames = [passing.begin()]
        num_links = 0
        for t in range(len(acoustic.loglikes)):
            check_abandoned()
            frames.append(passing.advance(frames[-1], acoustic, t))
            if len(frames[-1].states) == 0:
                raise no_path_left(t + 1)
            num_links += frames[-2].num_links
            if (t + 1) % beams.prune_interval == 0 or num_links > self.max_links:
                self._prune_window(frames, acoustic, beams)
                num_links = sum(frame.num_links for frame in frames)
            if num_links > self.max_links:
                raise TooManyLinksError
        final, reached_final = self._final_costs(frames[-1])
        worse = frames[-1].costs + final - (frames[-1].costs + final).min()
        frames[-1].extra = np.where(worse <= beams.lattice_beam, worse, np.inf)
        states = frames[-1].states
        prune(self._graph, frames, acoustic, 0, beams.lattice_beam)
        if any(len(frame.states) == 0 for frame in frames):
            raise lost_in_rounding()
        final = final[np.isin(states, frames[-1].states)]
        lattice = collect(self._graph, frames, acoustic, final)
        return FoundLattice(lattice, reached_final, beams.lattice_beam)

    def _prune_window(self, frames: list[Frame], acoustic: AcousticCosts, beams: Beams) -> None:
        # Each frame is seen twice, with more and more of the future known; what is older has little to lose.
        first = max(0, len(frames) - 2 * beams.prune_interval - 1)
        frames[-1].extra = np.zeros(len(frames[-1].states))
        prune(self._graph, frames[first:], acoustic, first, beams.lattice_beam)

    def _final_costs(self, frame: Frame) -> tuple[np.ndarray, bool]:
        final = self._graph.final[frame.states]
        if np.isfinite(final).any():
            return final, True
        if not self.allow_partial:
            raise no_final_state()
        return np.zeros(len(frame.states)), False
