"""Lines about the progress of searches and passes over lattices."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from dkt.bin import main
from dkt.util import progress
from dkt.util.progress import num_entries, told
from dkt.util.table import MatrixWriter


class Clock:
    """Tells ten seconds more whenever it is asked."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 10.0
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(progress, "time", Clock())
    caplog.set_level(logging.INFO)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    with MatrixWriter(f"ark,scp:{tmp_path}/l.ark,{tmp_path}/l.scp") as writer:
        for number in range(9):
            writer.write(f"u{number}", np.zeros((100, 2), dtype=np.float32))
    return tmp_path


def test_a_line_every_half_minute(table: Path, caplog: pytest.LogCaptureFixture) -> None:
    entries = [(f"u{number}", np.zeros((100, 2))) for number in range(9)]
    assert list(told(entries, "decode", f"scp:{table}/l.scp", len)) == entries
    # An utterance of a second each ten seconds, but for the first.
    assert [record.message for record in caplog.records] == [
        "decode: 2 of 9 utterances in 30 s, real-time factor 15.000, about 2 min to go",
        "decode: 5 of 9 utterances in 60 s, real-time factor 12.000, about 1 min to go",
        "decode: 8 of 9 utterances in 90 s, real-time factor 11.250, about 0 min to go",
    ]
    caplog.clear()
    list(told(entries[:5], "lattice-depth"))
    assert [record.message for record in caplog.records] == [
        "lattice-depth: 2 utterances in 30 s, 0.07 a second"
    ]


def test_the_length_of_a_table_is_told_where_it_can_be_known(table: Path) -> None:
    assert num_entries(f"scp:{table}/l.scp") == num_entries(f"scp,p:{table}/l.scp") == 9
    for rspecifier in ("", "loglikes", f"ark:{table}/l.ark", "scp:-", f"scp:cat {table}/l.scp |"):
        assert num_entries(rspecifier) is None


LATTICE = "0 1 3 1.0,2.0,1\n1 0.5,0.5,2\n\n"


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("lattice-best-path", ["ark,t:{}/out"]),
        ("lattice-depth", []),
        ("lattice-copy", ["ark:{}/out"]),
        ("lattice-oracle", ["ark:{}/refs", "ark,t:{}/out"]),
        ("lattice-scan", ["{}/words.txt", "{}/out"]),
    ],
)
def test_commands_over_lattices_tell_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, command: str, options: list[str]
) -> None:
    (tmp_path / "lat").write_text("".join(f"u{number} \n{LATTICE}" for number in range(5)))
    (tmp_path / "refs").write_text("".join(f"u{number} 3\n" for number in range(5)))
    (tmp_path / "words.txt").write_text("<eps> 0\nA 1\nB 2\nC 3\n")
    assert main([command, f"ark:{tmp_path}/lat", *(option.format(tmp_path) for option in options)]) == 0
    assert f"{command}: 2 utterances in 30 s" in caplog.text
