"""From log-likelihoods to the lattice that is written: search and determinisation, within bounds."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np

from dkt.decoder.lattice_decoder import LatticeSearcher
from dkt.lat.lattice import CompactLattice, Lattice
from dkt.lat.native_determinize import determinize_raw
from dkt.lat.raw_lattice import RawLattice
from dkt.lat.word_closure import MAX_WAYS, TooManyWaysError

logger = logging.getLogger(__name__)

# As Kaldi's retry_cutoff: a lattice that ends this early is tried again from fewer paths.
_EARLY = 0.5
_NARROWER = 0.75
_LEAST_BEAM = 1.0


@dataclass(frozen=True)
class GeneratedLattice:
    """What is written of one utterance.

    Attributes:
        words: of the best path, integers of ``words.txt``.
        alignment: the transition-id of every frame of the best path, int32 of shape ``(T,)``.
        loglike: of the best path, with the scales of the search.
        reached_final: whether a path ends in a final state.
        lattice: with acoustic costs that are not scaled.
        beam: within which the lattice is whole.
    """

    words: list[int]
    alignment: np.ndarray
    loglike: float
    reached_final: bool
    lattice: CompactLattice | Lattice
    beam: float


class LatticeGenerator:
    """Makes a lattice of one utterance after another.

    Args:
        searcher: of the graph.
        determinized: make compact lattices, each sequence of words once; else those of the search, state by
            state.
        max_mem: about how many bytes a determinisation may take; with more the lattice ends at a narrower
            beam. 0 for no limit.
        max_ways: ways between words held at once, as of ``close_words``; with more the beam is made narrower.
    """

    def __init__(
        self,
        searcher: LatticeSearcher,
        determinized: bool = True,
        max_mem: int = 50_000_000,
        max_ways: int = MAX_WAYS,
    ) -> None:
        self.searcher = searcher
        self.determinized = determinized
        self.max_mem = max_mem
        self.max_ways = max_ways

    def search(self, loglikes: np.ndarray, acoustic_scale: float | None = None) -> GeneratedLattice:
        """Make the lattice of one utterance.

        Args:
            loglikes: log-likelihoods of the pdfs, shape ``(T, P)``. -inf forbids a pdf.
            acoustic_scale: used instead of that of the searcher if given.

        Raises:
            NoPathError, DktError: as ``LatticeSearcher.search``.
        """
        scale = self.searcher.acoustic_scale if acoustic_scale is None else acoustic_scale
        found = self.searcher.search(loglikes, scale)
        raw = found.lattice
        path = raw.best_path()
        words, tids = raw.olabels[path], raw.ilabels[path]
        beam = found.lattice_beam
        lattice: CompactLattice | Lattice
        if self.determinized:
            compact, beam = self._determinize(raw, beam)
            lattice = replace(
                compact,
                acoustic_costs=compact.acoustic_costs / np.float32(scale),
                final_acoustic=compact.final_acoustic / np.float32(scale),
            )
        else:
            lattice = raw.to_lattice(scale)
        return GeneratedLattice(
            words=words[words > 0].tolist(),
            alignment=tids[tids > 0],
            loglike=-float((raw.alpha + raw.final).min()),
            reached_final=found.reached_final,
            lattice=lattice,
            beam=beam,
        )

    def _determinize(self, raw: RawLattice, beam: float) -> tuple[CompactLattice, float]:
        tried = beam
        while True:
            try:
                result = determinize_raw(raw, tried, self.max_mem, self.max_ways)
                if result.beam >= _EARLY * tried or tried < _LEAST_BEAM:
                    break
            except TooManyWaysError:
                if tried < _LEAST_BEAM:
                    raise
            tried *= _NARROWER
        if result.beam < beam:
            logger.warning(
                "the determinisation took more memory than it may (--max-mem=%d): "
                "the lattice is whole within a beam of %.2f, not %g",
                self.max_mem,
                result.beam,
                beam,
            )
        return result.lattice, result.beam
