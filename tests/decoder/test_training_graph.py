"""Training graphs: what they accept, what it costs, and Kaldi's alignments as paths of them."""

from __future__ import annotations

from pathlib import Path

import kaldifst
import numpy as np
import pytest

from dkt.base.errors import DktError
from dkt.decoder.faster_decoder import Searcher
from dkt.decoder.training_graph import TrainingGraphCompiler, context_to_transition_ids, transition_costs
from dkt.fstext.fst import FstArrays
from dkt.hmm.hmm_utils import HmmTransducerBuilder, add_self_loops
from dkt.hmm.transition_model import TransitionModel, load_transition_model
from dkt.hmm.tree import load_tree, monophone_transition_model, monophone_tree
from dkt.util.symbols import read_symbol_table, read_transcripts
from dkt.util.table import read_int_vectors
from tests.tiny_lang import WORDS, tiny_topology, write_tiny_lang

YES, NO, TWO = (WORDS.index(word) for word in ("YES", "NO", "TWO"))


@pytest.fixture(scope="module")
def lang(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "lang"
    write_tiny_lang(path)
    return path


@pytest.fixture(scope="module")
def mono() -> tuple:
    topology = tiny_topology()
    tree = monophone_tree([[1], [2], [3], [4]], topology)
    model = monophone_transition_model(tree, topology)
    rng = np.random.default_rng(3)
    for state in range(1, model.num_transition_states + 1):
        ids = ids_of_state(model, state)
        model.log_probs[ids.start : ids.stop] = np.log(rng.dirichlet(np.full(len(ids), 5.0)))
    return tree, model


def ids_of_state(model: TransitionModel, state: int) -> range:
    """The transition-ids of the 1-based transition-state ``state``."""
    return range(int(model.state2id[state]), int(model.state2id[state + 1]))


def tid(model: TransitionModel, phone: int, state: int, destination: int) -> int:
    """The transition-id of an arc of a phone's HMM."""
    [owner] = np.flatnonzero((model.tuples[:, 0] == phone) & (model.tuples[:, 1] == state)) + 1
    arcs = [d for d, _ in model.topology.states(phone)[state].transitions]
    return ids_of_state(model, int(owner))[arcs.index(destination)]


def phone_ids(model: TransitionModel, phone: int, durations: list[int]) -> list[int]:
    """A three-state phone as Kaldi orders it: out of a state first, then its self-loops."""
    ids = []
    for state, frames in enumerate(durations):
        ids += [tid(model, phone, state, state + 1)] + [tid(model, phone, state, state)] * (frames - 1)
    return ids


def accepts(graph: FstArrays, alignment: list[int]) -> FstArrays | None:
    """The paths of ``graph`` for a sequence of transition-ids, or None."""
    fst = graph.to_kaldifst()
    kaldifst.arcsort(fst, "ilabel")
    paths = kaldifst.compose(kaldifst.make_linear_acceptor([int(i) for i in alignment]), fst)
    return FstArrays.from_kaldifst(paths) if paths.start >= 0 else None


def with_transition_costs(
    graph: FstArrays, model: TransitionModel, transition_scale: float, self_loop_scale: float
) -> FstArrays:
    """A copy of a training graph that has the transition probabilities of a model."""
    costs = transition_costs(model, transition_scale, self_loop_scale)
    return graph.with_arcs(weight=graph.arcs["weight"] + costs[graph.arcs["ilabel"]])


def cost_of(graph: FstArrays, alignment: list[int]) -> float:
    """The cost of the best path of ``graph`` for a sequence of transition-ids."""
    fst = graph.to_kaldifst()
    kaldifst.arcsort(fst, "ilabel")
    paths = kaldifst.compose(kaldifst.make_linear_acceptor([int(i) for i in alignment]), fst)
    *_, weight = kaldifst.get_linear_symbol_sequence(kaldifst.shortest_path(paths))
    return float(weight.value)


def test_a_word_is_its_phones_forward_before_self_loop(lang, mono):
    tree, model = mono
    graph = TrainingGraphCompiler(tree, model, lang).compile([YES])
    spoken = phone_ids(model, 2, [2, 1, 3]) + phone_ids(model, 3, [1, 1, 1])
    paths = accepts(graph, spoken)
    assert paths is not None
    assert [w for w in paths.arcs["olabel"].tolist() if w] == [YES]
    assert accepts(graph, [spoken[1], spoken[0], *spoken[2:]]) is None, "self-loop before forward"
    assert accepts(graph, spoken[:-1]) is None
    assert accepts(graph, phone_ids(model, 4, [1, 1, 1])) is None, "another word"


def test_silence_may_stand_at_both_ends_and_between_words(lang, mono):
    tree, model = mono
    graph = TrainingGraphCompiler(tree, model, lang).compile([NO, TWO])
    no, two = phone_ids(model, 4, [1, 1, 1]), phone_ids(model, 2, [1, 1, 1])
    silence = [tid(model, 1, 0, 2), tid(model, 1, 2, 1), tid(model, 1, 1, 4), tid(model, 1, 4, 5)]
    for alignment in ([*no, *two], [*silence, *no, *silence, *two, *silence], [*no, *silence, *two]):
        assert accepts(graph, alignment) is not None
    assert accepts(graph, [*no, *silence, *silence, *two]) is None
    assert accepts(graph, [*two, *no]) is None


def test_an_empty_transcript_is_optional_silence(lang, mono):
    tree, model = mono
    graph = TrainingGraphCompiler(tree, model, lang).compile([])
    assert accepts(graph, [tid(model, 1, 0, 3), tid(model, 1, 3, 4), tid(model, 1, 4, 5)]) is not None
    assert accepts(graph, phone_ids(model, 2, [1, 1, 1])) is None


def test_words_without_pronunciation_are_named(lang, mono):
    compiler = TrainingGraphCompiler(*mono, lang)
    with pytest.raises(DktError, match=r"L\.fst: word '</s>' has no pronunciation"):
        compiler.compile([YES, WORDS.index("</s>")])
    with pytest.raises(DktError, match=r"word 99 is not in words\.txt"):
        compiler.compile([99])


@pytest.mark.parametrize("scales", [(1.0, 0.1), (1.0, 1.0), (0.0, 0.5)])
def test_transition_probabilities_cost_what_kaldi_says(lang, mono, scales):
    tree, model = mono
    transition_scale, self_loop_scale = scales
    graph = TrainingGraphCompiler(tree, model, lang).compile([TWO])
    silence = [tid(model, 1, 0, 2), tid(model, 1, 2, 1), tid(model, 1, 1, 4), tid(model, 1, 4, 5)]
    alignment = [*silence, silence[-1] - 1, *phone_ids(model, 2, [3, 1, 2])]
    expected = 0.0
    for i in alignment:
        state = model.id2state[i]
        loops = [j for j in ids_of_state(model, state) if model.is_self_loop[j]]
        leave = np.log(1.0 - sum(np.exp(model.log_probs[j]) for j in loops))
        if model.is_self_loop[i]:
            expected -= self_loop_scale * model.log_probs[i]
        else:
            expected -= self_loop_scale * leave + transition_scale * (model.log_probs[i] - leave)
    before = cost_of(graph, alignment)
    weighted = with_transition_costs(graph, model, transition_scale, self_loop_scale)
    assert cost_of(weighted, alignment) - before == pytest.approx(expected, abs=1e-3)


def test_weighting_a_copy_agrees_with_a_graph_made_with_probabilities(lang, mono):
    """As in HCLG: forward probabilities inside H, self-loops added with theirs."""
    tree, model = mono
    compiler = TrainingGraphCompiler(tree, model, lang)
    weighted = with_transition_costs(compiler.compile([YES, NO]), model, 1.0, 0.1)
    transcript = kaldifst.make_linear_acceptor([YES, NO])
    lexicon = kaldifst.StdVectorFst.read(str(lang / "L.fst"))
    kaldifst.arcsort(lexicon, "olabel")
    hmms = HmmTransducerBuilder(tree, model, transition_scale=1.0)
    without_loops, _ = context_to_transition_ids(kaldifst.compose(lexicon, transcript), [5, 6, 7], hmms)
    at_once = add_self_loops(without_loops, model, self_loop_scale=0.1)
    rng = np.random.default_rng(0)
    for frames in (9, 25, 40):
        loglikes = rng.normal(0.0, 20.0, (frames, model.num_pdfs)).astype(np.float32)
        a, b = (Searcher(g, model.id2pdf, beam=1000.0).search(loglikes) for g in (weighted, at_once))
        assert a.words == b.words == [YES, NO]
        assert a.alignment.tolist() == b.alignment.tolist()
        # Minimisation rounds every weight to a multiple of 1/1024.
        assert a.graph_cost == pytest.approx(b.graph_cost, abs=0.01)


def test_states_entered_by_several_hmm_states_are_split(mono):
    _, model = mono
    # Two phones end in one state, which then would need the self-loops of both.
    a, b = tid(model, 2, 2, 3), tid(model, 3, 2, 3)
    fst = FstArrays.from_kaldifst(kaldifst.compile(f"0 1 {a} 1\n0 1 {b} 2\n1\n", acceptor=False))
    looped = add_self_loops(fst, model, 1.0)
    loops = looped.arcs[looped.sources == looped.arcs["nextstate"]]
    assert sorted(loops["ilabel"].tolist()) == sorted([a - 1, b - 1])
    assert accepts(looped, [a, a - 1, a - 1]) is not None
    assert accepts(looped, [a, b - 1]) is None


def test_a_graph_that_has_self_loops_gets_no_more(lang, mono):
    tree, model = mono
    graph = TrainingGraphCompiler(tree, model, lang).compile([YES])
    with pytest.raises(DktError, match="self-loops already"):
        add_self_loops(graph, model, 1.0)


def test_every_transition_id_has_a_finite_cost(mono):
    costs = transition_costs(mono[1], 1.0, 0.1)
    assert costs[0] == 0.0
    assert np.isfinite(costs).all()
    assert (costs[1:] > 0).all()


def test_kaldi_alignments_are_paths_of_the_graphs(kaldi_fixtures):
    tree = load_tree(kaldi_fixtures / "exp/tri2b/tree")
    model = load_transition_model(kaldi_fixtures / "exp/tri2b/final.mdl")
    compiler = TrainingGraphCompiler(tree, model, kaldi_fixtures / "lang")
    words = read_symbol_table(kaldi_fixtures / "lang/words.txt")
    text = read_transcripts(kaldi_fixtures / "data/dev/text")
    alignments = read_int_vectors(f"ark:gunzip -c {kaldi_fixtures}/exp/tri2b_ali_dev/ali.1.gz |")
    num_compared = 0
    for utt, alignment in alignments:
        transcript = [words.get(word, words["<UNK>"]) for word in text[utt]]
        graph = compiler.compile(transcript)
        paths = accepts(graph, alignment.tolist())
        assert paths is not None, utt
        assert [w for w in paths.arcs["olabel"].tolist() if w] == transcript
        assert accepts(graph, [*alignment.tolist()[:-1], alignment[-1] + 1]) is None
        num_compared += 1
        if num_compared == 40:
            break
    assert num_compared == 40
