"""The size of a data directory: utterances, speakers, hours, and the dimension of its features."""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

from dkt.base.errors import DktError
from dkt.matrix.matrix_io import read_matrix
from dkt.util.data_dir import DataDir
from dkt.util.scripts import ScriptLoader, file_of
from dkt.util.text import fields, read_keyed_lines

_SECONDS_PER_HOUR = 3600.0
#: Bytes of a number of a plain matrix, by the name of its type.
_PLAIN = {b"FM": 4, b"DM": 8}
# What tells the utterances, the first that is there.
_LISTS = ("utt2spk", "segments", "feats.scp", "wav.scp")


def data_facts(directory: str | Path) -> dict[str, Any]:
    """What a data directory holds; None for what none of its files tells.

    Hours are those of ``utt2dur``, ``utt2num_frames``, ``segments``, the headers of the features, or those
    of the recordings: of the first that is there, and of the first two only if they have all utterances. No
    command of a script file is run.

    Returns:
        ``num_utts``, ``num_spk``, ``hours``, ``feat_dim``.

    Raises:
        DktError: a file of it is damaged, or empty.
    """
    data = DataDir(directory)
    name = next((name for name in _LISTS if (data.path / name).is_file()), None)
    if name is None:
        raise DktError(f"has none of {', '.join(_LISTS)}", path=data.path)
    utts = data.utt2spk if name == "utt2spk" else read_keyed_lines(data.path / name)
    if not utts:
        raise DktError("is empty: there is no utterance in it", path=data.path / name)
    has_feats = (data.path / "feats.scp").is_file() and not _has_commands(data)
    seconds = _seconds(data, utts)
    return {
        "num_utts": len(utts),
        "num_spk": len(data.spk2utt) if name == "utt2spk" else None,
        "hours": None if seconds is None else seconds / _SECONDS_PER_HOUR,
        "feat_dim": _feat_dim(data) if has_feats else None,
    }


def _seconds(data: DataDir, utts: Iterable[str]) -> float | None:
    sources: tuple[tuple[str, Callable[[DataDir], float | None]], ...] = (
        ("utt2dur", lambda data: _sum(data.path / "utt2dur", utts)),
        ("utt2num_frames", lambda data: _sum(data.path / "utt2num_frames", utts, data.frame_shift)),
        ("segments", _of_segments),
        ("feats.scp", _of_features),
        ("wav.scp", _of_recordings),
    )
    for name, seconds in sources:
        if (data.path / name).is_file() and (total := seconds(data)) is not None:
            return total
    return None


def _number(text: str, path: Path, utt: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise DktError(f"expected a number from 0 on, found '{text[:80]}'", path=path, utt=utt)
    return value


def _sum(path: Path, utts: Iterable[str], unit: float = 1.0) -> float | None:
    """The sum of the utterances' numbers, times ``unit``; None where one has none."""
    numbers = {utt: _number(text, path, utt) for utt, text in read_keyed_lines(path).items()}
    return unit * math.fsum(map(numbers.__getitem__, utts)) if numbers.keys() >= set(utts) else None


def _has_commands(data: DataDir) -> bool:
    return any(file_of(entry) is None for entry in data.feats_scp.values())


def _of_features(data: DataDir) -> float | None:
    """Seconds of the features; None where commands make them."""
    if _has_commands(data):
        return None
    return sum(rows for rows, _ in _shapes(data, data.feats_scp)) * data.frame_shift


def _of_segments(data: DataDir) -> float | None:
    """Seconds of the segments; None where one ends where its recording does."""
    path, total = data.path / "segments", 0.0
    for utt, rest in read_keyed_lines(path).items():
        times = fields(rest)[1:3]
        if len(times) < 2:
            raise DktError(f"expected '<recording> <start> <end>', found '{rest[:80]}'", path=path, utt=utt)
        if times[1].startswith("-"):
            return None
        start, end = (_number(time, path, utt) for time in times)
        if end <= start:
            raise DktError(f"ends at {end:g} s, before it begins", path=path, utt=utt)
        total += end - start
    return total


def _of_recordings(data: DataDir) -> float | None:
    """Seconds that the headers of the recordings tell; None where some are the output of commands."""
    try:
        import soundfile
    except ModuleNotFoundError:
        return None
    total = 0.0
    for utt, entry in data.wav_scp.items():
        path = file_of(entry)
        if path is None or path != entry.strip():
            return None
        try:
            total += soundfile.info(path).duration
        except (OSError, RuntimeError) as error:
            raise DktError(f"cannot be read: {error}", path=path, utt=utt) from None
    return total


def _feat_dim(data: DataDir) -> int:
    """The dimension of the features, of which the first and the last are looked at."""
    entries = list(data.feats_scp.items())
    if not entries:
        raise DktError("is empty: there is no utterance in it", path=data.path / "feats.scp")
    dims = [dim for _, dim in _shapes(data, dict([entries[0], entries[-1]]))]
    if len(set(dims)) > 1:
        raise DktError(
            f"features of dimension {dims[0]} and {dims[1]}",
            path=data.path / "feats.scp",
            utt=entries[-1][0],
            hint="make them again, all by the same options",
        )
    return dims[0]


def _shapes(data: DataDir, entries: dict[str, str]) -> list[tuple[int, int]]:
    """Frames and dimension of features, their numbers left where they are."""
    shapes: list[tuple[int, int]] = []
    with closing(ScriptLoader(_read_shape)) as headers, closing(ScriptLoader(read_matrix)) as whole:
        for utt, entry in entries.items():
            entry = _found(data, entry)
            # Of a part of a matrix the header tells nothing.
            in_part = entry.rstrip().endswith("]")
            shapes.append(whole.load(utt, entry).shape if in_part else headers.load(utt, entry))
    return shapes


def _found(data: DataDir, entry: str) -> str:
    """An entry of a script; its file may lie relative to a directory above the data, that of the recipe."""
    path = file_of(entry)
    if path is None or Path(path).is_file():
        return entry
    bases = (base for base in data.path.resolve().parents if (base / path).is_file())
    base = None if Path(path).is_absolute() else next(bases, None)
    return entry if base is None else f"{base}/{entry}"


def _read_shape(stream: BinaryIO) -> tuple[int, int]:
    """The rows and columns of a matrix in a stream, the end of which must be there."""
    place = stream.tell() if stream.seekable() else None
    if place is None or stream.read(2) != b"\0B":
        # Of a command, or text.
        if place is not None:
            stream.seek(place)
        return read_matrix(stream).shape
    kind = stream.read(3).strip()
    if kind in _PLAIN:
        rows, columns = struct.unpack("<xixi", stream.read(10))
        size = rows * columns * _PLAIN[kind]
    elif kind in (b"CM", b"CM2", b"CM3"):
        rows, columns = struct.unpack("<8xii", stream.read(16 if kind == b"CM" else 17)[-16:])
        size = columns * (8 + rows) if kind == b"CM" else rows * columns * (2 if kind == b"CM2" else 1)
    else:
        raise DktError(f"expected a matrix, found an object that begins with {kind[:20]!r}")
    if rows < 0 or columns < 0:
        raise DktError(f"the archive is damaged: a matrix of {rows} x {columns}")
    place = stream.tell()
    if size > stream.seek(0, io.SEEK_END) - place:
        raise DktError(f"the archive is cut short: {size} bytes expected of a matrix of {rows} x {columns}")
    return rows, columns
