"""Determinisation by the kernel in C++: the same lattices as ``close_words`` and ``determinize`` make."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np

from dkt.base.native import Kernel, load_kernel, owned, run_in_pieces
from dkt.lat.determinize import DELTA, PLACE_BYTES, Determinized, determinize
from dkt.lat.lattice import CompactLattice, parted
from dkt.lat.raw_lattice import RawLattice
from dkt.lat.word_closure import MAX_WAYS, TID_BYTES, TOLERANCE, TooManyWaysError, close_words

#: With a * b + c rounded once, costs would not be those of NumPy.
_KERNEL = Kernel(
    Path(__file__).with_name("kernels") / "determinize.cpp",
    "lattices are determinised by NumPy alone, which is slower",
    ("-O2", "-ffp-contract=off"),
    (("dkt_determinize_new", ctypes.c_void_p), ("dkt_determinize_beam", ctypes.c_double)),
)
_NO_MEMORY, _TOO_MANY_WAYS = -1, -2
# Ways looked at by one call, a tenth of a second: signals are not heard meanwhile.
_WORK = 2_000_000
# Numbers of ways are int32 in the kernel.
_MOST_WAYS = 2**31 - 1
_MOST_BYTES = 2**62


class _Raw(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("start", "num_states", "num_arcs")),
        *((name, ctypes.c_void_p) for name in ("sources", "targets", "ilabels", "olabels")),
        *((name, ctypes.c_void_p) for name in ("graph", "acoustic", "alpha", "final")),
    )


class _Settings(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_double) for name in ("beam", "tolerance", "delta")),
        *((name, ctypes.c_int64) for name in ("max_mem", "max_ways", "place_bytes", "tid_bytes")),
    )


def determinize_raw(
    lattice: RawLattice, beam: float, max_mem: int = 0, max_ways: int = MAX_WAYS
) -> Determinized:
    """Determinise a raw lattice; without a compiler by ``close_words`` and ``determinize``.

    Args:
        lattice: what was found of an utterance.
        beam: paths worse than the best by more than this are left out.
        max_mem, max_ways: as of ``determinize`` and ``close_words``.

    Raises:
        TooManyWaysError: there are more ways between words.
        MemoryError: there is no more memory.
    """
    library = load_kernel(_KERNEL)
    if library is None:
        return determinize(close_words(lattice, beam, max_ways), beam, max_mem)
    return _determinize(library, lattice, beam, max_mem, max_ways)


def _determinize(
    library: ctypes.CDLL, lattice: RawLattice, beam: float, max_mem: int, max_ways: int
) -> Determinized:
    labels = ("sources", "targets", "ilabels", "olabels")
    costs = ("graph_costs", "acoustic_costs", "alpha", "final")
    # Held until the work is done: the kernel reads where they are.
    arrays = [np.ascontiguousarray(getattr(lattice, name), dtype=np.int32) for name in labels]
    arrays += [np.ascontiguousarray(getattr(lattice, name), dtype=np.float64) for name in costs]
    sizes = (lattice.start, lattice.num_states, len(lattice.sources))
    raw = _Raw(*sizes, *(array.ctypes.data for array in arrays))
    settings = _Settings(
        beam, TOLERANCE, DELTA, min(max_mem, _MOST_BYTES), min(max_ways, _MOST_WAYS), PLACE_BYTES, TID_BYTES
    )
    made = library.dkt_determinize_new(ctypes.byref(raw), ctypes.byref(settings))
    with owned(made, library.dkt_determinize_free) as handle:
        status = run_in_pieces(lambda: library.dkt_determinize_advance(handle, ctypes.c_int64(_WORK)))
        if status == _TOO_MANY_WAYS:
            raise TooManyWaysError(f"more than {max_ways} ways between words")
        if status == _NO_MEMORY:
            raise MemoryError
        return Determinized(_taken(library, handle), library.dkt_determinize_beam(handle))


def _taken(library: ctypes.CDLL, handle: ctypes.c_void_p) -> CompactLattice:
    """What the kernel has made."""
    sizes = np.empty(4, dtype=np.int64)
    library.dkt_determinize_sizes(handle, ctypes.c_void_p(sizes.ctypes.data))
    states, arcs, tids, final_tids = sizes.tolist()
    offsets = np.empty(states + 1, dtype=np.int64)
    labels, nextstates = (np.empty(arcs, dtype=np.int32) for _ in range(2))
    graph, acoustic = (np.empty(arcs, dtype=np.float32) for _ in range(2))
    final_graph, final_acoustic = (np.empty(states, dtype=np.float32) for _ in range(2))
    lengths, final_lengths = (np.empty(size, dtype=np.int64) for size in (arcs, states))
    ids, final_ids = (np.empty(size, dtype=np.int32) for size in (tids, final_tids))
    arrays = (offsets, labels, graph, acoustic, nextstates, lengths, ids)
    finals = (final_graph, final_acoustic, final_lengths, final_ids)
    library.dkt_determinize_copy(handle, *(ctypes.c_void_p(a.ctypes.data) for a in (*arrays, *finals)))
    return CompactLattice(
        start=0 if states else -1,
        offsets=offsets,
        labels=labels,
        graph_costs=graph,
        acoustic_costs=acoustic,
        strings=parted(ids, lengths),
        nextstates=nextstates,
        final_graph=final_graph,
        final_acoustic=final_acoustic,
        final_strings=parted(final_ids, final_lengths),
    )
