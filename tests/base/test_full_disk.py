"""A full disk: the file that could not be written is named, and none is left cut short under its name."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dkt.base.errors import DktError
from dkt.base.files import (
    copy_file,
    partial_directory,
    partial_name,
    remove_leftovers,
    replace_file,
    replace_link,
)
from dkt.base.processes import ProcessId
from dkt.bin import main
from dkt.feat.speed_perturb import perturb_speed
from dkt.report.table import Row, save_results
from dkt.train.history import save_history
from dkt.util.table import MatrixWriter
from tests.shell import ROOT
from tests.student_lab import CPU, lab

__all__ = ["lab"]

# A process whose files may not grow beyond a size: as on a full disk, a write fails half done.
_LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
from dkt.bin import main
sys.exit(main(sys.argv[2:]))
"""


def limited(size: int, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _LIMITED, str(size), *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"DKT_KERNELS": "torch"},
    )


RESULT = Row("a", 1, 1, None, {"dev_wer": 3.0})


def training(lab: Path, exp: Path) -> list[str]:
    places = [str(lab / name) for name in ("train", "dev", "ali_train", "ali_dev")]
    return ["train-dnn", f"--config={lab}/dnn.yaml", *CPU, *places, str(exp)]


@pytest.mark.parametrize("size", [150, 400, 3000, None])
def test_a_training(lab, tmp_path, size):
    """Whatever does not fit, what is there is as a training leaves it that had room."""
    exp = tmp_path / "exp"
    done = limited(size or (lab / "dnn/final.pt").stat().st_size - 100, *training(lab, exp))
    assert done.returncode == 1 and "Traceback" not in done.stderr
    error = done.stderr.strip().splitlines()[-1]
    assert error.startswith(f"ERROR (dkt train-dnn) {exp}/") and "cannot be written: File too large" in error
    culprit = Path(error.split()[3].rstrip(":"))
    assert not culprit.exists()
    for file in exp.rglob("*"):
        if (lab / "dnn" / file.name).is_file() and file.name not in ("config.yaml", "history.csv"):
            assert file.read_bytes() == (lab / "dnn" / file.name).read_bytes(), file
    assert [path.name for path in exp.glob(".*")] in ([], [".checksums"])
    # With room it goes on.
    assert main(training(lab, exp)) == 0
    assert (exp / "final.pt").read_bytes() == (lab / "dnn/final.pt").read_bytes()


@pytest.fixture
def full(monkeypatch, tmp_path):
    """Writing fails after some bytes, as on a full disk; returns the directory to write in."""

    def write_bytes(self: Path, data: bytes) -> int:
        with self.open("wb") as stream:
            stream.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def waves(out: Path) -> None:
    """Copies of a recording at another speed."""
    import soundfile

    data = out.parent / "data"
    data.mkdir()
    soundfile.write(data / "a.wav", np.arange(8000, dtype=np.int16), 8000)
    for name, value in {"wav.scp": data / "a.wav", "utt2spk": "s", "text": "A", "spk2utt": "a"}.items():
        (data / name).write_text(f"{'s' if name == 'spk2utt' else 'a'} {value}\n")
    perturb_speed(data, out, ["0.9"], 0.0)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("x", lambda out: replace_file(out / "x", b"content")),
        (
            "results.csv",
            lambda out: save_results(out / "results.csv", [RESULT]),
        ),
        ("history.csv", lambda out: save_history(out / "history.csv", [])),
        ("wav/pv0.9-a.wav", waves),
    ],
)
def test_files(full, name, write):
    with pytest.raises(DktError, match="cannot be written: No space left on device") as caught:
        write(full)
    named = rf"{re.escape(str(full))}/\S*{re.escape(Path(name).name[-4:])}: cannot"
    assert re.search(named, str(caught.value))
    assert not [path for path in full.rglob("*") if path.is_file()]


