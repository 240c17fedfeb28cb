"""Packed features that are kept from one training to the next, and found again by their content.

An entry is a directory ``<pipeline>-<content>``. Who makes one holds the lock of its pipeline; who waited for
it finds the entry made. What is not whole has another name, or is noticed and made again.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from dkt.base.errors import DktError
from dkt.base.files import partial_directory, remove_leftovers
from dkt.dataset.contents import Ingredients, ingredients_of, pipeline_digest
from dkt.dataset.features import ArchiveFeatures, FrameSource, PackedFeatures
from dkt.dataset.packed import FEATURES, Index, finish_entry, is_unused, open_entry, write_packed
from dkt.feat.reader import FeatureReader
from dkt.util.data_dir import DataDir
from dkt.util.text import natural, read_keyed_lines

logger = logging.getLogger(__name__)

#: The folder of a data directory that its packed features are kept in.
FOLDER = ".packed"
#: What ``--cache-dir`` says for none.
NONE = "none"
_PARTIAL = ".partial"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
# So many utterances tell how long the others are, where no utt2num_frames does.
_SAMPLE = 100


class _NoPlaceError(Exception):
    """Features cannot be packed where they should be, for the reason given."""


def cache_root(data: DataDir, cache_dir: str | None) -> Path | None:
    """Where packed features of a data directory are kept; None for nowhere.

    Args:
        data: the data directory.
        cache_dir: as ``--cache-dir`` says: another place, ``none``, or None for the data directory itself.
    """
    if cache_dir == NONE:
        return None
    return data.path / FOLDER if cache_dir is None else Path(cache_dir)


def scratch_place(data: DataDir, cache_dir: str | None) -> Path | None:
    """Where other files of a training may lie, beside its packed features; None for that of temporary files.

    Args:
        data, cache_dir: as of ``cache_root``.
    """
    root = cache_root(data, cache_dir)
    if root is None:
        return None
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return root


def open_features(
    reader: FeatureReader, cache_dir: str | None = None, otherwise: Path | None = None
) -> FrameSource:
    """The features of a data directory, for a training: packed, or else from their archives.

    Args:
        reader: of the data directory; what it lacks is left out already.
        cache_dir: as ``cache_root`` takes it.
        otherwise: where they are kept if ``cache_dir`` is None and the data directory cannot be written in.

    Raises:
        DktError: the features are bad.
    """
    root = cache_root(reader.data, cache_dir)
    if root is None:
        return ArchiveFeatures(reader)
    try:
        if cache_dir is not None or otherwise is None:
            return _packed(reader, root, shared=cache_dir is not None)
        try:
            return _packed(reader, root, shared=False)
        except _NoPlaceError as reason:
            features = _packed(reader, otherwise, shared=True)
            logger.info("packed features are kept in %s, as %s", otherwise, reason)
            return features
    except _NoPlaceError as reason:
        logger.warning(
            "the features of %s are not packed, but read from their archives again and again, which is "
            "slower: %s - give a place with room by --cache-dir",
            reader.data.path,
            reason,
        )
        return ArchiveFeatures(reader)


def _packed(reader: FeatureReader, root: Path, shared: bool) -> PackedFeatures:
    ingredients = ingredients_of(reader.data, reader.options, reader.side)
    if ingredients.piped is not None:
        logger.info(
            "features of %s are packed anew each time: what '%s' gives is not known before it runs",
            reader.data.path,
            ingredients.piped,
        )
        return _pack_for_once(reader)
    try:
        stamps, content = ingredients.stamps(), ingredients.digest()
    except OSError:
        # Reading will tell which utterance lacks its archive.
        return _pack_for_once(reader)
    whose = str(reader.data.path.resolve()) if shared else ""
    pipeline = pipeline_digest(reader.options, reader.side, whose)
    entry = root / f"{pipeline}-{content}"

    def make(believed: bool) -> PackedFeatures:
        found = _found(entry) if believed else None
        if found is not None:
            return found
        try:
            root.mkdir(parents=True, exist_ok=True)
            remove_leftovers(root)
            with _lock(root / f"{pipeline}.lock", reader.data) as locked:
                found = _found(entry) if believed else None
                if found is not None:
                    return found
                _clear(root, pipeline, entry, locked)
                return _make(reader, entry, ingredients, stamps)
        except OSError as error:
            raise _no_place(error, root) from None

    def remake() -> PackedFeatures:
        try:
            return make(believed=False)
        except _NoPlaceError:
            return _pack_for_once(reader)

    features = make(believed=True)
    features.remake = remake
    return features


def _found(entry: Path) -> PackedFeatures | None:
    features = open_entry(entry)
    if features is not None:
        logger.info("features packed before: %s, %d utterances", entry, len(features.names))
    return features


def _no_place(error: OSError, root: Path) -> _NoPlaceError:
    if error.errno in _NO_ROOM:
        return _NoPlaceError(f"{root} is full, {_megabytes(_free(root))} are free")
    return _NoPlaceError(f"{root} cannot be written in ({error.strerror})")


@contextmanager
def _lock(path: Path, data: DataDir) -> Iterator[bool]:
    """Hold the lock of a pipeline; False where the file system has none."""
    with path.open("ab") as file:
        locked = True
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                logger.info("waiting for another process that packs the features of %s", data.path)
                fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            logger.info("%s: no locks on this file system: packing without", path.parent)
            locked = False
        yield locked


def _clear(root: Path, pipeline: str, entry: Path, locked: bool) -> None:
    """Remove what a killed process left, a damaged entry, and those of other content that nobody reads."""
    if entry.exists():
        logger.warning("%s is damaged: packing again", entry)
        shutil.rmtree(entry, ignore_errors=True)
    if not locked:
        # Others may be at work.
        return
    for pattern in (f"{pipeline}-*{_PARTIAL}", f".{pipeline}-*{_PARTIAL}"):
        for partial in root.glob(pattern):
            shutil.rmtree(partial, ignore_errors=True)
    for old in root.glob(f"{pipeline}-*"):
        if is_unused(old):
            logger.info("%s is of other data: removed", old)
            shutil.rmtree(old, ignore_errors=True)
        else:
            logger.info("%s is of other data, but in use: it stays", old)


def _make(
    reader: FeatureReader, entry: Path, ingredients: Ingredients, stamps: list[tuple[int, int, int]]
) -> PackedFeatures:
    began = time.monotonic()
    with partial_directory(entry) as partial:
        with (partial / FEATURES).open("w+b") as file:
            index = _write(reader, file, entry.parent)
        if ingredients.stamps() != stamps:
            raise DktError(
                "the features changed while they were read", path=reader.data.path, hint="start again"
            )
        try:
            finish_entry(partial, entry, index)
        except OSError as error:
            # Without locks another process may have been quicker, with the same content.
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
    features = open_entry(entry)
    if features is None:
        raise _NoPlaceError(f"{entry} cannot be read again")
    _tell(reader, features, str(entry), began)
    return features


def _pack_for_once(reader: FeatureReader) -> PackedFeatures:
    began = time.monotonic()
    place = Path(tempfile.gettempdir())
    try:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the features
        features = _write(reader, file, place).map(file)
    except OSError as error:
        raise _no_place(error, place) from None
    _tell(reader, features, f"a temporary file in {place}", began)
    return features


def _write(reader: FeatureReader, file: IO[bytes], place: Path) -> Index:
    """Write all features, as long as there seems to be room for them."""
    num_frames = _declared_frames(reader.data)
    total = len(reader.data.utt2spk)
    index = Index()
    for index in write_packed(reader, file):
        done = len(index.names)
        if done == (1 if num_frames else _SAMPLE):
            expected = num_frames or sum(index.lengths) / done * total
            left = (expected - sum(index.lengths)) * 4 * index.dim
            file.flush()
            free = _free(place)
            if left > free:
                need = _megabytes(expected * 4 * index.dim)
                raise _NoPlaceError(f"about {need} are needed in {place}, {_megabytes(free)} are free")
    return index


def _declared_frames(data: DataDir) -> int:
    """The frames of all utterances, as ``utt2num_frames`` tells; 0 if it does not."""
    path = data.path / "utt2num_frames"
    try:
        lengths = read_keyed_lines(path) if path.is_file() else {}
    except DktError:
        return 0
    return sum(natural(lengths.get(utt, "")) or 0 for utt in data.utt2spk)


def _free(place: Path) -> int:
    while not place.exists():
        place = place.parent
    state = os.statvfs(place)
    return state.f_bavail * state.f_frsize


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.1f} MB"


def _tell(reader: FeatureReader, features: PackedFeatures, where: str, began: float) -> None:
    logger.info(
        "features of %s packed: %d utterances, %d frames of dimension %d, %s in %s (%.1f s)",
        reader.data.path,
        len(features.names),
        int(np.sum(features.lengths)),
        features.dim,
        _megabytes(features.matrix.nbytes),
        where,
        time.monotonic() - began,
    )
