"""Arrays on disk, and soft targets in them: the same numbers as in memory."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from dkt.base import scratch
from dkt.base.errors import DktError
from dkt.base.scratch import Scratch
from dkt.targets.scratch import TargetScratch
from dkt.targets.soft_targets import SoftTargets, stack, top_k_targets


def test_what_was_appended_comes_back_from_a_file_that_has_no_name(tmp_path):
    values = np.arange(700_000, dtype=np.int64).reshape(7, -1)
    made = Scratch(np.int32, tmp_path)
    for row in values:
        made.append(row)
    found = made.array()
    np.testing.assert_array_equal(found, values.ravel())
    assert found.dtype == np.int32 and not found.flags.writeable and len(made) == values.size
    assert not found.flags.owndata and not list(tmp_path.iterdir())
    assert len(Scratch(np.int32, tmp_path).array()) == 0


@pytest.mark.parametrize("room", [0, 1 << 20, (1 << 20) + 12345])
def test_a_full_disk_leads_to_memory_and_loses_nothing(tmp_path, monkeypatch, caplog, room):
    opened = scratch.tempfile.TemporaryFile

    class Full:
        """A file on a disk of ``room`` bytes, which takes what fits as a raw file does."""

        def __init__(self, **options):
            self._file = opened(**options)

        def write(self, data):
            free = room - self._file.tell()
            if free <= 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self._file.write(data[:free])

        def __getattr__(self, name):
            return getattr(self._file, name)

    monkeypatch.setattr(scratch.tempfile, "TemporaryFile", Full)
    values = np.arange(1 << 20, dtype=np.float32).reshape(16, -1)
    made = Scratch(np.float32, tmp_path)
    for row in values:
        made.append(row)
    np.testing.assert_array_equal(made.array(), values.ravel())
    assert "No space left on device" in caplog.text and "TMPDIR" in caplog.text


def test_without_any_temporary_directory_there_is_memory(monkeypatch, caplog):
    def refuse(**options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(scratch.tempfile, "TemporaryFile", refuse)
    made = Scratch(np.int32, Path("/nowhere"))
    made.append(np.arange(5))
    made.append(np.arange(3))
    assert made.array().tolist() == [0, 1, 2, 3, 4, 0, 1, 2] and "Read-only" in caplog.text


def test_a_place_that_cannot_be_written_in_gives_way_to_that_of_temporary_files(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    made = Scratch(np.int32, tmp_path / "missing")
    made.append(np.arange(3))
    assert made.array().tolist() == [0, 1, 2] and not caplog.text


def log_posteriors(num_frames: int, num_pdfs: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_frames, num_pdfs, generator=generator).log_softmax(dim=1)


def equal(found: SoftTargets, expected: SoftTargets) -> bool:
    """Values, types and all."""
    pairs = [(getattr(found, x), getattr(expected, x)) for x in ("pdfs", "log_post", "tails")]
    same = all(torch.equal(a, b) and a.dtype == b.dtype for a, b in pairs)
    return same and (found.temperatures, found.dense) == (expected.temperatures, expected.dense)


@pytest.mark.parametrize(("num_pdfs", "width"), [(9, 2), (1 << 15, 2), ((1 << 15) + 1, 4)])
def test_pdfs_take_two_bytes_where_that_is_enough(tmp_path, num_pdfs, width):
    pieces = [top_k_targets(log_posteriors(n, num_pdfs, n), 3, (1.0, 2.0)) for n in (4, 1, 6)]
    pieces[1].pdfs[0, 0] = num_pdfs - 1
    made = TargetScratch(num_pdfs, False, tmp_path)
    for piece in pieces:
        made.append(piece)
    stored = made.finish()
    assert stored.pdfs.itemsize == width and stored.log_post.dtype == np.float32
    assert equal(stored.select(slice(0, 11)), stack(pieces))
    rows = np.array([10, 4, 0])
    assert equal(stored.select(rows), stack(pieces).select(torch.from_numpy(rows)))


def test_half_precision_stays_half_on_disk_and_loses_nothing():
    targets = top_k_targets(log_posteriors(5, 8, 1), 3, (1.0,))
    targets.log_post, targets.tails = targets.log_post.half().float(), targets.tails.half().float()
    made = TargetScratch(8, True)
    made.append(targets)
    stored = made.finish()
    assert stored.log_post.dtype == stored.tails.dtype == np.float16
    assert equal(stored.select(slice(0, 5)), targets)


def test_dense_targets_store_no_pdfs_and_may_stand_beside_others():
    dense, sparse = (top_k_targets(log_posteriors(4, 5, 1), k, (1.0,)) for k in (None, 2))
    made = TargetScratch(5, False)
    made.append(dense)
    assert made.finish().pdfs is None and equal(made.finish().select(slice(0, 4)), dense)
    for first, second in ((dense, sparse), (sparse, dense)):
        made = TargetScratch(5, False)
        made.append(first)
        made.append(second)
        assert equal(made.finish().select(slice(0, 8)), stack([first, second]))


def test_other_temperatures_are_refused():
    made = TargetScratch(5, False)
    made.append(top_k_targets(log_posteriors(4, 5, 1), 2, (1.0,)))
    with pytest.raises(DktError, match="different temperatures"):
        made.append(top_k_targets(log_posteriors(4, 5, 1), 2, (2.0,)))
