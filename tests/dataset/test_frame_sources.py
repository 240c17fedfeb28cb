"""Features that cannot be packed, or not for long: from their archives, the same and with the same errors."""

from __future__ import annotations

import errno
import os
import re

import numpy as np
import pytest

from dkt.base.errors import DktError
from dkt.dataset import cache as feature_cache
from dkt.dataset import packed
from dkt.dataset.cache import open_features
from dkt.dataset.features import ArchiveFeatures, PackedFeatures
from dkt.feat.pipeline import FeatureOptions, MatrixFile
from dkt.feat.reader import FeatureReader
from dkt.util.data_dir import DataDir
from tests.feature_lab import OPTIONS, built, data, entries, logged, reader, rows, same
from tests.synthetic import random_corpus, write_data_dir, write_matrices

__all__ = ["data", "logged"]


def no_room(monkeypatch, data, after):
    """A disk on which so many bytes of features fit."""
    write = packed.write_packed

    class Full:
        def __init__(self, file):
            self.file, self.left = file, after

        def write(self, values):
            self.left -= values.nbytes
            if self.left < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self.file.write(values)

        def flush(self):
            self.file.flush()

    monkeypatch.setattr(feature_cache, "write_packed", lambda source, file: write(source, Full(file)))


def by_archives(data, caplog, message):
    features = open_features(reader(data))
    warning = next(record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    assert re.search(message, warning) and "--cache-dir" in warning
    assert isinstance(features, ArchiveFeatures) and same(rows(features), dict(reader(data)))


def test_a_disk_that_fills_up_leads_to_the_archives(data, monkeypatch, caplog):
    no_room(monkeypatch, data, 5000)
    by_archives(data, caplog, r"\.packed is full, [\d.]+ MB are free")
    assert entries(data / ".packed") == []


@pytest.mark.parametrize("declared", [True, False])
def test_a_disk_that_is_too_small_is_known_before_it_is_full(data, monkeypatch, caplog, declared):
    lengths = {utt: len(frames) for utt, frames in reader(data)}
    if declared:
        (data / "utt2num_frames").write_text("".join(f"{u} {n}\n" for u, n in lengths.items()))
    else:
        # Judged by the first utterances.
        monkeypatch.setattr(feature_cache, "_SAMPLE", 4)
    written = []
    write = packed.write_packed
    monkeypatch.setattr(
        feature_cache,
        "write_packed",
        lambda *arguments: (written.append(len(index.names)) or index for index in write(*arguments)),
    )
    monkeypatch.setattr(feature_cache, "_free", lambda place: 3000)
    by_archives(data, caplog, r"about 0\.0 MB are needed in \S+\.packed, 0\.0 MB are free")
    assert written[-1] == (1 if declared else 4) and entries(data / ".packed") == []


def test_a_place_that_cannot_be_written_in_leads_to_the_archives(data, caplog):
    (data / ".packed").write_text("a file")
    by_archives(data, caplog, r"\.packed cannot be written in \(File exists\)")


def test_another_place_for_two_data_directories(data, tmp_path, caplog):
    """Neither takes the other's entry for an old one of its own."""
    write_data_dir(tmp_path / "other", random_corpus(2, "s", 12)[0])
    for count in (2, 0):
        for place in (data, tmp_path / "other"):
            features = open_features(reader(place), str(tmp_path / "cache"))
            assert same(rows(features), dict(reader(place)))
            # Not only because it is in use.
            del features
        assert built(caplog) == count
    assert not (data / ".packed").exists() and len(entries(tmp_path / "cache")) == 2
    assert isinstance(open_features(reader(data), "none"), ArchiveFeatures)


# --- what cannot be packed for long, or at all ---


def test_what_a_command_gives_is_packed_each_time_and_not_kept(data, caplog):
    lines = (data / "feats.scp").read_text().replace("feats.ark", "feats.ark", 1).splitlines()
    piped = [
        f"{line.split()[0]} tail -c +{int(line.rpartition(':')[2]) + 1} {data}/feats.ark |" for line in lines
    ]
    expected = dict(reader(data))
    (data / "feats.scp").write_text("\n".join(piped) + "\n")
    for _ in range(2):
        features = open_features(reader(data))
        assert isinstance(features, PackedFeatures) and same(rows(features), expected)
        assert "not known before it runs" in caplog.text and built(caplog) == 1
    assert not (data / ".packed").exists()


@pytest.mark.parametrize("cache_dir", [None, "none"])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda data, raw: write_matrices(data, "feats", raw | {"s1-004": raw["s1-004"] * np.nan}),
            r"feats\.scp: utterance 's1-004': the features hold a value that is not a number",
        ),
        (
            lambda data, raw: write_matrices(data, "feats", raw | {"s1-004": raw["s1-004"][:, :4]}),
            r"feats\.scp: utterance 's1-004': features of dimension 4, those before have 6",
        ),
        (
            lambda data, raw: (data / "cmvn.scp").write_text((data / "cmvn.scp").read_text().split("\n")[0]),
            r"cmvn\.scp: utterance 's1-001': there are no CMVN statistics of speaker 's1' - run",
        ),
        (
            lambda data, raw: (data / "feats.ark").write_bytes((data / "feats.ark").read_bytes()[:-40]),
            r"feats\.ark: utterance 's2-011': the archive is cut short",
        ),
        (lambda data, raw: (data / "feats.ark").unlink(), r"feats\.ark: cannot be read: No such file"),
    ],
)
def test_errors_of_the_data_are_those_of_reading_and_leave_no_entry(data, cache_dir, spoil, message):
    spoil(data, random_corpus(1, "s", 12)[0])
    with pytest.raises(DktError, match=message) as told:
        open_features(reader(data), cache_dir)
    with pytest.raises(DktError) as plain:
        dict(reader(data))
    assert str(told.value) == str(plain.value)
    assert not (data / ".packed").exists() or entries(data / ".packed") == []


