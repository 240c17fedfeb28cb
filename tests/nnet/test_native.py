"""The compiled kernel: found again, built anew where it must be, done without where it cannot be built."""

from __future__ import annotations

import logging
import shutil
import stat
from pathlib import Path

import pytest
import torch

from dkt.base import native as kernels
from dkt.bin.common import processors
from dkt.nnet import native
from dkt.nnet.lstm_layer import LstmLayer
from dkt.nnet.torch_lstm import Clips
from tests.kernels import fresh, needs_compiler

__all__ = ["fresh"]


def compiler(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def run_layer() -> torch.Tensor:
    torch.manual_seed(0)
    layer = LstmLayer(4, 5, 3, True, Clips(0.5))
    return layer(torch.randn(6, 2, 4), layer.zero_state(2))[0]


@needs_compiler
def test_it_is_compiled_once(fresh, monkeypatch, tmp_path):
    calls = tmp_path / "calls"
    real = shutil.which("c++") or shutil.which("g++")
    monkeypatch.setenv("CXX", compiler(tmp_path / "cxx", f'echo "$*" >> {calls}\nexec {real} "$@"'))
    assert native.load() is not None
    (library,) = fresh.iterdir()
    assert sum("lstm.cpp" in line for line in calls.read_text().splitlines()) == 1
    kernels._loaded.cache_clear()
    assert native.load() is not None
    assert sum("lstm.cpp" in line for line in calls.read_text().splitlines()) == 1
    # Another processor, as on another machine of the same home, has one of its own.
    monkeypatch.setattr(kernels, "_processor", lambda: "another")
    kernels._loaded.cache_clear()
    assert native.load() is not None
    assert len(list(fresh.iterdir())) == 2 and library.exists()


@needs_compiler
def test_a_cache_that_others_may_write_is_not_believed(fresh):
    fresh.mkdir(parents=True)
    fresh.chmod(0o777)
    assert native.load() is not None
    assert not list(fresh.iterdir())


@pytest.mark.parametrize("how", ["none", "broken", "left out"])
def test_without_it_the_layer_gives_the_same(fresh, monkeypatch, tmp_path, caplog, how):
    expected = run_layer()
    kernels._loaded.cache_clear()
    if how == "none":
        monkeypatch.setenv("CXX", "/nonexistent/c++")
    elif how == "broken":
        monkeypatch.setenv(
            "CXX",
            compiler(tmp_path / "cxx", '[ "$1" = --version ] && exit 0\necho "no vectors here" >&2; exit 1'),
        )
        shutil.rmtree(fresh, ignore_errors=True)
    else:
        monkeypatch.setenv(kernels.KERNELS_VARIABLE, "torch")
    with caplog.at_level(logging.INFO):
        torch.testing.assert_close(run_layer(), expected, atol=1e-6, rtol=1e-5)
    assert native.load() is None
    told = {"none": "no C++ compiler", "broken": "no vectors here", "left out": ""}[how]
    assert told in caplog.text


def test_processors_of_a_container(monkeypatch, tmp_path):
    monkeypatch.setattr(processors.os, "sched_getaffinity", lambda _: set(range(6)))
    monkeypatch.setattr(processors, "_GRANTS", ())
    limit = tmp_path / "cpu.max"
    monkeypatch.setattr(processors, "_CGROUP_V2", limit)
    monkeypatch.setattr(processors, "_CGROUP_V1", (tmp_path / "quota", tmp_path / "period"))
    for content, expected in (("max 100000", 6), ("250000 100000", 3), ("20000 100000", 1), ("1 0", 6)):
        limit.write_text(content + "\n", encoding="ascii")
        assert processors.available() == expected
    limit.unlink()
    assert processors.available() == 6
    (tmp_path / "quota").write_text("200000\n", encoding="ascii")
    (tmp_path / "period").write_text("100000\n", encoding="ascii")
    assert processors.available() == 2
