"""Alignment of single utterances: against Kaldi's alignments, and against exhaustive search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dkt.base.errors import DktError
from dkt.decoder.training_graph import TrainingGraphCompiler, transition_costs
from dkt.decoder.viterbi import Alignment, AlignmentError, AlignOptions, UtteranceGraph, ViterbiAligner
from dkt.fstext.fst import ARC, FstArrays
from dkt.gmm.gmm import AmDiagGmm, load_gmm
from dkt.hmm.topology import HmmState, HmmTopology
from dkt.hmm.transition_model import TransitionModel
from dkt.hmm.tree import load_tree
from dkt.util.symbols import read_symbol_table, read_transcripts, transcripts_to_ints
from dkt.util.table import read_int_vectors, read_matrices

# Transition-ids of phones A, B and C, each of one state and pdf: the self-loop, then the way out.
A_LOOP, A_OUT, B_LOOP, B_OUT, C_LOOP, C_OUT = range(1, 7)
OPTIONS = AlignOptions(beam=100.0, retry_beam=0.0, acoustic_scale=0.1)


@pytest.fixture
def transitions() -> TransitionModel:
    states = [HmmState(0, 0, [(0, 0.8), (1, 0.2)]), HmmState()]
    topology = HmmTopology([states], {1: 0, 2: 0, 3: 0})
    return TransitionModel(topology, [(1, 0, 0, 0), (2, 0, 1, 1), (3, 0, 2, 2)])


@pytest.fixture
def gmm() -> AmDiagGmm:
    """Pdf p has its mean at (4 p, 4 p) and unit variances."""
    return AmDiagGmm(np.arange(4), np.ones(3), np.repeat([[0.0], [4.0], [8.0]], 2, axis=1), np.ones((3, 2)))


def make_fst(num_states: int, arcs: list[tuple[int, int, int]]) -> FstArrays:
    """An FST from (source, transition-id, next state); the last state is final."""
    table = np.zeros(len(arcs), dtype=ARC)
    table["ilabel"] = [label for _, label, _ in arcs]
    table["nextstate"] = [target for _, _, target in arcs]
    final = np.full(num_states, np.inf)
    final[-1] = 0.0
    return FstArrays.from_arcs(0, final, [source for source, _, _ in arcs], table)


@pytest.fixture
def a_then_c() -> FstArrays:
    """The graph of A C; in Kaldi's graphs the self-loop stands behind the way out."""
    return make_fst(3, [(0, A_OUT, 1), (1, A_LOOP, 1), (1, C_OUT, 2), (2, C_LOOP, 2)])


@pytest.fixture
def optional_b() -> FstArrays:
    """The graph of A [B] C, with an epsilon arc around B."""
    into_b = [(1, B_OUT, 2), (2, B_LOOP, 2), (2, 0, 3), (1, 0, 3)]
    return make_fst(5, [(0, A_OUT, 1), (1, A_LOOP, 1), *into_b, (3, C_OUT, 4), (4, C_LOOP, 4)])


def align(
    fst: FstArrays,
    features: np.ndarray,
    gmm: AmDiagGmm,
    transitions: TransitionModel,
    options: AlignOptions = OPTIONS,
) -> Alignment:
    return ViterbiAligner(gmm, transitions, options).align(UtteranceGraph(fst, transitions), features)


