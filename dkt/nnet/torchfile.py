"""Files of tensors and plain values, as PyTorch writes them, with a checksum of the whole inside.

They are zip archives. The checksum, a CRC-32 of all bytes before it, is the comment that ends the archive:
PyTorch reads such a file as any other. Of a file without it, which an earlier dkt wrote, the sums of the
archive's entries are checked; PyTorch looks at neither.
"""

from __future__ import annotations

import io
import pickle
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from dkt.errors import DamagedError, DktError
from dkt.files import cannot_read, read_file, replace_file

_ZIP = b"PK\3\4"
_END = b"PK\5\6"
# The record that ends a zip archive, up to the length of its comment.
_END_SIZE = 22
_COMMENT = re.compile(rb"dkt-crc32:([0-9a-f]{8})")
_COMMENT_SIZE = 18
# More than any model has; a pickle of a few bytes can hold lists of lists of the same lists.
_MOST_VALUES = 1 << 20
_DEEPEST = 50


def save_torch(path: Path, content: dict[str, Any]) -> None:
    """Save tensors and plain values, whole or not at all.

    Raises:
        DktError: the file cannot be written.
    """
    # Written to a file it would bear the file's name inside: the same content shall be the same bytes.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    replace_file(path, _sealed(buffer.getvalue()))


def _sealed(data: bytes) -> bytes:
    """The archive with its checksum."""
    head = data[:-2] + _COMMENT_SIZE.to_bytes(2, "little")
    return head + b"dkt-crc32:%08x" % zlib.crc32(head)


def load_torch(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Load what ``save_torch`` wrote; a file can never execute code, nor claim more than its size.

    Raises:
        DamagedError: the bytes are not those that were written.
        DktError: the file is missing, cannot be read, or holds more than tensors and plain values.
    """
    data = read_file(path)
    _check_kind(data, path)
    try:
        _check_sums(data)
    except (ValueError, zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, OSError) as error:
        raise DamagedError(f"is damaged ({error})", path=path) from None
    try:
        content = torch.load(io.BytesIO(data), map_location=device, weights_only=True)
    except pickle.UnpicklingError:
        raise DktError("holds more than tensors and plain values: it is not loaded", path=path) from None
    except Exception:
        # The unpickler can raise anything at all, in PyTorch's words, which tell a user nothing.
        raise DamagedError("is damaged (PyTorch cannot read it)", path=path) from None
    _check_claims(content, len(data), path)
    if not isinstance(content, dict):
        raise DktError("is no file of dkt", path=path)
    return content


def _check_kind(data: bytes, path: Path) -> None:
    if not data:
        raise DamagedError("is empty", path=path)
    if data.startswith(_ZIP):
        return
    if data.startswith((b"\0B<Nnet", b"<Nnet")):
        raise DktError("is a network of Kaldi's, expected a model file of dkt", path=path)
    raise DamagedError("is no file of dkt or is damaged (it does not begin as one)", path=path)


def _check_sums(data: bytes) -> None:
    """Raise ValueError, or what ``zipfile`` raises, unless the bytes are those that were written."""
    comment = _COMMENT.fullmatch(data[-_COMMENT_SIZE:])
    sealed = comment is not None and data[-_COMMENT_SIZE - _END_SIZE :].startswith(_END)
    if comment and sealed and zlib.crc32(memoryview(data)[:-_COMMENT_SIZE]) != int(comment[1], 16):
        raise ValueError("its checksum is wrong")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        # PyTorch stores its entries as they are: one that is compressed may be a bomb, as may shared bytes.
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("a part of it is compressed")
        if sum(entry.file_size for entry in entries) > len(data):
            raise ValueError("its parts are larger than the whole")
        if not sealed and archive.testzip() is not None:
            raise ValueError("the checksum of a part is wrong")


def _check_claims(content: Any, size: int, path: Path) -> None:
    """Raise DktError if tensors claim more bytes than the file has, or values are nested without end."""
    bytes_claimed = counted = 0
    level = [content]
    for _ in range(_DEEPEST):
        tensors = [value for value in level if isinstance(value, torch.Tensor)]
        bytes_claimed += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        # What is in one container counts each time that it is there.
        containers = [value for value in level if isinstance(value, (dict, list, tuple, set))]
        counted += sum(map(len, containers))
        if bytes_claimed > size or counted > _MOST_VALUES:
            raise DktError(f"claims more than its {size} bytes can hold: it is not loaded", path=path)
        if not containers:
            return
        level = [value for container in containers for value in _members(container)]
    raise DktError("is nested too deeply for a file of dkt", path=path)


def _members(container: Any) -> list[Any]:
    return [*container, *container.values()] if isinstance(container, dict) else list(container)


def is_torch_file(path: Path) -> bool:
    """Whether a file begins as those of ``save_torch``, which are zip archives.

    Raises:
        DktError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return stream.read(len(_ZIP)) == _ZIP
    except OSError as error:
        raise cannot_read(path, error) from None
