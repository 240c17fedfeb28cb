"""The lang directory against the one Kaldi made, and transcripts in its integers."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import kaldifst
import pytest

from dkt.base.errors import DktError
from dkt.bin import main
from dkt.lang.lang import LangOptions, prepare_lang, read_symbol_table, read_transcripts, transcripts_to_ints

FILES = {
    "silence_phones.txt": "SIL\nSPN\n",
    "nonsilence_phones.txt": "a\nb\n",
    "optional_silence.txt": "SIL\n",
    "lexicon.txt": "<UNK> SPN\nab a b\na a\naa a\n",
}


@pytest.fixture
def dictionary(tmp_path):
    directory = tmp_path / "dict"
    directory.mkdir()
    for name, content in FILES.items():
        (directory / name).write_text(content)
    return directory


def rows(path):
    return [line.split() for line in Path(path).read_text().splitlines()]


def arcs(path):
    """A multiset of all arcs and final states; costs to four digits."""
    fst = kaldifst.StdVectorFst.read(str(path))
    found = Counter()
    for state in range(fst.num_states):
        for arc in kaldifst.ArcIterator(fst, state):
            cost = round(float(arc.weight.value), 4)
            found[state, arc.ilabel, arc.olabel, cost, arc.nextstate] += 1
        found["final", state, round(float(fst.final(state).value), 4)] += 1
    found["start", fst.start] += 1
    return found


@pytest.fixture(scope="session")
def golden_dictionary(kaldi_fixtures, tmp_path_factory):
    """The dictionary directory that Kaldi's lang directory was made from, recovered from it."""
    phones = kaldi_fixtures / "lang" / "phones"
    directory = tmp_path_factory.mktemp("dict")

    def base(phone):
        return re.sub("_[BEIS]$", "", phone)

    for kind in ("silence", "nonsilence"):
        names = dict.fromkeys(base(row[0]) for row in rows(phones / f"{kind}.txt"))
        (directory / f"{kind}_phones.txt").write_text("".join(f"{name}\n" for name in names))
    (directory / "optional_silence.txt").write_text("SIL\n")
    (directory / "extra_questions.txt").write_text("SIL SPN\n")
    lexicon = [
        [row[0], *map(base, row[2:])] for row in rows(phones / "align_lexicon.txt") if row[0] != "<eps>"
    ]
    (directory / "lexicon.txt").write_text("".join(" ".join(entry) + "\n" for entry in sorted(lexicon)))
    return directory


def test_same_files_as_kaldi(kaldi_fixtures, golden_dictionary, tmp_path):
    prepare_lang(golden_dictionary, "<UNK>", tmp_path / "lang")
    golden = kaldi_fixtures / "lang"
    names = {str(path.relative_to(golden)) for path in golden.rglob("*") if path.is_file()} - {"G.fst"}
    made = {
        str(path.relative_to(tmp_path / "lang")) for path in (tmp_path / "lang").rglob("*") if path.is_file()
    }
    assert made == names
    for name in sorted(names):
        if not name.endswith(".fst"):
            assert (tmp_path / "lang" / name).read_bytes() == (golden / name).read_bytes(), name


@pytest.mark.parametrize("name", ["L.fst", "L_disambig.fst"])
def test_same_lexicon_fst_as_kaldi(kaldi_fixtures, golden_dictionary, tmp_path, name):
    prepare_lang(golden_dictionary, "<UNK>", tmp_path / "lang")
    assert arcs(tmp_path / "lang" / name) == arcs(kaldi_fixtures / "lang" / name)


@pytest.mark.parametrize("name", ["L.fst", "L_disambig.fst"])
def test_arcs_are_sorted_by_word(dictionary, tmp_path, name):
    prepare_lang(dictionary, "<UNK>", tmp_path)
    fst = kaldifst.StdVectorFst.read(str(tmp_path / name))
    for state in range(fst.num_states):
        labels = [arc.olabel for arc in kaldifst.ArcIterator(fst, state)]
        assert labels == sorted(labels)


def test_same_bytes_every_time(dictionary, tmp_path):
    for run in ("one", "two"):
        prepare_lang(dictionary, "<UNK>", tmp_path / run)
    for path in sorted((tmp_path / "one").rglob("*.*")):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


