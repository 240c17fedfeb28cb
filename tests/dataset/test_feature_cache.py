"""Packed features: found again by content, made once, never believed when they are not whole."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from dkt.dataset import cache as feature_cache
from dkt.dataset.cache import open_features
from dkt.dataset.features import PackedFeatures
from dkt.feat.pipeline import FeatureOptions, MatrixFile
from dkt.feat.reader import FeatureReader
from dkt.feat.speaker_inputs import SpeakerInputs
from dkt.util.data_dir import DataDir
from dkt.util.table import VectorWriter
from tests.feature_lab import OPTIONS, built, data, entries, logged, reader, rows, same
from tests.synthetic import random_corpus, write_data_dir, write_matrices

__all__ = ["data", "logged"]


def test_the_second_training_finds_what_the_first_has_packed(data, caplog):
    expected = dict(reader(data))
    for count in (1, 0):
        features = open_features(reader(data))
        assert isinstance(features, PackedFeatures) and same(rows(features), expected)
        assert built(caplog) == count and len(entries(data / ".packed")) == 1
    assert features.dim == 12 and not features.matrix.flags.writeable


def same_size_and_time(path: Path, change) -> None:
    """Change some bytes so that neither size nor time tells of it."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)


@pytest.mark.parametrize("name", ["feats.ark", "cmvn.ark"])
def test_a_changed_archive_of_the_same_size_and_time_is_packed_anew(data, caplog, name):
    old = rows(open_features(reader(data)))
    # The last value; and, of 2 x 7 numbers of double precision, the first of the last speaker.
    place, dtype = (slice(-4, None), np.float32) if name == "feats.ark" else (slice(-112, -104), np.float64)

    def change(content):
        content[place] = (np.frombuffer(content[place], dtype) + 10.0).tobytes()

    same_size_and_time(data / name, change)
    caplog.clear()
    features = open_features(reader(data))
    assert built(caplog) == 1 and same(rows(features), dict(reader(data)))
    assert not same(rows(features), old)
    # Nobody reads the old one any more.
    assert len(entries(data / ".packed")) == 1


def test_whatever_changes_features_changes_their_entry(data, tmp_path, caplog):
    transforms = tmp_path / "fmllr"
    transforms.mkdir()
    speakers = sorted(set(DataDir(data).utt2spk.values()))

    def adapt(scale):
        write_matrices(transforms, "trans", {s: scale * np.eye(6, dtype=np.float32) for s in speakers})
        (transforms / "trans.ark").rename(transforms / "trans.1")

    def describe(value):
        with VectorWriter(f"ark,scp:{tmp_path}/ivectors.ark,{tmp_path}/ivectors.scp") as ivectors:
            for utt in DataDir(data).utt2spk:
                ivectors.write(utt, np.full(2, value, np.float32))

    adapt(1.0)
    describe(0.5)
    wide = MatrixFile("lda", np.eye(6))
    with_ivectors = FeatureOptions(ivector_dim=2)
    adapted = FeatureOptions(speaker_transforms=True)
    kinds = [
        (FeatureOptions(), None),
        (FeatureOptions(cmvn_opts=""), None),
        (FeatureOptions(transform=wide), None),
        (FeatureOptions(transform=MatrixFile("lda", 2 * np.eye(6))), None),
        (with_ivectors, SpeakerInputs(ivectors=f"scp:{tmp_path}/ivectors.scp")),
        (adapted, SpeakerInputs(transform_dir=str(transforms))),
    ]
    for options, side in kinds:
        features = open_features(reader(data, options, side))
        assert same(rows(features), dict(reader(data, options, side))) and built(caplog) == 1
    # All of them stay: they are of other pipelines, not of other data.
    assert len(entries(data / ".packed")) == len(kinds)
    adapt(3.0)
    describe(0.7)
    for options, side in kinds[-2:]:
        features = open_features(reader(data, options, side))
        assert same(rows(features), dict(reader(data, options, side))) and built(caplog) == 1
    for options, side in kinds:
        open_features(reader(data, options, side))
    assert built(caplog) == 0


def test_an_entry_of_other_data_stays_while_somebody_reads_it(data, caplog):
    in_use = open_features(reader(data))
    expected = rows(in_use)
    features = {u: x + 1 for u, x in random_corpus(1, "s", 12)[0].items()}
    write_data_dir(data, features | {"s0-000": features["s0-000"] * 2})
    second = open_features(reader(data))
    assert len(entries(data / ".packed")) == 2 and "in use: it stays" in caplog.text
    assert same(rows(in_use), expected) and not same(rows(second), expected)
    del in_use, second
    write_data_dir(data, features | {"s0-000": features["s0-000"] * 3})
    open_features(reader(data))
    assert len(entries(data / ".packed")) == 1


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("features", lambda content: content[:-4]),
        ("features", lambda content: content + b"\0\0\0\0"),
        ("features", lambda content: b""),
        ("index", lambda content: content[:-9]),
        ("index", lambda content: content[: content.rindex(b"\n", 0, -1) + 1]),
        ("index", lambda content: b"{}\n"),
        ("index", lambda content: b"\xff\xfe"),
        ("index", lambda content: content.replace(b'"format": ', b'"format": 9')),
    ],
)
def test_an_entry_that_is_not_whole_is_noticed_and_made_again(data, caplog, name, damage):
    expected = rows(open_features(reader(data)))
    (entry,) = (data / ".packed").glob("*-*")
    content = (entry / name).read_bytes()
    (entry / name).write_bytes(damage(content))
    caplog.clear()
    assert same(rows(open_features(reader(data))), expected)
    assert "is damaged: packing again" in caplog.text and (entry / name).read_bytes() == content


