"""N-gram models against a plain reading of the formulas, and the text they are trained on."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter, defaultdict

import numpy as np
import pytest

from dkt.base.errors import DktError
from dkt.bin import main
from dkt.lm.arpa import write_arpa
from dkt.lm.ngram import kneser_ney_discounts, train_ngram
from dkt.lm.text import read_sentences, read_vocabulary
from tests.arpa_files import read_arpa

BOS, EOS = "<s>", "</s>"


def zipf_text(num_sentences=300, num_words=400, seed=1):
    rng = random.Random(seed)
    words = [f"w{n:03d}" for n in range(num_words)]
    weights = [1 / (n + 1) for n in range(num_words)]
    return [rng.choices(words, weights, k=rng.randint(1, 8)) for _ in range(num_sentences)]


class Reference:
    """Interpolated models written down as in Chen and Goodman, one probability at a time."""

    def __init__(self, sentences, order, smoothing, vocabulary):
        self.vocabulary = sorted({*vocabulary, EOS})
        self.smoothing = smoothing
        raw = [Counter() for _ in range(order + 1)]
        for sentence in sentences:
            tokens = [BOS, *sentence, EOS]
            for n in range(1, order + 1):
                for end in range(max(n, 2), len(tokens) + 1):
                    raw[n][tuple(tokens[end - n : end])] += 1
        self.counts = raw
        if smoothing == "kneser-ney":
            self.counts = [Counter() for _ in range(order + 1)]
            self.counts[order] = raw[order]
            for n in range(1, order):
                before = defaultdict(set)
                for longer in raw[n + 1]:
                    before[longer[1:]].add(longer[0])
                for ngram, count in raw[n].items():
                    self.counts[n][ngram] = count if ngram[0] == BOS else len(before[ngram])
        self.discounts = [None, *(self.estimate(table) for table in self.counts[1:])]
        self.following = defaultdict(dict)
        for ngram, count in itertools.chain(*(table.items() for table in self.counts)):
            self.following[ngram[:-1]][ngram[-1]] = count

    @staticmethod
    def estimate(table):
        n1, n2, n3, n4 = (sum(count == c for count in table.values()) for c in (1, 2, 3, 4))
        if not (n1 and n2 and n3 and n4):
            return None
        y = n1 / (n1 + 2 * n2)
        return [0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]

    def prob(self, history, word):
        n = len(history) + 1
        lower = self.prob(history[1:], word) if n > 1 else 1 / len(self.vocabulary)
        following = self.following.get(tuple(history), {})
        total = sum(following.values())
        if not total:
            return lower
        if self.smoothing == "witten-bell":
            return (following.get(word, 0) + len(following) * lower) / (total + len(following))
        d = self.discounts[n]
        given = sum(d[min(c, 3)] for c in following.values()) / total
        count = following.get(word, 0)
        return (count - d[min(count, 3)]) / total + given * lower


@pytest.mark.parametrize("smoothing", ["kneser-ney", "witten-bell"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_probabilities_follow_the_formulas(order, smoothing):
    sentences = zipf_text()
    vocabulary = {word for sentence in sentences for word in sentence} | {"unseen", "also-unseen"}
    reference = Reference(sentences, order, smoothing, vocabulary)
    if smoothing == "kneser-ney":
        assert None not in reference.discounts[1:]
    model = train_ngram(sentences, order, smoothing=smoothing, vocabulary=vocabulary)
    rng = random.Random(2)
    seen = [[BOS, *sentence, EOS] for sentence in sentences]
    for _ in range(500):
        if rng.random() < 0.5:
            tokens = rng.choice([tokens for tokens in seen if len(tokens) >= order])
            start = rng.randint(0, len(tokens) - order)
            *history, word = tokens[start : start + order]
        else:
            *history, word = rng.choices(sorted(vocabulary), k=order)
        if word != BOS:
            log_prob = model.log10_prob(history, word)
            assert 10**log_prob == pytest.approx(reference.prob(history, word), rel=1e-9)


def histories(model):
    """Every history that a state of the model stands for."""
    found = [()]
    for table in model.ngrams[:-1]:
        found += [ngram for ngram in table if ngram[-1] != EOS]
    return found


@pytest.mark.parametrize("smoothing", ["kneser-ney", "witten-bell"])
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("text", ["digits", "zipf"])
def test_every_history_sums_to_one_in_the_file(tmp_path, order, smoothing, text):
    if text == "zipf":
        sentences, vocabulary = zipf_text(80, 60), ["unseen", *(f"w{n:03d}" for n in range(0, 60, 2))]
    else:
        rng = random.Random(3)
        sentences, vocabulary = [rng.choices("0123456789", k=rng.randint(3, 7)) for _ in range(200)], None
    write_arpa(train_ngram(sentences, order, smoothing=smoothing, vocabulary=vocabulary), tmp_path / "lm")
    model = read_arpa(tmp_path / "lm")
    assert len(model.ngrams) == order
    words = [word for word in model.vocabulary if word != BOS]
    assert len(words) == (11 if text == "digits" else 33)
    for history in histories(model):
        assert sum(10 ** model.log10_prob(history, word) for word in words) == pytest.approx(1, abs=1e-6)


def test_a_tiny_model_by_hand():
    # Unigrams a 2, b 1, </s> 2 of 5 tokens and 3 types: (count + 3/3) / 8.
    model = train_ngram([["a", "b"], ["a"]], 2, smoothing="witten-bell")
    unigrams = {ngram[0]: 10**log_prob for ngram, (log_prob, _) in model.ngrams[0].items() if ngram != (BOS,)}
    assert unigrams == pytest.approx({"a": 3 / 8, "b": 2 / 8, EOS: 3 / 8})
    # After a: b once, </s> once, two types.
    assert 10 ** model.log10_prob(["a"], "b") == pytest.approx((1 + 2 * 2 / 8) / 4)
    assert 10 ** model.log10_prob(["a"], "a") == pytest.approx(2 * 3 / 8 / 4)
    assert 10 ** model.ngrams[0]["a",][1] == pytest.approx(2 / 4)
    assert model.log10_prob(["a"], "c") == -math.inf


def test_discounts():
    counts = np.repeat([1, 2, 3, 4, 9], [10, 5, 3, 2, 4])
    y = 10 / 20
    assert kneser_ney_discounts(counts, 2) == pytest.approx([0, y, 2 - 3 * y * 3 / 5, 3 - 4 * y * 2 / 3])


@pytest.mark.parametrize("repeats", [[10, 5, 0, 2], [10, 5, 3, 0], [10, 2, 9, 1]])
def test_one_discount_where_three_are_degenerate(repeats, caplog):
    discounts = kneser_ney_discounts(np.repeat([1, 2, 3, 4], repeats), 2)
    assert discounts == pytest.approx([0, *[10 / (10 + 2 * repeats[1])] * 3])
    assert "too few for three discounts" in caplog.text


@pytest.mark.parametrize("repeats", [[0, 5, 3, 2], [10, 0, 3, 2]])
def test_no_discount_without_singletons_or_pairs(repeats):
    assert kneser_ney_discounts(np.repeat([1, 2, 3, 4], repeats), 2) is None


def test_digits_fall_back_to_witten_bell(caplog):
    rng = random.Random(0)
    sentences = [rng.choices(["one", "two", "three"], k=5) for _ in range(100)]
    model = train_ngram(sentences, 2)
    assert "of the 2-grams 0, 0, 0 and 0 are counted once, twice, 3 and 4 times, too few" in caplog.text
    assert model.ngrams == train_ngram(sentences, 2, smoothing="witten-bell").ngrams


def test_one_order_falls_back_to_witten_bell():
    sentences = zipf_text(300, 40)
    vocabulary = {word for sentence in sentences for word in sentence}
    reference = Reference(sentences, 2, "kneser-ney", vocabulary)
    assert reference.discounts[1] is None
    assert reference.discounts[2] is not None
    # After how many words each unigram stands: too often throughout for counts of counts.
    counts, total, types = reference.counts[1], sum(reference.counts[1].values()), len(reference.counts[1])
    model = train_ngram(sentences, 2)
    for word in (*vocabulary, EOS):
        expected = (counts[word,] + types / (len(vocabulary) + 1)) / (total + types)
        assert 10 ** model.log10_prob([], word) == pytest.approx(expected)
    assert model.ngrams[1] != train_ngram(sentences, 2, smoothing="witten-bell").ngrams[1]


def test_unseen_words_of_the_vocabulary_can_occur():
    model = train_ngram([["a", "b"]] * 3, 3, vocabulary=["a", "b", "c", BOS, EOS, "<eps>", "#0"])
    assert model.vocabulary == {"a", "b", "c", BOS, EOS}
    assert 0 < 10 ** model.log10_prob([BOS, "a"], "c") < 10 ** model.log10_prob([BOS, "a"], "b")


def test_words_outside_the_vocabulary_count_as_unk(caplog):
    sentences = [["a", "x", "b"], ["a", "y"]]
    model = train_ngram(sentences, 2, smoothing="witten-bell", vocabulary=["a", "b"], unk="<UNK>")
    assert "2 of 5 words (40.00 %) are not in the vocabulary and count as '<UNK>'" in caplog.text
    assert ("a", "<UNK>") in model.ngrams[1]
    assert not any("x" in ngram for ngram in model.ngrams[1])
    assert model.sentence_log10_probs(["a", "z"]) == model.sentence_log10_probs(["a", "<UNK>"])
    closed = train_ngram([["a", "b"]], 2, vocabulary=["a", "b"])
    assert closed.vocabulary == {"a", "b", BOS, EOS}
    assert closed.unk is None


def test_sentences(tmp_path, caplog):
    caplog.set_level("INFO")
    (tmp_path / "text").write_text("u1 A B\nu2 <s> C </s>\nu3\n")
    assert read_sentences(tmp_path / "text", utt_ids=True) == [["A", "B"], ["C"]]
    assert "1 of 3 lines have no words" in caplog.text
    (tmp_path / "text").write_text("A B\n\n<s> C </s>\n")
    assert read_sentences(tmp_path / "text") == [["A", "B"], ["C"]]


@pytest.mark.parametrize(
    ("content", "message"),
    [("A <s> B\n", "line 1: '<s>' is a reserved symbol"), ("\n", "no sentence"), ("A #0\n", "'#0'")],
)
def test_broken_sentences(tmp_path, content, message):
    (tmp_path / "text").write_text(content)
    with pytest.raises(DktError, match=message):
        read_sentences(tmp_path / "text")


def test_vocabulary(tmp_path):
    (tmp_path / "words.txt").write_text("<eps> 0\n!SIL 1\na 2\n#0 3\n<s> 4\n</s> 5\n")
    assert read_vocabulary(tmp_path / "words.txt", symbol_table=True, exclude=["!SIL"]) == {"a"}
    (tmp_path / "vocab").write_text("a\nb\n")
    assert read_vocabulary(tmp_path / "vocab", symbol_table=False) == {"a", "b"}
    with pytest.raises(DktError, match="--exclude-words names 'c'"):
        read_vocabulary(tmp_path / "vocab", symbol_table=False, exclude=["c"])
    with pytest.raises(DktError, match="line 1: expected one word"):
        read_vocabulary(tmp_path / "words.txt", symbol_table=False)


def test_command(tmp_path, capsys):
    (tmp_path / "text").write_text("".join(" ".join(s) + "\n" for s in zipf_text(100, 50)))
    (tmp_path / "dev").write_text("u1 w000 w001\nu2 w002 nonsense\n")
    (tmp_path / "words.txt").write_text("<eps> 0\n" + "".join(f"w{n:03d} {n + 1}\n" for n in range(40)))
    arguments = ["train-lm", "--order=2", f"--words={tmp_path}/words.txt", f"--dev={tmp_path}/dev"]
    for name in ("a.gz", "b.gz"):
        status = main([*arguments, "--dev-utt-ids=true", str(tmp_path / "text"), str(tmp_path / name)])
        assert status == 0
    assert "dev: 2 sentences, 4 words, 1 OOVs" in capsys.readouterr().out
    data = (tmp_path / "a.gz").read_bytes()
    assert data == (tmp_path / "b.gz").read_bytes()
    # No time of writing in the header.
    assert data[4:8] == bytes(4)
    model = read_arpa(tmp_path / "a.gz", "<unk>")
    assert model.unk == "<unk>"
    assert list(model.ngrams[1]) == sorted(model.ngrams[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--unk=<s>"], "--unk is '<s>', which is a reserved symbol"),
        (["--exclude-words=a"], "--exclude-words needs --words or --vocab"),
        (["--vocab=nowhere"], "nowhere: cannot be read"),
    ],
)
def test_command_tells_mistakes(tmp_path, capsys, arguments, message):
    (tmp_path / "text").write_text("a b\n")
    assert main(["train-lm", *arguments, str(tmp_path / "text"), str(tmp_path / "lm")]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "lm").exists()


def test_real_text(corpora, kaldi_fixtures):
    corpus = corpora / "speechocean762"
    sentences, dev = (
        read_sentences(corpus / "lm_train.txt"),
        read_sentences(corpus / "dev" / "text", utt_ids=True),
    )
    vocabulary = read_vocabulary(
        kaldi_fixtures / "lang" / "words.txt", symbol_table=True, exclude=["!SIL", "<UNK>"]
    )
    ppl = {}
    for order, smoothing in itertools.product((1, 2, 3), ("kneser-ney", "witten-bell")):
        result = train_ngram(sentences, order, smoothing=smoothing, vocabulary=vocabulary).perplexity(dev)
        assert (result.num_oovs, result.num_zero_probs) == (0, 0)
        ppl[order, smoothing] = result.ppl
    assert ppl[3, "kneser-ney"] < ppl[2, "kneser-ney"] < 135 < ppl[1, "kneser-ney"]
    assert all(ppl[order, "kneser-ney"] < ppl[order, "witten-bell"] for order in (1, 2, 3))
