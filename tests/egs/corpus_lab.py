"""What the tests of synthetic and joined corpora share: the scripts of a recipe, and what they leave."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.shell import ROOT

SPLITS = ("train", "dev", "test")
SIZES = ["--num-train", "9", "--num-dev", "3", "--num-test", "4"]

needs_espeak = pytest.mark.skipif(
    importlib.util.find_spec("espeakng_loader") is None,
    reason="needs the package espeakng-loader (dkt[synthetic])",
)


@contextlib.contextmanager
def modules_of(local: Path) -> Iterator[None]:
    """The modules of a recipe, and those that recipes share, importable as its scripts import them."""
    places = [str(local), str(ROOT / "local/corpora")]
    sys.path[:0] = places
    try:
        yield
    finally:
        for place in places:
            sys.path.remove(place)


def call_script(script: Path, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script of a recipe."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, str(script), *map(str, arguments)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def assert_one_line_error(done: subprocess.CompletedProcess[str], script: str, *fragments: str) -> None:
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if not line.startswith("INFO")]
    assert len(errors) == 1, done.stderr
    assert errors[0].startswith(f"ERROR ({script}) ")
    for fragment in fragments:
        assert fragment in errors[0]


def read_table(path: Path) -> dict[str, str]:
    lines = path.read_bytes().decode().splitlines()
    keys = [line.split(" ", 1)[0].encode() for line in lines]
    assert keys == sorted(keys), f"{path} is not sorted in the C locale"
    assert len(set(keys)) == len(keys), f"{path} has a key twice"
    return dict(line.split(" ", 1) for line in lines)


def digest(data_dir: Path) -> dict[str, str]:
    """SHA-256 of every file, with the directory's own name taken out of the tables."""
    return {
        str(path.relative_to(data_dir)): hashlib.sha256(
            path.read_bytes().replace(str(data_dir).encode(), b"DATA")
        ).hexdigest()
        for path in sorted(data_dir.rglob("*"))
        if path.is_file()
    }