def test_kaldis_alignments(kaldi_fixtures: Path) -> None:
    transitions, gmm = load_gmm(kaldi_fixtures / "exp" / "tri2b" / "final.mdl")
    tree = load_tree(kaldi_fixtures / "exp" / "tri2b" / "tree")
    compiler = TrainingGraphCompiler(tree, transitions, kaldi_fixtures / "lang")
    text = read_transcripts(kaldi_fixtures / "data" / "dev" / "text")
    features = dict(read_matrices(f"ark:{kaldi_fixtures}/golden/features/mfcc_cmn_lda.ark"))
    words = transcripts_to_ints(
        {utt: text[utt] for utt in features},
        read_symbol_table(kaldi_fixtures / "lang" / "words.txt"),
        "<UNK>",
    )
    kaldi = dict(read_int_vectors(f"ark:gunzip -c {kaldi_fixtures}/exp/tri2b_ali_dev/ali.*.gz |"))
    aligner = ViterbiAligner(gmm, transitions, AlignOptions())
    assert len(features) == 6
    for utt, frames in features.items():
        graph = UtteranceGraph(compiler.compile(words[utt]), transitions)
        result = aligner.align(graph, frames)
        assert result.transition_ids.dtype == np.int32
        assert len(result.transition_ids) == len(kaldi[utt])
        # They are the same but for ties that the last bit of a score decides.
        assert (result.transition_ids == kaldi[utt]).mean() >= 0.99, utt
        assert not result.retried


def test_best_path_and_its_score(a_then_c: FstArrays, gmm: AmDiagGmm, transitions: TransitionModel) -> None:
    features = np.random.default_rng(0).normal(4.0, 4.0, size=(9, 2)).astype(np.float32)
    features[0] = 0.0
    loglikes = gmm.loglikes(features).astype(np.float64)
    costs = transition_costs(transitions, OPTIONS.transition_scale, OPTIONS.self_loop_scale)
    candidates = []
    for num_a in range(1, len(features)):
        num_c = len(features) - num_a
        ids = np.array([A_OUT] + [A_LOOP] * (num_a - 1) + [C_OUT] + [C_LOOP] * (num_c - 1))
        acoustic = loglikes[np.arange(len(ids)), transitions.id2pdf[ids]].sum()
        candidates.append((OPTIONS.acoustic_scale * acoustic - costs[ids].sum(), ids))
    best_score, best_ids = max(candidates, key=lambda candidate: candidate[0])
    result = align(a_then_c, features, gmm, transitions)
    assert result.transition_ids.tolist() == best_ids.tolist()
    assert result.loglike == pytest.approx(best_score / OPTIONS.acoustic_scale, rel=1e-5)


@pytest.mark.parametrize(("present", "middle"), [(True, [B_OUT, B_LOOP]), (False, [A_LOOP, A_LOOP])])
def test_optional_phone_is_taken_where_it_is_heard(
    optional_b: FstArrays, gmm: AmDiagGmm, transitions: TransitionModel, present: bool, middle: list[int]
) -> None:
    heights = [0, 0, *([4, 4] if present else [0, 0]), 8, 8]
    features = np.repeat(np.array(heights, dtype=np.float32)[:, None], 2, axis=1)
    result = align(optional_b, features, gmm, transitions)
    assert result.transition_ids.tolist() == [A_OUT, A_LOOP, *middle, C_OUT, C_LOOP]


def test_labels_are_renumbered_among_those_used(a_then_c: FstArrays, transitions: TransitionModel) -> None:
    graph = UtteranceGraph(a_then_c, transitions)
    assert graph.transition_ids.tolist() == [A_LOOP, A_OUT, C_LOOP, C_OUT]
    assert np.unique(FstArrays.from_kaldifst(graph.search_fst).arcs["ilabel"]).tolist() == [1, 2, 3, 4]


def test_graph_of_another_model_is_refused(transitions: TransitionModel) -> None:
    with pytest.raises(DktError, match="label 99, the model 6 transition-ids"):
        UtteranceGraph(make_fst(3, [(0, A_OUT, 1), (1, 99, 2)]), transitions)


def test_too_few_frames(a_then_c: FstArrays, gmm: AmDiagGmm, transitions: TransitionModel) -> None:
    graph = UtteranceGraph(a_then_c, transitions)
    assert graph.min_frames == 2
    with pytest.raises(AlignmentError, match="fewer frames"):
        align(a_then_c, np.zeros((1, 2), dtype=np.float32), gmm, transitions)


