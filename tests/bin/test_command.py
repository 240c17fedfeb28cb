"""The command dkt itself: help, wrong calls, and how every kind of failure is told."""

from __future__ import annotations

import importlib
import signal
import subprocess
import sys

import pytest

from dkt.base.errors import DktError
from dkt.bin import COMMANDS, main
from tests.shell import ROOT


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
    ("arguments", "told"),
    [
        (["align", "data", "lang", "gmm", ""], "argument ali-dir: is empty"),
        (["train-dnn", "a", "b", "c", "d", ""], "argument ali-train ali-dev exp-dir: is empty"),
        (["train-lstm", "a", "b", "c", "d", ""], "is empty"),
        (
            ["train-dnn", "--cache-dir=", "a", "b", "c", "d", "e"],
            "argument --cache-dir: expected the name of",
        ),
        (["train-lstm", "--cache-dir= ", "a", "b", "c", "d", "e"], "argument --cache-dir: expected the name"),
    ],
)
def test_nothing_is_no_name_of_a_directory(tmp_path, monkeypatch, capsys, arguments, told):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2 and told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ModuleNotFoundError(name="kaldifst"), 1, "kaldifst is not installed - pip install"),
        (ModuleNotFoundError(name="onnxruntime"), 1, "not installed - pip install 'dkt[onnx]'"),
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


@pytest.mark.parametrize(
    ("char", "shown"),
    [("\x1b[2J", r"\x1b[2J"), ("\x9b2J", r"\x9b2J"), ("\x08", r"\x08"), ("\u202e", r"\u202e")],
)
def test_nothing_that_is_told_steers_the_terminal(tmp_path, char, shown):
    """Neither by errors nor by what is logged, of what is in files and of their names."""
    (tmp_path / "x.mdl").write_text(f"{char}<TransitionModel>")
    (tmp_path / f"m{char}").mkdir()
    (tmp_path / f"m{char}/final.pt").write_text("x")
    for arguments in (
        ["hmm-info", "x.mdl"],
        ["verify", f"m{char}/final.pt"],
        [f"no{char}"],
        ["verify", "x.mdl", f"--no-{char}"],
    ):
        command = [sys.executable, "-m", "dkt", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode and char not in done.stderr and shown in done.stderr, done.stderr
    assert str(DktError(f"a{char}", path=f"p{char}", hint="x é 漢")) == f"p{shown}: a{shown} - x é 漢"


def test_the_table_of_a_check_steers_no_terminal(tmp_path, capsys):
    (tmp_path / "utt2spk").write_text("a-\x1b[2J a\na-1\n")
    assert main(["check", str(tmp_path)]) == 1
    told = capsys.readouterr()
    assert "\x1b" not in told.out + told.err and r"\x1b" in told.out


def test_the_error_is_the_last_line():
    """Packages may log what concerns nobody when the program ends, as PyTorch does."""
    code = (
        "import atexit, logging, sys; from dkt.bin import main\n"
        "tell = logging.getLogger('torch._subclasses.fake_tensor').info\n"
        "atexit.register(tell, 'FakeTensor cache stats:')\n"
        "sys.exit(main(['hmm-info', '/nowhere']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "FakeTensor" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("ERROR (dkt hmm-info)")


def test_a_reader_that_has_seen_enough_is_no_error():
    command = f"{sys.executable} -m dkt --help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.returncode in (0, 141)


def test_the_command_starts_without_torch():
    code = "import sys, dkt.bin; dkt.bin.main(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_names_that_go_on_and_on_are_shortened_in_messages() -> None:
    """Those of a damaged script file; the ends of a path tell most."""
    told = str(DktError("is gone", path=f"/begin/{'x' * 3000}/end", utt="\0" * 3000))
    assert told.startswith("/begin/xxx") and "xxx/end: utterance '" in told and told.endswith("': is gone")
    assert len(told) < 650
    name = "/data/" + "y" * 290
    assert str(DktError("is gone", path=name)) == f"{name}: is gone"


INTERRUPTED_WHILE_LOADING = """
import builtins, os, signal, sys
import dkt.__main__
signal.signal(signal.SIGINT, getattr(signal, sys.argv.pop(1)))
load = builtins.__import__
def interrupted(name, *arguments, **others):
    if name == "dkt.bin":
        os.kill(os.getpid(), signal.SIGINT)
    return load(name, *arguments, **others)
builtins.__import__ = interrupted
sys.exit(dkt.__main__.run_program())
"""


@pytest.mark.parametrize(("handler", "status"), [("default_int_handler", -signal.SIGINT), ("SIG_IGN", 0)])
def test_an_interrupt_while_modules_are_loaded_is_no_traceback(handler: str, status: int) -> None:
    command = [sys.executable, "-c", INTERRUPTED_WHILE_LOADING, handler, "--version"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (status, "")
    assert bool(done.stdout) is (status == 0)


def test_the_installed_program_is_the_one_that_bears_it() -> None:
    assert '"dkt=dkt.__main__:run_program"' in (ROOT / "setup.py").read_text()
