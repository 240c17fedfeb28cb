"""Decoding graphs: a small one from end to end, and Kaldi's triphone graph made again."""

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path

import kaldifst
import numpy as np
import pytest

from dkt.base.errors import DktError
from dkt.bin import main
from dkt.decoder.faster_decoder import Searcher
from dkt.decoder.mkgraph import compile_lg, make_graph, mkgraph, push_special
from dkt.fstext.fst import FstArrays, load_fst
from dkt.hmm.transition_model import load_transition_model, write_transition_model
from dkt.hmm.tree import monophone_transition_model, monophone_tree, save_tree
from dkt.util.object_io import ObjectWriter
from dkt.util.table import read_matrices
from tests.tiny_lang import WORDS, save_text_fst, tiny_topology, write_tiny_lang


@pytest.fixture
def lang(tmp_path) -> Path:
    write_tiny_lang(tmp_path / "lang")
    return tmp_path / "lang"


@pytest.fixture
def model_dir(tmp_path) -> Path:
    topology = tiny_topology()
    tree = monophone_tree([[1], [2], [3], [4]], topology)
    (tmp_path / "mono").mkdir()
    save_tree(tmp_path / "mono/tree", tree)
    writer = ObjectWriter()
    write_transition_model(writer, monophone_transition_model(tree, topology))
    writer.save(tmp_path / "mono/final.mdl")
    return tmp_path / "mono"


def speak(pdfs: list[int], num_pdfs: int, frames: int) -> np.ndarray:
    """Log-likelihoods in which these pdfs stand out one after another, for ``frames`` frames each."""
    loglikes = np.full((len(pdfs) * frames, num_pdfs), -100.0, dtype=np.float32)
    loglikes[np.arange(len(loglikes)), np.repeat(pdfs, frames)] = 0.0
    return loglikes


def test_a_graph_from_end_to_end(lang, model_dir, tmp_path):
    assert main(["mkgraph", str(lang), str(model_dir), str(tmp_path / "graph")]) == 0
    model = load_transition_model(model_dir / "final.mdl")
    searcher = Searcher(load_fst(tmp_path / "graph/HCLG.fst"), model.id2pdf, acoustic_scale=1.0)
    silence, a, b, c = [0, 1, 4], [5, 6, 7], [8, 9, 10], [11, 12, 13]
    loglikes = speak([*silence, *a, *b, *silence, *c, *a], model.num_pdfs, 3)
    result = searcher.search(loglikes)
    # TWO and TOO sound alike: the grammar prefers TWO.
    assert [WORDS[word] for word in result.words] == ["YES", "NO", "TWO"]
    assert result.reached_final
    assert model.id2pdf[result.alignment].tolist() == loglikes.argmax(axis=1).tolist()
    assert result.acoustic_cost == pytest.approx(0.0, abs=1e-3)
    # Words, end of sentence; silence before and between; each HMM state is left at 0.25 (silence at
    # 1/3 without its self-loop) and all else is scaled by 0.1.
    words = 1.5 + 0.7 + 1.6 + 2.0 + 1.0 + 1.0 + 0.5 + 0.5
    ids = result.alignment
    p = np.exp(model.log_probs.astype(float))
    loops, leave = np.zeros(len(p)), np.zeros(len(p))
    for i in range(1, len(p)):
        loop = p[model.is_self_loop & (model.id2state == model.id2state[i])].sum()
        loops[i], leave[i] = np.log(loop), np.log(1 - loop)
    hmms = sum(
        -0.1 * loops[i] if model.is_self_loop[i] else -0.1 * leave[i] - (np.log(p[i]) - leave[i]) for i in ids
    )
    assert result.graph_cost == pytest.approx(words + hmms, abs=0.02)


