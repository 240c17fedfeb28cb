"""Compressed matrices by kaldi_native_io, which is Kaldi's own code; others are taken as they are.

It reads and writes files only: each thread keeps one in memory for the purpose.
"""

from __future__ import annotations

import os
import struct
import tempfile
import threading
from typing import BinaryIO

import kaldi_native_io
import numpy as np

from dkt.base.errors import DktError

_local = threading.local()


class _Scratch:
    """A file in memory, known to the library by its name."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.file: BinaryIO
        if hasattr(os, "memfd_create"):
            self.file = os.fdopen(os.memfd_create("dkt"), "w+b", buffering=0)
            self.name = f"/proc/self/fd/{self.file.fileno()}"
        else:
            named = tempfile.NamedTemporaryFile(buffering=0)  # noqa: SIM115 - open as long as the thread lives
            self.file, self.name = named, named.name  # type: ignore[assignment]

    def replace(self, data: bytes) -> None:
        """Make ``data`` all that the file holds."""
        self.file.truncate(0)
        self.file.seek(0)
        self.file.write(data)

    def contents(self) -> bytes:
        """All that the file holds."""
        self.file.seek(0)
        return self.file.read()


def _scratch() -> _Scratch:
    scratch: _Scratch | None = getattr(_local, "scratch", None)
    # A child of a fork would share the file with its parent, and each would overwrite the other's data.
    if scratch is None or scratch.owner != os.getpid():
        scratch = _local.scratch = _Scratch()
    return scratch


def decode(header: bytes, body: np.ndarray) -> np.ndarray:
    """The array of the object that ``header`` and ``body`` make up."""
    if header[2:3] != b"C":
        shape = struct.unpack("<xixi" if header[3:4] == b"M" else "<xi", header[5:])
        return body.view("<f4" if header[2:3] == b"F" else "<f8").reshape(shape)
    scratch = _scratch()
    scratch.replace(header + body.tobytes())
    try:
        matrix = kaldi_native_io.FloatMatrix.read(scratch.name)
    except RuntimeError as error:
        raise DktError(f"kaldi_native_io cannot read the compressed matrix: {error}") from None
    finally:
        scratch.replace(b"")
    return np.array(matrix)


def encode(value: np.ndarray, method: int | None = None) -> bytes:
    """The bytes of a matrix or vector; a matrix may be compressed by method 1 to 7."""
    if method is None:
        kind = ("D" if value.dtype == np.float64 else "F") + ("M " if value.ndim == 2 else "V ")
        sizes = (b"\x04" + struct.pack("<i", size) for size in value.shape)
        return b"".join((b"\0B", kind.encode(), *sizes, value.tobytes()))
    scratch = _scratch()
    scratch.replace(b"")
    try:
        with kaldi_native_io.CompressedMatrixWriter(f"ark:{scratch.name}") as writer:
            writer.write("k", value, kaldi_native_io.CompressionMethod(method))
    except RuntimeError as error:
        raise DktError(f"kaldi_native_io cannot compress the matrix: {error}") from None
    return scratch.contents().removeprefix(b"k ")
