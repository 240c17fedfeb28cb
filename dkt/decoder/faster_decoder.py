"""One-best Viterbi beam search on a decoding graph (Kaldi's ``FasterDecoder``, from ``kaldi_decoder``)."""

from __future__ import annotations

from dataclasses import dataclass

import kaldi_decoder
import kaldifst
import numpy as np

from dkt.base.errors import DktError
from dkt.decoder.decode_table import NoPathError, check_acoustic_scale, check_graph, check_loglikes
from dkt.fstext.fst import FstArrays

# Scores are spread over transition-ids for so many frames at a time: the whole of a long utterance and a
# large model would take gigabytes.
_CHUNK_FRAMES = 256


@dataclass(frozen=True)
class SearchResult:
    """The best path of one utterance.

    Attributes:
        words: integers of ``words.txt``.
        alignment: the transition-id of every frame, shape ``(T,)``, int32.
        graph_cost: cost of the graph, word insertion penalties and final cost included.
        acoustic_cost: minus the log-likelihoods along the path times the acoustic scale.
        reached_final: whether the path ends in a final state.
    """

    words: list[int]
    alignment: np.ndarray
    graph_cost: float
    acoustic_cost: float
    reached_final: bool

    @property
    def loglike(self) -> float:
        """What the search maximised: minus the sum of both costs."""
        return -(self.graph_cost + self.acoustic_cost)


class Searcher:
    """Searches one graph for the best path of one utterance after another.

    P is the number of pdfs, T the number of frames.

    Args:
        graph: transition-ids on the input, words on the output.
        id2pdf: the pdf of every transition-id, shape ``(num_transition_ids + 1,)``; index 0 is not used.
        beam: paths worse than the best by more than this are pruned, in units of the scaled costs.
        max_active: at most about so many states are kept at a frame.
        min_active: at least so many are kept, whatever the beam.
        acoustic_scale: factor on log-likelihoods.
        word_ins_penalty: cost added for every word.
        allow_partial: take the best path that ends anywhere if none ends in a final state.

    Raises:
        DktError: a setting is impossible, the graph is empty, or it belongs to another model.
    """

    def __init__(
        self,
        graph: FstArrays | kaldifst.StdConstFst | kaldifst.StdVectorFst,
        id2pdf: np.ndarray,
        beam: float = 13.0,
        max_active: int = 7000,
        min_active: int = 200,
        acoustic_scale: float = 0.1,
        word_ins_penalty: float = 0.0,
        allow_partial: bool = True,
    ) -> None:
        _check_settings(beam, max_active, min_active, acoustic_scale)
        arrays = graph if isinstance(graph, FstArrays) else FstArrays.from_kaldifst(graph)
        id2pdf = np.asarray(id2pdf)
        check_graph(arrays, len(id2pdf) - 1)
        if word_ins_penalty != 0.0:
            arrays = arrays.with_word_penalty(word_ins_penalty)
        self.acoustic_scale = acoustic_scale
        self.allow_partial = allow_partial
        self.num_pdfs = int(id2pdf[1:].max()) + 1
        # DecodableCtc takes the score of input label t from column t - 1.
        self._pdf_of_column = np.ascontiguousarray(id2pdf[1:], dtype=np.intp)
        # The decoder holds no reference of its own to the graph.
        self._graph = arrays.to_kaldifst_const()
        options = kaldi_decoder.FasterDecoderOptions(beam=beam, max_active=max_active, min_active=min_active)
        self._decoder = kaldi_decoder.FasterDecoder(self._graph, options)

    def search(self, loglikes: np.ndarray, acoustic_scale: float | None = None) -> SearchResult:
        """Find the best path of one utterance.

        Args:
            loglikes: log-likelihoods of the pdfs, shape ``(T, P)``. -inf forbids a pdf.
            acoustic_scale: used instead of the Searcher's own if given.

        Raises:
            NoPathError: every path was pruned, or none ends in a final state and ``allow_partial`` is off.
            DktError: there is no frame, a wrong number of pdfs, or a score is NaN or +inf.
        """
        scale = self.acoustic_scale if acoustic_scale is None else acoustic_scale
        check_loglikes(loglikes, self.num_pdfs)
        self._decoder.init_decoding()
        for begin in range(0, len(loglikes), _CHUNK_FRAMES):
            scaled = np.float32(scale) * loglikes[begin : begin + _CHUNK_FRAMES].astype(
                np.float32, copy=False
            )
            scores = np.take(scaled, self._pdf_of_column, axis=1)
            assert scores.dtype == np.float32 and scores.flags.c_contiguous
            self._decoder.advance_decoding(kaldi_decoder.DecodableCtc(scores, offset=begin))
        return self._best_path(len(loglikes))

    def _best_path(self, num_frames: int) -> SearchResult:
        reached_final = self._decoder.reached_final()
        if not reached_final and not self.allow_partial:
            raise NoPathError("no path reached a final state", hint="widen the beam, or allow partial paths")
        found, lattice = self._decoder.get_best_path()
        if not found:
            raise NoPathError("every path was pruned", hint="widen the beam")
        linear, ids, words, weight = kaldifst.get_linear_symbol_sequence(lattice)
        assert linear and len(ids) == num_frames
        return SearchResult(
            words=list(words),
            alignment=np.array(ids, dtype=np.int32),
            graph_cost=float(weight.value1),
            acoustic_cost=float(weight.value2),
            reached_final=reached_final,
        )


def _check_settings(beam: float, max_active: int, min_active: int, acoustic_scale: float) -> None:
    if not beam > 0.0:
        raise DktError(f"--beam is {beam}, expected a number above 0")
    if max_active < 2 or not 0 <= min_active < max_active:
        raise DktError(
            f"--max-active is {max_active} and --min-active {min_active}, expected 2 or more, and fewer"
        )
    check_acoustic_scale(acoustic_scale)
