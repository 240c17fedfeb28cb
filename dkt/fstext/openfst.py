"""OpenFst's binary files of type ``vector`` and ``const`` over standard arcs, as numpy arrays."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dkt.base.errors import DktError

#: One arc, as OpenFst's ``StdArc`` lies in a file; the weight is a cost (tropical semiring).
ARC = np.dtype([("ilabel", "<i4"), ("olabel", "<i4"), ("weight", "<f4"), ("nextstate", "<i4")])
_CONST_STATE = np.dtype(
    [("final", "<f4"), ("pos", "<u4"), ("narcs", "<u4"), ("niepsilons", "<u4"), ("noepsilons", "<u4")]
)
_HEADER = "<iiQqqq"  # version, flags, properties, start, number of states, number of arcs
_FILE_VERSION = 2
_ALIGNED_FILE_VERSION = 1  # of type const only
_FST_MAGIC = 2125659606
_SYMBOLS_MAGIC = 2125658996
_HAS_ISYMBOLS, _HAS_OSYMBOLS, _IS_ALIGNED = 1, 2, 4
_ALIGNMENT = 16
# OpenFst's property bits: a type of file that can be expanded, that can be changed.
_EXPANDED, _MUTABLE = 1, 2
_UNKNOWN_NUM_STATES = -1


class FstContents(NamedTuple):
    """What is in an FST file: see ``FstArrays`` for the shapes."""

    start: int
    final: np.ndarray
    offsets: np.ndarray
    arcs: np.ndarray
    properties: int


def parse_openfst(data: bytes, path: str | Path) -> FstContents:
    """Read an FST from the bytes of a file; ``path`` is the name that errors tell.

    Symbol tables are passed over. What has no header of its own length (a stream) is read to its end.

    Raises:
        DktError: the FST is cut short, of another type, or inconsistent.
    """
    try:
        contents = _parse(data, path)
    except (struct.error, IndexError):
        raise DktError(f"the FST is cut short at {len(data)} bytes", path=path) from None
    _check(contents, path)
    return contents


def _parse(data: bytes, path: str | Path) -> FstContents:
    if len(data) < 4 or struct.unpack_from("<i", data)[0] != _FST_MAGIC:
        raise DktError("expected an OpenFst binary file, found something else", path=path)
    fst_type, pos = _string(data, 4)
    arc_type, pos = _string(data, pos)
    version, flags, properties, start, num_states, num_arcs = struct.unpack_from(_HEADER, data, pos)
    pos += struct.calcsize(_HEADER)
    is_const = fst_type == b"const"
    known = version == _FILE_VERSION or (is_const and version == _ALIGNED_FILE_VERSION)
    if fst_type not in (b"vector", b"const") or arc_type != b"standard" or not known:
        raise DktError(
            f"an FST of type {fst_type.decode('latin-1')} (version {version}) over "
            f"{arc_type.decode('latin-1')} arcs, expected vector or const (version 2) over standard arcs",
            path=path,
            hint="convert it with fstconvert",
        )
    if num_states < _UNKNOWN_NUM_STATES:
        raise DktError(f"impossible number of states {num_states}", path=path)
    for flag in (_HAS_ISYMBOLS, _HAS_OSYMBOLS):
        if flags & flag:
            pos = _skip_symbols(data, pos, path)
    if is_const:
        aligned = bool(flags & _IS_ALIGNED) or version == _ALIGNED_FILE_VERSION
        return FstContents(start, *_parse_const(data, pos, num_states, num_arcs, aligned, path), properties)
    return FstContents(start, *_parse_vector(data, pos, num_states), properties)


def _string(data: bytes, pos: int) -> tuple[bytes, int]:
    (size,) = struct.unpack_from("<i", data, pos)
    pos += 4
    if not 0 <= size <= len(data) - pos:
        raise IndexError
    return data[pos : pos + size], pos + size


def _skip_symbols(data: bytes, pos: int, path: str | Path) -> int:
    if struct.unpack_from("<i", data, pos)[0] != _SYMBOLS_MAGIC:
        raise DktError("the symbol table inside the FST is damaged", path=path)
    _, pos = _string(data, pos + 4)
    _, size = struct.unpack_from("<qq", data, pos)
    pos += 16
    for _ in range(size):
        _, pos = _string(data, pos)
        pos += 8
    return pos


_Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


def _parse_const(
    data: bytes, pos: int, num_states: int, num_arcs: int, aligned: bool, path: str | Path
) -> _Arrays:
    def take(dtype: np.dtype, count: int) -> np.ndarray:
        nonlocal pos
        pos += -pos % _ALIGNMENT if aligned else 0
        if not 0 <= count <= (len(data) - pos) // dtype.itemsize:
            raise IndexError
        values = np.frombuffer(data, dtype=dtype, count=count, offset=pos)
        pos += values.nbytes
        return values

    states = take(_CONST_STATE, num_states)
    arcs = take(ARC, num_arcs).copy()
    offsets = np.concatenate([[0], np.cumsum(states["narcs"], dtype=np.int64)])
    if offsets[-1] != num_arcs or (offsets[:-1] != states["pos"]).any():
        raise DktError("the arc counts of the FST do not add up", path=path)
    return states["final"].copy(), offsets, arcs


def _parse_vector(data: bytes, pos: int, num_states: int) -> _Arrays:
    # A state is its final cost, its number of arcs and the arcs: each begins where the one before ends.
    places: list[int] = []
    counts: list[int] = []
    begin = pos
    while len(places) < num_states or (num_states == _UNKNOWN_NUM_STATES and pos < len(data)):
        (count,) = struct.unpack_from("<q", data, pos + 4)
        if not 0 <= count <= (len(data) - pos - 12) // ARC.itemsize:
            raise IndexError
        places.append((pos - begin) // 4)
        counts.append(count)
        pos += 12 + ARC.itemsize * count
    words = np.frombuffer(data, dtype="<u4", count=(pos - begin) // 4, offset=begin)
    heads = np.array(places, dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(np.array(counts, dtype=np.int64))])
    return words[heads].view("<f4"), offsets, words[_is_arc(heads, len(words))].view(ARC)


def _is_arc(heads: np.ndarray, num_words: int) -> np.ndarray:
    """Which 4-byte words of a vector FST's states are arcs; three at the head of each state are not."""
    is_arc = np.ones(num_words, dtype=bool)
    is_arc[heads[:, None] + np.arange(3)] = False
    return is_arc