def test_without_position_marks(dictionary, tmp_path):
    prepare_lang(dictionary, "<UNK>", tmp_path, LangOptions(position_dependent_phones=False))
    assert [row[0] for row in rows(tmp_path / "phones.txt")] == [
        "<eps>",
        "SIL",
        "SPN",
        "a",
        "b",
        "#0",
        "#1",
        "#2",
        "#3",
    ]
    assert rows(tmp_path / "phones" / "sets.txt") == [["SIL"], ["SPN"], ["a"], ["b"]]
    assert not (tmp_path / "phones" / "word_boundary.txt").exists()
    assert (tmp_path / "phones" / "extra_questions.txt").read_text() == ""
    assert rows(tmp_path / "phones" / "align_lexicon.txt")[-1] == ["ab", "ab", "a", "b"]


def test_word_boundaries_of_the_dictionary_are_kept(dictionary, tmp_path):
    (dictionary / "word_boundary.txt").write_text("SIL nonword\na begin\n")
    prepare_lang(dictionary, "<UNK>", tmp_path / "l", LangOptions(position_dependent_phones=False))
    assert rows(tmp_path / "l" / "phones" / "word_boundary.int") == [["1", "nonword"], ["3", "begin"]]


def test_shared_silence_phones(dictionary, tmp_path):
    prepare_lang(
        dictionary, "<UNK>", tmp_path, LangOptions(position_dependent_phones=False, share_silence_phones=True)
    )
    assert rows(tmp_path / "phones" / "roots.txt") == [
        ["not-shared", "not-split", "SIL", "SPN"],
        ["shared", "split", "a"],
        ["shared", "split", "b"],
    ]
    assert rows(tmp_path / "phones" / "sets.int") == [["1", "2"], ["3"], ["4"]]


def test_topology_by_options(dictionary, tmp_path):
    options = LangOptions(position_dependent_phones=False, num_sil_states=1, num_nonsil_states=2)
    prepare_lang(dictionary, "<UNK>", tmp_path / "l", options)
    topo = (tmp_path / "l" / "topo").read_text()
    assert topo.count("<State> 0 <PdfClass> 0 <Transition> 0 0.75 <Transition> 1 0.25 </State>") == 2
    assert "<State> 2 </State>" in topo
    assert "<State> 3" not in topo
    prepare_lang(dictionary, "<UNK>", tmp_path / "l", LangOptions(num_sil_states=4))
    assert "<Transition> 1 0.333333333333333 <" in (tmp_path / "l" / "topo").read_text()


def transduce(path, phones):
    """Costs of all ways to read ``phones`` as words, by the words."""
    table = read_symbol_table(path.parent / "phones.txt")
    symbols = {index: word for word, index in read_symbol_table(path.parent / "words.txt").items()}
    fst = kaldifst.StdVectorFst.read(str(path))
    found = []
    paths = [(fst.start, 0, (), 0.0)]
    while paths:
        state, place, output, cost = paths.pop()
        final = float(fst.final(state).value)
        if place == len(phones) and final != float("inf"):
            found.append((" ".join(output), round(cost + final, 4)))
        for arc in kaldifst.ArcIterator(fst, state):
            after = output if arc.olabel == 0 else (*output, symbols[arc.olabel])
            total = cost + float(arc.weight.value)
            if arc.ilabel == 0:
                paths.append((arc.nextstate, place, after, total))
            elif place < len(phones) and table[phones[place]] == arc.ilabel:
                paths.append((arc.nextstate, place + 1, after, total))
    return sorted(found)


def test_costs_of_pronunciations_and_silence(dictionary, tmp_path):
    (dictionary / "lexiconp.txt").write_text("<UNK> 1.0 SPN\nab 0.5 a b\na 1.0 a\naa 0.25 a\n")
    options = LangOptions(position_dependent_phones=False, sil_prob=0.2)
    prepare_lang(dictionary, "<UNK>", tmp_path / "l", options)
    found = transduce(tmp_path / "l" / "L.fst", ["a", "b", "SIL"])
    # No silence at the start 0.8, the word 0.5, silence after it 0.2.
    assert found == [("ab", round(2.525729, 4))]
    found = transduce(tmp_path / "l" / "L.fst", ["a"])
    assert found == [("a", 0.4463), ("aa", 1.8326)]
    found = transduce(tmp_path / "l" / "L_disambig.fst", ["SIL", "#3", "a", "#2", "#0", "a", "b"])
    assert [words for words, _ in found] == ["aa #0 ab"]


