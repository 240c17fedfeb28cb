"""Fixtures that several test modules share."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.kernels import WAYS, computed_by
from tests.recipe_lab import write_place
from tests.stand_ins import StandIns

# Tensors are small here: a second thread gains nothing, and on a busy machine each of its many short waits
# costs a time slice.
torch.set_num_threads(1)

#: The modules that take longest: begun first, so that no process is left with one of them at the end.
LONGEST = (
    "test_hostile_names",
    "test_done",
    "test_array_jobs",
    "test_aurora4",
    "test_end_to_end",
    "test_latgen",
    "test_kaldi_page",
    "test_adding",
    "test_steps_commands",
    "test_benchmarks",
    "test_student",
    "test_stopping",
    "test_data_path",
    "test_targets",
    "test_mono",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest modules first; ``tests/run.sh`` tells pytest-xdist to keep the order."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


def _shared(variable: str, what: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set: it should name {what}")
    path = Path(value)
    assert path.is_dir(), f"{variable} names {path}, which is no directory"
    return path


@pytest.fixture(scope="session")
def kaldi_fixtures() -> Path:
    """A directory of files that real Kaldi binaries wrote."""
    return _shared("DKT_KALDI_FIXTURES", "an experiment written by real Kaldi binaries")


@pytest.fixture(scope="session")
def corpora() -> Path:
    """A directory that holds real speech corpora, one in each folder."""
    return _shared("DKT_CORPORA", "a folder of real speech corpora")


@pytest.fixture(autouse=True, scope="session")
def heard() -> None:
    """Signals are not ignored, as they are where the tests run under nohup or in the background."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=WAYS)
def either_way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each test twice: by the kernels of lattices, and without them."""
    with computed_by(request.param):
        yield request.param


@pytest.fixture
def tools(tmp_path: Path) -> StandIns:
    """Programs that stand in for dkt's and Kaldi's, and tell how they were called."""
    return StandIns(tmp_path / "tools")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A working directory with what the steps of ``recipe_lab.CALLS`` read."""
    write_place(tmp_path / "recipe")
    return tmp_path / "recipe"
