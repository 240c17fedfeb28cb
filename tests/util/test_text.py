"""Text files as Kaldi reads them."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from dkt.base.errors import DktError
from dkt.feat.extraction import read_config
from dkt.util.data_dir import DataDir
from dkt.util.symbols import read_symbol_table, read_texts, read_transcripts
from dkt.util.table import read_int_vectors, read_script
from dkt.util.text import fields, read_keyed_lines, read_lines
from tests.arpa_files import read_arpa

#: Line separators and the like to Python, but not to Kaldi.
ODD = "a\x1cb\x1dc\x1ed\x1fe"
#: White space of Unicode that Kaldi's validators refuse.
SPACES = "\v\f\x85\xa0\u1680\u2000\u2003\u200a\u2028\u2029\u202f\u205f\u3000"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "utt2spk").write_text("u1 u1\n")
    return tmp_path / "text"


def test_only_newlines_end_lines_and_only_ascii_white_space_parts_fields(path: Path) -> None:
    path.write_text(f"u1 \t {ODD}  x\ty \n{ODD}\n", newline="\n")
    assert read_lines(path) == [f"u1 \t {ODD}  x\ty ", ODD]
    assert fields(f" {ODD}\fz\v\u00a0") == [ODD, "z", "\u00a0"]
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
        (b"u1 a\nu1 b\n", r"text: utterance 'u1': line 2: duplicate key"),
        (b"u1 a\nu2 \xff\n", r"text: line 2 is not UTF-8"),
        (b"u1 a\nu2 b\0c\n", r"text: line 2 holds a zero byte: the file is damaged, or is not text"),
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


@pytest.mark.parametrize("char", SPACES)
def test_white_space_of_unicode_is_refused_with_its_name_and_the_mend(path: Path, char: str) -> None:
    path.write_text(f"u1 a\nu2 b{char}c\n", encoding="utf-8", newline="\n")
    code = f"{ord(char):04X}"
    for reader in (read_lines, read_keyed_lines, read_transcripts, lambda p: DataDir(p.parent).text):
        with pytest.raises(
            DktError, match=rf"text: line 2 holds U\+{code} \(.*\), white .* perl .*\\x\{{{code}\}}"
        ):
            reader(path)


@pytest.mark.parametrize("name", ["text", "utt2spk", "wav.scp", "feats.scp", "lm.arpa", "words.txt"])
def test_a_byte_order_mark_is_told(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("u1 1\n", encoding="utf-8-sig")
    readers: dict[str, Callable[[Path], object]] = {"words.txt": read_symbol_table, "lm.arpa": read_arpa}
    read = readers.get(name, lambda p: read_script(str(p)) if p.suffix == ".scp" else read_keyed_lines(p))
    with pytest.raises(
        DktError, match=rf"{name}: begins with a byte order mark, U\+FEFF .* - remove it: sed"
    ):
        read(path)
    # Joined files.
    path.write_text("u0 0\n\ufeffu1 1\n", encoding="utf-8")
    if name != "lm.arpa":
        with pytest.raises(DktError, match=rf"{name}: line 2 holds a byte order mark"):
            read(path)
    # Another encoding.
    path.write_bytes("u1 1\n".encode("utf-16"))
    with pytest.raises(DktError, match=rf"{name}: is UTF-16, .* iconv -f UTF-16"):
        read(path)


def test_a_key_of_an_archive_may_not_begin_with_a_mark(tmp_path: Path) -> None:
    (tmp_path / "ali").write_text("\ufeffu1 1 2\n", encoding="utf-8")
    with pytest.raises(DktError, match="byte order mark"):
        list(read_int_vectors(f"ark,t:{tmp_path}/ali"))


def test_names_of_files_and_comments_are_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "wav.scp").write_text("u1 /a\u00a0b/\u3000.wav\n", encoding="utf-8")
    assert read_script(f"{tmp_path}/wav.scp") == {"u1": "/a\u00a0b/\u3000.wav"}
    (tmp_path / "wav.scp").write_text("u1\u00a0/a.wav\n", encoding="utf-8")
    with pytest.raises(DktError, match=r"line 1 holds U\+00A0"):
        read_script(f"{tmp_path}/wav.scp")
    (tmp_path / "mfcc.conf").write_text("--use-energy=false  # no\u00a0energy\n", encoding="utf-8")
    assert read_config(tmp_path / "mfcc.conf") == {"use-energy": "false"}


@pytest.mark.parametrize(
    ("char", "name"),
    [
        *(
            ("\x07", "U+0007"),
            ("\xad", "U+00AD"),
            ("\u2060", "U+2060"),
            ("\ufffd", "U+FFFD"),
        ),
        ("\u200b", "U+200B (ZERO WIDTH SPACE)"),
        ("\u200d", "U+200D (ZERO WIDTH JOINER)"),
    ],
)
def test_what_nobody_sees_is_warned_of(
    path: Path, caplog: pytest.LogCaptureFixture, char: str, name: str
) -> None:
    path.write_text(f"u1 a\nu2 b{char}\nu3 {char}\n", encoding="utf-8")
    assert len(read_lines(path)) == 3
    assert f"{path}: 2 lines hold a character that cannot be seen, the first line 2: {name}" in caplog.text


def test_joiners_belong_to_some_spellings(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.write_text("u1 \u0915\u094d\u200d\u0937 \u0645\u06cc\u200c\u0634\n", encoding="utf-8")
    assert len(read_lines(path)) == 1
    assert caplog.text == ""


@pytest.mark.parametrize("name", ["text", "text.gz"])
def test_gzip_is_told_by_content_not_by_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for data in (gzip.compress(b"u1 a\n") + gzip.compress(b"u2 b\n"), b"u1 a\nu2 b\n"):
        path.write_bytes(data)
        assert read_lines(path) == ["u1 a", "u2 b"]
        assert read_lines(f"cat {path} |") == ["u1 a", "u2 b"]
        assert read_texts(f"ark:{path}") == {"u1": ["a"], "u2": ["b"]}
    path.write_bytes(gzip.compress(b"u1 a\n")[:-3])
    with pytest.raises(DktError, match="broken gzip file"):
        read_lines(path)


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
