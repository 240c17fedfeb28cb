"""docs/python.md: its blocks run in order, in the directory of a recipe, and do what the page says."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import dkt
from tests.docs.pages import PAGES, blocks
from tests.student_lab import lab

__all__ = ["lab"]

PAGE = PAGES["docs/python.md"]
SESSION = "session_of_the_page"


@pytest.fixture
def recipe(lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a recipe, in which we are, with what the page takes for granted."""
    for name, source in {
        "data/train": "train",
        "data/dev": "dev",
        "data/test": "dev",
        "exp/tri3_ali": "ali_train",
        "exp/tri3_ali_dev": "ali_dev",
        "exp/dnn": "dnn",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(lab / source)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A module that the blocks are run in; rows that they add to tables go with it."""
    tables = [dkt.NETWORKS, dkt.OBJECTIVES]
    before = [dict(table) for table in tables]
    module = ModuleType(SESSION)
    monkeypatch.setitem(sys.modules, SESSION, module)
    yield module
    for table, rows in zip(tables, before, strict=True):
        table.clear()
        table.update(rows)


def test_every_block_runs_in_order_and_does_what_the_page_says(
    recipe: Path, session: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, block in enumerate(blocks(PAGE, "python")):
        exec(compile(block, f"block {number} of docs/python.md", "exec"), vars(session))
    labels = dkt.AlignmentDir("exp/tri3_ali_dev").pdfs()
    posteriors = dict(dkt.read_matrices("scp:post.scp"))
    assert posteriors.keys() == labels.keys()
    assert all(np.allclose(rows.sum(axis=1), 1.0, atol=1e-5) for rows in posteriors.values())
    assert session.accuracy.keys() == labels.keys() and np.mean(list(session.accuracy.values())) > 0.85
    assert {utt: len(ids) for utt, ids in labels.items()} == session.frames_of
    assert all((labels[utt] == ids).all() for utt, ids in dkt.read_int_vectors("ark:pdfs.txt"))
    assert session.counts.sum() == 2551
    assert len(dict(dkt.read_matrices("ark:loglikes.ark"))) == len(labels)
    assert len(session.targets) == 60 and (session.targets.header.temperatures == (1.0, 2.0, 5.0))
    models = {
        name: dkt.load_model(f"exp/{name}") for name in ("lstm_soft", "teacher", "student", "tuned", "own")
    }
    assert [model.info.kind for model in models.values()] == ["lstm", "dnn", "lstm", "lstm", "shallow"]
    assert "did you mean lstm?" in capsys.readouterr().out and not Path("exp/never").exists()


def test_the_page_names_all_that_is_offered() -> None:
    cells = re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(cells))) == sorted(dkt.__all__)


def test_the_block_of_the_readme_is_the_first_of_the_page() -> None:
    first = blocks(PAGE, "python")[0]
    assert len(first.splitlines()) == 8
    readme = [block for block in blocks(PAGES["README.md"], "python") if "import dkt" in block]
    assert readme in ([], [first])
