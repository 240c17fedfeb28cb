"""Small lattices for tests, and every path of them by brute force."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from dkt.lat.io import read_state_level_lattice
from dkt.lat.lattice import CompactLattice, Lattice
from dkt.util.table import read_table

FIELDS = ("start", "offsets", "graph_costs", "acoustic_costs", "nextstates", "final_graph", "final_acoustic")


def compact_lattice(
    arcs: list[tuple[int, int, int, float, float, list[int]]],
    finals: dict[int, tuple[float, float, list[int]]],
    num_states: int,
    start: int = 0,
) -> CompactLattice:
    """Of arcs (source, target, word, graph cost, acoustic cost, string) and finals; arcs sorted by source."""
    sources, targets, words, graph, acoustic, strings = zip(*arcs, strict=True) if arcs else [()] * 6
    nothing = (np.inf, np.inf, [])
    final = [finals.get(state, nothing) for state in range(num_states)]
    return CompactLattice(
        start=start,
        offsets=np.searchsorted(np.array(sources, dtype=np.int64), np.arange(num_states + 1)),
        labels=np.array(words, dtype=np.int32),
        graph_costs=np.array(graph, dtype=np.float32),
        acoustic_costs=np.array(acoustic, dtype=np.float32),
        strings=[np.array(string, dtype=np.int32) for string in strings],
        nextstates=np.array(targets, dtype=np.int32),
        final_graph=np.array([cost[0] for cost in final], dtype=np.float32),
        final_acoustic=np.array([cost[1] for cost in final], dtype=np.float32),
        final_strings=[np.array(cost[2], dtype=np.int32) for cost in final],
    )


def random_lattice(rng: np.random.Generator, num_words: int = 4) -> CompactLattice:
    """A few states at times of their own, arcs forward with as many transition-ids as time goes by."""
    num_states = int(rng.integers(3, 7))
    times = np.concatenate([[0], np.sort(rng.integers(1, 9, num_states - 1))])
    # The numbering need not be topological: a start that is not 0 and arcs to lower numbers occur.
    number = rng.permutation(num_states)
    arcs = []
    for source, target in ((s, t) for s in range(num_states) for t in range(s + 1, num_states)):
        for _ in range(int(rng.integers(0, 3)) if target > source + 1 else 1):
            ids = rng.integers(1, 9, times[target] - times[source]).tolist()
            word = int(rng.integers(0, num_words + 1))
            arcs.append((int(number[source]), int(number[target]), word, *rng.normal(size=2).tolist(), ids))
    finals = {}
    for state in {num_states - 1, *rng.choice(num_states, 2).tolist()}:
        ids = rng.integers(1, 9, times[-1] + 1 - times[state]).tolist()
        finals[int(number[state])] = (*rng.normal(size=2).tolist(), ids)
    return compact_lattice(sorted(arcs, key=lambda arc: arc[0]), finals, num_states, int(number[0]))


def all_paths(lattice: CompactLattice | Lattice) -> Iterator[tuple[list[int], list[int], float, float]]:
    """Words, transition-ids, graph and acoustic cost of every path."""
    if isinstance(lattice, Lattice):
        words, strings = lattice.olabels, [[label] if label else [] for label in lattice.ilabels.tolist()]
        final_strings: list = [[]] * lattice.num_states
    else:
        words, strings, final_strings = lattice.labels, lattice.strings, lattice.final_strings
    ranges = list(pairwise(lattice.offsets.tolist()))

    def walk(state: int, path: tuple[list[int], list[int], float, float]) -> Iterator:
        if np.isfinite(lattice.final_graph[state]):
            yield (
                path[0],
                [*path[1], *map(int, final_strings[state])],
                path[2] + float(lattice.final_graph[state]),
                path[3] + float(lattice.final_acoustic[state]),
            )
        for arc in range(*ranges[state]):
            yield from walk(
                int(lattice.nextstates[arc]),
                (
                    [*path[0], *([int(words[arc])] if words[arc] else [])],
                    [*path[1], *map(int, strings[arc])],
                    path[2] + float(lattice.graph_costs[arc]),
                    path[3] + float(lattice.acoustic_costs[arc]),
                ),
            )

    if lattice.start >= 0:
        yield from walk(lattice.start, ([], [], 0.0, 0.0))


def assert_same(one: CompactLattice | Lattice, other: CompactLattice | Lattice, rtol: float = 0.0) -> None:
    """The two are of one kind and agree in everything, costs to ``rtol``."""
    assert type(one) is type(other)
    for name in FIELDS:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=rtol, err_msg=name)
    if isinstance(one, Lattice):
        assert one.ilabels.tolist() == other.ilabels.tolist()
        assert one.olabels.tolist() == other.olabels.tolist()
        return
    assert one.labels.tolist() == other.labels.tolist()
    for strings in ("strings", "final_strings"):
        pairs = zip(getattr(one, strings), getattr(other, strings), strict=True)
        assert all(a.tolist() == b.tolist() for a, b in pairs), strings


def read_state_level_lattices(rspecifier: str) -> Iterator[tuple[str, Lattice]]:
    """Read a table of lattices of either kind one by one, as state-level ones."""
    return read_table(read_state_level_lattice, rspecifier)
