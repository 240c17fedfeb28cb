"""Files that end in a checksum of all that is before it.

The last 18 bytes are ``dkt-crc32:`` and the CRC-32 in eight hexadecimal digits. Who made the format of such a
file does not see them: in a zip archive, which PyTorch writes, they are the comment; behind a library nothing
is read.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from pathlib import Path

from dkt.base.errors import DamagedError, DktError
from dkt.base.files import cannot_read, read_file

_SEAL = re.compile(rb"dkt-crc32:([0-9a-f]{8})")
SEAL_SIZE = 18
#: The beginning of a zip archive.
ZIP = b"PK\3\4"
_ZIP_END = b"PK\5\6"
# The record that ends a zip archive, up to its comment.
_ZIP_END_SIZE = 22


def seal(data: bytes) -> bytes:
    """The bytes with their checksum."""
    return data + b"dkt-crc32:%08x" % zlib.crc32(data)


def is_sealed(data: bytes) -> bool:
    """Whether bytes end in a checksum that is right.

    Raises:
        ValueError: it is wrong.
    """
    found = _SEAL.fullmatch(data[-SEAL_SIZE:])
    if found is None:
        return False
    if zlib.crc32(memoryview(data)[:-SEAL_SIZE]) != int(found[1], 16):
        raise ValueError("its checksum is wrong")
    return True


def seal_zip(data: bytes) -> bytes:
    """A zip archive without comment, with its checksum for one."""
    return seal(data[:-2] + SEAL_SIZE.to_bytes(2, "little"))


def check_zip(data: bytes, path: str | Path) -> None:
    """Make sure that an archive of PyTorch's is as it was written.

    Of one without a checksum of the whole the sums of its entries are looked at.

    Raises:
        DamagedError: it is not.
        DktError: it is something else.
    """
    if not data:
        raise DamagedError("is empty", path=path)
    if data.startswith((b"\0B<Nnet", b"<Nnet")):
        raise DktError("is a network of Kaldi's, expected a model file of dkt", path=path)
    if not data.startswith(ZIP):
        raise DamagedError("not a file of dkt, or damaged (it does not begin as one)", path=path)
    try:
        _check_entries(data, _ends_in_seal(data))
    except (ValueError, zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, OSError) as error:
        raise DamagedError(f"is damaged ({error})", path=path) from None


def _ends_in_seal(data: bytes) -> bool:
    """Whether the record that ends an archive is followed by a checksum, which is right, or by nothing.

    Raises:
        ValueError: neither, or not what the record says: the file was cut short, or has grown.
    """
    for comment in (SEAL_SIZE, 0):
        end = data[len(data) - _ZIP_END_SIZE - comment :][:_ZIP_END_SIZE]
        if end.startswith(_ZIP_END) and int.from_bytes(end[-2:], "little") == comment:
            if comment and not is_sealed(data):
                raise ValueError("its checksum is missing")
            return comment > 0
    raise ValueError("it was cut short, or something was written behind its end")


def _check_entries(data: bytes, whole: bool) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        # PyTorch stores its entries as they are: one that is compressed may be a bomb, as may shared bytes.
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("a part of it is compressed")
        if sum(entry.file_size for entry in entries) > len(data):
            raise ValueError("its parts are larger than the whole")
        if not whole and archive.testzip() is not None:
            raise ValueError("the checksum of a part is wrong")


def verify_sealed(path: str | Path) -> None:
    """Make sure that a model or checkpoint is as it was written.

    Raises:
        DktError: it is not, or cannot be read.
    """
    check_zip(read_file(path), path)


def is_torch_file(path: Path) -> bool:
    """Whether a file begins as those of ``dkt.nnet.torchfile.save_torch``, which are zip archives.

    Raises:
        DktError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return stream.read(len(ZIP)) == ZIP
    except OSError as error:
        raise cannot_read(path, error) from None
