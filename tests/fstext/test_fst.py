"""FSTs as arrays and as OpenFst files."""

from __future__ import annotations

import struct

import kaldifst
import numpy as np
import pytest

from dkt.base.errors import DktError
from dkt.fstext.fst import ARC, FstArrays, load_fst

TEXT = "0 1 1 7 0.5\n0 2 0 0 1.5\n1 2 3 0 2\n2 2 4 9\n2 0.25\n"


@pytest.fixture
def small() -> FstArrays:
    return FstArrays.from_kaldifst(kaldifst.compile(TEXT, acceptor=False))


def assert_same(a: FstArrays, b: FstArrays) -> None:
    assert a.start == b.start
    np.testing.assert_array_equal(a.final, b.final)
    np.testing.assert_array_equal(a.offsets, b.offsets)
    np.testing.assert_array_equal(a.arcs, b.arcs)


def test_arrays_of_a_compiled_fst(small):
    assert (small.start, small.num_states, small.num_arcs) == (0, 3, 4)
    assert small.final.tolist() == [np.inf, np.inf, 0.25]
    assert small.offsets.tolist() == [0, 2, 3, 4]
    assert small.sources.tolist() == [0, 0, 1, 2]
    assert small.arcs.tolist() == [(1, 7, 0.5, 1), (0, 0, 1.5, 2), (3, 0, 2.0, 2), (4, 9, 0.0, 2)]


@pytest.mark.parametrize("fst_type", ["vector", "const"])
def test_files_are_what_openfst_writes_and_reads(small, fst_type, tmp_path):
    small.save(tmp_path / "mine", fst_type)
    made = {"vector": kaldifst.StdVectorFst, "const": kaldifst.StdConstFst}[fst_type]
    made(kaldifst.compile(TEXT, acceptor=False)).write(str(tmp_path / "openfst"))
    assert_same(load_fst(tmp_path / "mine"), small)
    assert_same(load_fst(tmp_path / "openfst"), small)
    head = slice(0, 30)  # type, version, flags
    assert (tmp_path / "mine").read_bytes()[head] == (tmp_path / "openfst").read_bytes()[head]
    assert (tmp_path / "mine").stat().st_size == (tmp_path / "openfst").stat().st_size
    assert made.read(str(tmp_path / "mine")).to_str() == kaldifst.compile(TEXT, acceptor=False).to_str()


def test_kaldifst_objects_keep_the_order_of_arcs(small):
    assert_same(FstArrays.from_kaldifst(small.to_kaldifst()), small)
    assert_same(FstArrays.from_kaldifst(small.to_kaldifst_const()), small)


def test_arcs_in_any_order_are_put_to_their_states():
    arcs = np.zeros(3, dtype=ARC)
    arcs["ilabel"] = [5, 6, 7]
    fst = FstArrays.from_arcs(0, [np.inf, 0.0], [1, 0, 1], arcs)
    assert fst.arcs["ilabel"].tolist() == [6, 5, 7]
    assert fst.offsets.tolist() == [0, 1, 3]


def test_weights_labels_and_penalties_change_a_copy(small):
    scaled = small.scaled(2.0)
    assert scaled.arcs["weight"].tolist() == [1.0, 3.0, 4.0, 0.0]
    assert scaled.final.tolist() == [np.inf, np.inf, 0.5]
    assert small.scaled(0.0).final.tolist() == [np.inf, np.inf, 0.0]
    assert small.with_word_penalty(0.5).arcs["weight"].tolist() == [1.0, 1.5, 2.0, 0.5]
    mapped = small.with_ilabels_mapped(np.array([0, 11, 12, 0, 14]))
    assert mapped.arcs["ilabel"].tolist() == [11, 0, 0, 14]
    assert small.arcs["weight"].tolist() == [0.5, 1.5, 2.0, 0.0]


