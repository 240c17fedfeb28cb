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
