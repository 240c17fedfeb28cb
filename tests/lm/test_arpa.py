"""ARPA files, and the perplexity of a text."""

from __future__ import annotations

import gzip
import math

import pytest

from dkt.base.errors import DktError
from dkt.lm.arpa import ArpaModel, write_arpa
from tests.arpa_files import read_arpa

BOS, EOS = "<s>", "</s>"


def test_perplexity_counts_as_srilm():
    unigrams = {(BOS,): (-99.0, 0.0), (EOS,): (-1.0, 0.0), ("a",): (-0.5, 0.0), ("<unk>",): (-2.0, 0.0)}
    ppl = ArpaModel([{**unigrams, ("z",): (-99.0, 0.0)}], "<unk>").perplexity([["a", "x"], ["a", "a", "z"]])
    assert (ppl.num_sentences, ppl.num_words, ppl.num_oovs, ppl.num_zero_probs) == (2, 5, 1, 1)
    assert ppl.log_prob == pytest.approx(3 * -0.5 + 2 * -1.0)
    assert ppl.ppl == pytest.approx(10 ** (3.5 / 5))
    assert ppl.ppl1 == pytest.approx(10 ** (3.5 / 3))
    assert ppl.ppl_with_oovs == pytest.approx(10 ** (5.5 / 6))
    assert "file dev: 2 sentences, 5 words, 1 OOVs\n1 zeroprobs, logprob= -3.50" in ppl.report("dev")
    del unigrams["<unk>",]
    assert ArpaModel([unigrams]).perplexity([["x", "a"]]).ppl_with_oovs == math.inf


def test_arpa_text(tmp_path):
    model = ArpaModel([{(EOS,): (-0.25, 0.0), ("a",): (-0.5, -0.125)}, {("a", EOS): (-1 / 3, 0.0)}])
    write_arpa(model, tmp_path / "lm")
    assert (tmp_path / "lm").read_text() == (
        "\n\\data\\\nngram 1=2\nngram 2=1\n\n\\1-grams:\n-0.25\t</s>\n-0.5\ta\t-0.125\n"
        "\n\\2-grams:\n-0.3333333\ta </s>\n\n\\end\\\n"
    )
    assert read_arpa(tmp_path / "lm").ngrams[0] == model.ngrams[0]


def test_reads_what_other_tools_write(tmp_path):
    (tmp_path / "lm").write_text(
        "made by hand\n\\data\\\nngram 1 = 3\n\n"
        "\\1-grams:\n-inf <s> -0.5\n-0.3  a\t-1e-1\n\n-0.3 </s>\n\\end\\\nrest\n"
    )
    unigrams = {(BOS,): (-math.inf, -0.5), ("a",): (-0.3, -0.1), (EOS,): (-0.3, 0)}
    assert read_arpa(tmp_path / "lm").ngrams == [unigrams]


ARPA = [
    "\\data\\",
    "ngram 1=2",
    "ngram 2=1",
    "",
    "\\1-grams:",
    "-1 a 0",
    "-1 b",
    "",
    "\\2-grams:",
    "-1 a b",
    "\\end\\",
]


@pytest.mark.parametrize(
    ("line", "text", "message"),
    [
        (0, "data", r"no \\data\\ section"),
        (1, "ngram 2=2", r"line 2: expected 'ngram 1=<count>', found 'ngram 2=2'"),
        (1, "ngram 1=x", r"line 2: expected"),
        (
            5,
            "-1 a b 0",
            r"line 6: expected a log-probability, 1 words and maybe a backoff weight, found 4 fields",
        ),
        (5, "x a", r"line 6: expected numbers"),
        (5, "nan a", r"line 6: expected numbers"),
        (5, "-1 a inf", r"line 6: expected numbers"),
        (5, "-1_0 a", r"line 6: expected numbers"),
        (5, "-٢ a", r"line 6: expected numbers"),
        (5, "-1 a -0_1", r"line 6: expected numbers"),
        (5, "3.5 a", r"line 6: the log-probability is 3.5, expected 0 or less"),
        (5, "-1 a 1e30", r"line 6: the backoff weight is 1e\+30, expected at most 20"),
        (8, "\\3-grams:", r"line 9: expected '\\2-grams:', found"),
        (10, "", r"the file ends without \\end\\ - it was cut short"),
        (4, "", r"line 6: expected 'ngram 3=<count>'"),
    ],
)
def test_broken_arpa_files(tmp_path, line, text, message):
    lines = [*ARPA[:line], text, *ARPA[line + 1 :]]
    (tmp_path / "lm").write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(DktError, match=message):
        read_arpa(tmp_path / "lm")


def test_wrong_counts_are_told(tmp_path, caplog):
    (tmp_path / "lm").write_text("\n".join([*ARPA[:2], "ngram 2=5", *ARPA[3:]]) + "\n")
    read_arpa(tmp_path / "lm")
    assert "the header promises 5 2-grams, found 1" in caplog.text


def test_broken_gzip(tmp_path):
    (tmp_path / "lm.gz").write_bytes(gzip.compress(b"text" * 100)[:-12])
    with pytest.raises(DktError, match=r"lm\.gz: broken gzip file"):
        read_arpa(tmp_path / "lm.gz")
    with pytest.raises(DktError, match=r"nowhere\.gz: cannot be read"):
        read_arpa(tmp_path / "nowhere.gz")


@pytest.mark.parametrize(
    ("order", "line", "told"),
    [(1, "-2 b", "1 1-grams are duplicates, the first 'b' in line 8"), (2, "-3 a b", "'a b' in line 11")],
)
def test_an_ngram_that_stands_twice_is_warned_of(tmp_path, caplog, order, line, told):
    place = ARPA.index(f"-1 {'b' if order == 1 else 'a b'}") + 1
    lines = [*ARPA[:place], line, *ARPA[place:]]
    (tmp_path / "lm").write_text("\n".join(lines) + "\n")
    read_arpa(tmp_path / "lm")
    assert told in caplog.text
    caplog.clear()
    (tmp_path / "lm").write_text("\n".join(ARPA) + "\n")
    read_arpa(tmp_path / "lm")
    assert "twice" not in caplog.text
