"""Alignments of originals for copies of the same times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dkt.bin import main
from dkt.hmm.alignments import AlignmentDir
from tests.hmm.test_transitions import two_phone_model
from tests.synthetic import write_ali_dir

UTTS = {"a-1": "a", "a-2": "a", "b-1": "b"}
LENGTHS = {"a-1": 9, "a-2": 30, "b-1": 20}


def write_table(path: Path, table: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{key} {table[key]}\n" for key in sorted(table)))


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Alignments of three utterances, and data of these and two copies of each."""
    model = two_phone_model()
    rng = np.random.default_rng(0)
    ids = {utt: rng.integers(1, len(model.id2pdf), size).astype(np.int32) for utt, size in LENGTHS.items()}
    write_ali_dir(tmp_path / "ali", model, ids)
    (tmp_path / "ali/tree").write_bytes(b"a tree")
    (tmp_path / "ali/splice_opts").write_text("--left-context=3\n")
    copies = ["", "nz-", "nz-sp-"]
    write_table(tmp_path / "data/utt2spk", {p + utt: p + spk for p in copies for utt, spk in UTTS.items()})
    write_table(tmp_path / "data/utt2uniq", {p + utt: utt for p in copies for utt in UTTS})
    write_table(
        tmp_path / "data/utt2num_frames", {p + utt: str(n) for p in copies for utt, n in LENGTHS.items()}
    )
    return tmp_path


def copy(lab: Path, *options: str) -> int:
    return main(["copy-ali-dir", "--nj=2", *options, str(lab / "data"), str(lab / "ali"), str(lab / "out")])


def read(path: Path) -> dict[str, np.ndarray]:
    return dict(AlignmentDir(path).transition_ids())


def test_copies_have_the_alignments_of_their_originals(lab: Path) -> None:
    assert copy(lab) == 0
    clean, found = read(lab / "ali"), read(lab / "out")
    assert sorted(found) == sorted(p + utt for p in ("", "nz-", "nz-sp-") for utt in UTTS)
    for utt, ids in found.items():
        assert np.array_equal(ids, clean[utt.removeprefix("nz-").removeprefix("sp-")])
    for name in ("final.mdl", "tree", "splice_opts", "phones.txt"):
        assert (lab / "out" / name).read_bytes() == (lab / "ali" / name).read_bytes()
    assert (lab / "out/num_jobs").read_text() == "2\n"
    # Jobs are those of the split data directory: whole speakers, in order.
    assert list(found) == sorted(found)


def test_the_originals_may_be_left_out_and_prefixes_named(lab: Path) -> None:
    (lab / "data/utt2uniq").unlink()
    assert copy(lab, "--prefixes=rv nz-sp nz", "--include-original=false") == 0
    clean, found = read(lab / "ali"), read(lab / "out")
    assert sorted(found) == sorted(p + utt for p in ("nz-", "nz-sp-") for utt in UTTS)
    assert np.array_equal(found["nz-sp-a-2"], clean["a-2"])


def test_without_prefixes_or_utt2uniq_only_what_is_aligned_has_alignments(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (lab / "data/utt2uniq").unlink()
    assert copy(lab) == 1
    assert "6 of 9 utterances were dropped" in (error := capsys.readouterr().err)
    assert "neither it nor its original is aligned" in error
    assert not (lab / "out/num_jobs").exists()
    write_table(lab / "data/utt2spk", {"nz-a-1": "nz-a", "nz-b-1": "nz-b"})
    assert copy(lab) == 1
    assert "utt2uniq: does not exist" in capsys.readouterr().err


def test_the_nearest_original_is_taken(lab: Path) -> None:
    """Of a noisy copy of a copy at another speed it is that copy, where it is aligned."""
    clean = read(lab / "ali")
    faster = {f"sp-{utt}": ids[: len(ids) // 2] for utt, ids in clean.items()}
    write_ali_dir(lab / "ali", two_phone_model(), {**clean, **faster})
    frames = {
        p + utt: n // (1 + (p == "nz-sp-")) for p in ("", "nz-", "nz-sp-") for utt, n in LENGTHS.items()
    }
    write_table(lab / "data/utt2num_frames", {utt: str(n) for utt, n in frames.items()})
    assert copy(lab) == 0
    found = read(lab / "out")
    assert np.array_equal(found["nz-sp-a-2"], faster["sp-a-2"])
    assert np.array_equal(found["nz-a-2"], clean["a-2"])


def test_a_copy_of_another_length_is_told(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (lab / "data/utt2num_frames").read_text()
    (lab / "data/utt2num_frames").write_text(text.replace("nz-sp-a-2 30", "nz-sp-a-2 25"))
    assert copy(lab) == 1
    error = capsys.readouterr().err
    assert "nz-sp-a-2" in error and "it has 25 frames, the alignment of 'a-2' 30 labels" in error
    assert copy(lab, "--max-dropped=0.2") == 0 and "nz-sp-a-2" not in read(lab / "out")
    # Up to four frames are cut, as Kaldi's trainings do.
    (lab / "data/utt2num_frames").write_text(text.replace("nz-sp-a-2 30", "nz-sp-a-2 26"))
    assert copy(lab) == 0 and len(read(lab / "out")["nz-sp-a-2"]) == 30


def test_without_features_nothing_is_known_of_lengths(lab: Path, caplog: pytest.LogCaptureFixture) -> None:
    (lab / "data/utt2num_frames").unlink()
    assert copy(lab) == 0
    assert "has neither utt2num_frames nor feats.scp" in caplog.text


def test_places_that_cannot_be(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = [str(lab / name) for name in ("data", "ali", "ali")]
    assert main(["copy-ali-dir", *places]) == 1
    assert "is the directory to copy" in capsys.readouterr().err
    assert main(["copy-ali-dir", *places[:2], places[0]]) == 1
    assert "holds a data directory" in capsys.readouterr().err
    assert main(["copy-ali-dir", "--nj=50", *places[:2], str(lab / "out")]) == 1
    assert "cannot split 9 utterances into 50 parts" in capsys.readouterr().err
    (lab / "ali/ali.1.gz").write_bytes(b"x")
    assert copy(lab) == 1 and "ali.1.gz" in capsys.readouterr().err


def test_what_other_alignments_left_goes(lab: Path) -> None:
    assert copy(lab, "--nj=4") == 0 and (lab / "out/ali.4.gz").exists()
    for name in ("splice_opts", "tree", "phones.txt"):
        (lab / "ali" / name).unlink()
    assert copy(lab) == 0
    names = {path.name for path in (lab / "out").iterdir() if not path.name.startswith(".")}
    assert names == {"ali.1.gz", "ali.2.gz", "num_jobs", "final.mdl"}
