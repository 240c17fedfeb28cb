"""Kaldi's object streams (``src/base/io-funcs``): tokens, numbers, vectors and matrices, binary or text.

The files that hold one object rather than a table (``final.mdl``, ``tree``, ``topo``, ``*.mat``,
``ali_train_pdf.counts``) are read whole into memory, so that a reader can check every length against what
is there.
"""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from dkt.base.checksums import verify_recorded, write_recorded
from dkt.base.errors import DktError
from dkt.base.files import read_file, replace_file
from dkt.base.gzipped import gunzip
from dkt.matrix.matrix_io import BAD_DATA, encode_matrix, encode_vector, parse_rows, read_binary_matrix
from dkt.util.kaldi_io import open_input

_BINARY_MARK = b"\0B"
_WORD = re.compile(rb"\S+")
_INT32 = np.iinfo(np.int32)
_REAL_TYPES: dict[str, np.dtype] = {"FV": np.dtype("<f4"), "DV": np.dtype("<f8")}


def read_object_bytes(rxfilename: str | Path) -> bytes:
    """All bytes of a file that holds one object, unpacked if gzip packed it.

    Args:
        rxfilename: a path, ``path:offset``, ``-`` for standard input, or ``command |``.

    Raises:
        DktError: it cannot be read, the command fails, or the gzip file is broken.
    """
    name = str(rxfilename)
    # A file may have a name that ends as an offset does.
    if Path(name).is_file():
        data = read_file(name)
        verify_recorded(name, data)
        return gunzip(data, name)
    with open_input(name) as stream:
        return gunzip(stream.read(), name)


class ObjectReader:
    """Reads Kaldi's basic types one after another from the bytes of one file.

    Args:
        data: the whole file; a leading ``\\0B`` marks it as binary.
        path: the file to name in errors.

    Attributes:
        within: the part of the file that is being read, for errors; empty for none.
    """

    def __init__(self, data: bytes, path: str | Path) -> None:
        self.data = data
        self.path = path
        self.within = ""
        self.binary = data.startswith(_BINARY_MARK)
        self.pos = len(_BINARY_MARK) if self.binary else 0

    @classmethod
    def open(cls, path: str | Path) -> ObjectReader:
        """Read an object as ``read_object_bytes`` does."""
        return cls(read_object_bytes(path), path)

    def fail(self, message: str) -> DktError:
        """The error to raise for a fault at the present place."""
        where = f"{self.within}: " if self.within else ""
        return DktError(f"{where}{message} at byte {self.pos} of {len(self.data)}", path=self.path)

    def _take(self, size: int) -> bytes:
        if size < 0 or self.pos + size > len(self.data):
            raise self.fail(f"the file is cut short: {size} more bytes expected")
        chunk = self.data[self.pos : self.pos + size]
        self.pos += size
        return chunk

    def _skip_space(self) -> None:
        word = _WORD.search(self.data, self.pos)
        self.pos = word.start() if word else len(self.data)

    def at_end(self) -> bool:
        """Whether nothing but white space is left."""
        return _WORD.search(self.data, self.pos) is None

    def peek_token(self) -> str:
        """The next token, left in place; empty at the end."""
        place = self.pos
        try:
            return self.token()
        except DktError:
            return ""
        finally:
            self.pos = place

    def token(self) -> str:
        """The next white-space-delimited token (``ReadToken``)."""
        word = _WORD.search(self.data, self.pos)
        if word is None:
            raise self.fail("the file is cut short: a token expected")
        # In binary form exactly one space ends a token; more would be data.
        self.pos = min(word.end() + 1, len(self.data))
        return word[0].decode("utf-8", errors="replace")

    def expect(self, *tokens: str) -> str:
        """Read a token that must be one of ``tokens``."""
        place = self.pos
        found = self.token()
        if found not in tokens:
            self.pos = place
            raise self.fail(f"expected {' or '.join(tokens)}, found '{found[:40]}'")
        return found

    def line(self) -> str:
        """The rest of the line, without its end (``getline``)."""
        end = self.data.find(b"\n", self.pos)
        if end < 0:
            raise self.fail("the file is cut short: the end of a line expected")
        text = self.data[self.pos : end]
        self.pos = end + 1
        return text.decode("utf-8", errors="replace").removesuffix("\r")

    def boolean(self) -> bool:
        """T or F (``ReadBasicType<bool>``)."""
        if not self.binary:
            self._skip_space()
        letter = self._take(1)
        if letter not in (b"T", b"F"):
            self.pos -= 1
            raise self.fail(f"expected T or F, found {letter!r}")
        return letter == b"T"

    def int32(self) -> int:
        """A 32-bit integer (``ReadBasicType<int32>``)."""
        return int(self._basic("<i", int))

    def real(self) -> float:
        """A float or double (``ReadBasicType<BaseFloat>`` accepts either)."""
        size = self.data[self.pos : self.pos + 1]
        return float(self._basic("<d" if self.binary and size == b"\x08" else "<f", float))

    def _basic(self, form: str, convert: type) -> int | float:
        if not self.binary:
            return self._number(convert)
        size = self._take(1)[0]
        if size != struct.calcsize(form):
            raise self.fail(f"expected a number of {struct.calcsize(form)} bytes, found one of {size}")
        return struct.unpack(form, self._take(size))[0]

    def _number(self, convert: type) -> int | float:
        word = self.token()
        try:
            # Python would read 1_0 as 10, and the digits of any script.
            value: int | float = convert(word.replace("_", "?").encode("ascii", errors="replace"))
        except ValueError:
            raise self.fail(f"expected a number, found '{word[:40]}'") from None
        if convert is int and not _INT32.min <= value <= _INT32.max:
            raise self.fail(f"expected an integer of 32 bits, found {word[:40]}")
        return value

    def int_vector(self) -> np.ndarray:
        """A vector of 32-bit integers (``ReadIntegerVector``), shape ``(n,)``."""
        if not self.binary:
            return np.array(self._bracketed(), dtype=np.int32)
        if self._take(1) != b"\x04":
            raise self.fail("expected a vector of 4-byte integers")
        (count,) = struct.unpack("<i", self._take(4))
        return np.frombuffer(self._take(4 * count), dtype="<i4").copy()

    def _bracketed(self) -> list[int]:
        self.expect("[")
        values: list[int] = []
        while self.peek_token() != "]":
            values.append(int(self._number(int)))
        self.expect("]")
        return values

    def vector(self) -> np.ndarray:
        """A real vector (``Vector::Read``), shape ``(n,)``, float32 or float64 as stored, float64 of text."""
        if not self.binary:
            rows = self._text_rows()
            if len(rows) > 1:
                raise self.fail(f"expected a vector, found a matrix of {len(rows)} rows")
            return rows.reshape(-1)
        dtype = _REAL_TYPES[self.expect("FV", "DV")]
        count = self.int32()
        return np.frombuffer(self._take(count * dtype.itemsize), dtype=dtype).copy()

    def matrix(self) -> np.ndarray:
        """A real matrix (``Matrix::Read``): ``(rows, columns)``, as stored, float64 of text."""
        if not self.binary:
            return self._text_rows()
        stream = io.BufferedReader(cast(io.RawIOBase, io.BytesIO(self.data)))
        stream.seek(self.pos)
        try:
            value = read_binary_matrix(stream)
        except BAD_DATA as error:
            raise self.fail(str(error).replace("the archive", "the file")) from None
        self.pos = stream.tell()
        return value

    def _text_rows(self) -> np.ndarray:
        self._skip_space()
        end = self.data.find(b"]", self.pos)
        if self.data[self.pos : self.pos + 1] != b"[" or end < 0:
            raise self.fail("expected numbers in square brackets")
        try:
            rows = parse_rows(self.data[self.pos + 1 : end])
        except (DktError, ValueError) as error:
            raise self.fail(f"expected numbers in square brackets: {error}") from None
        self.pos = end + 1
        return rows


