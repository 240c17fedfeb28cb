"""The search for raw lattices by the kernel in C++: what ``TokenPassing``, ``prune`` and ``collect`` find."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dkt.base.native import Kernel, load_kernel, owned, run_in_pieces
from dkt.decoder.search_errors import (
    TooManyLinksError,
    loop_without_frames,
    lost_in_rounding,
    negative_loop,
    no_final_state,
    no_path_left,
)
from dkt.decoder.search_graph import AcousticCosts, ArcSet, SearchGraph
from dkt.decoder.token_passing import Beams
from dkt.lat.raw_lattice import RawLattice

# With a * b + c rounded once, costs would not be those of NumPy.
_KERNEL = Kernel(
    Path(__file__).with_name("kernels") / "search.cpp",
    "lattices are searched by NumPy alone, which is slower",
    ("-O2", "-ffp-contract=off"),
    (("dkt_search_new", ctypes.c_void_p), ("dkt_search_num_taken", ctypes.c_int64)),
)
_NO_MEMORY, _NO_PATH_LEFT, _TOO_MANY_LINKS, _NEGATIVE_LOOP, _NO_FINAL, _LOOP, _LOST = range(-1, -8, -1)
# Frames taken by one call, a few hundredths of a second: signals are not heard meanwhile.
_FRAMES = 25


class _Arcs(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_void_p) for name in ("offsets", "weights", "nextstates", "ilabels", "olabels")
    )


class _Graph(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("start", "num_states")),
        *((name, ctypes.c_void_p) for name in ("final", "pdfs")),
        *((name, _Arcs) for name in ("emitting", "nonemitting")),
    )


class _Loglikes(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("num_frames", "num_pdfs")),
        *((name, ctypes.c_void_p) for name in ("singles", "doubles")),
        ("scale", ctypes.c_double),
    )


class _Settings(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_double) for name in ("beam", "lattice_beam", "beam_delta")),
        *(
            (name, ctypes.c_int64)
            for name in ("max_active", "min_active", "prune_interval", "max_links", "allow_partial")
        ),
    )


@dataclass(frozen=True)
class NativeSearch:
    """The kernel, and a graph as it reads it.

    Attributes:
        library: the compiled kernel.
        graph: pointers into ``arrays``, which are kept for that.
    """

    library: ctypes.CDLL
    graph: _Graph
    arrays: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, graph: SearchGraph) -> NativeSearch | None:
        """Lay out a graph; None where there is no kernel."""
        library = load_kernel(_KERNEL)
        if library is None:
            return None
        arrays: list[np.ndarray] = []

        def kept(array: np.ndarray, dtype: type) -> int:
            arrays.append(np.ascontiguousarray(array, dtype=dtype))
            return arrays[-1].ctypes.data

        def arcs(those: ArcSet) -> _Arcs:
            labels = (those.nextstates, those.ilabels, those.olabels)
            return _Arcs(
                kept(those.offsets, np.int64),
                kept(those.weights, np.float64),
                *(kept(label, np.int32) for label in labels),
            )

        places = (kept(graph.final, np.float64), kept(graph.pdfs, np.int32))
        sizes = (graph.start, len(graph.final))
        laid_out = _Graph(*sizes, *places, arcs(graph.emitting), arcs(graph.nonemitting))
        return cls(library, laid_out, tuple(arrays))


def find_raw(
    native: NativeSearch, acoustic: AcousticCosts, beams: Beams, max_links: int, allow_partial: bool
) -> tuple[RawLattice, bool]:
    """The raw lattice of one utterance, and whether a path ends in a final state.

    Args:
        native: of the graph.
        acoustic: of the utterance.
        beams: how widely to search, and how much to keep.
        max_links: arcs held at once.
        allow_partial: take every last state for a final one if no path ends in one.

    Raises:
        NoPathError, DktError: as ``LatticeSearcher.search``.
        TooManyLinksError: there are more arcs.
        MemoryError: there is no more memory.
    """
    library = native.library
    is_single = acoustic.loglikes.dtype == np.float32
    scores = np.ascontiguousarray(acoustic.loglikes, dtype=np.float32 if is_single else np.float64)
    pointers = (scores.ctypes.data, None) if is_single else (None, scores.ctypes.data)
    loglikes = _Loglikes(*scores.shape, *pointers, acoustic.scale)
    settings = _Settings(
        *(beams.beam, beams.lattice_beam, beams.beam_delta),
        *(beams.max_active, beams.min_active, beams.prune_interval, max_links, allow_partial),
    )
    made = library.dkt_search_new(ctypes.byref(native.graph), ctypes.byref(loglikes), ctypes.byref(settings))
    with owned(made, library.dkt_search_free) as search:
        status = run_in_pieces(lambda: library.dkt_search_advance(search, ctypes.c_int64(_FRAMES)))
        if status < 0:
            raise _error(status, library.dkt_search_num_taken(search))
        return _taken(library, search)


def _error(status: int, num_frames: int) -> Exception:
    return {
        _NO_PATH_LEFT: no_path_left(num_frames),
        _TOO_MANY_LINKS: TooManyLinksError(),
        _NEGATIVE_LOOP: negative_loop(),
        _NO_FINAL: no_final_state(),
        _LOOP: loop_without_frames(),
        _LOST: lost_in_rounding(),
        _NO_MEMORY: MemoryError(),
    }[status]


def _taken(library: ctypes.CDLL, search: ctypes.c_void_p) -> tuple[RawLattice, bool]:
    """What the kernel has found."""
    sizes = np.empty(5, dtype=np.int64)
    library.dkt_search_sizes(search, ctypes.c_void_p(sizes.ctypes.data))
    num_states, num_arcs, num_layers, start, reached_final = sizes.tolist()
    layers = np.empty(num_layers, dtype=np.int64)
    alpha, final = (np.empty(num_states) for _ in range(2))
    labels = [np.empty(num_arcs, dtype=np.int32) for _ in range(4)]
    costs = [np.empty(num_arcs) for _ in range(2)]
    arrays: tuple[np.ndarray, ...] = (layers, alpha, final, *labels, *costs)
    library.dkt_search_copy(search, *(ctypes.c_void_p(array.ctypes.data) for array in arrays))
    return RawLattice(start, *arrays), bool(reached_final)
