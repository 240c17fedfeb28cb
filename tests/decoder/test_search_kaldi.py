"""One-best search against Kaldi's own on a real graph."""

from __future__ import annotations

import pytest

from dkt.decoder.faster_decoder import Searcher
from dkt.fstext.fst import load_fst
from dkt.hmm.transition_model import load_transition_model
from tests.decoder.test_graph import golden_search


def test_kaldi_search_gave_the_same_words_and_alignments(kaldi_fixtures):
    """All 20 golden utterances agree; the shortest stand for them here."""
    graph = load_fst(kaldi_fixtures / "exp/tri2b/graph/HCLG.fst")
    model = load_transition_model(kaldi_fixtures / "exp/tri2b/final.mdl")
    searcher = Searcher(graph, model.id2pdf, beam=13.0, max_active=7000, min_active=200, acoustic_scale=0.1)
    for _, loglikes, words, alignment, loglike in golden_search(kaldi_fixtures, 3):
        result = searcher.search(loglikes)
        assert result.words == words
        assert result.alignment.tolist() == alignment
        assert result.loglike == pytest.approx(loglike, abs=0.01)
        assert result.reached_final


def test_language_model_weights_find_the_best_paths_of_kaldi_lattices(kaldi_fixtures):
    graph = load_fst(kaldi_fixtures / "exp/tri2b/graph/HCLG.fst")
    model = load_transition_model(kaldi_fixtures / "exp/tri2b/final.mdl")
    words = (kaldi_fixtures / "lang/words.txt").read_text().split()
    number = dict(zip(words[::2], map(int, words[1::2]), strict=True))
    searcher = Searcher(graph, model.id2pdf)
    for lmwt in (8, 14):
        lines = (kaldi_fixtures / f"golden/nnet1/best_path_lmwt{lmwt}.txt").read_text().splitlines()
        best_paths = {line.split()[0]: [number[word] for word in line.split()[1:]] for line in lines}
        [(utt, loglikes, *_)] = golden_search(kaldi_fixtures, 1)
        assert searcher.search(loglikes, 1.0 / lmwt).words == best_paths[utt]
