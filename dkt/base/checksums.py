"""Checksums beside files whose formats, Kaldi's and OpenFst's, have no room for them: ``.checksums``.

The hidden file of a directory tells of each such file that dkt wrote there its size and the CRC-32 of its
blocks. Whoever reads the file compares. Other programs may write it anew, and know nothing of this: of a file
that is younger than its checksums only what cannot have been meant is called damage, a single bit.
"""

from __future__ import annotations

import contextlib
import json
import logging
import zlib
from pathlib import Path
from typing import Any

from dkt.base.errors import DamagedError, DktError
from dkt.base.files import is_stream, replace_file
from dkt.base.sealed import SEAL_SIZE, is_sealed, seal

logger = logging.getLogger(__name__)

NAME = ".checksums"
_FORMAT = 1
_BLOCK = 1 << 16
_POLYNOMIAL = 0xEDB88320

# What has been warned of: a model is read more than once.
_told: set[Path] = set()


def write_recorded(path: str | Path, data: bytes) -> None:
    """Write a file, whole or not at all, and its checksums beside it; that these cannot be is not an error.

    Raises:
        DktError: the file cannot be written.
    """
    path = Path(path)
    # Nothing is recorded of a file while it is replaced: a crash leaves one without checksums.
    _update(path, None)
    replace_file(path, data)
    if not is_stream(path):
        _update(path, {"size": len(data), "crc32": _sums(data)})


def verify_recorded(path: str | Path, data: bytes) -> bool:
    """Make sure that a file is as it was written, if that was recorded.

    Args:
        path: the file, or a link to it.
        data: its bytes.

    Returns:
        Whether it was recorded, and is the same.

    Raises:
        DamagedError: it is not what was written.
    """
    path = Path(path)
    file = path.resolve() if path.is_symlink() else path
    entry = _load(file.parent).get(file.name)
    try:
        if entry is None:
            return False
        untouched = _is_untouched(file)
        if entry["size"] != len(data):
            if untouched:
                raise _damaged(path, f"{len(data)} bytes of {entry['size']}")
            return False
        sums = _sums(data)
        pairs = enumerate(zip(sums, entry["crc32"], strict=True))
        wrong = [number for number, (found, expected) in pairs if found != expected]
        if not wrong:
            return True
        if file.read_bytes() != data:
            return False  # replaced between the first reading and this
        first = wrong[0]
        size = len(data[first * _BLOCK : (first + 1) * _BLOCK])
        if untouched or (len(wrong) == 1 and _is_one_bit(sums[first] ^ entry["crc32"][first], size)):
            raise _damaged(path, f"its checksum is wrong from byte {first * _BLOCK} on")
    except (KeyError, TypeError, ValueError, OSError):
        return False
    if file not in _told:
        _told.add(file)
        logger.warning("%s: another program has written it since dkt did, or it is damaged", path)
    return False


def _is_untouched(file: Path) -> bool:
    """Whether nobody has written a file since its checksums were."""
    return file.stat().st_mtime_ns <= (file.parent / NAME).stat().st_mtime_ns


def recorded(directory: Path) -> list[Path]:
    """The files of a directory whose checksums are there, as far as the files are."""
    return [path for name in sorted(_load(directory)) if (path := directory / name).is_file()]


def _damaged(path: Path, what: str) -> DamagedError:
    return DamagedError(
        f"is damaged ({what})",
        path=path,
        hint=f"make it again, or copy it again; if it was changed on purpose, remove {path.parent / NAME}",
    )


def _sums(data: bytes) -> list[int]:
    view = memoryview(data)
    return [zlib.crc32(view[begin : begin + _BLOCK]) for begin in range(0, len(data), _BLOCK)]


def _is_one_bit(difference: int, size: int) -> bool:
    """Whether a difference of two CRC-32 is that of a single bit in so many bytes: the code is linear."""
    syndrome = _POLYNOMIAL
    for _ in range(8 * size):
        if syndrome == difference:
            return True
        syndrome = (syndrome >> 1) ^ (_POLYNOMIAL if syndrome & 1 else 0)
    return False


def _load(directory: Path) -> dict[str, Any]:
    """Name to what was recorded; nothing, where that is itself damaged or of a newer dkt."""
    try:
        data = (directory / NAME).read_bytes()
        content = json.loads(data[:-SEAL_SIZE]) if is_sealed(data) else None
    except (OSError, ValueError, RecursionError):
        return {}
    files = content.get("files") if isinstance(content, dict) and content.get("format") == _FORMAT else None
    return files if isinstance(files, dict) else {}


def _update(path: Path, entry: dict[str, Any] | None) -> None:
    files = _load(path.parent)
    if entry is None and path.name not in files:
        return
    files.pop(path.name, None)
    with contextlib.suppress(OSError):
        # Those of files that are gone, or that others have written, go with it.
        kept = {name: old for name, old in files.items() if (path.parent / name).is_file()}
        files = {name: old for name, old in kept.items() if _is_untouched(path.parent / name)}
    if entry is not None:
        files[path.name] = entry
    content = json.dumps({"format": _FORMAT, "files": files}, sort_keys=True).encode()
    with contextlib.suppress(DktError, OSError):
        replace_file(path.parent / NAME, seal(content))
