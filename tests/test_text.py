"""Text files as Kaldi reads them."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import pytest

from dkt.datadir import DataDir
from dkt.errors import DktError
from dkt.hmm.symbols import read_transcripts
from dkt.tables import read_script
from dkt.text import fields, read_keyed_lines, read_lines

#: Line and field separators to Python, but not to Kaldi.
ODD = "a\u2028b\x85c\x1cd\u00a0e\u3000f"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "utt2spk").write_text("u1 u1\n")
    return tmp_path / "text"


def test_only_newlines_end_lines_and_only_ascii_white_space_parts_fields(path: Path) -> None:
    path.write_text(f"u1 \t {ODD}  x\ty \n{ODD}\n", newline="\n")
    assert read_lines(path) == [f"u1 \t {ODD}  x\ty ", ODD]
    assert fields(f" {ODD}\fz\v") == [ODD, "z"]
    assert read_keyed_lines(path) == {"u1": f"{ODD}  x\ty", ODD: ""}
    assert read_transcripts(path) == {"u1": [ODD, "x", "y"], ODD: []}


def test_all_readers_agree(path: Path) -> None:
    path.write_text(f"u1 {ODD} x\n")
    assert DataDir(path.parent).text == read_script(str(path)) == read_keyed_lines(path) == {"u1": f"{ODD} x"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"u1 a\r\n", r"text: line 1 holds a carriage return, .* dos2unix"),
        (b"u0 a\nu1 a\rb\n", r"text: line 2 holds a carriage return"),
        (b"u1 a\n \nu2 b\n", r"text: line 2 is empty"),
        (b"u1 a\nu1 b\n", r"text: utterance 'u1': line 2: this utterance occurs twice"),
        (b"u1 a\nu2 \xff\n", r"text: line 2 is not UTF-8"),
    ],
)
def test_all_readers_refuse_the_same(path: Path, content: bytes, message: str) -> None:
    path.write_bytes(content)
    readers = [
        read_keyed_lines,
        read_transcripts,
        lambda p: read_script(str(p)),
        lambda p: DataDir(p.parent).text,
    ]
    for reader in readers:
        with pytest.raises(DktError, match=message):
            reader(path)


def test_directories_and_long_commands(tmp_path: Path) -> None:
    with pytest.raises(DktError, match="Is a directory"):
        read_lines(tmp_path)
    assert read_lines(f"echo {'x' * 5000} |") == ["x" * 5000]


def test_a_gzip_file_grows_no_more_than_data_do(tmp_path):
    """A few kilobytes of zeros would fill the memory; data that are alike, and small, are read."""
    bomb = tmp_path / "text.gz"
    bomb.write_bytes(b"".join([gzip.compress(bytes(1 << 24))] * 100))
    assert bomb.stat().st_size < 2 << 20
    tracemalloc.start()
    with pytest.raises(DktError, match=r"text\.gz: \d+ bytes of gzip become more than .* decompress"):
        read_lines(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 30
    bomb.write_bytes(gzip.compress(b"u1 a b\n" * 1_000_000))
    assert len(read_lines(bomb)) == 1_000_000
    bomb.write_bytes(b"")
    with pytest.raises(DktError, match="broken gzip file: it is empty"):
        read_lines(bomb)
