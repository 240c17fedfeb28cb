"""Tables: archives, script files, pipes, and every way in which they can be damaged."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from dkt.base.errors import DktError
from dkt.util.specifiers import parse_rspecifier, parse_wspecifier
from dkt.util.table import (
    IntVectorWriter,
    MatrixTable,
    MatrixWriter,
    TextWriter,
    VectorTable,
    VectorWriter,
    read_int_vectors,
    read_matrices,
    read_vectors,
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
        (b"a  [ 1 2 ]\na  [ 1 2 ]\n", "duplicate key"),
        (b"a  [ 1 2 ] 3\n", "end of a line after ']'"),
        (b"a  [ 1_0 2 ]\n", "expected numbers"),
        (b"a\r\n [ 1 2 ]\n", "an utterance and a space"),
        (b"x" * 5000, "an utterance and a space"),
        (b"a", "cut short"),
        (b"\xff\xfe [ 1 ]\n", "not UTF-8"),
        (b"a \0B\x04\x01\x00\x00\x00", "expected a matrix"),
        (b"a \0BFV \x04\x01\0\0\0\0\0\0\0", "expected a matrix, found .*FV"),
        (b"a \0BFM \x04\xff\xff\xff\xff\x04\x02\0\0\0", "a matrix of -1 x 2"),
        (b"a \0BFM \x04\0\0\0\0\x04\x02\0\0\0", "a matrix of 0 x 2"),
        (b"a \0BFM \x08\x01\0\0\0\x04\x02\0\0\0", "damaged"),
        (b"a \0BCM2 \0\0\0\0\0\0\x80\x3f\xff\xff\xff\x7f\xff\xff\xff\x7f\0", "cut short"),
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


@pytest.mark.parametrize("kind", ["ark", "scp"])
def test_random_access_checks_order_and_keys_too(tmp_path, kind):
    with MatrixWriter(f"ark,scp:{tmp_path}/x.ark,{tmp_path}/x.scp") as writer:
        writer.write("b", A)
        writer.write("a", B)
    np.testing.assert_array_equal(MatrixTable(f"{kind}:{tmp_path}/x.{kind}")["a"], B)
    with pytest.raises(DktError, match=r"'a'.*declared sorted"):
        MatrixTable(f"{kind},s,cs:{tmp_path}/x.{kind}")
    twice = 2 * (tmp_path / f"x.{kind}").read_bytes()
    (tmp_path / f"x.{kind}").write_bytes(twice)
    with pytest.raises(DktError, match="duplicate key"):
        MatrixTable(f"{kind}:{tmp_path}/x.{kind}")


@pytest.mark.parametrize(
    "text", ["x.ark", "ark:", "arc:x", "ark,scp:x", "scp,ark:x,y", "ark,q:x", "ark,ark:"]
)
def test_wrong_specifiers(text):
    with pytest.raises(DktError):
        parse_rspecifier(text)
    with pytest.raises(DktError):
        parse_wspecifier(text)


def test_options_of_specifiers():
    spec = parse_rspecifier("o,s,cs,np,bg, ark:gunzip -c a:b,c |")
    assert (spec.kind, spec.options, spec.filename) == ("ark", {"o", "s", "cs", "bg"}, "gunzip -c a:b,c |")
    assert parse_rspecifier("ark,p,np,s,ns:x").options == set()
    spec = parse_wspecifier("ark,scp,t,nf:x.ark,| sort > x,y")
    assert (spec.options, spec.filename, spec.scp_filename) == ({"t"}, "x.ark", "| sort > x,y")
    assert parse_wspecifier("ark,t,b:-").options == {"b"}
    with pytest.raises(DktError, match="'once' is not an option of an rspecifier"):
        parse_rspecifier("ark,once:x")


@pytest.mark.parametrize("form", ["ark", "ark,t"])
def test_empty_matrices_are_zero_by_zero(tmp_path, form):
    with MatrixWriter(f"{form}:{tmp_path}/x.ark") as writer:
        writer.write("a", np.empty((0, 40)))
        writer.write("b", B)
    back = dict(read_matrices(f"ark:{tmp_path}/x.ark"))
    assert back["a"].shape == (0, 0) and back["b"].shape == (2, 3)


def test_text_keeps_double_precision_and_may_part_rows_by_semicolons(tmp_path):
    (tmp_path / "x.ark").write_bytes(b"a [ 123456789.5 2; 3 4 ]\nb\t[]\n")
    back = dict(read_matrices(f"ark:{tmp_path}/x.ark", np.float64))
    assert back["a"].tolist() == [[123456789.5, 2.0], [3.0, 4.0]]
    assert back["b"].shape == (0, 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a 1 2 34", "cut short: the end of a line"),
        (b"a 1_0\n", "expected numbers"),
        (b"a 2.5\n", "damaged"),
        (b"a 2147483648\n", "damaged"),
        (b"a \xe9t\xe9\n", "damaged"),
        (b"\xe9 1 2\n", "not UTF-8"),
        (b"a \0B\x04\xff\xff\xff\xff", "4-byte integers"),
        (b"a \0B\x04\xff\xff\xff\x7f\x04\x01\0\0\0", "cut short: 10737418235 bytes expected, 5 found"),
        (b"a \0B\x04\x01\0\0\0\x08\x01\0\0\0", "4-byte integers"),
    ],
)
def test_damaged_int_vectors(tmp_path, content, message):
    (tmp_path / "x.ark").write_bytes(content)
    with pytest.raises(DktError, match=message):
        list(read_int_vectors(f"ark:{tmp_path}/x.ark"))


def test_a_key_at_the_end_of_a_line_has_an_empty_vector(tmp_path):
    (tmp_path / "x.ark").write_bytes(b"\n a\nb 1\n")
    assert {u: v.tolist() for u, v in read_int_vectors(f"ark:{tmp_path}/x.ark")} == {"a": [], "b": [1]}


@pytest.mark.parametrize("form", ["ark", "ark,t"])
def test_vectors(tmp_path, form):
    with VectorWriter(f"{form},scp:{tmp_path}/x.ark,{tmp_path}/x.scp") as writer:
        writer.write("a", A[0])
        writer.write("double", np.array([1.0 + 1e-6]))
        writer.write("empty", A[0, :0])
    back = dict(read_vectors(f"ark:{tmp_path}/x.ark", np.float64))
    np.testing.assert_allclose(back["a"], A[0], rtol=1e-6)
    assert back["double"].tolist() == [1.000001] and back["empty"].shape == (0,)
    table = VectorTable(f"scp:{tmp_path}/x.scp")
    assert table["a"].dtype == np.float32 and table["a"].flags.writeable and len(table) == 3
    write_ab(f"{form}:{tmp_path}/y.ark")
    with pytest.raises(DktError, match="utterance 'a': expected a vector, found"):
        VectorTable(f"ark:{tmp_path}/y.ark")


def test_an_archive_with_option_p_ends_at_its_first_fault(tmp_path, caplog):
    write_ab(f"ark:{tmp_path}/x.ark")
    (tmp_path / "y.ark").write_bytes((tmp_path / "x.ark").read_bytes()[:-1])
    assert list(dict(read_matrices(f"ark,p:{tmp_path}/y.ark"))) == ["a"]
    assert "follows entry 1 is left out, as option p allows" in caplog.text and "'b'" in caplog.text
    # As in Kaldi, what cannot be read at all is no table.
    for name in ("y.ark", "nowhere"):
        (tmp_path / "y.ark").write_bytes(b"a [ x ]\n")
        with pytest.raises(DktError, match=name):
            list(read_matrices(f"ark,p:{tmp_path}/{name}"))


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
