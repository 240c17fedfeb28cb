"""Lattices to binary: the form is that of ``dkt.lat.binary``."""

from __future__ import annotations

import struct

import numpy as np

from dkt.lat.binary import LATTICE_HEADER, MAGIC, VERSION
from dkt.lat.lattice import CompactLattice, Lattice, joined, lengths_of

# OpenFst's property bits (``properties.h``): what is so, and beside it what is not.
_EXPANDED_AND_MUTABLE = 0x3
_ACCEPTOR, _NOT_ACCEPTOR = 1 << 16, 1 << 17
_EPSILONS, _NO_EPSILONS = 1 << 22, 1 << 23
_IEPSILONS, _NO_IEPSILONS = 1 << 24, 1 << 25
_OEPSILONS, _NO_OEPSILONS = 1 << 26, 1 << 27
_WEIGHTED, _UNWEIGHTED = 1 << 32, 1 << 33


def encode_compact_lattice(lattice: CompactLattice) -> bytes:
    """The bytes of a compact lattice, single precision, as Kaldi's binary form has them."""
    sizes, final_sizes = lengths_of(lattice.strings), lengths_of(lattice.final_strings)
    words = _Words(lattice, 5 + final_sizes, 6 + sizes)
    words.put(words.heads, lattice.final_graph, lattice.final_acoustic, final_sizes)
    words.put_strings(words.heads + 3, joined(lattice.final_strings), final_sizes)
    words.put(words.heads + 3 + final_sizes, np.diff(lattice.offsets), 0)
    costs = lattice.graph_costs, lattice.acoustic_costs
    words.put(words.arcs, lattice.labels, lattice.labels, *costs, sizes)
    words.put_strings(words.arcs + 5, joined(lattice.strings), sizes)
    words.put(words.arcs + 5 + sizes, lattice.nextstates)
    weighted = _weighted(lattice) or bool(sizes.any() or final_sizes.any())
    header = _header(lattice, b"compactlattice44", _properties(lattice.labels, lattice.labels, weighted))
    return header + words.to_bytes()


def encode_state_level_lattice(lattice: Lattice) -> bytes:
    """The bytes of a state-level lattice, single precision, as Kaldi's binary form has them."""
    words = _Words(lattice, np.full(lattice.num_states, 4), np.full(lattice.num_arcs, 5))
    words.put(words.heads, lattice.final_graph, lattice.final_acoustic, np.diff(lattice.offsets), 0)
    costs = lattice.graph_costs, lattice.acoustic_costs
    words.put(words.arcs, lattice.ilabels, lattice.olabels, *costs, lattice.nextstates)
    properties = _properties(lattice.ilabels, lattice.olabels, _weighted(lattice))
    return _header(lattice, b"lattice4", properties) + words.to_bytes()


def _header(lattice: Lattice | CompactLattice, arc_type: bytes, properties: int) -> bytes:
    names = (struct.pack("<i", len(name)) + name for name in (b"vector", arc_type))
    # OpenFst leaves the number of arcs at 0.
    counts = LATTICE_HEADER.pack(VERSION, 0, properties, lattice.start, lattice.num_states, 0)
    return b"".join((MAGIC, *names, counts))


def _weighted(lattice: Lattice | CompactLattice) -> bool:
    final = np.array([lattice.final_graph, lattice.final_acoustic])[:, lattice.is_final]
    return bool(lattice.graph_costs.any() or lattice.acoustic_costs.any() or final.any())


def _properties(ilabels: np.ndarray, olabels: np.ndarray, weighted: bool) -> int:
    """The bits that OpenFst knows of a lattice whose costs were scaled last, as those of a search are."""

    def either(so: bool | np.bool_, yes: int, no: int) -> int:
        return yes if so else no

    no_input, no_output = ilabels == 0, olabels == 0
    return (
        _EXPANDED_AND_MUTABLE
        | either((ilabels == olabels).all(), _ACCEPTOR, _NOT_ACCEPTOR)
        | either((no_input & no_output).any(), _EPSILONS, _NO_EPSILONS)
        | either(no_input.any(), _IEPSILONS, _NO_IEPSILONS)
        | either(no_output.any(), _OEPSILONS, _NO_OEPSILONS)
        | either(weighted, _WEIGHTED, _UNWEIGHTED)
    )


class _Words:
    """The words of 4 bytes of all states and arcs.

    Args:
        lattice: for the arcs of each state.
        head_sizes, arc_sizes: how many words each state's head and each arc takes; shape ``(S,)``, ``(A,)``.
    """

    def __init__(
        self, lattice: Lattice | CompactLattice, head_sizes: np.ndarray, arc_sizes: np.ndarray
    ) -> None:
        heads = np.concatenate([[0], np.cumsum(head_sizes)])
        arcs = np.concatenate([[0], np.cumsum(arc_sizes)])
        self.heads = heads[:-1] + arcs[lattice.offsets[:-1]]
        self.arcs = heads[1:][lattice.sources] + arcs[:-1]
        self._words = np.empty(heads[-1] + arcs[-1], dtype="<i4")

    def put(self, places: np.ndarray, *columns: np.ndarray | int) -> None:
        """Put columns side by side, the first at ``places``; floating-point numbers as their bits."""
        for step, column in enumerate(columns):
            is_real = isinstance(column, np.ndarray) and column.dtype.kind == "f"
            self._words[places + step] = np.float32(column).view("<i4") if is_real else column

    def put_strings(self, places: np.ndarray, ids: np.ndarray, sizes: np.ndarray) -> None:
        before = np.cumsum(sizes) - sizes
        self._words[np.repeat(places - before, sizes) + np.arange(len(ids))] = ids

    def to_bytes(self) -> bytes:
        return self._words.tobytes()
