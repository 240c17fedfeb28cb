"""Tables: archives, script files, pipes, and every way in which they can be damaged."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from dkt.errors import DktError
from dkt.specifiers import parse_rspecifier, parse_wspecifier
from dkt.tables import (
    IntVectorWriter,
    MatrixTable,
    MatrixWriter,
    TextWriter,
    read_int_vectors,
    read_matrices,
    read_script,
)

A = np.arange(12, dtype=np.float32).reshape(4, 3) / 7
B = -np.ones((2, 3), dtype=np.float32)


def write_ab(wspecifier: str) -> None:
    with MatrixWriter(wspecifier) as writer:
        writer.write("a", A)
        writer.write("b", B)


@pytest.mark.parametrize("form", ["ark", "ark,t"])
def test_matrices_round_trip_and_are_writable(tmp_path, form):
    write_ab(f"{form}:{tmp_path}/x.ark")
    back = dict(read_matrices(f"ark:{tmp_path}/x.ark"))
    assert list(back) == ["a", "b"]
    np.testing.assert_allclose(back["a"], A, rtol=1e-6)
    back["a"][0, 0] = 5.0


def test_double_matrices_keep_their_precision(tmp_path):
    stats = np.array([[1.0 + 1e-12]])
    with MatrixWriter(f"ark:{tmp_path}/x.ark") as writer:
        writer.write("a", stats)
    assert MatrixTable(f"ark:{tmp_path}/x.ark", np.float64)["a"] == stats


@pytest.mark.parametrize("form", ["ark", "ark,t"])
def test_int_vectors_round_trip(tmp_path, form):
    with IntVectorWriter(f"{form}:| gzip -c > {tmp_path}/x.gz") as writer:
        writer.write("a", np.array([3, -1, 2**31 - 1]))
        writer.write("empty", np.array([], dtype=np.int32))
    back = dict(read_int_vectors(f"ark:gunzip -c {tmp_path}/x.gz |"))
    assert back["a"].tolist() == [3, -1, 2**31 - 1]
    assert len(back["empty"]) == 0


@pytest.mark.parametrize("values", [[], [5], [-3], [7, 8]])
def test_short_text_vectors_do_not_swallow_the_next_utterance(tmp_path, values):
    with IntVectorWriter(f"ark,t:{tmp_path}/x.ark") as writer:
        writer.write("000010011", np.array(values, dtype=np.int32))
        writer.write("000010012", np.array([3, 4]))
    back = dict(read_int_vectors(f"ark:{tmp_path}/x.ark"))
    assert {utt: v.tolist() for utt, v in back.items()} == {"000010011": values, "000010012": [3, 4]}
    # Kaldi ends the line of a single number without a blank when a person wrote it.
    (tmp_path / "x.ark").write_text("0001 5\n0002 7 8\n")
    assert dict(read_int_vectors(f"ark:{tmp_path}/x.ark"))["0001"].tolist() == [5]


def test_script_offsets_and_ranges(tmp_path):
    write_ab(f"ark,scp:{tmp_path}/x.ark,{tmp_path}/x.scp")
    table = MatrixTable(f"scp:{tmp_path}/x.scp")
    np.testing.assert_array_equal(table["b"], B)
    place = read_script(f"{tmp_path}/x.scp")["a"]
    (tmp_path / "y.scp").write_text(f"r {place}[1:2]\nc {place}[:,0:0]\n")
    ranges = dict(read_matrices(f"scp:{tmp_path}/y.scp"))
    np.testing.assert_array_equal(ranges["r"], A[1:3])
    np.testing.assert_array_equal(ranges["c"], A[:, :1])
    # As in Kaldi, rows may end up to three beyond the matrix; columns may not.
    (tmp_path / "y.scp").write_text(f"r {place}[1:6]\n")
    np.testing.assert_array_equal(dict(read_matrices(f"scp:{tmp_path}/y.scp"))["r"], A[1:])
    for wrong in ("1:7", "4:5", ":,0:3", "0:1,0:1,0:1"):
        (tmp_path / "y.scp").write_text(f"r {place}[{wrong}]\n")
        with pytest.raises(DktError, match="range lies outside"):
            list(read_matrices(f"scp:{tmp_path}/y.scp"))
    (tmp_path / "y.scp").write_text(f"r {place}[2:1]\n")
    with pytest.raises(DktError, match=r"impossible range \[2:1\]"):
        list(read_matrices(f"scp:{tmp_path}/y.scp"))


def test_a_pipe_that_dies_names_command_and_status(tmp_path):
    write_ab(f"ark:{tmp_path}/x.ark")
    with pytest.raises(DktError, match=r"exit 3.*status 3"):
        list(read_matrices(f"ark:cat {tmp_path}/x.ark; exit 3 |"))
    with pytest.raises(DktError, match="status 3"):
        list(read_matrices(f"ark:(cat {tmp_path}/x.ark; exit 3) | cat |"))
    with (
        pytest.raises(DktError, match="status 4"),
        IntVectorWriter("ark:| cat > /dev/null; exit 4") as writer,
    ):
        writer.write("a", np.array([1]))


def test_cut_at_every_byte_is_an_error_or_a_shorter_table(tmp_path):
    write_ab(f"ark:{tmp_path}/x.ark")
    data = (tmp_path / "x.ark").read_bytes()
    ends = {0, 2 + 15 + A.nbytes, len(data)}
    for size in range(len(data) + 1):
        (tmp_path / "y.ark").write_bytes(data[:size])
        if size in ends:
            list(read_matrices(f"ark:{tmp_path}/y.ark"))
        else:
            with pytest.raises(DktError, match=r"y\.ark"):
                list(read_matrices(f"ark:{tmp_path}/y.ark"))


def test_what_was_written_before_a_failure_stays(tmp_path):
    with pytest.raises(RuntimeError), MatrixWriter(f"ark,scp:{tmp_path}/x.ark,{tmp_path}/x.scp") as writer:
        writer.write("a", A)
        raise RuntimeError
    np.testing.assert_array_equal(MatrixTable(f"scp:{tmp_path}/x.scp")["a"], A)


def test_pickles_are_never_loaded(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was executed",))

    (tmp_path / "x.ark").write_bytes(b"a PKL" + pickle.dumps(Bomb()))
    with pytest.raises(DktError, match=r"utterance 'a'"):
        list(read_matrices(f"ark:{tmp_path}/x.ark"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a [\n 1 2\n 3 ]\n", "differ in length"),
        (b"a [\n 1 x ]\n", "damaged"),
        (b"a [\n 1 2\n", "cut short"),
        (b"a  [ 1 2 ]\na  [ 1 2 ]\n", "twice"),
        (b"a", "cut short"),
        (b"\xff\xfe [ 1 ]\n", "not UTF-8"),
        (b"a \0B\x04\x01\x00\x00\x00", "expected a matrix"),
    ],
)
def test_damaged_text_and_foreign_objects(tmp_path, content, message):
    (tmp_path / "x.ark").write_bytes(content)
    with pytest.raises(DktError, match=message):
        list(read_matrices(f"ark:{tmp_path}/x.ark"))


def test_a_table_declared_sorted_must_be(tmp_path):
    with TextWriter(f"ark:{tmp_path}/x.ark") as writer:
        writer.write("b", "1 2")
        writer.write("a", "3")
    assert list(dict(read_int_vectors(f"ark:{tmp_path}/x.ark"))) == ["b", "a"]
    with pytest.raises(DktError, match=r"'a'.*declared sorted"):
        list(read_int_vectors(f"ark,s,cs:{tmp_path}/x.ark"))


@pytest.mark.parametrize("text", ["x.ark", "ark:", "arc:x", "ark,scp:x"])
def test_wrong_specifiers(text):
    with pytest.raises(DktError):
        parse_rspecifier(text)
    with pytest.raises(DktError):
        parse_wspecifier(text)


def test_missing_file_and_offset_past_the_end(tmp_path):
    with pytest.raises(DktError, match=r"nowhere\.ark"):
        list(read_matrices(f"ark:{tmp_path}/nowhere.ark"))
    write_ab(f"ark:{tmp_path}/x.ark")
    (tmp_path / "y.scp").write_text(f"a {tmp_path}/x.ark:100000\n")
    with pytest.raises(DktError, match=r"x\.ark: utterance 'a': offset 100000"):
        list(read_matrices(f"scp:{tmp_path}/y.scp"))


def test_kaldi_wrote_text_and_binary_alike(kaldi_fixtures):
    golden = kaldi_fixtures / "golden"
    binary = dict(read_matrices(f"ark:{golden}/features/mfcc_raw.ark"))
    text = dict(read_matrices(f"ark:{golden}/features/mfcc_raw_text.ark"))
    assert list(binary) == list(text) and len(binary) == 6
    for utt in binary:
        np.testing.assert_allclose(binary[utt], text[utt], atol=1e-4)
    ids = dict(read_int_vectors(f"ark:{golden}/tables/ali_binary.ark"))
    for utt, other in read_int_vectors(f"ark:{golden}/tables/ali_text.ark"):
        np.testing.assert_array_equal(ids[utt], other)


# Methods 4 to 7 store integers or fixed ranges: coarse by design, exact only for matrices made for them.
@pytest.mark.parametrize(("method", "tolerance"), [(1, 1e-3), (2, 1e-3), (3, 2e-3), (4, 0.51), (5, 0.51)])
def test_kaldi_compressed_matrices(kaldi_fixtures, method, tolerance):
    golden = kaldi_fixtures / "golden/features"
    raw = dict(read_matrices(f"ark:{golden}/mfcc_raw.ark"))
    for utt, matrix in read_matrices(f"ark:{golden}/mfcc_compressed_{method}.ark"):
        np.testing.assert_allclose(matrix, raw[utt], atol=tolerance)
