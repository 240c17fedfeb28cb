"""Alignment of one utterance: the best path through its training graph."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import kaldi_decoder
import kaldifst
import numpy as np

from dkt.base.errors import DktError
from dkt.decoder.decodable import AcousticModel
from dkt.decoder.training_graph import transition_costs
from dkt.fstext.fst import FstArrays
from dkt.hmm.transition_model import TransitionModel

_MARGIN = 0.1  # in units of the beam: single precision adds scores up less exactly


class AlignmentError(Exception):
    """Why one utterance could not be aligned; the caller counts it."""


@dataclass(frozen=True)
class AlignOptions:
    """Options of the search, with the names of ``gmm-align-compiled`` and the values of Kaldi's scripts.

    Raises:
        DktError: the beams or the acoustic scale make no sense.
    """

    beam: float = 10.0
    retry_beam: float = 40.0
    acoustic_scale: float = 0.1
    transition_scale: float = 1.0
    self_loop_scale: float = 0.1

    def __post_init__(self) -> None:
        if not self.beam > 0 or (self.retry_beam != 0 and not self.retry_beam > self.beam):
            raise DktError(
                f"--beam is {self.beam:g} and --retry-beam {self.retry_beam:g}, expected a positive beam and "
                "a wider one to retry with, or 0 not to retry"
            )
        if not self.acoustic_scale > 0:
            raise DktError(f"--acoustic-scale is {self.acoustic_scale:g}, expected a positive number")


class UtteranceGraph:
    """A training graph whose input labels are numbered 1 to K among the transition-ids that it uses.

    The decoder looks a label up in a matrix of scores without checking it: with K columns for K labels there
    is none to miss, and no column is computed that the utterance does not need.

    Args:
        fst: the graph over transition-ids, without transition probabilities.
        transitions: the model that the graph was made for.

    Attributes:
        transition_ids: shape ``(K,)``, ascending.
    """

    def __init__(self, fst: FstArrays, transitions: TransitionModel) -> None:
        labels = np.unique(fst.arcs["ilabel"])
        self.transition_ids = labels[labels != 0]
        if labels.max(initial=0) > transitions.num_transition_ids:
            raise DktError(
                f"the training graph has label {labels.max()}, the model {transitions.num_transition_ids} "
                "transition-ids",
                hint="use the tree and the model of one system",
            )
        self.fst = fst
        table = np.zeros(transitions.num_transition_ids + 1, dtype=np.int32)
        table[self.transition_ids] = np.arange(1, len(self.transition_ids) + 1)
        self.search_fst = fst.with_ilabels_mapped(table).to_kaldifst_const()

    @cached_property
    def min_frames(self) -> int:
        """The number of frames of the shortest path, or 0 if there is no path."""
        sources, targets = self.fst.sources, self.fst.arcs["nextstate"]
        steps = (self.fst.arcs["ilabel"] != 0).astype(np.float64)
        distance = np.full(self.fst.num_states, np.inf)
        distance[self.fst.start] = 0
        while True:
            nearer = distance.copy()
            np.minimum.at(nearer, targets, distance[sources] + steps)
            if (nearer == distance).all():
                break
            distance = nearer
        ends = distance[np.isfinite(self.fst.final)]
        return int(ends.min()) if len(ends) and np.isfinite(ends.min()) else 0


@dataclass(frozen=True)
class Alignment:
    """The alignment of one utterance.

    Attributes:
        transition_ids: shape ``(T,)``, int32.
        loglike: the score of the path over the acoustic scale, in nats over all frames, as
            ``gmm-align-compiled`` reports it.
        retried: whether the first beam was too narrow.
        graph_cost: the part of the score that is the graph's: pronunciations and silences.
    """

    transition_ids: np.ndarray
    loglike: float
    retried: bool
    graph_cost: float = 0.0


class ViterbiAligner:
    """Finds the best path through training graphs by beam search (``AlignUtteranceWrapper``).

    Args:
        model: the acoustic model.
        transitions: its transition model.
        options: beams and scales.
    """

    def __init__(self, model: AcousticModel, transitions: TransitionModel, options: AlignOptions) -> None:
        self.model = model
        self.transitions = transitions
        self.options = options
        self._transition_costs = transition_costs(
            transitions, options.transition_scale, options.self_loop_scale
        )

    def align(self, graph: UtteranceGraph, features: np.ndarray, known: Alignment | None = None) -> Alignment:
        """Align an utterance.

        The second try with the wider beam is for a search that does not reach the end, and for one that finds
        less than a path that is known already: it lost the best path on the way. (Kaldi has the first only.)

        Args:
            graph: the training graph of its transcript.
            features: shape ``(T, F)``.
            known: any alignment of the utterance, such as that of the iteration before. It is the result if
                not even the second try finds a better one.

        Raises:
            AlignmentError: no path reaches the end of the transcript, or a score is not a number.
            DktError: the features are not of the model's dimension.
        """
        if not len(graph.transition_ids):
            raise AlignmentError("its transcript is empty, and the lexicon has no optional silence")
        scores = self._scores(graph, features)
        least = -np.inf
        if known is not None:
            columns = np.searchsorted(graph.transition_ids, known.transition_ids)
            least = float(scores[np.arange(len(scores)), columns].sum(dtype=np.float64)) - known.graph_cost
            known = replace(known, loglike=least / self.options.acoustic_scale, retried=True)
        found = self._search(graph, scores, self.options.beam)
        lost = found is None or found.loglike * self.options.acoustic_scale < least - _MARGIN
        if lost and self.options.retry_beam != 0:
            wider = self._search(graph, scores, self.options.retry_beam)
            candidates = [path for path in (wider, known) if path is not None]
            found = max(candidates, key=lambda path: path.loglike) if candidates else None
            found = None if found is None else replace(found, retried=True)
        if found is None:
            raise AlignmentError(self._why(graph, len(features)))
        return found

    def _search(self, graph: UtteranceGraph, scores: np.ndarray, beam: float) -> Alignment | None:
        decoder = kaldi_decoder.FasterDecoder(graph.search_fst, kaldi_decoder.FasterDecoderOptions(beam=beam))
        decoder.decode(kaldi_decoder.DecodableCtc(scores))
        if not decoder.reached_final():
            return None
        _, path = decoder.get_best_path()
        is_linear, labels, _, weight = kaldifst.get_linear_symbol_sequence(path)
        if not is_linear or len(labels) != len(scores):
            raise AlignmentError(f"the best path has {len(labels)} frames, the features {len(scores)}")
        loglike = -(weight.value1 + weight.value2) / self.options.acoustic_scale
        return Alignment(graph.transition_ids[np.array(labels) - 1], loglike, False, weight.value1)

    def _scores(self, graph: UtteranceGraph, features: np.ndarray) -> np.ndarray:
        # The cost of a transition depends on the transition-id alone, and so it can go into the column of its
        # label: the graph need not be weighted anew for every model.
        pdfs, column = np.unique(self.transitions.id2pdf[graph.transition_ids], return_inverse=True)
        loglikes = self.model.loglikes(features, pdfs)
        scores = np.take(loglikes * np.float32(self.options.acoustic_scale), column, axis=1)
        scores -= self._transition_costs[graph.transition_ids]
        if not np.isfinite(scores).all():
            raise AlignmentError("a likelihood is not a number: the features hold absurd values")
        scores = np.ascontiguousarray(scores, dtype=np.float32)
        # One row too few or one column too few would be read beyond the matrix.
        assert scores.shape == (len(features), len(graph.transition_ids))
        return scores

    def _why(self, graph: UtteranceGraph, num_frames: int) -> str:
        if num_frames < graph.min_frames:
            return "there are fewer frames than its transcript needs"
        beam = self.options.retry_beam or self.options.beam
        return f"no path reached the end of the transcript within beam {beam:g}"
