"""The dictionary directory, its checks, and the marks on pronunciations."""

from __future__ import annotations

import random

import pytest

from dkt.base.errors import DktError
from dkt.lang.lexicon import Pronunciation, read_dictionary
from dkt.lang.lexicon_fst import add_disambig, mark_positions

FILES = {
    "silence_phones.txt": "SIL\nSPN\n",
    "nonsilence_phones.txt": "a a1\nb\nk\n",
    "optional_silence.txt": "SIL\n",
    "extra_questions.txt": "a b k\na1\n",
    "lexicon.txt": "<UNK> SPN\nab a b\nba b a1\nka\tk  a\n",
}


@pytest.fixture
def dictionary(tmp_path):
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    return tmp_path


def entries(*lines):
    return [Pronunciation(line.split()[0], 1.0, tuple(line.split()[1:])) for line in lines]


def test_reads_a_dictionary(dictionary):
    found = read_dictionary(dictionary)
    assert found.phones == ["SIL", "SPN", "a", "a1", "b", "k"]
    assert found.nonsilence_phones[0] == ["a", "a1"]
    assert found.lexicon[3] == Pronunciation("ka", 1.0, ("k", "a"))
    assert found.words == ["<UNK>", "ab", "ba", "ka"]


def test_lexiconp_is_preferred(dictionary):
    (dictionary / "lexiconp.txt").write_text("<UNK> 1 SPN\nab 0.25 a b\nba 1.0 b a1\nka 1.0 k a\n")
    assert read_dictionary(dictionary).lexicon[1].prob == 0.25
    (dictionary / "lexicon.txt").unlink()
    assert read_dictionary(dictionary).lexicon[1].phones == ("a", "b")


def test_words_are_sorted_by_their_bytes(dictionary):
    (dictionary / "lexicon.txt").write_text("b b\né a\nB b\n<UNK> SPN\nz b a\n", encoding="utf-8")
    assert read_dictionary(dictionary).words == ["<UNK>", "B", "b", "z", "é"]


def test_only_ascii_space_parts_fields(dictionary):
    (dictionary / "lexicon.txt").write_text("<UNK> SPN\na\x1cb a b\n", encoding="utf-8")
    assert read_dictionary(dictionary).words == ["<UNK>", "a\x1cb"]