def test_files_beside_the_graph(lang, model_dir, tmp_path):
    graph_dir = tmp_path / "graph"
    mkgraph(lang, model_dir, graph_dir)
    for name in ("words.txt", "phones.txt", "phones/silence.csl", "phones/disambig.int"):
        assert (graph_dir / name).read_bytes() == (lang / name).read_bytes()
    assert (graph_dir / "phones/word_boundary.int").exists()
    assert (graph_dir / "num_pdfs").read_text() == "14\n"
    num_ids = load_transition_model(model_dir / "final.mdl").num_transition_ids
    assert (graph_dir / "disambig_tid.int").read_text() == f"{num_ids + 1}\n{num_ids + 2}\n"
    labels = load_fst(graph_dir / "HCLG.fst").arcs["ilabel"]
    assert labels.max() <= num_ids
    assert kaldifst.StdConstFst.read(str(graph_dir / "HCLG.fst")).num_states > 10


def test_the_same_input_gives_the_same_bytes(lang, model_dir, tmp_path):
    mkgraph(lang, model_dir, tmp_path / "a")
    mkgraph(lang, model_dir, tmp_path / "b")
    assert (tmp_path / "a/HCLG.fst").read_bytes() == (tmp_path / "b/HCLG.fst").read_bytes()


def test_a_graph_is_made_again_only_if_something_changed(lang, model_dir, tmp_path):
    graph = tmp_path / "graph/HCLG.fst"
    assert mkgraph(lang, model_dir, graph.parent)
    assert not mkgraph(lang, model_dir, graph.parent)
    later = graph.stat().st_mtime + 10
    os.utime(lang / "G.fst", (later, later))
    assert mkgraph(lang, model_dir, graph.parent)
    os.utime(graph, (later, later))
    assert not mkgraph(lang, model_dir, graph.parent)
    before = load_fst(graph).arcs["weight"].sum()
    assert mkgraph(lang, model_dir, graph.parent, self_loop_scale=1.0), "other options, another graph"
    assert load_fst(graph).arcs["weight"].sum() != before


def test_up_to_date_is_said(lang, model_dir, tmp_path, caplog):
    caplog.set_level("INFO")
    mkgraph(lang, model_dir, tmp_path / "graph")
    mkgraph(lang, model_dir, tmp_path / "graph")
    assert "HCLG.fst is up to date" in caplog.text


@pytest.mark.parametrize("name", ["lang/G.fst", "lang/L_disambig.fst", "mono/tree", "mono/final.mdl"])
def test_a_missing_file_is_named(lang, model_dir, tmp_path, name):
    (tmp_path / name).unlink()
    with pytest.raises(DktError, match=rf"{name}: no such file"):
        mkgraph(lang, model_dir, tmp_path / "graph")
    assert not (tmp_path / "graph/HCLG.fst").exists()


def test_homophones_without_disambiguation_symbols_are_an_error(lang, model_dir, tmp_path):
    (lang / "L_disambig.fst").write_bytes((lang / "L.fst").read_bytes())
    with pytest.raises(DktError, match=r"cannot be determinised: .*disambiguation symbols"):
        mkgraph(lang, model_dir, tmp_path / "graph")


def test_a_grammar_of_other_words_is_an_error(lang, model_dir, tmp_path):
    save_text_fst(lang / "G.fst", "0 1 77 77\n1\n")
    with pytest.raises(DktError, match=r"G\.fst: 1 input labels are not in words\.txt, the first 77"):
        mkgraph(lang, model_dir, tmp_path / "graph")
    save_text_fst(lang / "G.fst", f"0 1 {WORDS.index('<s>')} {WORDS.index('<s>')}\n1\n")
    with pytest.raises(DktError, match=r"no word sequence of G\.fst"):
        mkgraph(lang, model_dir, tmp_path / "graph")


def test_a_tree_of_another_system_is_an_error(lang, model_dir, tmp_path):
    save_tree(model_dir / "tree", monophone_tree([[4], [3], [2], [1]], tiny_topology()))
    with pytest.raises(DktError, match="no transition-state for phone"):
        mkgraph(lang, model_dir, tmp_path / "graph")


