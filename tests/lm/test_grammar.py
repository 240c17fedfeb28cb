"""G.fst against the ARPA model it stands for, and against Kaldi's own."""

from __future__ import annotations

import math
import random

import kaldifst
import pytest

from dkt.base.errors import DktError
from dkt.bin import main
from dkt.lm.arpa import write_arpa
from dkt.lm.grammar import arpa_to_fst
from dkt.lm.ngram import train_ngram
from dkt.util.symbols import read_symbol_table, write_symbol_table
from tests.arpa_files import read_arpa

WORDS = ["one", "two", "three", "four", "five", "unseen"]
LANG_FILES = ["phones.txt", "topo", "L.fst", "L_disambig.fst", "oov.txt", "oov.int"]


@pytest.fixture
def words(tmp_path):
    return write_symbol_table(tmp_path / "words.txt", ["<eps>", *sorted(WORDS), "#0", "<s>", "</s>"])


@pytest.fixture
def lang(tmp_path, words):
    directory = tmp_path / "lang"
    (directory / "phones").mkdir(parents=True)
    (directory / "phones" / "silence.csl").write_text("1\n")
    for name in LANG_FILES:
        (directory / name).write_text(name)
    (tmp_path / "words.txt").rename(directory / "words.txt")
    return directory


def random_sentences(rng, num, vocabulary):
    return [rng.choices(vocabulary, k=rng.randint(1, 7)) for _ in range(num)]


def arcs_by_label(fst):
    """For each state label to (cost, next state); fails if a label leaves a state twice."""
    states = []
    for state in range(fst.num_states):
        arcs = {}
        for arc in kaldifst.ArcIterator(fst, state):
            assert arc.ilabel not in arcs
            assert arc.olabel in (arc.ilabel, 0)
            arcs[arc.ilabel] = (float(arc.weight.value), arc.nextstate)
        states.append(arcs)
    return states


def backoff_cost(fst, sentence, backoff):
    """The cost of a sentence if a backoff is taken only where there is no arc for the word."""
    states, state, cost = arcs_by_label(fst), fst.start, 0.0
    for word in sentence:
        while word not in states[state]:
            cost, state = cost + states[state][backoff][0], states[state][backoff][1]
        cost, state = cost + states[state][word][0], states[state][word][1]
    while math.isinf(float(fst.final(state).value)):
        cost, state = cost + states[state][backoff][0], states[state][backoff][1]
    return cost + float(fst.final(state).value)


def best_cost(fst, sentence, backoff):
    """The cost of the best path for a sentence, backoffs being free to take."""
    acceptor = kaldifst.StdVectorFst()
    for place, word in enumerate([*sentence, None]):
        state = acceptor.add_state()
        acceptor.add_arc(state, kaldifst.StdArc(backoff, backoff, 0.0, state))
        if word is not None:
            acceptor.add_arc(state, kaldifst.StdArc(word, word, 0.0, place + 1))
    acceptor.start = 0
    acceptor.set_final(state, 0.0)
    kaldifst.arcsort(acceptor, "olabel")
    path = kaldifst.shortest_path(kaldifst.compose(acceptor, fst))
    state, cost = path.start, 0.0
    while path.num_arcs(state):
        (arc,) = kaldifst.ArcIterator(path, state)
        cost, state = cost + float(arc.weight.value), arc.nextstate
    return cost + float(path.final(state).value)


