"""Small random graphs, every path through them by brute force, and searches of them for lattices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pytest

from dkt.decoder.lattice_decoder import LatticeSearcher
from dkt.decoder.lattice_generation import LatticeGenerator
from dkt.decoder.token_passing import Beams
from dkt.fstext.fst import ARC, FstArrays
from dkt.lat.lattice import CompactLattice, Lattice
from dkt.lat.raw_lattice import RawLattice
from tests.lattices import all_paths

NUM_TIDS = 6
ID2PDF = np.array([-1, 0, 1, 2, 0, 1, 2])
WIDE = 1e4
SCALE = 0.5
Path = tuple[tuple[int, ...], tuple[int, ...], float, float]


def random_graph(rng: np.random.Generator, num_states: int = 6, num_arcs: int = 16) -> FstArrays:
    """Arcs with and without a frame or a word; those without a frame lead to higher states: no cycles."""
    arcs = np.zeros(num_arcs, dtype=ARC)
    sources = rng.integers(0, num_states - 1, num_arcs)
    sources[0] = 0
    arcs["ilabel"] = rng.integers(1, NUM_TIDS + 1, num_arcs) * (rng.random(num_arcs) < 0.7)
    arcs["ilabel"][0] = 1
    arcs["olabel"] = rng.integers(1, 4, num_arcs) * (rng.random(num_arcs) < 0.5)
    # Weights that are no multiples of one another: no two paths cost the same.
    arcs["weight"] = rng.normal(size=num_arcs) ** 2
    emits = arcs["ilabel"] != 0
    arcs["nextstate"] = np.where(emits, rng.integers(0, num_states, num_arcs), sources + 1)
    final = np.where(rng.random(num_states) < 0.4, rng.random(num_states), np.inf)
    final[-1] = 0.5
    return FstArrays.from_arcs(0, final, sources, arcs)


def case_with_a_path(seed: int, partial: bool = False) -> tuple[FstArrays, np.ndarray]:
    """A graph, without final states if ``partial``, and log-likelihoods that some path takes."""
    rng = np.random.default_rng(seed)
    while True:
        graph, loglikes = random_graph(rng), rng.normal(size=(5, 3)).astype(np.float32)
        if partial:
            no_finals = np.full_like(graph.final, np.inf)
            graph = FstArrays(graph.start, no_finals, graph.offsets, graph.arcs)
        if next(paths_of(graph, loglikes, partial), None):
            return graph, loglikes


def paths_of(graph: FstArrays, loglikes: np.ndarray, partial: bool = False) -> Iterator[Path]:
    """Words, transition-ids, graph and acoustic cost of every path over all frames."""

    leaving = [
        graph.arcs[begin:end].tolist() for begin, end in zip(graph.offsets, graph.offsets[1:], strict=False)
    ]
    scores = (SCALE * loglikes.astype(np.float64)).tolist()

    def walk(
        state: int, t: int, words: tuple, tids: tuple, graph_cost: float, acoustic: float
    ) -> Iterator[Path]:
        final = 0.0 if partial else float(graph.final[state])
        if t == len(loglikes) and np.isfinite(final):
            yield words, tids, graph_cost + final, acoustic
        for ilabel, olabel, weight, target in leaving[state]:
            emits = int(ilabel != 0)
            if t + emits <= len(loglikes):
                yield from walk(
                    target,
                    t + emits,
                    words + ((olabel,) if olabel else ()),
                    tids + ((ilabel,) if emits else ()),
                    graph_cost + weight,
                    acoustic - (scores[t][ID2PDF[ilabel]] if emits else 0.0),
                )

    yield from walk(graph.start, 0, (), (), 0.0, 0.0)


def best_by_words(paths: Iterator[Path], beam: float) -> dict[tuple[int, ...], Path]:
    """The best path of every sequence of words, but for those worse than the best by the beam."""
    best: dict[tuple[int, ...], Path] = {}
    for path in paths:
        if path[0] not in best or sum(path[2:]) < sum(best[path[0]][2:]):
            best[path[0]] = path
    limit = min((sum(path[2:]) for path in best.values()), default=0.0) + beam
    return {words: path for words, path in best.items() if sum(path[2:]) <= limit}


def cheapest(paths: Iterable[Path]) -> dict[tuple, Path]:
    """The best of the paths with the same words and transition-ids."""
    return {path[:2]: path for path in sorted(paths, key=lambda path: -sum(path[2:]))}


def lattice_paths(lattice: CompactLattice | Lattice) -> list[Path]:
    """The paths of a written lattice, with acoustic costs scaled again."""
    return [(tuple(w), tuple(t), g, SCALE * a) for w, t, g, a in all_paths(lattice)]


def assert_paths(found: dict[tuple[int, ...], Path], expected: dict[tuple[int, ...], Path]) -> None:
    for words, path in expected.items():
        assert found[words][1] == path[1]
        assert found[words][2:] == pytest.approx(path[2:], abs=1e-4)


def search(graph: FstArrays, loglikes: np.ndarray, beam: float, **options: bool) -> CompactLattice | Lattice:
    beams = Beams(beam=WIDE, lattice_beam=beam, min_active=0, prune_interval=2)
    searcher = LatticeSearcher(graph, ID2PDF, beams, SCALE, allow_partial=options.pop("partial", False))
    return LatticeGenerator(searcher, **options).search(loglikes).lattice


def raw_lattice(rows: list[tuple], layers: list[int], alpha: list[float]) -> RawLattice:
    """Of arcs (source, target, transition-id, word, graph cost, acoustic cost); the last state is final."""
    sources, targets, ilabels, olabels, graph, acoustic = map(np.array, zip(*rows, strict=True))
    final = np.where(np.arange(len(alpha)) == len(alpha) - 1, 0.0, np.inf)
    columns = (sources, targets, ilabels, olabels, graph, acoustic)
    return RawLattice(0, np.array(layers), np.array(alpha), final, *columns)
