"""Kernels of several rooms: each compiled on its own and kept beside the others; all of them installed."""

from __future__ import annotations

import ctypes
import logging
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest

from dkt.base import native
from dkt.base.native import Kernel, load_kernel
from tests.kernels import fresh, needs_compiler
from tests.shell import ROOT

__all__ = ["fresh"]

SOURCES = {
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "dkt").rglob("kernels/*")
    if path.suffix in (".cpp", ".h")
}


def kernel(path: Path, number: int, flags: tuple[str, ...] = ("-O1",)) -> Kernel:
    path.write_text(f'extern "C" int number() {{ return {number} + EXTRA; }}\n', encoding="ascii")
    return Kernel(path, "numbers are counted by hand", ("-DEXTRA=0", *flags))


@needs_compiler
def test_each_source_has_a_library_of_its_own(fresh: Path, tmp_path: Path) -> None:
    for name, number in (("one", 1), ("two", 2)):
        library = load_kernel(kernel(tmp_path / f"{name}.cpp", number))
        assert library is not None and library.number() == number
    assert sorted(path.name.partition("-")[0] for path in fresh.iterdir()) == ["one", "two"]


@needs_compiler
def test_a_library_of_other_flags_or_another_source_is_not_taken_for_it(fresh: Path, tmp_path: Path) -> None:
    path = tmp_path / "one.cpp"
    for number, flags, expected in ((1, (), 1), (1, ("-UEXTRA", "-DEXTRA=5"), 6), (2, (), 2)):
        native._loaded.cache_clear()
        library = load_kernel(kernel(path, number, flags))
        assert library is not None and library.number() == expected
    assert len(list(fresh.iterdir())) == 3
    # Nor is one of another header.
    for number in (3, 4):
        (tmp_path / "three.h").write_text(f"#define THREE {number}\n", encoding="ascii")
        path.write_text('#include "three.h"\nextern "C" int number() { return THREE; }\n', encoding="ascii")
        native._loaded.cache_clear()
        library = load_kernel(Kernel(path, "numbers are counted by hand"))
        assert library is not None and library.number() == number
    assert len(list(fresh.iterdir())) == 5


@needs_compiler
def test_what_is_damaged_or_of_an_older_version_is_left_alone(
    fresh: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = kernel(tmp_path / "one.cpp", 1)
    assert load_kernel(made) is not None
    (library,) = fresh.iterdir()
    older = fresh / "one-0123456789abcdef.so"
    older.write_bytes(b"not a library")
    part = library.read_bytes()[:-100]
    library.unlink()  # this process has it mapped
    library.write_bytes(part)
    native._loaded.cache_clear()
    again = load_kernel(made)
    assert again is not None and again.number() == 1
    assert "is damaged: compiling it again" in caplog.text
    assert older.read_bytes() == b"not a library"


@needs_compiler
def test_threads_compile_it_once(fresh: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = kernel(tmp_path / "one.cpp", 1)
    found: list[ctypes.CDLL | None] = []
    with caplog.at_level(logging.INFO):
        threads = [threading.Thread(target=lambda: found.append(load_kernel(made))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 4 and None not in found
    assert caplog.text.count("compiled") == 1


def test_the_log_says_what_happens_instead(
    fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CXX", "/nonexistent/c++")
    with caplog.at_level(logging.INFO):
        assert load_kernel(kernel(tmp_path / "one.cpp", 1)) is None
    assert "no C++ compiler (set CXX): numbers are counted by hand" in caplog.text


def test_an_installed_package_has_the_sources(tmp_path: Path) -> None:
    """Of a wheel and of an archive of sources, built from a copy: nothing is left in the checkout."""
    assert {"dkt/nnet/kernels/lstm.cpp", "dkt/lat/kernels/word_steps.h"} <= SOURCES
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "dkt", copy / "dkt", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, copy)
    build = "import setuptools.build_meta as b, sys; o = sys.argv[1]; b.build_wheel(o); b.build_sdist(o)"
    done = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=copy, capture_output=True, text=True, env=os.environ
    )
    if "No module named 'setuptools" in done.stderr:
        pytest.skip("setuptools is not installed")
    assert done.returncode == 0, done.stderr
    (wheel,), (archive,) = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    assert set(zipfile.ZipFile(wheel).namelist()) >= SOURCES
    with tarfile.open(archive) as members:
        assert {name.partition("/")[2] for name in members.getnames()} >= SOURCES
