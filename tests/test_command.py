"""The command dkt itself: help, wrong calls, and how every kind of failure is told."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from dkt.bin import COMMANDS, main


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    for name in COMMANDS:
        assert f"  {name} " in printed


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    assert f"usage: dkt {name}" in capsys.readouterr().out


def test_wrong_calls(capsys):
    assert main([]) == 2
    assert main(["train-dmn"]) == 2
    assert "no command 'train-dmn'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ModuleNotFoundError(name="kaldifst"), 1, "kaldifst is not installed - pip install"),
        (OSError(28, "No space left on device", "/exp/x"), 1, "/exp/x: No space left on device"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_failures_are_one_line(monkeypatch, capsys, error, status, message):
    def fail(args):
        raise error

    monkeypatch.setattr(importlib.import_module("dkt.bin.report"), "run", fail)
    assert main(["report", "gmm=x"]) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ERROR (dkt report) ") and message in line


def test_a_reader_that_has_seen_enough_is_no_error():
    command = f"{sys.executable} -m dkt --help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.returncode in (0, 141)


def test_the_command_starts_without_torch():
    code = "import sys, dkt.bin; dkt.bin.main(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