class ObjectWriter:
    """Builds the bytes of one object file, binary unless told otherwise.

    Args:
        binary: Kaldi's binary form, else its text form.
    """

    def __init__(self, binary: bool = True) -> None:
        self.binary = binary
        self._parts: list[bytes] = [_BINARY_MARK] if binary else []

    def token(self, token: str) -> None:
        """Write a token and the space that ends it (``WriteToken``)."""
        self._parts.append(token.encode() + b" ")

    def newline(self) -> None:
        """End a line, in the text form only."""
        if not self.binary:
            self._parts.append(b"\n")

    def int32(self, value: int) -> None:
        """Write a 32-bit integer (``WriteBasicType<int32>``)."""
        self._parts.append(b"\x04" + struct.pack("<i", value) if self.binary else b"%d " % value)

    def boolean(self, value: bool) -> None:
        """Write T or F (``WriteBasicType<bool>``)."""
        self._parts.append((b"T" if value else b"F") + (b"" if self.binary else b" "))

    def real(self, value: float) -> None:
        """Write a 32-bit float (``WriteBasicType<float>``), in text the seven digits of what is given."""
        self._parts.append(b"\x04" + struct.pack("<f", value) if self.binary else f"{value:.7g} ".encode())

    def double(self, value: float) -> None:
        """Write a 64-bit float (``WriteBasicType<double>``)."""
        data = b"\x08" + struct.pack("<d", value) if self.binary else f"{value:.7g} ".encode()
        self._parts.append(data)

    def int_vector(self, values: npt.ArrayLike) -> None:
        """Write integers of shape ``(n,)`` (``WriteIntegerVector``)."""
        values = np.asarray(values, dtype="<i4")
        if self.binary:
            self._parts.append(b"\x04" + struct.pack("<i", len(values)) + values.tobytes())
        else:
            self._parts.append(("[ " + "".join(f"{value} " for value in values) + "]\n").encode())

    def vector(self, values: npt.ArrayLike) -> None:
        """Write reals of shape ``(n,)`` as float32 (``Vector<float>::Write``)."""
        data = encode_vector(self._reals(values), not self.binary)
        self._parts.append(data.removeprefix(_BINARY_MARK))

    def matrix(self, values: npt.ArrayLike) -> None:
        """Write reals of shape ``(rows, columns)`` as float32 (``Matrix<float>::Write``)."""
        data = encode_matrix(self._reals(values), not self.binary)
        self._parts.append(data.removeprefix(_BINARY_MARK))

    def _reals(self, values: npt.ArrayLike) -> np.ndarray:
        # Seven digits that were read as text stay the same seven only without a step over float32.
        return np.asarray(values, dtype=np.float32 if self.binary else None)

    def raw_line(self, text: str) -> None:
        """Write a line of its own in either form, its end included."""
        self._parts.append(f"{text}\n".encode())

    def getvalue(self) -> bytes:
        """All that was written."""
        return b"".join(self._parts)

    def save(self, path: str | Path) -> None:
        """Write the file ``path``, whole or not at all."""
        replace_file(path, self.getvalue())

    def save_recorded(self, path: str | Path) -> None:
        """As ``save``, with the checksums of the file beside it (``dkt.base.checksums``)."""
        write_recorded(path, self.getvalue())
