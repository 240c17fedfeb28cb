"""Words outside the lexicon: how many, which, and what keeps them apart from the words they should be."""

from __future__ import annotations

import unicodedata
from collections import Counter

import pytest

from dkt.base.errors import DktError
from dkt.util.oov import OovCount, find_causes

WORDS = [
    "<eps>",
    "<UNK>",
    "hello",
    "world",
    "caf\u00e9",
    "don't",
    "na\u00efve",
    "\u4f60",
    "\u597d",
    "#0",
    "<s>",
]


@pytest.mark.parametrize(
    ("word", "right", "cause"),
    [
        ("HELLO", "hello", "letter case"),
        ("Caf\u00e9", "caf\u00e9", "letter case"),
        (unicodedata.normalize("NFD", "caf\u00e9"), "caf\u00e9", "Unicode form (NFC or NFD)"),
        ("\uff48\uff45\uff4c\uff4c\uff4f", "hello", "full-width letters"),
        ("\ufeffhello", "hello", "cannot be seen, such as a byte order mark"),
        ("hel\u200blo", "hello", "cannot be seen"),
        ("hello,", "hello", "punctuation"),
        ("\u201chello\u201d", "hello", "punctuation"),
        ("\u300chello\u3002", "hello", "punctuation"),
        ("don\u2019t", "don't", "apostrophe"),
        ("caf\u00c3\u00a9", "caf\u00e9", "an encoding that was taken for another one"),
        ("HELLO!", "hello", "letter case, punctuation and Unicode form together"),
        (unicodedata.normalize("NFD", "CAF\u00c9."), "caf\u00e9", "together"),
        ("\u4f60\u597d", "\u4f60 \u597d", "the missing spaces between words"),
    ],
)
def test_the_cause_is_seen(word: str, right: str, cause: str) -> None:
    (found,) = find_causes({word: 3}, WORDS)
    assert cause in found.name and found.example == (word, right) and found.count == 3 and found.mend


@pytest.mark.parametrize("word", ["zebra", "UNK", "unk", "S", "eps", "---", "hel", "helloworld"])
def test_other_words_are_like_none(word: str) -> None:
    assert find_causes({word: 1}, WORDS) == []


def test_the_commonest_cause_comes_first() -> None:
    causes = find_causes(Counter({"hello.": 2, "World": 1, "HELLO": 4, "zebra": 9}), WORDS)
    assert [(cause.count, cause.example[0]) for cause in causes] == [(5, "HELLO"), (2, "hello.")]


def test_the_error_tells_share_words_cause_and_mend() -> None:
    text = [["HELLO", "WORLD"], ["hello", "WORLD"], []]
    count = OovCount.of(text, set(WORDS), "data/text")
    assert count.figures() == "3 of 4 words (75.00 %) are out of vocabulary"
    with pytest.raises(DktError) as caught:
        count.check(0.1)
    assert str(caught.value) == (
        "data/text: 3 of 4 words (75.00 %) are not in the lexicon; the most frequent: WORLD (2), HELLO (1); "
        "3 differ from words of it in letter case ('WORLD' for 'world'); the limit is 10 % - write "
        "both in the same letter case, or allow it with --max-oov"
    )
    count.check(0.75)


def test_an_unknown_language_is_told_to_extend_the_lexicon() -> None:
    count = OovCount.of([["zebra", "hello"]], WORDS, "data/text")
    with pytest.raises(DktError, match="add them to the lexicon and prepare the lang directory again"):
        count.check(0.4)


def test_the_oov_word_itself_is_out_of_vocabulary() -> None:
    count = OovCount.of([["<UNK>", "<UNK>"]], ["hello", "<UNK>"], "data/text", "<UNK>")
    assert count.figures() == (
        "2 of 2 words (100.00 %) are out of vocabulary, 2 of them already written as '<UNK>'"
    )
    with pytest.raises(DktError) as caught:
        count.check(0.1)
    assert str(caught.value) == (
        "data/text: 2 of 2 words (100.00 %) are not in the lexicon, 2 of them already written as '<UNK>'; "
        "the limit is 10 % - write the words themselves in the place of '<UNK>', and put them into the "
        "lexicon, or allow it with --max-oov"
    )
    count = OovCount.of([["<UNK>", "zebra", "hello", "hello"]], ["hello", "<UNK>"], "text", "<UNK>")
    assert count.share == 0.5
    assert count.describe(mapped=True) == (
        "2 of 4 words (50.00 %) are not in the lexicon and count as '<UNK>', 1 of them already written as "
        "'<UNK>'; the most frequent: zebra (1)"
    )
    # Where nothing stands for others it is a word.
    assert OovCount.of([["<UNK>"]], ["hello", "<UNK>"], "text").share == 0.0


def test_an_empty_text_has_none() -> None:
    count = OovCount.of([[], []], WORDS, "text")
    count.check(0.0)
    assert count.figures() == "0 of 0 words (0.00 %) are out of vocabulary"