def test_no_optional_silence(dictionary, tmp_path):
    options = LangOptions(position_dependent_phones=False, sil_prob=0.0)
    prepare_lang(dictionary, "<UNK>", tmp_path / "l", options)
    assert transduce(tmp_path / "l" / "L.fst", ["a", "b", "a"]) == [("ab a", 0.0), ("ab aa", 0.0)]
    assert transduce(tmp_path / "l" / "L.fst", ["SIL", "a"]) == []


def test_a_stale_grammar_is_told(dictionary, tmp_path, caplog):
    prepare_lang(dictionary, "<UNK>", tmp_path / "l")
    (tmp_path / "l" / "G.fst").write_bytes(b"")
    prepare_lang(dictionary, "<UNK>", tmp_path / "l")
    assert "G.fst" not in caplog.text
    (dictionary / "lexicon.txt").write_text("<UNK> SPN\nab a b\n")
    prepare_lang(dictionary, "<UNK>", tmp_path / "l")
    assert "G.fst was made for another words.txt" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["<OOV>"], "the OOV word '<OOV>' is not in the lexicon - add it"),
        (["--num-sil-states=2", "<UNK>"], "--num-sil-states is 2, expected 1 or 3"),
    ],
)
def test_command_tells_mistakes(dictionary, tmp_path, capsys, arguments, message):
    *options, oov = arguments
    assert main(["prepare-lang", *options, str(dictionary), oov, str(tmp_path / "l")]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "l").exists()


def test_command(dictionary, tmp_path):
    arguments = ["--position-dependent-phones=false", str(dictionary), "<UNK>", str(tmp_path / "new" / "l")]
    assert main(["prepare-lang", *arguments]) == 0
    assert (tmp_path / "new" / "l" / "oov.int").read_text() == "1\n"


def test_lang_directory_that_cannot_be_written(dictionary, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DktError, match="file/l: cannot be written"):
        prepare_lang(dictionary, "<UNK>", tmp_path / "file" / "l")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a 1\nb\n", r"line 2: expected '<symbol> <id>', found 'b'"),
        ("a 1\nb -2\n", r"line 2: expected"),
        ("a 1\na 2\n", r"line 2: duplicate symbol 'a'"),
        ("a 1\nb 1\n", r"line 2: id 1 is that of 'a' already"),
        ("", r"empty"),
    ],
)
def test_broken_symbol_tables(tmp_path, content, message):
    (tmp_path / "words.txt").write_text(content)
    with pytest.raises(DktError, match=message):
        read_symbol_table(tmp_path / "words.txt")


WORDS = {"<eps>": 0, "<UNK>": 1, "a": 2, "b": 3, "#0": 4, "<s>": 5, "</s>": 6}


def test_unknown_words_are_mapped_and_counted(tmp_path, caplog):
    (tmp_path / "text").write_text("u1 a x b\nu2 y x\nu3\n")
    texts = read_transcripts(tmp_path / "text")
    found = transcripts_to_ints(texts, WORDS, "<UNK>", path="data/text")
    assert found == {"u1": [2, 1, 3], "u2": [1, 1], "u3": []}
    assert "data/text: 3 of 5 words (60.00 %) are not in the lexicon and count as '<UNK>'" in caplog.text
    assert "the most frequent: x (2), y (1)" in caplog.text


@pytest.mark.parametrize(
    ("policy", "oov", "text", "message"),
    [
        ("error", "<UNK>", ["a", "x"], r"data/text: utterance 'u1': word 'x' is not in the lexicon - add it"),
        ("map", None, ["a", "x"], r"word 'x' is not in the lexicon"),
        ("map", "<OOV>", ["a"], r"the OOV word '<OOV>' is not in words.txt"),
        ("map", "<UNK>", ["a", "</s>"], r"utterance 'u1': '</s>' is a reserved symbol"),
        ("drop", "<UNK>", ["a"], r"--oov-policy is 'drop', expected one of map, error"),
    ],
)
def test_transcripts_that_cannot_be_numbered(policy, oov, text, message):
    with pytest.raises(DktError, match=message):
        transcripts_to_ints({"u1": text}, WORDS, oov, policy=policy, path="data/text")


def test_broken_transcripts(tmp_path):
    (tmp_path / "text").write_text("u1 a\nu1 b\n")
    with pytest.raises(DktError, match=r"text: utterance 'u1': line 2: duplicate key"):
        read_transcripts(tmp_path / "text")
    (tmp_path / "text").write_text("u1 a\n\n")
    with pytest.raises(DktError, match="line 2 is empty"):
        read_transcripts(tmp_path / "text")