FORK = multiprocessing.get_context("fork")


class SlowReader(FeatureReader):
    """Takes a while for each utterance, and tells that it has begun."""

    begun = FORK.Event()
    seconds = 0.05

    def _process(self, utt, raw):
        self.begun.set()
        time.sleep(self.seconds)
        return super()._process(utt, raw)


def _open_slowly(data, results) -> None:
    features = open_features(SlowReader(DataDir(data), OPTIONS))
    results.put((os.getpid(), type(features).__name__, rows(features)))


def test_of_two_processes_one_packs_and_the_other_waits_for_it(data, caplog, capfd):
    expected = dict(reader(data))
    SlowReader.begun.clear()
    results = FORK.Queue()
    other = FORK.Process(target=_open_slowly, args=(data, results))
    other.start()
    assert SlowReader.begun.wait(10)
    caplog.clear()
    features = open_features(reader(data))
    assert "waiting for another process" in caplog.text and built(caplog) == 0
    assert same(rows(features), expected)
    _, kind, found = results.get(timeout=10)
    other.join(10)
    assert kind == "PackedFeatures" and same(found, expected)
    assert len(entries(data / ".packed")) == 1


def test_what_a_killed_process_leaves_is_not_believed_and_goes(data, caplog):
    SlowReader.begun.clear()
    other = FORK.Process(target=_open_slowly, args=(data, FORK.Queue()))
    other.start()
    assert SlowReader.begun.wait(10)
    os.kill(other.pid, signal.SIGKILL)
    other.join(10)
    (left,) = entries(data / ".packed")
    assert left.endswith(".partial")
    caplog.clear()
    assert same(rows(open_features(reader(data))), dict(reader(data)))
    assert built(caplog) == 1 and not entries(data / ".packed")[0].endswith(".partial")
    assert len(entries(data / ".packed")) == 1


def test_without_locks_it_is_packed_all_the_same(data, monkeypatch, caplog):
    def refuse(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    # What may be another process's work is left alone.
    (data / ".packed/x.partial").mkdir(parents=True)
    expected = dict(reader(data))
    assert same(rows(open_features(reader(data))), expected) and "no locks" in caplog.text
    assert built(caplog) == 1
    assert same(rows(open_features(reader(data))), expected) and built(caplog) == 0
    assert len(entries(data / ".packed")) == 2


def test_without_locks_the_slower_of_two_takes_what_the_quicker_made(data, monkeypatch):
    finish = feature_cache.finish_entry

    def beaten(partial, entry, index):
        shutil.copytree(partial, entry)
        (entry / "index").write_bytes(index.encode())
        finish(partial, entry, index)

    monkeypatch.setattr(feature_cache, "finish_entry", beaten)
    assert same(rows(open_features(reader(data))), dict(reader(data)))
    assert len(entries(data / ".packed")) == 1


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT])
def test_where_the_data_cannot_be_written_in_the_experiment_has_the_packed_features(
    data, tmp_path, monkeypatch, caplog, number
):
    make = Path.mkdir

    def refuse(path, *args, **options):
        if data in path.parents:
            raise OSError(number, os.strerror(number), str(path))
        make(path, *args, **options)

    monkeypatch.setattr(Path, "mkdir", refuse)
    place = tmp_path / "exp/.packed"
    for count in (1, 0):
        features = open_features(reader(data), None, place)
        assert isinstance(features, PackedFeatures) and same(rows(features), dict(reader(data)))
        assert [r.levelname for r in caplog.records if f"are kept in {place}, as {data}" in r.message] == [
            "INFO"
        ]
        assert built(caplog) == count and len(entries(place)) == 1
    # Who says where they go gets them there, or not at all.
    assert not isinstance(open_features(reader(data), str(data / "cache"), place), PackedFeatures)
    assert "give a place with room by --cache-dir" in caplog.text


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="mounts")
def test_read_only_data_are_trained_on(data, tmp_path):
    if subprocess.run(["mount", "--bind", data, data], capture_output=True).returncode:
        pytest.skip("this root may not mount")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", data], check=True)
        features = open_features(reader(data), None, tmp_path / "exp/.packed")
        assert isinstance(features, PackedFeatures) and len(entries(tmp_path / "exp/.packed")) == 1
    finally:
        # The archives are open still.
        subprocess.run(["umount", "-l", data], check=True)
