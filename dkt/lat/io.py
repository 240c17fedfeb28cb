"""Tables of lattices (``CompactLatticeHolder`` and ``LatticeHolder`` in ``lat/kaldi-lattice.cc``).

A table of either kind, in binary or text, may be read as either.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from dkt.base.errors import DktError
from dkt.lat.binary import FIRST_BYTE, read_binary_lattice
from dkt.lat.conversion import to_compact, to_state_level
from dkt.lat.encoding import encode_compact_lattice, encode_state_level_lattice
from dkt.lat.lattice import CompactLattice, Lattice
from dkt.lat.order import check_lattice
from dkt.lat.text import encode_text_lattice, read_text_lattice
from dkt.util.table import TableWriter, read_table


def read_compact_lattice(stream: BinaryIO) -> CompactLattice:
    """Read one lattice of either kind, binary or text, as a compact one.

    Raises:
        DktError: it is damaged, cut short or something else.
    """
    lattice = _read(stream)
    return to_compact(lattice) if isinstance(lattice, Lattice) else lattice


def read_state_level_lattice(stream: BinaryIO) -> Lattice:
    """Read one lattice of either kind, binary or text, as a state-level one.

    Raises:
        DktError: it is damaged, cut short or something else.
    """
    lattice = _read(stream)
    return to_state_level(lattice) if isinstance(lattice, CompactLattice) else lattice


def _read(stream: BinaryIO) -> Lattice | CompactLattice:
    first = stream.read(1)
    if first == FIRST_BYTE:
        lattice = read_binary_lattice(stream)
    else:
        # A lattice in text begins on a line of its own.
        line = first if first == b"\n" else first + stream.readline()
        if not line.endswith(b"\n") or line.strip():
            raise DktError(f"expected a lattice, found {line[:20]!r}" if line else "the archive is cut short")
        lattice = read_text_lattice(stream)
    check_lattice(lattice)
    return lattice


class LatticeWriter(TableWriter):
    """Writes lattices, each of the kind that it is."""

    def encode(self, value: Any) -> bytes:
        """The lattice in Kaldi's binary or text form."""
        if self.text:
            return encode_text_lattice(value)
        encode = encode_compact_lattice if isinstance(value, CompactLattice) else encode_state_level_lattice
        return encode(value)


def read_compact_lattices(rspecifier: str) -> Iterator[tuple[str, CompactLattice]]:
    """Read a table of lattices of either kind one by one, as compact ones.

    Raises:
        DktError: anything that is not a whole, well-formed table.
    """
    return read_table(read_compact_lattice, rspecifier)
