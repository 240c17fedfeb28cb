"""``dkt compute-cmvn-stats`` with the arguments of Kaldi's program."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from dkt.bin import main
from dkt.util.object_io import ObjectReader
from dkt.util.table import MatrixTable, MatrixWriter, VectorWriter, read_matrices

UTTS = {"a1": 5, "a2": 7, "b1": 9}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    with (
        MatrixWriter(f"ark,scp:{tmp_path}/feats.ark,{tmp_path}/feats.scp") as feats,
        VectorWriter(f"ark:{tmp_path}/weights") as weights,
    ):
        for utt, length in UTTS.items():
            feats.write(utt, rng.normal(size=(length, 3)).astype(np.float32))
            weights.write(utt, rng.random(length).astype(np.float32))
    (tmp_path / "spk2utt").write_text("b b1\na a1 a2\n")
    return tmp_path


def stats_of(place: Path, *utts: str) -> np.ndarray:
    table = MatrixTable(f"ark:{place}/feats.ark", np.float64)
    frames = np.concatenate([table[utt] for utt in utts])
    return np.array([[*frames.sum(axis=0), len(frames)], [*(frames**2).sum(axis=0), 0.0]])


def run(place: Path, *arguments: str) -> int:
    return main(["compute-cmvn-stats", *(argument.format(place) for argument in arguments)])


def test_of_speakers(place: Path) -> None:
    options = "--spk2utt=ark:{0}/spk2utt", "scp:{0}/feats.scp", "ark,scp:{0}/cmvn.ark,{0}/cmvn.scp"
    assert run(place, *options) == 0
    # In the order of spk2utt, and in double precision, as Kaldi writes them.
    table = MatrixTable(f"scp:{place}/cmvn.scp", np.float64)
    assert list(table) == ["b", "a"]
    np.testing.assert_allclose(table["a"], stats_of(place, "a1", "a2"), rtol=1e-12)
    np.testing.assert_allclose(table["b"], stats_of(place, "b1"), rtol=1e-12)
    assert b"b \0BDM " in (place / "cmvn.ark").read_bytes()


def test_of_utterances_from_an_archive(place: Path) -> None:
    assert run(place, "ark:{0}/feats.ark", "ark,t:{0}/cmvn") == 0
    table = MatrixTable(f"ark:{place}/cmvn")
    assert list(table) == list(UTTS)
    np.testing.assert_allclose(table["a2"], stats_of(place, "a2"), rtol=1e-5)


@pytest.mark.parametrize("binary", [True, False])
def test_of_all_in_a_file(place: Path, binary: bool) -> None:
    assert run(place, f"--binary={str(binary).lower()}", "scp:{0}/feats.scp", "{0}/global.mat") == 0
    reader = ObjectReader.open(place / "global.mat")
    assert reader.binary is binary
    found = reader.matrix()
    np.testing.assert_allclose(found, stats_of(place, *UTTS), rtol=1e-5)
    assert not binary or found.dtype == np.float32
    assert run(place, "scp:{0}/feats.scp", "| cat >{0}/piped") == 0
    np.testing.assert_allclose(ObjectReader.open(place / "piped").matrix(), found, rtol=1e-5)


def test_frames_are_weighted(place: Path) -> None:
    assert run(place, "--weights=ark:{0}/weights", "ark:{0}/feats.ark", "ark:{0}/cmvn") == 0
    feats = MatrixTable(f"ark:{place}/feats.ark", np.float64)["b1"]
    from dkt.util.table import VectorTable

    weights = VectorTable(f"ark:{place}/weights", np.float64)["b1"]
    expected = [[*(weights @ feats), weights.sum()], [*(weights @ feats**2), 0.0]]
    np.testing.assert_allclose(MatrixTable(f"ark:{place}/cmvn")["b1"], expected, rtol=1e-5)


def test_what_is_missing_is_counted(place: Path, capsys: pytest.CaptureFixture) -> None:
    (place / "spk2utt").write_text("a a1 a9\nc c1\n")
    options = "--spk2utt=ark:{0}/spk2utt", "scp:{0}/feats.scp", "ark:{0}/cmvn"
    assert run(place, *options) == 1
    assert "2 of 3 utterances were dropped" in capsys.readouterr().err
    assert run(place, "--max-dropped=0.7", *options) == 0
    np.testing.assert_allclose(MatrixTable(f"ark:{place}/cmvn")["a"], stats_of(place, "a1"), rtol=1e-5)
    with VectorWriter(f"ark:{place}/weights") as weights:
        weights.write("a1", np.ones(6, dtype=np.float32))
    assert run(place, "--weights=ark:{0}/weights", "ark:{0}/feats.ark", "ark:{0}/cmvn") == 1
    assert "as many weights as frames expected" in capsys.readouterr().err


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "arguments",
    [
        ["scp:{0}/feats.scp", "{0}/global.mat"],
        ["scp:{0}/feats.scp", "ark:{0}/cmvn.ark"],
        ["--spk2utt=ark:{0}/spk2utt", "scp:{0}/feats.scp", "ark:{0}/cmvn.ark"],
        ["--weights=ark:{0}/weights", "scp:{0}/feats.scp", "{0}/global.mat"],
        ["{0}", "ark:{0}/cmvn.ark"],
    ],
)
def test_what_is_not_a_number_is_refused(place: Path, capsys, arguments: list[str], bad: float) -> None:
    matrices = dict(read_matrices(f"scp:{place}/feats.scp"))
    matrices["a2"][3, 1] = bad
    with MatrixWriter(f"ark,scp:{place}/feats.ark,{place}/feats.scp") as feats:
        for utt, matrix in matrices.items():
            feats.write(utt, matrix)
    (place / "utt2spk").write_text("a1 a\na2 a\nb1 b\n")
    assert run(place, *arguments) == 1
    assert re.search(
        r"feats.scp: utterance 'a2': the features hold a value that is not a number", capsys.readouterr().err
    )
    assert not (place / "global.mat").exists()


def test_weights_that_are_not_numbers_are_refused(place: Path, capsys: pytest.CaptureFixture) -> None:
    with VectorWriter(f"ark:{place}/weights") as weights:
        for utt, length in UTTS.items():
            weights.write(utt, np.full(length, np.nan if utt == "b1" else 1.0, dtype=np.float32))
    assert run(place, "--weights=ark:{0}/weights", "scp:{0}/feats.scp", "{0}/global.mat") == 1
    assert "utterance 'b1': the weights hold a value that is not a number" in capsys.readouterr().err


def test_the_losses_of_a_data_directory_are_those_of_a_table(
    place: Path, capsys: pytest.CaptureFixture
) -> None:
    (place / "utt2spk").write_text("a1 a\na2 a\na3 a\nb1 b\nc1 c\n")
    (place / "spk2utt").write_text("a a1 a2 a3\nb b1\nc c1\n")
    forms = ["{0}"], ["--spk2utt=ark:{0}/spk2utt", "scp:{0}/feats.scp"]
    for form in forms:
        for options in ([], ["--max-dropped=0"], ["--max-dropped=0.39"]):
            assert run(place, *options, *form, "ark:{0}/cmvn") == 1
            assert "2 of 5 utterances were dropped" in capsys.readouterr().err
        assert run(place, "--max-dropped=0.4", *form, "ark:{0}/cmvn") == 0
        assert list(MatrixTable(f"ark:{place}/cmvn")) == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--spk2utt=ark:{0}/spk2utt", "scp:{0}/feats.scp", "{0}/cmvn"], "did you forget ark: before it?"),
        (["--spk2utt=ark:{0}/spk2utt", "{0}", "ark:{0}/cmvn"], "go with a table of features"),
        (["--per-utt", "scp:{0}/feats.scp", "ark:{0}/cmvn"], "are of data directories"),
        (["{0}/nowhere", "ark:{0}/cmvn"], "nowhere: not a directory"),
    ],
)
def test_wrong_calls(place: Path, capsys: pytest.CaptureFixture, arguments: list[str], message: str) -> None:
    assert run(place, *arguments) == 1
    assert message in capsys.readouterr().err
