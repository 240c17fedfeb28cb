"""The two ways of what compiled kernels compute: by them, and without."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dkt.base import native
from dkt.lat.native_determinize import _KERNEL

#: Parameters of a fixture that tests both.
WAYS = ("kernel", "numpy")


needs_compiler = pytest.mark.skipif(
    shutil.which("c++") is None and shutil.which("g++") is None, reason="no C++ compiler here"
)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A process that has loaded no kernel yet, with a cache of its own; returns where libraries are kept."""
    native._loaded.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv(native.KERNELS_VARIABLE, raising=False)
    yield tmp_path / "cache/dkt/kernels"
    native._loaded.cache_clear()


@contextmanager
def computed_by(way: str) -> Iterator[None]:
    """Within it kernels are used, or not; skips the test where there is no compiler to make them."""
    with pytest.MonkeyPatch.context() as patch:
        native._loaded.cache_clear()
        if way == "kernel":
            patch.delenv(native.KERNELS_VARIABLE, raising=False)
            if native.load_kernel(_KERNEL) is None:
                pytest.skip("no C++ compiler: the kernel cannot be tested")
        else:
            patch.setenv(native.KERNELS_VARIABLE, "torch")
        try:
            yield
        finally:
            native._loaded.cache_clear()


class Interrupted:
    """A kernel during whose third piece of work SIGINT comes.

    Attributes:
        calls: names of the functions that were called.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self.library = library
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., int]:
        def call(*arguments: object) -> int:
            self.calls.append(name)
            if self.calls.count(name) == 3:
                os.kill(os.getpid(), signal.SIGINT)
            return getattr(self.library, name)(*arguments)

        return call
