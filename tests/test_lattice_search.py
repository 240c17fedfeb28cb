"""Lattices of small random graphs against every path there is, and the bounds of the search."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

import numpy as np
import pytest

from dkt.errors import DktError
from dkt.hmm.determinize import determinize
from dkt.hmm.fst import ARC, FstArrays
from dkt.hmm.grouping import best_of_each, expand
from dkt.hmm.lattice import CompactLattice, Lattice
from dkt.hmm.lattice_generation import LatticeGenerator
from dkt.hmm.lattice_search import LatticeSearcher
from dkt.hmm.raw_lattice import RawLattice
from dkt.hmm.searching import NoPathError
from dkt.hmm.token_passing import Beams
from dkt.hmm.word_closure import close_words
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


@pytest.mark.parametrize("seed", range(40))
def test_a_lattice_has_the_best_path_of_every_word_sequence_within_the_beam(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph, loglikes = random_graph(rng), rng.normal(size=(5, 3)).astype(np.float32)
    beam = float(rng.uniform(0.5, 4.0))
    expected = best_by_words(paths_of(graph, loglikes), beam)
    if not expected:
        with pytest.raises(NoPathError, match=r"no path"):
            search(graph, loglikes, beam)
        return
    lattice = search(graph, loglikes, beam)
    found = lattice_paths(lattice)
    assert len({path[0] for path in found}) == len(found), "a sequence of words stands twice"
    assert_paths({path[0]: path for path in found}, expected)
    assert isinstance(lattice, CompactLattice) and (lattice.labels != 0).all()
    # What lies outside the beam may be put together from arcs within it, but must be what it says.
    everything = best_by_words(paths_of(graph, loglikes), WIDE)
    assert_paths(everything, {path[0]: path for path in found})


@pytest.mark.parametrize("seed", range(10))
def test_a_state_level_lattice_has_every_path_within_the_beam(seed: int) -> None:
    graph, loglikes = case_with_a_path(100 + seed)
    paths = cheapest(paths_of(graph, loglikes))
    best = min(sum(path[2:]) for path in paths.values())
    lattice = search(graph, loglikes, 2.0, determinized=False)
    assert isinstance(lattice, Lattice)
    found = cheapest(lattice_paths(lattice))
    within = {key for key, path in paths.items() if sum(path[2:]) <= best + 2.0}
    assert within <= set(found) <= set(paths)
    for key in within:
        assert found[key][2:] == pytest.approx(paths[key][2:], abs=1e-4)


@pytest.mark.parametrize("seed", range(10))
def test_without_a_final_state_every_last_state_is_one_if_allowed(seed: int) -> None:
    graph, loglikes = case_with_a_path(200 + seed, partial=True)
    expected = best_by_words(paths_of(graph, loglikes, partial=True), 1.0)
    with pytest.raises(NoPathError, match="no path reached a final state"):
        search(graph, loglikes, 1.0)
    assert_paths({p[0]: p for p in lattice_paths(search(graph, loglikes, 1.0, partial=True))}, expected)


def test_memory_that_runs_out_narrows_the_beam_and_no_more() -> None:
    for seed in range(5):
        rng = np.random.default_rng(300 + seed)
        graph, loglikes = random_graph(rng, 7, 24), rng.normal(size=(5, 3)).astype(np.float32)
        beams = Beams(beam=WIDE, lattice_beam=6.0, min_active=0)
        raw = LatticeSearcher(graph, ID2PDF, beams, SCALE).search(loglikes).lattice
        closure = close_words(raw, 6.0)
        whole = determinize(closure, 6.0)
        part = determinize(closure, 6.0, max_mem=2500)
        assert whole.beam == 6.0 > part.beam >= 0.0
        assert part.lattice.num_arcs < whole.lattice.num_arcs
        found = {tuple(path[0]) for path in all_paths(part.lattice)}
        expected = best_by_words(paths_of(graph, loglikes), part.beam - 1e-6)
        assert set(expected) <= found <= {tuple(path[0]) for path in all_paths(whole.lattice)}


def test_a_generator_that_runs_out_of_memory_says_so(caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(300)
    graph, loglikes = random_graph(rng, 7, 24), rng.normal(size=(5, 3)).astype(np.float32)
    searcher = LatticeSearcher(graph, ID2PDF, Beams(beam=WIDE, lattice_beam=6.0, min_active=0), SCALE)
    with caplog.at_level(logging.WARNING):
        result = LatticeGenerator(searcher, max_mem=2500).search(loglikes)
    assert 0.0 < result.beam < 6.0
    assert f"the lattice is whole within a beam of {result.beam:.2f}, not 6" in caplog.text
    best = min(paths_of(graph, loglikes), key=lambda path: sum(path[2:]))
    assert tuple(result.words) == best[0] and tuple(result.alignment.tolist()) == best[1]
    assert result.loglike == pytest.approx(-sum(best[2:]), abs=1e-5)


def test_a_search_that_holds_too_many_arcs_backs_off(caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(7)
    graph, loglikes = random_graph(rng, 8, 40), rng.normal(size=(30, 3)).astype(np.float32)
    beams = Beams(beam=40.0, lattice_beam=30.0, min_active=0)
    free = LatticeSearcher(graph, ID2PDF, beams, SCALE).search(loglikes)
    bounded = LatticeSearcher(graph, ID2PDF, beams, SCALE, max_links=300)
    with caplog.at_level(logging.WARNING):
        found = bounded.search(loglikes)
    assert "the search held more than 300 arcs: beams 30 and 22.5 instead of 40 and 30" in caplog.text
    assert found.lattice_beam < 30.0 and len(found.lattice.sources) < len(free.lattice.sources)
    paths = [lattice.ilabels[lattice.best_path()].tolist() for lattice in (found.lattice, free.lattice)]
    assert paths[0] == paths[1]


def test_the_cutoff_is_that_of_kaldi() -> None:
    costs = np.array([5.0, 1.0, 2.0, 9.0, 3.0])
    assert Beams(beam=3.5, max_active=10, min_active=2).cutoff(costs) == (4.5, 3.5)
    # Too many within the beam: the next best cost after max_active, and half a unit more for the next frame.
    assert Beams(beam=3.5, max_active=2, min_active=1).cutoff(costs) == (3.0, 2.5)
    # Too few: min_active of them, and the one after.
    assert Beams(beam=0.5, max_active=10, min_active=2).cutoff(costs) == (3.0, 2.5)
    assert Beams(beam=0.5, max_active=10, min_active=0).cutoff(costs) == (1.5, 0.5)
    # Fewer tokens than min_active: all go on.
    assert Beams(beam=0.5, max_active=10, min_active=5).cutoff(costs)[0] >= 9.0


def test_beams_bound_the_tokens() -> None:
    rng = np.random.default_rng(3)
    graph, loglikes = random_graph(rng, 12, 80), rng.normal(size=(10, 3)).astype(np.float32)

    def size(**beams: float) -> int:
        settings = Beams(lattice_beam=WIDE, **beams)  # type: ignore[arg-type]
        return LatticeSearcher(graph, ID2PDF, settings, SCALE).search(loglikes).lattice.num_states

    assert size(beam=0.5, min_active=0) < size(beam=2.0, min_active=0) < size(beam=WIDE)
    assert size(beam=0.5, min_active=0) < size(beam=0.5, min_active=6)
    assert size(beam=WIDE, max_active=3, min_active=0) < size(beam=WIDE)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beam": 0.0}, "--beam is 0.0"),
        ({"lattice_beam": -1.0}, "--lattice-beam is -1.0"),
        ({"beam": float("nan")}, "--beam is nan"),
        ({"max_active": 10, "min_active": 11}, "--max-active is 10 and --min-active 11"),
        ({"prune_interval": 0}, "--prune-interval is 0"),
    ],
)
def test_impossible_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(DktError, match=message):
        Beams(**settings)


def test_a_cycle_without_frames_that_costs_less_than_nothing_is_found() -> None:
    arcs = np.array([(1, 1, 0.0, 1), (0, 0, -1.0, 2), (0, 0, 0.5, 1)], dtype=ARC)
    graph = FstArrays.from_arcs(0, [np.inf, 0.0, np.inf], [0, 1, 2], arcs)
    with pytest.raises(DktError, match="loop of arcs without frames whose cost is negative"):
        search(graph, np.zeros((1, 3), dtype=np.float32), 1.0)


def test_ranges_and_groups() -> None:
    owners, members = expand(np.array([3, 5, 5]), np.array([5, 5, 8]))
    assert owners.tolist() == [0, 0, 2, 2, 2] and members.tolist() == [3, 4, 5, 6, 7]
    rows = best_of_each(np.array([1, 0, 1, 1, 0]), np.array([2, 2, 0, 2, 2]), np.array([3.0, 1, 5, 2, 1]))
    # Of equal costs the first row.
    assert rows.tolist() == [1, 2, 3]
    assert best_of_each(*(np.empty(0, dtype=int),) * 2, np.empty(0)).tolist() == []


def test_a_loop_without_frames_is_refused_as_kaldi_refuses_it() -> None:
    arcs = np.array([(1, 1, 0.0, 1), (0, 0, 0.0, 2), (0, 0, 0.5, 1), (1, 2, 0.1, 2)], dtype=ARC)
    graph = FstArrays.from_arcs(0, [np.inf, np.inf, 0.0], [0, 1, 2, 2], arcs)
    with pytest.raises(DktError, match="loop of arcs without frames"):
        search(graph, np.zeros((3, 3), dtype=np.float32), 8.0)


def raw_lattice(rows: list[tuple], layers: list[int], alpha: list[float]) -> RawLattice:
    """Of arcs (source, target, transition-id, word, graph cost, acoustic cost); the last state is final."""
    sources, targets, ilabels, olabels, graph, acoustic = map(np.array, zip(*rows, strict=True))
    final = np.where(np.arange(len(alpha)) == len(alpha) - 1, 0.0, np.inf)
    columns = (sources, targets, ilabels, olabels, graph, acoustic)
    return RawLattice(0, np.array(layers), np.array(alpha), final, *columns)


def test_ways_that_differ_in_what_lies_behind_them_meet() -> None:
    """What all strings of a set begin with goes onto the arc, and words 1 3 and 2 3 lead to one state."""
    rows = [
        *((0, 1, 9, 1, 0.0, 0.0), (0, 2, 9, 2, 0.5, 0.0), (1, 3, 31, 3, 0.0, 0.0), (2, 3, 32, 3, 0.0, 0.0)),
        *((3, 4, 21, 0, 0.0, 0.0), (3, 5, 22, 0, 0.0, 1.0), (4, 6, 41, 5, 0.0, 0.0), (5, 6, 42, 6, 0.0, 0.0)),
    ]
    raw = raw_lattice(rows, [0, 1, 3, 4, 6, 7], [0.0, 0.0, 0.5, 0.0, 0.0, 1.0, 0.0])
    lattice = determinize(close_words(raw, 10.0), 10.0).lattice
    assert sorted(all_paths(lattice)) == sorted(all_paths(raw.to_lattice()))
    assert (lattice.num_states, lattice.num_arcs) == (5, 6)


@pytest.mark.parametrize("seed", range(5))
def test_how_often_a_search_prunes_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(500 + seed)
    graph, loglikes = random_graph(rng, 8, 30), rng.normal(size=(25, 3)).astype(np.float32)

    def found(prune_interval: int) -> tuple:
        beams = Beams(beam=WIDE, lattice_beam=2.0, min_active=0, prune_interval=prune_interval)
        raw = LatticeSearcher(graph, ID2PDF, beams, SCALE, allow_partial=True).search(loglikes).lattice
        return raw.num_states, sorted(zip(raw.ilabels, raw.olabels, raw.graph_costs.round(6), strict=True))

    assert found(2) == found(3) == found(100)


def test_costs_of_equal_sums_keep_their_parts() -> None:
    """Sets of places that are equal in sums of costs, but not in their parts, are of different strings."""
    rows = [
        *((0, 1, 1, 1, 0.0, 0.0), (0, 2, 2, 1, 1.0, 0.0), (0, 3, 3, 2, 0.5, 0.0), (0, 4, 4, 2, 0.5, 1.0)),
        *((1, 5, 11, 0, 0.0, 0.0), (3, 5, 13, 0, 0.0, 0.0), (2, 6, 12, 0, 0.0, 0.0), (4, 6, 14, 0, 0.0, 0.0)),
        *((5, 7, 21, 3, 0.0, 0.0), (6, 8, 22, 3, 0.0, 0.0), (7, 9, 31, 5, 0.0, 0.0), (8, 9, 32, 6, 0.0, 0.0)),
    ]
    raw = raw_lattice(rows, [0, 1, 5, 7, 9, 10], [0.0, 0.0, 1.0, 0.5, 1.5, 0.0, 1.0, 0.0, 1.0, 0.0])
    found = sorted(all_paths(determinize(close_words(raw, 10.0), 10.0).lattice))
    assert found == sorted(all_paths(raw.to_lattice()))
    assert ([2, 3, 6], [4, 14, 22, 32], 0.5, 1.0) in found


def test_the_best_path_is_there_however_little_memory_is() -> None:
    graph, loglikes = case_with_a_path(400)
    beams = Beams(beam=WIDE, lattice_beam=6.0, min_active=0)
    searcher = LatticeSearcher(graph, ID2PDF, beams, SCALE)
    best = min(paths_of(graph, loglikes), key=lambda path: sum(path[2:]))
    for options in ({"max_mem": 1}, {"max_ways": 60}):
        result = LatticeGenerator(searcher, **options).search(loglikes)
        assert 0.0 <= result.beam < 6.0
        assert best[:2] in [path[:2] for path in lattice_paths(result.lattice)]