def test_pushing_keeps_every_path_and_evens_out_the_states(lang):
    text = "0 1 1 1 4\n0 2 2 2 0.1\n1 1 3 3 0.7\n1 2 4 4 3\n2 0 5 5 2\n2 0.3\n1 5\n"
    fst = FstArrays.from_kaldifst(kaldifst.compile(text, acceptor=False))
    pushed = push_special(fst)
    total = np.bincount(pushed.sources, np.exp(-pushed.arcs["weight"].astype(float)), 3)
    total += np.exp(-pushed.final.astype(float))
    assert np.ptp(np.log(total)) < 2e-3
    before = np.bincount(fst.sources, np.exp(-fst.arcs["weight"].astype(float)), 3)
    assert np.ptp(np.log(before + np.exp(-fst.final.astype(float)))) > 0.5
    weight = {
        name: dict(zip(f.arcs["ilabel"].tolist(), f.arcs["weight"].tolist(), strict=True))
        for name, f in (("before", fst), ("after", pushed))
    }
    for path, end in (([2], 2), ([1, 3, 3, 4], 2), ([2, 5, 1], 1)):
        costs = [
            sum(weight[name][label] for label in path) + f.final[end]
            for name, f in (("before", fst), ("after", pushed))
        ]
        assert costs[0] == pytest.approx(costs[1], abs=1e-4)


def test_lg_is_sorted_on_its_input(lang):
    lg = compile_lg(lang)
    for state in range(lg.num_states):
        labels = lg.arcs["ilabel"][lg.offsets[state] : lg.offsets[state + 1]]
        assert (np.diff(labels) >= 0).all()


def golden_search(fixtures: Path, num_utterances: int) -> list[tuple]:
    """The shortest golden utterances: id, log-likelihoods, words, transition-ids, score of the path."""

    def integers(name: str) -> dict[str, list[int]]:
        lines = gzip.decompress((fixtures / "golden/nnet1" / name).read_bytes()).decode().splitlines()
        return {line.split()[0]: [int(word) for word in line.split()[1:]] for line in lines}

    words, alignments = integers("search_words_20.txt.gz"), integers("search_ali_20.txt.gz")
    log = (fixtures / "golden/nnet1/search_20.log").read_text()
    loglikes = dict(re.findall(r"Log-like per frame for utterance (\S+) is (\S+)", log))
    matrices = dict(read_matrices(f"ark:{fixtures}/golden/nnet1/loglikes_20.ark"))
    shortest = sorted(matrices, key=lambda utt: len(matrices[utt]))[:num_utterances]
    return [
        (u, matrices[u], words[u], alignments[u], float(loglikes[u]) * len(matrices[u])) for u in shortest
    ]


def test_kaldi_triphone_graph_made_again(kaldi_fixtures, tmp_path):
    kaldis = kaldi_fixtures / "exp/tri2b/graph"
    mkgraph(kaldi_fixtures / "lang", kaldi_fixtures / "exp/tri2b", tmp_path / "graph")
    beside = sorted(p.relative_to(kaldis) for p in kaldis.rglob("*") if p.is_file() and p.suffix != ".fst")
    assert len(beside) > 8
    for name in beside:
        assert (tmp_path / "graph" / name).read_bytes() == (kaldis / name).read_bytes(), name
    mine, reference = load_fst(tmp_path / "graph/HCLG.fst"), load_fst(kaldis / "HCLG.fst")
    assert mine.num_states == pytest.approx(reference.num_states, rel=0.01)
    assert mine.num_arcs == pytest.approx(reference.num_arcs, rel=0.03)
    model = load_transition_model(kaldi_fixtures / "exp/tri2b/final.mdl")
    searcher = Searcher(mine, model.id2pdf)
    for _, loglikes, words, alignment, loglike in golden_search(kaldi_fixtures, 2):
        result = searcher.search(loglikes)
        assert result.words == words
        assert result.alignment.tolist() == alignment
        assert result.loglike == pytest.approx(loglike, abs=0.01)


def test_make_graph_returns_what_it_writes(lang, model_dir, tmp_path):
    topology = tiny_topology()
    tree = monophone_tree([[1], [2], [3], [4]], topology)
    graph = make_graph(lang, tree, monophone_transition_model(tree, topology), tmp_path / "graph")
    assert graph.to_bytes("const") == (tmp_path / "graph/HCLG.fst").read_bytes()