@pytest.mark.parametrize("smoothing", ["kneser-ney", "witten-bell"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_costs_of_sentences_are_those_of_the_model(tmp_path, words, order, smoothing):
    rng = random.Random(order)
    text = random_sentences(rng, 30, WORDS[:-1])
    write_arpa(train_ngram(text, order, smoothing=smoothing, vocabulary=WORDS), tmp_path / "lm.gz")
    model, fst = read_arpa(tmp_path / "lm.gz"), arpa_to_fst(tmp_path / "lm.gz", words)
    assert all(list(arcs) == sorted(arcs) for arcs in arcs_by_label(fst))
    for sentence in random_sentences(rng, 40, WORDS):
        expected = -math.log(10) * math.fsum(model.sentence_log10_probs(sentence))
        ids = [words[word] for word in sentence]
        assert backoff_cost(fst, ids, words["#0"]) == pytest.approx(expected, abs=1e-4)
        assert best_cost(fst, ids, words["#0"]) <= expected + 1e-4


def test_states_that_only_back_off_are_left_out(tmp_path, words):
    (tmp_path / "lm").write_text(
        "\\data\\\nngram 1=4\nngram 2=2\n\n\\1-grams:\n-99 <s> -0.5\n-1 one -0.25\n-1 two -0.125\n-1 </s>\n\n"
        "\\2-grams:\n-0.5 <s> one\n-0.5 one </s>\n\n\\end\\\n"
    )
    fst = arpa_to_fst(tmp_path / "lm", words)
    # The empty history, <s> and "one"; "two" leads back to the empty history with its backoff weight.
    states = arcs_by_label(fst)
    assert len(states) == 3
    cost, target = states[0][words["two"]]
    assert (cost, target) == (pytest.approx(1.125 * math.log(10)), 0)
    assert fst.start == 1


def kaldi_grammar_as_arpa(fst, words, path):
    """The bigram ARPA file that a G.fst was made from: every state but the first stands for a word."""
    symbols = {index: word for word, index in words.items()}
    states, backoff = arcs_by_label(fst), words["#0"]

    def log10(cost):
        return f"{-cost / math.log(10):.9g}"

    history = {target: symbols[label] for label, (_, target) in states[0].items()}
    history[fst.start] = "<s>"
    unigrams = {target: log10(cost) for cost, target in states[0].values()}
    lines = [
        f"{unigrams.get(state, -99)} {history[state]} {log10(states[state][backoff][0])}"
        for state in range(1, fst.num_states)
    ]
    lines.append(f"{log10(float(fst.final(0).value))} </s>")
    bigrams = []
    for state in range(1, fst.num_states):
        for label, (cost, _) in states[state].items():
            if label != backoff:
                bigrams.append(f"{log10(cost)} {history[state]} {symbols[label]}")
        if not math.isinf(float(fst.final(state).value)):
            bigrams.append(f"{log10(float(fst.final(state).value))} {history[state]} </s>")
    sections = ["\\data\\", f"ngram 1={len(lines)}", f"ngram 2={len(bigrams)}", "", "\\1-grams:", *lines, ""]
    path.write_text("\n".join([*sections, "\\2-grams:", *bigrams, "", "\\end\\", ""]))


def test_same_grammar_as_kaldi(kaldi_fixtures, tmp_path):
    words = read_symbol_table(kaldi_fixtures / "lang" / "words.txt")
    golden = kaldifst.StdVectorFst.read(str(kaldi_fixtures / "lang" / "G.fst"))
    kaldi_grammar_as_arpa(golden, words, tmp_path / "lm")
    fst = arpa_to_fst(tmp_path / "lm", words)
    assert (fst.num_states, fst.start) == (golden.num_states, golden.start)
    for state, (found, expected) in enumerate(zip(arcs_by_label(fst), arcs_by_label(golden), strict=True)):
        assert {label: target for label, (_, target) in found.items()} == {
            label: target for label, (_, target) in expected.items()
        }
        for label, (cost, _) in expected.items():
            assert found[label][0] == pytest.approx(cost, abs=1e-4)
        assert float(fst.final(state).value) == pytest.approx(float(golden.final(state).value), abs=1e-4)


def test_ngrams_that_cannot_stand_in_g_are_counted(tmp_path, words, caplog):
    (tmp_path / "lm").write_text(
        "\\data\\\nngram 1=5\nngram 2=6\n\n"
        "\\1-grams:\n-99 <s> -0.5\n-1 one -0.25\n-1 xyz -0.1\n-inf two\n-1 </s>\n\n"
        "\\2-grams:\n-1 <s> one\n-1 one xyz\n-1 xyz one\n-1 three one\n-1 one <s>\n-1 </s> one\n\n\\end\\\n"
    )
    fst = arpa_to_fst(tmp_path / "lm", words)
    assert "3 n-grams are left out because 1 words are not in words.txt (xyz)" in caplog.text
    assert "1 n-grams are left out because their history is not an n-gram" in caplog.text
    assert "2 n-grams are left out because <s> or </s> is out of place" in caplog.text
    assert "1 n-grams are left out because their probability is zero" in caplog.text
    assert set(arcs_by_label(fst)[0]) == {words["one"]}


@pytest.mark.parametrize(
    ("unigrams", "message"),
    [
        ("-1 one\n-1 </s>\n", r"lm: there is no unigram '<s>'"),
        ("-99 <s>\n-1 one\n", r"lm: the grammar accepts no sentence"),
        ("-99 <s>\n-1 #0\n-1 </s>\n", r"lm: '#0' is a word of an n-gram"),
        ("-99 <s>\n-1 <eps>\n-1 </s>\n", r"lm: '<eps>' is a word of an n-gram"),
    ],
)
def test_models_without_a_grammar(tmp_path, words, unigrams, message):
    count = unigrams.count("\n")
    (tmp_path / "lm").write_text(f"\\data\\\nngram 1={count}\n\n\\1-grams:\n{unigrams}\n\\end\\\n")
    with pytest.raises(DktError, match=message):
        arpa_to_fst(tmp_path / "lm", words)


def test_words_without_the_backoff_symbol(tmp_path):
    with pytest.raises(DktError, match=r"words.txt has no '#0'"):
        arpa_to_fst(tmp_path / "lm", {"<eps>": 0, "one": 1})


def test_format_lm_copies_the_lang_directory(tmp_path, lang):
    write_arpa(train_ngram([["one", "two"]], 2), tmp_path / "lm.gz")
    for name in LANG_FILES:
        (lang / name).chmod(0o444)
    for _ in range(2):
        assert main(["format-lm", str(lang), str(tmp_path / "lm.gz"), str(tmp_path / "test")]) == 0
    assert (tmp_path / "test" / "phones" / "silence.csl").read_text() == "1\n"
    for name in (*LANG_FILES, "words.txt"):
        assert (tmp_path / "test" / name).read_bytes() == (lang / name).read_bytes()
    assert main(["format-lm", str(lang), str(tmp_path / "lm.gz"), str(lang)]) == 0
    assert (lang / "G.fst").read_bytes() == (tmp_path / "test" / "G.fst").read_bytes()


def test_format_lm_leaves_nothing_half_done(tmp_path, lang, capsys):
    (tmp_path / "lm").write_text("\\data\\\nngram 1=2\n\n\\1-grams:\n-99 <s>\n-1 </s>\n")
    assert main(["format-lm", str(lang), str(tmp_path / "lm"), str(tmp_path / "test")]) == 1
    assert "lm: the file ends without \\end\\" in capsys.readouterr().err
    assert not (tmp_path / "test").exists()
    (lang / "topo").unlink()
    assert main(["format-lm", str(lang), str(tmp_path / "lm"), str(tmp_path / "test")]) == 1
    assert "lang: 'topo' is missing - make the lang directory" in capsys.readouterr().err
