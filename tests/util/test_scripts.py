"""Script files: offsets, ranges, pipes, and entries that cannot be read."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from dkt.base.errors import DktError
from dkt.util.table import MatrixTable, VectorTable, VectorWriter, read_matrices, read_script
from tests.util.test_tables import A, B, write_ab


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


def test_segments_of_one_object_are_arrays_of_their_own(tmp_path):
    write_ab(f"ark:{tmp_path}/x.ark")
    entry = f"echo >> {tmp_path}/count; tail -c +3 {tmp_path}/x.ark |"
    (tmp_path / "y.scp").write_text(f"s1 {entry}[0:1]\ns2 {entry}[1:2]\n")
    first, second = (matrix for _, matrix in read_matrices(f"scp:{tmp_path}/y.scp"))
    first[:] = 9.0
    np.testing.assert_array_equal(second, A[1:3])
    assert (tmp_path / "count").read_text() == "\n", "the recording was not read once"


@pytest.mark.parametrize("text", ["[0:1", "0:1]", "[0-1]", "[a:b]", "[]x", "[0:1][0:1]", "[1:9999999999999]"])
def test_malformed_ranges(tmp_path, text):
    write_ab(f"ark:{tmp_path}/x.ark")
    (tmp_path / "y.scp").write_text(f"r {tmp_path}/x.ark:2{text}\n")
    with pytest.raises(DktError, match=r"utterance 'r': impossible range|cannot be read"):
        list(read_matrices(f"scp:{tmp_path}/y.scp"))


def test_ranges_of_vectors(tmp_path):
    with VectorWriter(f"ark:{tmp_path}/x.ark") as writer:
        writer.write("a", A[:, 0])
    (tmp_path / "y.scp").write_text(f"r {tmp_path}/x.ark:2[1:2]\n")
    np.testing.assert_array_equal(VectorTable(f"scp:{tmp_path}/y.scp")["r"], A[1:3, 0])
    (tmp_path / "y.scp").write_text(f"r {tmp_path}/x.ark:2[0:0,0:0]\n")
    with pytest.raises(DktError, match="range lies outside"):
        VectorTable(f"scp:{tmp_path}/y.scp")["r"]


def test_missing_file_and_offset_past_the_end(tmp_path):
    with pytest.raises(DktError, match=r"nowhere\.ark"):
        list(read_matrices(f"ark:{tmp_path}/nowhere.ark"))
    write_ab(f"ark:{tmp_path}/x.ark")
    (tmp_path / "y.scp").write_text(f"a {tmp_path}/x.ark:100000\n")
    with pytest.raises(DktError, match=r"x\.ark: utterance 'a': offset 100000"):
        list(read_matrices(f"scp:{tmp_path}/y.scp"))


def test_option_p_skips_counts_and_logs_what_cannot_be_read(tmp_path, caplog):
    write_ab(f"ark,scp:{tmp_path}/x.ark,{tmp_path}/x.scp")
    good = (tmp_path / "x.scp").read_text()
    (tmp_path / "y.scp").write_text(
        f"0 {tmp_path}/nowhere:5\n{good}c {tmp_path}/x.ark:9999\nd exit 3 |\ne {tmp_path}/x.ark:2[3:9]\n"
    )
    with pytest.raises(DktError, match="nowhere"):
        list(read_matrices(f"scp:{tmp_path}/y.scp"))
    back = dict(read_matrices(f"scp,p:{tmp_path}/y.scp"))
    assert list(back) == ["a", "b"]
    assert "4 of 6 entries could not be read and were skipped" in caplog.text
    for told in ("nowhere", "offset 9999", "status 3", "range lies outside"):
        assert told in caplog.text
    table = MatrixTable(f"scp,p:{tmp_path}/y.scp")
    assert "c" not in table and "b" in table and list(table) == ["a", "b"] and len(table) == 2
    # A script that is no script is an error all the same.
    (tmp_path / "y.scp").write_text("a\n")
    with pytest.raises(DktError, match="line 1"):
        list(read_matrices(f"scp,p:{tmp_path}/y.scp"))


@pytest.mark.parametrize(
    "content", [b"\xe9t\xe9 x.ark:2\n", b"a x.ark:2\r\n", b"a\n", b"a x\n\nb x\n", b"\0 \0\n"]
)
def test_scripts_that_are_none(tmp_path, content):
    (tmp_path / "y.scp").write_bytes(content)
    with pytest.raises(DktError):
        list(read_matrices(f"scp:{tmp_path}/y.scp"))


def test_entries_that_cannot_be_sought_in(tmp_path):
    """A named pipe, as a shell makes one of <(command)."""
    write_ab(f"ark:{tmp_path}/x.ark")
    os.mkfifo(tmp_path / "fifo")
    data = (tmp_path / "x.ark").read_bytes()[2:]
    thread = threading.Thread(target=lambda: (tmp_path / "fifo").write_bytes(data[: -2 - 15 - B.nbytes]))
    thread.start()
    (tmp_path / "y.scp").write_text(f"a {tmp_path}/fifo\n")
    np.testing.assert_array_equal(dict(read_matrices(f"scp:{tmp_path}/y.scp"))["a"], A)
    thread.join()