@pytest.mark.parametrize(
    "name",
    ["lexicon", "lexiconp", "silence_phones", "nonsilence_phones", "optional_silence", "extra_questions"],
)
def test_odd_white_space_is_refused_in_every_file(dictionary, name):
    name += ".txt"
    path = dictionary / name
    old = path.read_text() if path.exists() else "<UNK> 1.0 SPN\na 1.0 a\n"
    path.write_text(old.rstrip("\n") + "\u3000\n", encoding="utf-8")
    with pytest.raises(
        DktError, match=rf"{name}: line \d+ holds U\+3000 \(IDEOGRAPHIC SPACE\), .* - put a space"
    ):
        read_dictionary(dictionary)
    path.write_text("\ufeff" + old, encoding="utf-8")
    with pytest.raises(
        DktError, match=rf"{name}: begins with a byte order mark, U\+FEFF .* - remove it: sed"
    ):
        read_dictionary(dictionary)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "lexicon.txt",
            "<UNK> SPN\nab a x\n",
            r"lexicon\.txt: line 2: word 'ab' has the phone 'x', which is in",
        ),
        ("lexicon.txt", "<UNK> SPN\nab\n", r"lexicon\.txt: line 2: word 'ab' has an empty pronunciation"),
        (
            "lexicon.txt",
            "ab a b\nka k a\nab a  b\n",
            r"line 3 gives word 'ab' the same pronunciation as line 1",
        ),
        ("lexicon.txt", "<eps> a\n", r"line 1: '<eps>' is a reserved symbol"),
        ("lexicon.txt", "ab a b\n#0 a\n", r"line 2: '#0' is a reserved symbol"),
        ("lexicon.txt", "<s> a\n", r"'<s>' is a reserved symbol"),
        ("lexicon.txt", "</s> a\n", r"'</s>' is a reserved symbol"),
        ("lexicon.txt", "ab a b\n\n", r"line 2 is empty"),
        ("lexicon.txt", "", r"the lexicon is empty"),
        ("lexicon.txt", "ab a b\r\n", r"carriage return"),
        ("lexicon.txt", b"ab a b\n\xff a\n", r"line 2 is not UTF-8"),
        ("lexicon.txt", None, r"neither lexicon\.txt nor lexiconp\.txt"),
        ("lexiconp.txt", "ab 1.5 a b\n", r"line 1: expected a pronunciation probability .* found '1\.5'"),
        ("lexiconp.txt", "ab a b\n", r"found 'a'"),
        ("lexiconp.txt", "ab 0 a b\n", r"found '0'"),
        ("lexiconp.txt", "ab nan a b\n", r"found 'nan'"),
        ("lexiconp.txt", "ab 1.0 a b\n", r"do not hold the same pronunciations"),
        ("silence_phones.txt", None, r"silence_phones\.txt: cannot be read: No such file"),
        ("silence_phones.txt", "", r"the list of phones is empty"),
        ("silence_phones.txt", "SIL\nSPN\nb\n", r"phone 'b' is in silence_phones.txt and in nonsilence"),
        ("nonsilence_phones.txt", "a a1\nb\nk\nb\n", r"phone 'b' is a duplicate"),
        ("nonsilence_phones.txt", "a_B\n", r"'a_B' has a reserved form"),
        ("nonsilence_phones.txt", "#1\n", r"'#1' has a reserved form"),
        ("optional_silence.txt", "b\n", r"'b' is not in silence_phones\.txt"),
        ("optional_silence.txt", "SIL SPN\n", r"expected one phone, found 2"),
        ("optional_silence.txt", None, r"optional_silence\.txt: cannot be read"),
        ("extra_questions.txt", "a z\n", r"line 1: phone 'z'"),
        ("extra_questions.txt", "SIL\n", r"phones 'a' and 'a1' share a line .* tells them apart"),
        ("nonterminals.txt", "#nonterm:x\n", r"nonterminal"),
    ],
)
def test_mistakes_are_named(dictionary, name, content, message):
    if content is None:
        (dictionary / name).unlink()
    else:
        (dictionary / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DktError, match=message):
        read_dictionary(dictionary)


def test_missing_directory(tmp_path):
    with pytest.raises(DktError, match="nowhere: no such dictionary directory"):
        read_dictionary(tmp_path / "nowhere")


def test_unused_phones_and_silence_probabilities_are_told(dictionary, caplog):
    (dictionary / "lexicon.txt").write_text("<UNK> SPN\nab a b\n")
    (dictionary / "lexiconp_silprob.txt").write_text("")
    read_dictionary(dictionary)
    assert "phones that no word uses: a1, k" in caplog.text
    assert "lexiconp_silprob.txt is not used" in caplog.text


def test_position_marks():
    marked = mark_positions(entries("a p", "b p q", "c p q r s"))
    assert [entry.phones for entry in marked] == [("p_S",), ("p_B", "q_E"), ("p_B", "q_I", "r_I", "s_E")]


def test_disambiguation_of_homophones_and_prefixes():
    marked, highest = add_disambig(entries("red r e d", "read r e d", "read r i d", "re r e", "i i"))
    assert [" ".join(entry.phones) for entry in marked] == ["r e d #1", "r e d #2", "r i d", "r e #1", "i"]
    assert highest == 2
    assert add_disambig(entries("a p", "b q"))[1] == 0


def test_disambiguated_pronunciations_are_prefix_free():
    rng = random.Random(0)
    words = [f"w{n} " + " ".join(rng.choices("ab", k=rng.randint(1, 5))) for n in range(200)]
    prons = [entry.phones for entry in add_disambig(entries(*words))[0]]
    assert len(set(prons)) == len(prons)
    for pron in prons:
        assert not any(other[: len(pron)] == pron for other in prons if other is not pron)