def test_properties_that_a_change_may_break_are_forgotten():
    """Kept, they would tell OpenFst for example that the arcs are still sorted."""
    compiled = kaldifst.compile("0 1 1 1\n0 1 2 2\n1\n", acceptor=False)
    kaldifst.arcsort(compiled, "ilabel")
    fst = FstArrays.from_kaldifst(compiled)
    assert fst.to_kaldifst().is_ilabel_sorted
    swapped = fst.with_ilabels_mapped(np.array([0, 2, 1]))
    assert swapped.arcs["ilabel"].tolist() == [2, 1]
    assert not swapped.to_kaldifst().is_ilabel_sorted


def test_symbol_tables_inside_are_passed_over(small, tmp_path):
    fst = kaldifst.compile(TEXT, acceptor=False)
    symbols = kaldifst.SymbolTable()
    for index in range(10):
        symbols.add_symbol(f"symbol-{index}", index)
    fst.input_symbols = symbols
    fst.output_symbols = symbols
    fst.write(str(tmp_path / "fst"))
    assert b"symbol-9" in (tmp_path / "fst").read_bytes()
    assert_same(load_fst(tmp_path / "fst"), small)


def test_a_stream_of_unknown_length_is_read_to_its_end(small, tmp_path):
    data = bytearray(small.to_bytes("vector"))
    place = 4 + 4 + 6 + 4 + 8 + struct.calcsize("<iiQq")
    assert struct.unpack_from("<q", data, place) == (3,)
    struct.pack_into("<q", data, place, -1)
    (tmp_path / "fst").write_bytes(data)
    assert_same(load_fst(tmp_path / "fst"), small)


def test_an_aligned_file_is_read(small, tmp_path):
    data = small.to_bytes("const")
    head, body = data[:65], data[65:]
    version = head.index(b"standard") + 8
    head = head[:version] + struct.pack("<i", 1) + head[version + 4 :]
    states, arcs = body[: 3 * 20], body[3 * 20 :]
    aligned = head + bytes(15) + states + bytes(-(80 + 60) % 16) + arcs
    (tmp_path / "fst").write_bytes(aligned)
    assert_same(load_fst(tmp_path / "fst"), small)


@pytest.mark.parametrize("fst_type", ["vector", "const"])
def test_cut_short_at_every_byte_is_an_error(small, fst_type, tmp_path):
    path = tmp_path / "cut.fst"
    data = small.to_bytes(fst_type)
    for size in range(len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(DktError, match=r"cut\.fst"):
            load_fst(path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"nextstate": [1, 2, 3, 2]}, "outside its 3 states"),
        ({"ilabel": [1, -5, 3, 4]}, "negative label"),
        ({"weight": [0, np.nan, 0, 0]}, "not a number"),
    ],
)
@pytest.mark.parametrize("fst_type", ["vector", "const"])
def test_impossible_arcs_are_an_error(small, columns, message, fst_type, tmp_path):
    small.with_arcs(**columns).save(tmp_path / "fst", fst_type)
    with pytest.raises(DktError, match=message):
        load_fst(tmp_path / "fst")


def test_other_kinds_of_file_are_an_error(small, tmp_path):
    path = tmp_path / "fst"
    path.write_text("0 1 1 1\n")
    with pytest.raises(DktError, match="expected an OpenFst binary file"):
        load_fst(path)
    path.write_bytes(small.to_bytes("vector").replace(b"standard", b"logarcs!"))
    with pytest.raises(DktError, match="fstconvert"):
        load_fst(path)
    with pytest.raises(DktError, match="No such file"):
        load_fst(tmp_path / "missing")


@pytest.mark.parametrize(
    ("name", "fst_type"),
    [("exp/tri2b/graph/HCLG.fst", "const"), ("lang/L.fst", "vector"), ("lang/G.fst", "vector")],
)
def test_kaldi_files_round_trip_to_the_same_bytes(kaldi_fixtures, name, fst_type):
    fst = load_fst(kaldi_fixtures / name)
    assert fst.to_bytes(fst_type) == (kaldi_fixtures / name).read_bytes()
    assert_same(FstArrays.from_kaldifst(fst.to_kaldifst()), fst)