def test_an_archive_that_changes_while_it_is_packed_is_told(data, monkeypatch):
    class Changing(FeatureReader):
        def _process(self, utt, raw):
            (data / "feats.ark").touch()
            return super()._process(utt, raw)

    with pytest.raises(DktError, match="changed while they were read"):
        open_features(Changing(DataDir(data), OPTIONS))
    assert entries(data / ".packed") == []


# --- from archives ---


def test_few_features_are_kept_and_read_again_where_needed(data):
    source = reader(data)
    features = ArchiveFeatures(source, kept_bytes=6000)
    expected, reads = dict(reader(data)), []
    read = source.read
    source.read = lambda utt: (reads.append(utt), read(utt))[1]
    order = [3, 3, 0, 3, 11, 5, 7, 9, 3, 3]
    for number in order:
        name = features.names[number]
        assert np.array_equal(rows(features, [number])[name], expected[name])
        assert features._bytes <= 6000
        assert features._bytes == sum(kept.nbytes for kept in features._kept.values())
    # Kept while others were asked for, then forgotten, then kept again.
    assert reads.count(features.names[3]) == 2 and len(reads) == 7
    # Only the piece that is asked for is handed out.
    loaded, first = features.load(np.array([3, 0]), np.array([2, 1]), np.array([6, 4]))
    assert loaded.shape == (7, 12) and first.tolist() == [0, 4]
    np.testing.assert_array_equal(loaded[:4], expected[features.names[3]][2:6])


@pytest.mark.parametrize("by_speaker", [True, False])
def test_online_cmvn_in_any_order_is_as_in_that_of_the_data(data, by_speaker):
    stats = np.vstack([np.full(7, 50.0), np.full(7, 200.0)])
    opts = f"--cmn-window=40 --speaker-frames=40 --global-frames=20{' --spk2utt=x' if by_speaker else ''}"
    options = FeatureOptions(online_cmvn_opts=opts, global_cmvn_stats=MatrixFile("g", stats))
    # Of one speaker utterances stand on both sides of another one's.
    lines = (data / "feats.scp").read_text().splitlines(keepends=True)
    (data / "feats.scp").write_text("".join(lines[:2] + lines[4:7] + lines[2:4] + lines[7:]))
    expected = dict(reader(data, options))
    features = ArchiveFeatures(reader(data, options), kept_bytes=0)
    assert same({u: rows(features, [11 - n])[u] for n, u in enumerate(reversed(features.names))}, expected)
    # A pass that was broken off leaves nothing behind.
    source = reader(data, options)
    next(iter(source))
    assert same(rows(open_features(source, "none")), expected)
