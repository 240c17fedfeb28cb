"""Lattices in binary: OpenFst's type ``vector`` over Kaldi's arcs (``fstext/lattice-weight.h``).

All is in words of 4 bytes. A state is its final cost (with the length of a string and the string, if the
lattice is compact), its number of arcs and the arcs: two labels, the cost (likewise) and the next state.
"""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from dkt.base.bounded import read_bytes
from dkt.base.errors import DktError
from dkt.lat.lattice import CompactLattice, Lattice

#: The first byte of a lattice in binary.
FIRST_BYTE = b"\xd6"
#: What every lattice in binary begins with.
MAGIC = b"\xd6\xfd\xb2\x7e"
# Arc types: whether they have strings, and the type of the parts of a cost; Kaldi mostly writes 4-byte ones.
_ARC_TYPES: dict[bytes, tuple[bool, np.dtype]] = {
    b"compactlattice44": (True, np.dtype("<f4")),
    b"compactlattice84": (True, np.dtype("<f8")),
    b"lattice4": (False, np.dtype("<f4")),
    b"lattice8": (False, np.dtype("<f8")),
}
_SIZE = struct.Struct("<i")
_COUNT = struct.Struct("<q")
#: Version, flags, properties, start, number of states, number of arcs.
LATTICE_HEADER = struct.Struct("<iiQqqq")
VERSION = 2
_LONGEST_NAME = 64
# Without a limit the number of bytes would not fit into what numpy and files count with.
_MOST_ARCS = 1 << 50


def read_binary_lattice(stream: BinaryIO) -> Lattice | CompactLattice:
    """Read one lattice of either kind whose first byte, ``FIRST_BYTE``, has been taken already.

    Raises:
        DktError: it is cut short, damaged, or of another type. States and costs are not looked at.
    """
    if FIRST_BYTE + stream.read(3) != MAGIC:
        raise DktError("expected a lattice, found something else")
    fst_type, arc_type = _read_name(stream), _read_name(stream)
    version, flags, _, start, num_states, _ = LATTICE_HEADER.unpack(read_bytes(stream, LATTICE_HEADER.size))
    if fst_type != b"vector" or version != VERSION or arc_type not in _ARC_TYPES:
        raise DktError(
            f"expected a lattice, found an FST of type {fst_type.decode('latin-1')} (version {version}) "
            f"over {arc_type.decode('latin-1')} arcs"
        )
    if flags or num_states < 0:
        raise DktError(f"the lattice is damaged: flags {flags}, {num_states} states")
    has_strings, cost = _ARC_TYPES[arc_type]
    body = _Body(cost)
    if has_strings:
        body.read_compact(stream, num_states)
        return _to_compact(body, start)
    body.read_state_level(stream, num_states)
    return _to_state_level(body, start)


def _read_name(stream: BinaryIO) -> bytes:
    (size,) = _SIZE.unpack(read_bytes(stream, _SIZE.size))
    if not 0 <= size <= _LONGEST_NAME:
        raise DktError(f"the lattice is damaged: a type with a name of {size} bytes")
    return bytes(read_bytes(stream, size))


