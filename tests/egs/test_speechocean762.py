"""Preparation of the speechocean762 corpus, on a made-up one of the same layout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.shell import ROOT

PREPARE = ROOT / "egs/speechocean762/s5/local/prepare_data.py"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    (folder / "WAVE").mkdir(parents=True)
    for part in ("train", "dev", "test"):
        (folder / part).mkdir()
        (folder / "WAVE" / f"{part}.flac").write_bytes(b"fLaC")
        tables = {"wav.scp": f"WAVE/{part}.flac", "text": "HE SAID", "utt2spk": "s1"}
        for name, value in tables.items():
            (folder / part / name).write_text(f"s1-1 {value}\n")
        (folder / part / "spk2gender").write_text("s1 f\n")
    (folder / "lexicon.txt").write_text("SAID S EH1 D\nHE HH IY0\nHE HH IY1\n")
    (folder / "lm_train.txt").write_text("HE SAID\nSAID HE\n")
    return folder


def prepare(corpus: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PREPARE), corpus.name, "data"]
    return subprocess.run(
        command,
        cwd=corpus.parent,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_data_and_dictionary(corpus: Path) -> None:
    done = prepare(corpus)
    assert (done.returncode, done.stderr) == (0, "")
    data = corpus.parent / "data"
    for part in ("train", "dev", "test"):
        # The corpus was given by a relative path: those of its recordings must hold anywhere.
        assert (data / part / "wav.scp").read_text() == f"s1-1 {corpus.resolve()}/WAVE/{part}.flac\n"
        assert (data / part / "text").read_text() == "s1-1 HE SAID\n"
        assert (data / part / "spk2utt").read_text() == "s1 s1-1\n"
        assert (data / part / "spk2gender").read_text() == "s1 f\n"
    assert (data / "local/dict/lexicon.txt").read_text() == "<UNK> SPN\nHE HH IY\nSAID S EH D\n"
    assert (data / "local/dict/nonsilence_phones.txt").read_text() == "D\nEH\nHH\nIY\nS\n"
    assert (data / "local/dict/silence_phones.txt").read_text() == "SIL\nSPN\n"
    assert (data / "local/lm_train.txt").read_text() == "HE SAID\nSAID HE\n"


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """The layout of the corpus as it is published: 25 training speakers, utterances not in their order."""
    folder = tmp_path / "corpus"
    (folder / "resource").mkdir(parents=True)
    (folder / "resource/lexicon.txt").write_text("SAID\tS EH1 D\nHE\tHH IY0\n")
    for part, speakers in (("train", range(25)), ("test", range(25, 27))):
        tables: dict[str, list[str]] = {"wav.scp": [], "text": [], "utt2spk": []}
        for number, speaker in enumerate(speakers):
            # As in the corpus: the longer speaker-ids are not those of the later utterances.
            name, utt = f"{99 - speaker:04d}", f"{speaker:09d}"
            place = f"WAVE/SPEAKER{name}/{utt}.WAV"
            (folder / place).parent.mkdir(parents=True)
            (folder / place).write_bytes(b"RIFF")
            values = {"wav.scp": place, "text": f"SAID {'HE ' * number}".strip(), "utt2spk": name}
            for table, value in values.items():
                tables[table].append(f"{utt}\t{value}\n")
        (folder / part).mkdir()
        for table, lines in tables.items():
            (folder / part / table).write_text("".join(lines))
        (folder / part / "spk2gender").write_text("".join(f"{99 - s:04d}\tf\n" for s in speakers))
    return folder


def test_the_corpus_as_it_is_published(published: Path) -> None:
    done = prepare(published)
    assert (done.returncode, done.stderr) == (0, "")
    data = published.parent / "data"
    lists = {part: (data / part / "utt2spk").read_text().splitlines() for part in ("train", "dev", "test")}
    # Every twelfth of the sorted speakers 0075 to 0099.
    assert lists["dev"] == ["0086-000000013 0086", "0098-000000001 0098"]
    assert (len(lists["train"]), len(lists["test"])) == (23, 2)
    for part, lines in lists.items():
        assert lines == sorted(lines)
        assert [line.split()[0] for line in (data / part / "text").read_text().splitlines()] == [
            line.split()[0] for line in lines
        ]
        speakers = {line.split()[1] for line in lines}
        assert {line.split()[0] for line in (data / part / "spk2gender").read_text().splitlines()} == speakers
    corpus = published.resolve()
    assert (
        f"0086-000000013 {corpus}/WAVE/SPEAKER0086/000000013.WAV\n"
        == (data / "dev/wav.scp").read_text().splitlines(keepends=True)[0]
    )
    # The language model sees no sentence of dev or test: here each speaker says another one.
    texts = (data / "local/lm_train.txt").read_text().splitlines()
    held_out = [line.partition(" ")[2] for line in (data / "dev/text").read_text().splitlines()]
    assert len(texts) == 23 and not set(texts) & set(held_out)
    assert (data / "local/dict/lexicon.txt").read_text() == "<UNK> SPN\nHE HH IY\nSAID S EH D\n"


def test_a_folder_that_is_no_corpus(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    done = prepare(tmp_path / "corpus")
    assert done.returncode == 1 and "holds neither lexicon.txt nor resource/lexicon.txt - give" in done.stderr


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("lexicon.txt", "HE HH IY1\n\nSAID S EH1 D\n", "lexicon.txt: line 2: expected '<word> <phone> ...'"),
        ("lexicon.txt", "HE\n", "lexicon.txt: line 1: expected '<word> <phone> ...', found 'HE'"),
        (
            "dev/wav.scp",
            "s1-1 WAVE/gone.flac\n",
            "utterance 's1-1': does not exist - is the corpus complete?",
        ),
        ("dev/text", "s1-2 HE SAID\n", "utterance 's1-1': is in only one of wav.scp and text"),
    ],
)
def test_what_is_wrong_with_a_corpus_is_told(corpus: Path, name: str, content: str, message: str) -> None:
    (corpus / name).write_text(content)
    done = prepare(corpus)
    assert done.returncode == 1
    assert done.stderr.startswith("ERROR (prepare_data.py) ") and message in done.stderr
    assert "Traceback" not in done.stderr
