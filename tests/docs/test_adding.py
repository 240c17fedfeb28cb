"""docs/adding.md: the examples are put where the page says, and work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import dkt.bin
import dkt.gmm
from dkt.base.errors import DktError
from dkt.util.table import read_table
from tests.docs.pages import PAGES, blocks, files
from tests.shell import BIN, ROOT
from tests.tones import write_corpus

PAGE = PAGES["docs/adding.md"]
FILES = files(PAGE)


def put(place: Path) -> None:
    """Write the files of the page."""
    for name, text in FILES.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if text.startswith("#!"):
            path.chmod(0o755)


def row_of(place: str) -> dict[str, object]:
    """The rows that the page adds to a table, which is named in the first line of their block."""
    rows: dict[str, object] = {}
    for block in blocks(PAGE, "python"):
        head, _, body = block.partition("\n")
        if head == f"# in {place}":
            rows |= eval(f"{{{body}}}")
    assert rows, place
    return rows


def test_the_recipe_leads_to_a_table(tmp_path: Path) -> None:
    checkout, corpus = tmp_path / "dkt", tmp_path / "corpus"
    write_corpus(corpus)
    put(checkout)
    for name in ("steps", "local", "egs/digits"):
        (checkout / name).symlink_to(ROOT / name)
    recipe = checkout / "egs/mine/s5"
    environment = {k: v for k, v in os.environ.items() if k not in ("KALDI_ROOT", "DKT_ROOT")}
    environment |= {
        "PATH": f"{BIN}:{environment['PATH']}",
        "VIRTUAL_ENV": str(BIN.parent),
        "OMP_NUM_THREADS": "1",
    }

    def call(*command: str, directory: Path = recipe) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True)

    assert call("bash", "-e", "prepare.sh").returncode == 0
    assert "Usage: ./run.sh" in call("./run.sh").stderr
    # From another directory, whose names are meant.
    done = call("dkt/egs/mine/s5/run.sh", "--corpus-dir", "corpus", "--nj", "1", directory=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    systems = [line.split(",") for line in (recipe / "exp/report/results.csv").read_text().splitlines()]
    assert [words[:2] for words in systems] == [["system", "seed"], ["gmm", "0"], ["dnn", "777"]]
    assert all(float(words[-1]) < 10 for words in systems[1:])
    again = call("./run.sh", "--corpus-dir", str(corpus), "--nj", "1")
    assert again.returncode == 0 and again.stdout.count("done already") == 8 and "running" not in again.stdout


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The modules of the page are a part of dkt; gives a directory to work in."""
    put(tmp_path)
    for package in (dkt.bin, dkt.gmm):
        path = tmp_path / package.__name__.replace(".", "/")
        assert list(path.glob("*.py"))
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(path)])
    for name, row in row_of("dkt/bin/__init__.py, _GMM").items():
        monkeypatch.setitem(dkt.bin.COMMANDS, name, row)
    yield tmp_path
    for name in ("dkt.gmm.gselect", "dkt.bin.copy_gselect"):
        sys.modules.pop(name, None)


def copy(source: str, target: str) -> int:
    return dkt.bin.main(["copy-gselect", source, target])


# Bytes as Kaldi's BasicVectorVectorHolder writes them.
TEXT = b"a 7 3 ; ; 12 ; \nb \nc 0 ; \n"
BINARY = (
    b"a \0B\4\3\0\0\0" b"\4\2\0\0\0\4\7\0\0\0\4\3\0\0\0" b"\4\0\0\0\0" b"\4\1\0\0\0\4\x0c\0\0\0"
    b"b \0B\4\0\0\0\0" b"c \0B\4\1\0\0\0" b"\4\1\0\0\0\4\0\0\0\0"
)  # fmt: skip


def test_the_archive_type_is_read_and_written_in_kaldis_bytes(added: Path) -> None:
    (added / "text").write_bytes(TEXT)
    assert copy(f"ark:{added}/text", f"ark,scp:{added}/binary,{added}/scp") == 0
    assert (added / "binary").read_bytes() == BINARY
    assert copy(f"scp:{added}/scp", f"ark,t:{added}/again") == 0 and (added / "again").read_bytes() == TEXT
    assert copy(f"ark:cat {added}/binary |", f"ark,t:| cat >{added}/piped") == 0
    assert (added / "piped").read_bytes() == TEXT


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (BINARY[:20], "cut short"),
        (b"a \0B\5\3\0\0\0", "4-byte integer"),
        (b"a 1 2 ; 3", "cut short"),
        (b"a 1 2 \n", "';'"),
        (b"a 1 x ; \n", "x"),
    ],
)
def test_damage_is_an_error_that_names_file_and_utterance(added: Path, data: bytes, message: str) -> None:
    from dkt.gmm.gselect import read_lists

    (added / "damaged").write_bytes(data)
    with pytest.raises(DktError, match=message) as error:
        list(read_table(read_lists, f"ark:{added}/damaged"))
    assert error.value.utt == "a" and str(error.value.path).endswith("damaged")


def test_the_command_is_known(added: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dkt.bin.main(["copy-gselec"]) == 2 and "did you mean 'copy-gselect'?" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        dkt.bin.main(["copy-gselect", "--help"])
    assert "gselect-rspecifier wspecifier" in capsys.readouterr().out