@dataclass
class _Body:
    """The words of all states and arcs, as they are read, and where each of them begins."""

    cost: np.dtype
    data: bytearray = field(default_factory=bytearray)
    heads: array[int] = field(default_factory=lambda: array("q"))
    arcs: array[int] = field(default_factory=lambda: array("q"))
    counts: array[int] = field(default_factory=lambda: array("q"))

    def read_compact(self, stream: BinaryIO, num_states: int) -> None:
        cost_size = 2 * self.cost.itemsize
        for _ in range(num_states):
            self.heads.append(len(self.data) // 4)
            size = self._read_size(stream, cost_size)
            num_arcs = self._read_count(stream, 4 * size)
            for _ in range(num_arcs):
                self.arcs.append(len(self.data) // 4)
                size = self._read_size(stream, 8 + cost_size)
                self.data += read_bytes(stream, 4 * size + 4)

    def read_state_level(self, stream: BinaryIO, num_states: int) -> None:
        head_size, arc_size = 2 * self.cost.itemsize + 8, 2 * self.cost.itemsize + 12
        for _ in range(num_states):
            num_arcs = self._read_count(stream, head_size - 8)
            self.data += read_bytes(stream, arc_size * num_arcs)
        # All arcs are of one size: where they begin follows from their numbers.
        counts = np.array(self.counts, dtype=np.int64)
        heads = (head_size * np.arange(num_states) + arc_size * (np.cumsum(counts) - counts)) // 4
        owners = np.repeat(np.arange(1, num_states + 1), counts)
        arcs = (head_size * owners + arc_size * np.arange(len(owners))) // 4
        self.heads.frombytes(heads.tobytes())
        self.arcs.frombytes(arcs.tobytes())

    def _read_size(self, stream: BinaryIO, before: int) -> int:
        piece = read_bytes(stream, before + 4)
        self.data += piece
        (size,) = _SIZE.unpack_from(piece, before)
        if size < 0:
            raise DktError(f"the lattice is damaged: a string of {size} transition-ids")
        return size

    def _read_count(self, stream: BinaryIO, before: int) -> int:
        piece = read_bytes(stream, before + 8)
        self.data += piece
        (count,) = _COUNT.unpack_from(piece, before)
        if not 0 <= count <= _MOST_ARCS:
            raise DktError(f"the lattice is damaged: a state with {count} arcs")
        self.counts.append(count)
        return count


class _Words:
    """The words of a body, to be taken at many places at once."""

    def __init__(self, body: _Body) -> None:
        self._cost = body.cost
        self._words = np.frombuffer(body.data, dtype="<i4")
        self.cost_width = 2 * body.cost.itemsize // 4
        self.heads, self.arcs = np.array(body.heads), np.array(body.arcs)
        self.offsets = np.concatenate([[0], np.cumsum(np.array(body.counts, dtype=np.int64))])

    def integers(self, places: np.ndarray) -> np.ndarray:
        return self._words[places]

    def costs(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        words = self._words[places[:, None] + np.arange(self.cost_width)]
        with np.errstate(over="ignore"):  # a double too large becomes infinite, and is refused as such
            costs = words.view(self._cost).astype(np.float32)
        return costs[:, 0].copy(), costs[:, 1].copy()

    def strings(self, places: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        sizes, begins = self._words[places], places + 1
        ends = begins + sizes
        words = self._words
        pairs = zip(begins.tolist(), ends.tolist(), strict=True)
        return [words[begin:end] for begin, end in pairs], ends


def _to_compact(body: _Body, start: int) -> CompactLattice:
    words = _Words(body)
    graph, acoustic = words.costs(words.arcs + 2)
    strings, ends = words.strings(words.arcs + 2 + words.cost_width)
    labels, olabels = words.integers(words.arcs), words.integers(words.arcs + 1)
    if (labels != olabels).any():
        raise DktError("the compact lattice has two different labels on one arc")
    final_graph, final_acoustic = words.costs(words.heads)
    return CompactLattice(
        start=start,
        offsets=words.offsets,
        labels=labels,
        graph_costs=graph,
        acoustic_costs=acoustic,
        strings=strings,
        nextstates=words.integers(ends),
        final_graph=final_graph,
        final_acoustic=final_acoustic,
        final_strings=words.strings(words.heads + words.cost_width)[0],
    )


def _to_state_level(body: _Body, start: int) -> Lattice:
    words = _Words(body)
    graph, acoustic = words.costs(words.arcs + 2)
    final_graph, final_acoustic = words.costs(words.heads)
    return Lattice(
        start=start,
        offsets=words.offsets,
        ilabels=words.integers(words.arcs),
        olabels=words.integers(words.arcs + 1),
        graph_costs=graph,
        acoustic_costs=acoustic,
        nextstates=words.integers(words.arcs + 2 + words.cost_width),
        final_graph=final_graph,
        final_acoustic=final_acoustic,
    )