def _check(fst: FstContents, path: str | Path) -> None:
    num_states = len(fst.final)
    nextstate = fst.arcs["nextstate"]
    if not -1 <= fst.start < num_states or (
        len(nextstate) and not (nextstate.min() >= 0 and nextstate.max() < num_states)
    ):
        raise DktError(f"the FST names a state outside its {num_states} states", path=path)
    if len(fst.arcs) and min(fst.arcs["ilabel"].min(), fst.arcs["olabel"].min()) < 0:
        raise DktError("the FST has a negative label", path=path)
    if np.isnan(fst.arcs["weight"]).any() or np.isnan(fst.final).any():
        raise DktError("a weight of the FST is not a number", path=path)


def encode_openfst(fst: FstContents, fst_type: str) -> bytes:
    """The bytes of a file of type ``vector`` or ``const``, without padding, as Kaldi's tools write it."""
    if fst_type == "const":
        return _header(fst, b"const", _EXPANDED) + _const_body(fst)
    return _header(fst, b"vector", _EXPANDED | _MUTABLE) + _vector_body(fst)


def _header(fst: FstContents, fst_type: bytes, kind: int) -> bytes:
    properties = fst.properties & ~(_EXPANDED | _MUTABLE) | kind
    # OpenFst leaves the number of arcs of a vector FST at 0.
    num_arcs = 0 if kind & _MUTABLE else len(fst.arcs)
    return b"".join(
        [
            struct.pack("<ii", _FST_MAGIC, len(fst_type)) + fst_type,
            struct.pack("<i", 8) + b"standard",
            struct.pack(_HEADER, _FILE_VERSION, 0, properties, fst.start, len(fst.final), num_arcs),
        ]
    )


def _const_body(fst: FstContents) -> bytes:
    def count_epsilons(column: str) -> np.ndarray:
        so_far = np.concatenate([[0], np.cumsum(fst.arcs[column] == 0)])
        return so_far[fst.offsets[1:]] - so_far[fst.offsets[:-1]]

    states = np.empty(len(fst.final), dtype=_CONST_STATE)
    states["final"] = fst.final
    states["pos"] = fst.offsets[:-1]
    states["narcs"] = np.diff(fst.offsets)
    states["niepsilons"] = count_epsilons("ilabel")
    states["noepsilons"] = count_epsilons("olabel")
    return states.tobytes() + fst.arcs.tobytes()


def _vector_body(fst: FstContents) -> bytes:
    num_states, num_arcs = len(fst.final), len(fst.arcs)
    heads = 3 * np.arange(num_states) + 4 * fst.offsets[:-1]
    words = np.empty(3 * num_states + 4 * num_arcs, dtype="<u4")
    words[heads] = np.ascontiguousarray(fst.final, dtype="<f4").view("<u4")
    words[heads + 1] = np.diff(fst.offsets)
    words[heads + 2] = 0  # the upper half of the 8 bytes of a state's number of arcs
    words[_is_arc(heads, len(words))] = np.ascontiguousarray(fst.arcs).view("<u4")
    return words.tobytes()
