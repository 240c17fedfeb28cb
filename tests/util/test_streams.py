"""Pipes, standard input and output, and reading no more than there is."""

from __future__ import annotations

import io
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dkt.base.errors import DktError
from dkt.hmm.posterior import Posterior, PosteriorWriter, read_posteriors
from dkt.util.kaldi_io import open_input, split_offset
from dkt.util.table import IntVectorWriter, MatrixTable, MatrixWriter, read_int_vectors, read_matrices
from dkt.util.text import read_lines
from tests.util.test_tables import A, B, write_ab

LONG = np.random.default_rng(0).normal(size=(30000, 20)).astype(np.float32)


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


def half(path: Path, size: int | None = None) -> str:
    """A command that gives half of a file, or ``size`` bytes, and dies."""
    return f"head -c {size or path.stat().st_size // 2} {path}; exit 1 |"


@pytest.mark.parametrize("form", ["ark", "ark,t"])
def test_a_pipe_that_dies_after_half_its_data_is_told_as_that(tmp_path, form):
    """Wherever it stops: within an object the data are cut short, but that is not what went wrong."""
    path = tmp_path / "x.ark"
    write_ab(f"{form}:{path}")
    for size in range(1, path.stat().st_size, 7):
        with pytest.raises(DktError, match=rf"head -c {size} .*exit 1.*status 1"):
            list(read_matrices(f"ark:{half(path, size)}"))
    with pytest.raises(DktError, match="status 1"):
        MatrixTable(f"ark:{half(path)}")
    for entry in (half(path), f"tail -c +3 {path} | head -c 30; exit 1 |"):
        (tmp_path / "x.scp").write_text(f"a {entry}\n")
        with pytest.raises(DktError, match=r"exit 1.*status 1"):
            MatrixTable(f"scp:{tmp_path}/x.scp")["a"]
    with IntVectorWriter(f"{form}:{path}") as ids:
        ids.write("a", np.arange(100))
    with pytest.raises(DktError, match="status 1"):
        list(read_int_vectors(f"ark:{half(path)}"))
    with PosteriorWriter(f"{form}:{path}") as posteriors:
        posteriors.write("a", Posterior.of_frames([[(1, 1.0)]] * 50))
    with pytest.raises(DktError, match="status 1"):
        list(read_posteriors(f"ark:{half(path)}"))
    path.write_text("a b\n" * 2)
    with pytest.raises(DktError, match="status 1"):
        read_lines(half(path))


def test_bad_data_of_a_living_pipe_are_told_at_once():
    start = time.monotonic()
    with pytest.raises(DktError, match=r"utterance 'a'.*damaged"):
        list(read_matrices("ark:echo 'a [ x ]'; exec sleep 60 |"))
    assert time.monotonic() - start < 30


def test_a_reader_may_stop_early_but_commands_may_not(tmp_path):
    write_ab(f"ark:{tmp_path}/x.ark")
    assert next(iter(read_matrices(f"ark:cat {tmp_path}/x.ark |")))[0] == "a"
    with (
        pytest.raises(DktError, match=r"status 141 .*stopped reading, as head does"),
        open_input("yes | head -n 1 |") as stream,
    ):
        stream.read()
    with pytest.raises(DktError, match="killed by signal 9"), open_input("kill -9 $$ |") as stream:
        stream.read()


def test_standard_input_and_output(monkeypatch):
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out))
    write_ab("ark:-")
    stdin = io.BufferedReader(io.BytesIO(out.getvalue()))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stdin))
    np.testing.assert_array_equal(dict(read_matrices("ark:-"))["b"], B)


def test_names_that_cannot_be_opened():
    for name in ("ark:/nowhere/\0", "ark:ec\0ho |", "ark:/", "ark:x:99999999999999999999"):
        with pytest.raises(DktError):
            list(read_matrices(name))
    assert split_offset("a:b:12") == ("a:b", 12)
    assert split_offset("a:²") == ("a:²", 0)


def sources(path: Path) -> Iterator[str]:
    """A file, whose size is known, and a pipe, whose size is not."""
    yield f"ark:{path}"
    yield f"ark:cat {path} |"


def test_long_objects_through_files_and_pipes(tmp_path):
    path = tmp_path / "x.ark"
    with MatrixWriter(f"ark:{path}") as writer:
        writer.write("a", LONG)
        writer.write("b", A)
    for source in sources(path):
        back = dict(read_matrices(source))
        np.testing.assert_array_equal(back["a"], LONG)
        np.testing.assert_array_equal(back["b"], A)
        assert back["a"].flags.writeable
    path.write_bytes(path.read_bytes()[: LONG.nbytes - 10])
    for source in sources(path):
        with pytest.raises(DktError, match=r"utterance 'a': .*cut short: 2400000 bytes expected"):
            list(read_matrices(source))


@pytest.mark.parametrize("rows", [b"\xff\xff\xff\x7f", b"\0\0\1\0"])
def test_a_header_that_lies_costs_no_more_than_what_is_there(tmp_path, rows):
    path = tmp_path / "x.ark"
    path.write_bytes(b"a \0BFM \x04" + rows + b"\x04" + rows + bytes(3 << 20))
    for source in sources(path):
        tracemalloc.start()
        with pytest.raises(DktError, match="cut short"):
            list(read_matrices(source))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 16 << 20