def test_narrow_beam_is_retried_and_then_given_up(gmm: AmDiagGmm, transitions: TransitionModel) -> None:
    # Thirty side branches that end nowhere fill the least number of active states, and score better than the
    # one branch that reaches the end.
    side = [(0, A_OUT, 2 + n) for n in range(30)] + [(2 + n, A_LOOP, 2 + n) for n in range(30)]
    fst = make_fst(33, [*side, (0, C_OUT, 1), (1, C_LOOP, 1), (1, C_OUT, 32)])
    features = np.zeros((6, 2), dtype=np.float32)
    features[-1] = 8.0
    narrow = AlignOptions(beam=1.0, retry_beam=0.0)
    with pytest.raises(AlignmentError, match="within beam 1"):
        align(fst, features, gmm, transitions, narrow)
    with pytest.raises(AlignmentError, match="within beam 2"):
        align(fst, features, gmm, transitions, AlignOptions(beam=1.0, retry_beam=2.0))
    result = align(fst, features, gmm, transitions, AlignOptions(beam=1.0, retry_beam=100.0))
    assert result.retried
    assert result.transition_ids.tolist() == [C_OUT] + [C_LOOP] * 4 + [C_OUT]


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_absurd_features(
    a_then_c: FstArrays, gmm: AmDiagGmm, transitions: TransitionModel, value: float
) -> None:
    features = np.zeros((4, 2), dtype=np.float32)
    features[2, 1] = value
    with pytest.raises(AlignmentError, match="not a number"):
        align(a_then_c, features, gmm, transitions)


def test_features_of_another_dimension(
    a_then_c: FstArrays, gmm: AmDiagGmm, transitions: TransitionModel
) -> None:
    with pytest.raises(DktError, match="expects dimension 2"):
        align(a_then_c, np.zeros((4, 3), dtype=np.float32), gmm, transitions)


@pytest.mark.parametrize(("beam", "retry"), [(0.0, 40.0), (10.0, 10.0), (10.0, 5.0)])
def test_beams_that_make_no_sense(beam: float, retry: float) -> None:
    with pytest.raises(DktError, match="--beam"):
        AlignOptions(beam=beam, retry_beam=retry)


def test_a_search_that_finds_less_than_a_known_path_is_repeated(
    gmm: AmDiagGmm, transitions: TransitionModel
) -> None:
    # A or B, then C: B is the better at first and much the worse then. Thirty branches that end nowhere fill
    # the least number of active states.
    paths = [(0, A_OUT, 1), (1, A_LOOP, 1), (1, C_OUT, 33), (0, B_OUT, 2), (2, B_LOOP, 2), (2, C_OUT, 33)]
    side = [(0, B_OUT, 3 + n) for n in range(30)] + [(3 + n, B_LOOP, 3 + n) for n in range(30)]
    fst = make_fst(34, [*paths, *side, (33, C_LOOP, 33)])
    graph = UtteranceGraph(fst, transitions)
    features = np.repeat(np.array([4, 4, 0, 0, 0, 0, 0, 8, 8], dtype=np.float32)[:, None], 2, axis=1)
    best = ViterbiAligner(gmm, transitions, OPTIONS).align(graph, features)
    aligner = ViterbiAligner(gmm, transitions, AlignOptions(beam=0.3, retry_beam=100.0))
    narrow = aligner.align(graph, features)
    assert best.transition_ids.tolist() == [A_OUT, *[A_LOOP] * 6, C_OUT, C_LOOP]
    assert narrow.transition_ids.tolist() == [B_OUT, *[B_LOOP] * 6, C_OUT, C_LOOP] and not narrow.retried
    again = aligner.align(graph, features, known=best)
    assert again.retried
    assert again.transition_ids.tolist() == best.transition_ids.tolist()
    assert again.loglike == pytest.approx(best.loglike, rel=1e-5)
    # What is known stands where no search finds it, and does no harm where it is the worse.
    no_retry = ViterbiAligner(gmm, transitions, AlignOptions(beam=0.3, retry_beam=0.4))
    assert no_retry.align(graph, features, known=best).transition_ids.tolist() == best.transition_ids.tolist()
    worse = aligner.align(graph, features, known=narrow)
    assert worse.transition_ids.tolist() == narrow.transition_ids.tolist() and not worse.retried
