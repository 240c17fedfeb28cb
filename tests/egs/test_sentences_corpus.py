"""The corpus of egs/sentences/s5: synthetic English sentences with accents."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.egs.corpus_lab import (
    SIZES,
    SPLITS,
    assert_one_line_error,
    call_script,
    digest,
    modules_of,
    needs_espeak,
    read_table,
)
from tests.shell import ROOT

soundfile = pytest.importorskip("soundfile", reason="needs the package soundfile (dkt[standalone])")

LOCAL = ROOT / "egs/sentences/s5/local"
SHARED = ROOT / "local/corpora"


@pytest.fixture(scope="module", autouse=True)
def local_on_path():
    with modules_of(LOCAL):
        yield


def run_script(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return call_script(LOCAL / "prepare_sentences.py", *arguments, **variables)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    data_dir = tmp_path_factory.mktemp("work") / "data"
    done = run_script(*SIZES, data_dir)
    assert done.returncode == 0, done.stderr
    return data_dir


@needs_espeak
def test_speakers_of_the_splits_do_not_overlap(data_dir):
    speakers = [set(read_table(data_dir / split / "spk2utt")) for split in SPLITS]
    assert list(map(len, speakers)) == [9, 3, 4]
    assert sum(map(len, speakers)) == len(set.union(*speakers))
    for split in SPLITS:
        utt2spk = read_table(data_dir / split / "utt2spk")
        assert all(utt.startswith(f"{spk}-") for utt, spk in utt2spk.items())
        assert set(read_table(data_dir / split / "spk2gender").values()) == {"f", "m"}


@needs_espeak
def test_lexicon_covers_the_texts_and_the_language_model(data_dir):
    lines = (data_dir / "local/dict/lexicon.txt").read_text().splitlines()
    lexicon = {word: phones.split() for word, phones in (line.split(maxsplit=1) for line in lines)}
    phones = (data_dir / "local/dict/nonsilence_phones.txt").read_text().split()
    assert len(lexicon) == 377 and lines == sorted(lines) and len(set(lines)) == len(lines)
    assert {phone for entry in lines for phone in entry.split()[1:]} == {*phones, "SPN"}
    sentences = (data_dir / "local/lm_train.txt").read_text().splitlines()
    assert len(sentences) == 3000
    for split in SPLITS:
        sentences += read_table(data_dir / split / "text").values()
    assert {word for sentence in sentences for word in sentence.split()} <= set(lexicon)
    assert all(4 <= len(sentence.split()) <= 9 for sentence in sentences)
    assert lexicon["SHEEP"] == ["SH", "IY", "P"] and lexicon["THICK"] == ["TH", "IH", "K"]


@needs_espeak
def test_sentences_of_dev_and_test_are_not_in_the_text_of_the_language_model(data_dir):
    known = set((data_dir / "local/lm_train.txt").read_text().splitlines())
    known |= set(read_table(data_dir / "train/text").values())
    evaluated = [text for split in ("dev", "test") for text in read_table(data_dir / split / "text").values()]
    assert len(set(evaluated)) == 7 and not set(evaluated) & known


def test_sentences_drawn_are_unseen_however_many_there_are():
    from sentence_grammar import VOCABULARY, draw_texts

    texts = draw_texts(np.random.default_rng(3), 3000, {"train": 450, "dev": 2000, "test": 2000})
    assert {part: len(lines) for part, lines in texts.items()} == {
        "lm": 3000,
        "train": 450,
        "dev": 2000,
        "test": 2000,
    }
    dev, test = set(texts["dev"]), set(texts["test"])
    assert len(dev) == len(test) == 2000
    assert not dev & test and not (dev | test) & {*texts["lm"], *texts["train"]}
    assert {word for lines in texts.values() for line in lines for word in line.split()} == set(VOCABULARY)


@needs_espeak
def test_the_seed_makes_the_corpus_and_the_number_of_processes_does_not(data_dir, tmp_path):
    again = tmp_path / "data"
    assert run_script(*SIZES, "--nj", "1", again).returncode == 0
    assert digest(again) == digest(data_dir)
    assert not list(tmp_path.rglob("*espeak*")) and not list(data_dir.rglob("*espeak*"))


def test_another_seed_draws_other_voices():
    from drawn_voices import draw_voices

    sizes = {"train": 40, "dev": 20, "test": 20}
    voices = draw_voices(0, sizes, 0.05)
    assert voices == draw_voices(0, sizes, 0.05)
    variants = [voice.variant for split in SPLITS for voice in voices[split]]
    others = [voice.variant for split in SPLITS for voice in draw_voices(1, sizes, 0.05)[split]]
    assert len(set(variants)) == 80 and not set(variants) & set(others)
    assert {split: Counter(v.gender for v in voices[split]) for split in SPLITS} == {
        split: {"f": size // 2, "m": size // 2} for split, size in sizes.items()
    }


@needs_espeak
def test_voices_stand_beside_those_of_the_package_which_stay_as_they_are(tmp_path):
    import espeak_ng
    from drawn_voices import draw_voices, write_espeak_data

    source = espeak_ng.data_folder()
    before = {path: path.stat().st_mtime_ns for path in source.rglob("*")}
    (voice,) = draw_voices(0, {"train": 1, "dev": 0, "test": 0}, 0.05)["train"]
    write_espeak_data(source, tmp_path / "data", [voice])
    assert {path: path.stat().st_mtime_ns for path in source.rglob("*")} == before
    real = [path for path in (tmp_path / "data").rglob("*") if path.is_file() and not path.is_symlink()]
    assert [path.name for path in real] == ["draw001"] and real[0].read_text() == voice.variant
    names = {path.name for path in (source / "voices/!v").iterdir()}
    assert {path.name for path in (tmp_path / "data/voices/!v").iterdir()} == names | {"draw001"}


def test_a_speaker_has_a_share_of_the_rules_and_keeps_to_them():
    from accents import RULES, draw_rules, substitute

    shares = [len(draw_rules(np.random.default_rng(seed), 0.3)) for seed in range(200)]
    # Some phonemes have two rules, of which a speaker has one.
    assert 9 < np.mean(shares) < 0.3 * len(RULES) and len(set(shares)) > 5
    rng = np.random.default_rng(0)
    rules = draw_rules(rng, 0.3)
    assert {(meant, said) for meant, (said, _) in rules.items()} <= set(RULES)
    assert all(0.5 <= rate <= 1 for _, rate in rules.values())
    words = [[f"'{meant}", "%k2", said] for meant, said in RULES]
    changed: Counter[str] = Counter()
    for _ in range(400):
        for word in words:
            for meant, said in zip(word, substitute(word, rules, rng), strict=True):
                bare = meant.lstrip("'%")
                assert said.lstrip("'%") in (bare, rules.get(bare, (bare,))[0])
                assert said[: len(said) - len(said.lstrip("'%"))] == meant[: len(meant) - len(bare)]
                if meant.startswith("'"):
                    changed[bare] += said != meant
    count = Counter(meant for meant, _ in RULES)
    for meant, (_, rate) in rules.items():
        assert changed[meant] / (400 * count[meant]) == pytest.approx(rate, abs=0.1)
    assert set(+changed) == set(rules)


@needs_espeak
def test_an_accent_changes_what_is_said_and_nothing_else():
    import espeak_ng
    from accents import RULES, Accent

    synthesiser = espeak_ng.Synthesiser(1)
    synthesiser.set_voice("en-us")
    texts = ["the thick sheep will hit that wall", "my other tooth was very loose"]
    plain = Accent((1,), 0.0)(synthesiser, texts)
    assert [line[:2] + line[-2:] for line in plain] == ["[[]]"] * 2
    assert plain[0].split()[1:3] == ["T|'I|k", "S|'i:|p"]
    accented = Accent((1,), 1.0)(synthesiser, texts)
    assert accented == Accent((1,), 1.0)(synthesiser, texts) != Accent((2,), 1.0)(synthesiser, texts)
    pairs = [
        (meant.lstrip("',%="), said.lstrip("',%="))
        for line, other in zip(plain, accented, strict=True)
        for word, changed in zip(line[2:-2].split(), other[2:-2].split(), strict=True)
        for meant, said in zip(word.split("|"), changed.split("|"), strict=True)
    ]
    assert {pair for pair in pairs if pair[0] != pair[1]} <= set(RULES)
    assert sum(meant != said for meant, said in pairs) > 10
    spoken = [synthesiser.synthesise(lines[0], 150, 50, 50, 0) for lines in (plain, accented)]
    assert all(len(samples) > synthesiser.rate for samples in spoken)


@needs_espeak
def test_a_phoneme_without_a_phone_is_named():
    from pronunciations import phones_of

    from dkt.base.errors import DktError

    assert phones_of(["S", "'i:", "p"]) == "SH IY P" and phones_of(["t#", "@L"]) == "T AX L"
    with pytest.raises(DktError, match="phoneme 'Q'"):
        phones_of(["'Q"])


@needs_espeak
def test_second_run_does_nothing_and_another_corpus_is_refused(data_dir):
    before = {path: path.stat().st_mtime_ns for path in data_dir.rglob("*")}
    again = run_script(*SIZES, data_dir)
    assert again.returncode == 0 and "nothing to do" in again.stderr
    other = run_script(*SIZES, "--seed", "7", data_dir)
    assert_one_line_error(other, "prepare_sentences.py", str(data_dir), "remove the directory")
    assert {path: path.stat().st_mtime_ns for path in data_dir.rglob("*")} == before


@needs_espeak
def test_a_path_too_long_for_the_synthesiser_is_told(tmp_path):
    scratch = tmp_path / ("x" * 160)
    scratch.mkdir()
    done = run_script(*SIZES, tmp_path / "data", TMPDIR=str(scratch))
    assert done.returncode == 1 and "Traceback" not in done.stderr
    # The library writes lines of its own.
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ERROR (prepare_sentences.py) ") and "set TMPDIR" in last
    assert not list((tmp_path / "data").iterdir()) and not list(scratch.iterdir())


def test_missing_synthesiser_is_a_one_line_error(tmp_path):
    # A module that cannot be imported stands for a package that is not installed.
    (tmp_path / "espeakng_loader.py").write_text("raise ImportError('none')\n")
    done = run_script(*SIZES, tmp_path / "data", PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert_one_line_error(done, "prepare_sentences.py", "pip install 'dkt[synthetic]'")
    assert not (tmp_path / "data").exists()
