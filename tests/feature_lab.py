"""A small data directory whose features are packed, and ways to look at what comes of it."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np
import pytest

from dkt.feat.pipeline import FeatureOptions
from dkt.feat.reader import FeatureReader
from dkt.feat.speaker_inputs import SpeakerInputs
from dkt.util.data_dir import DataDir
from tests.synthetic import random_corpus, write_data_dir

OPTIONS = FeatureOptions(cmvn_opts="", delta_opts="--delta-order=1")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    features, _ = random_corpus(1, "s", 12)
    write_data_dir(tmp_path / "data", features)
    return tmp_path / "data"


def reader(data: Path, options: FeatureOptions = OPTIONS, side: SpeakerInputs | None = None) -> FeatureReader:
    return FeatureReader(DataDir(data), options, side)


def rows(features, order=None) -> dict[str, np.ndarray]:
    """What a source gives of every utterance, asked for one by one."""
    found = {}
    for number in order or range(len(features.names)):
        own = np.array([number])
        loaded, (first,) = features.load(own, np.zeros(1, np.int64), features.lengths[own])
        found[features.names[number]] = loaded[first : first + features.lengths[number]].copy()
    return found


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    return found.keys() == expected.keys() and all(np.array_equal(found[u], expected[u]) for u in expected)


def entries(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.is_dir())


def built(caplog) -> int:
    """How often features were packed since the log was last cleared."""
    count = len(re.findall(r"features of \S+ packed:", caplog.text))
    caplog.clear()
    return count


@pytest.fixture(autouse=True)
def logged(caplog):
    caplog.set_level(logging.INFO)