def test_a_copy_names_its_target(tmp_path, monkeypatch):
    (tmp_path / "source").write_bytes(b"x" * 5000)
    opened = Path.open

    class Full:
        def __init__(self, stream):
            self.stream = stream

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.stream.close()

        def write(self, data):
            self.stream.write(data[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def open_full(self: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        stream = opened(self, mode, *args, **options)
        return Full(stream) if "w" in mode else stream

    (tmp_path / "target").write_text("before")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_full)
        with pytest.raises(DktError, match="target: cannot be written: No space left on device"):
            copy_file(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "target"]
    with pytest.raises(DktError, match="missing: cannot be read: No such file"):
        copy_file(tmp_path / "missing", tmp_path / "target")
    with pytest.raises(DktError, match="nowhere/x: cannot be written: No such file or directory"):
        copy_file(tmp_path / "source", tmp_path / "nowhere/x")
    copy_file(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"x" * 5000


def test_an_archive_names_itself():
    """Not only the system's reason, as before."""
    with (
        pytest.raises(DktError, match="/dev/full: cannot be written: No space left on device"),
        MatrixWriter("ark:/dev/full") as writer,
    ):
        writer.write("a", np.zeros((1000, 100), np.float32))


def test_standard_output_names_itself(lab):
    words = ["forward", "--use-gpu=no", str(lab / "dnn/final.pt"), str(lab / "dev"), "ark:-"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "dkt", *words], stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
    error = done.stderr.splitlines()[-1]
    assert done.returncode == 1
    assert error.endswith("standard output: cannot be written: No space left on device")


# --- what dead processes were writing ---


def test_what_dead_processes_were_writing_goes_with_the_next_write(tmp_path):
    own = ProcessId.of(os.getpid())
    dead = replace(own, pid=4194305)
    boot, space = own.world.split()
    stays = [
        f".final.pt.{process.tag}.partial"
        for process in (
            replace(dead, host="elsewhere"),
            replace(dead, world=f"{boot} {space}1"),
            replace(dead, world=f"{boot[::-1]} {space}", machine=""),
            replace(own, pid=os.getppid(), start=ProcessId.of(os.getppid()).start),
        )
    ]
    # What users, and older versions, may have made.
    stays += [".final.pt.partial", f"final.pt.{dead.tag}.partial", ".notes.4194305.partial"]
    stays += [f".x.4194305@{dead.host}.partial"]
    for name in (f".final.pt.{dead.tag}.partial", *stays):
        (tmp_path / name).write_bytes(b"PK")
        os.utime(tmp_path / name, (1e9, 1e9))
    (tmp_path / f".lstm.so.{dead.tag}.partial").mkdir()
    (tmp_path / f".lstm.so.{dead.tag}.partial/x").touch()
    (tmp_path / ".work.4194305.partial").mkdir()
    replace_file(tmp_path / "final.pt", b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {"final.pt", ".work.4194305.partial", *stays}


def test_a_number_that_this_process_has_by_chance_protects_nothing(tmp_path):
    own = ProcessId.of(os.getpid())
    assert own.start is not None
    alive, gone = (
        tmp_path / partial_name("x"),
        tmp_path / f".x.{replace(own, start=own.start - 1).tag}.partial",
    )
    for path in (alive, gone):
        path.touch()
    # A file server's clock may be late by any time.
    os.utime(alive, (1e9, 1e9))
    remove_leftovers(tmp_path)
    assert alive.exists() and not gone.exists()


def test_a_name_fits_however_long_names_and_hosts_are(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "h" * 64)
    assert len(partial_name("\U0001f600" * 60).encode()) <= 255


def test_directories_and_links_are_made_aside_too(tmp_path):
    with pytest.raises(KeyError), partial_directory(tmp_path / "split4") as place:
        assert place.parent == tmp_path and place.name.endswith(".partial")
        raise KeyError
    assert not list(tmp_path.iterdir())
    (tmp_path / "final.nnet").write_text("of before")
    replace_link(tmp_path / "final.nnet", "final.pt")
    assert (tmp_path / "final.nnet").readlink() == Path("final.pt") and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "write", [lambda p: replace_file(p, b"ab"), lambda p: copy_file(p.parent / "source", p)]
)
def test_what_is_no_regular_file_is_written_into_and_not_replaced(tmp_path, write):
    """As root a program could put a file in the place of /dev/null."""
    (tmp_path / "source").write_bytes(b"ab")
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link):
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        write(path)
        assert os.read(reader, 10) == b"ab" and path.is_fifo()
        os.close(reader)
