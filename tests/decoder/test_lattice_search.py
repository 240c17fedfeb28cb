"""Lattices of small random graphs against every path there is, and the bounds of the search."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

from dkt.base.errors import DktError
from dkt.base.grouping import best_of_each, expand
from dkt.base.tally import Tally
from dkt.base.threads import AbandonedError, check_abandoned, end_with
from dkt.decoder.decode_table import NoPathError, decode_table
from dkt.decoder.lattice_decoder import LatticeSearcher
from dkt.decoder.lattice_generation import GeneratedLattice, LatticeGenerator
from dkt.decoder.token_passing import Beams
from dkt.fstext.fst import ARC, FstArrays
from dkt.lat.lattice import CompactLattice, Lattice
from dkt.lat.native_determinize import determinize_raw
from tests.lattices import all_paths
from tests.search_lab import (
    ID2PDF,
    SCALE,
    WIDE,
    assert_paths,
    best_by_words,
    case_with_a_path,
    cheapest,
    lattice_paths,
    paths_of,
    random_graph,
    raw_lattice,
    search,
)

pytestmark = pytest.mark.usefixtures("either_way")


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
        whole = determinize_raw(raw, 6.0)
        part = determinize_raw(raw, 6.0, max_mem=2500)
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
    assert "the decoder held more than 300 arcs: beams 30 and 22.5 instead of 40 and 30" in caplog.text
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


def test_ways_that_differ_in_what_lies_behind_them_meet() -> None:
    """What all strings of a set begin with goes onto the arc, and words 1 3 and 2 3 lead to one state."""
    rows = [
        *((0, 1, 9, 1, 0.0, 0.0), (0, 2, 9, 2, 0.5, 0.0), (1, 3, 31, 3, 0.0, 0.0), (2, 3, 32, 3, 0.0, 0.0)),
        *((3, 4, 21, 0, 0.0, 0.0), (3, 5, 22, 0, 0.0, 1.0), (4, 6, 41, 5, 0.0, 0.0), (5, 6, 42, 6, 0.0, 0.0)),
    ]
    raw = raw_lattice(rows, [0, 1, 3, 4, 6, 7], [0.0, 0.0, 0.5, 0.0, 0.0, 1.0, 0.0])
    lattice = determinize_raw(raw, 10.0).lattice
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
    found = sorted(all_paths(determinize_raw(raw, 10.0).lattice))
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


def test_what_nobody_waits_for_ends(either_way: str) -> None:
    """Search and determinisation alike: a program that is interrupted waits for its threads."""
    graph, loglikes = case_with_a_path(600)
    searcher = LatticeSearcher(graph, ID2PDF, Beams(beam=WIDE, lattice_beam=6.0, min_active=0), SCALE)
    raw = searcher.search(loglikes).lattice
    abandoned = threading.Event()
    abandoned.set()
    calls = [partial(searcher.search, loglikes), partial(determinize_raw, raw, 6.0)]
    with ThreadPoolExecutor(1, initializer=end_with, initargs=(abandoned,)) as pool:
        for call in calls:
            with pytest.raises(AbandonedError):
                pool.submit(call).result()
        abandoned.clear()
        for call in calls:
            pool.submit(call).result()


def test_threads_end_when_another_has_failed() -> None:
    """The error of one utterance ends the search of the next, which would take long."""
    begun, how = threading.Event(), []

    class Slow:
        def search(self, loglikes: np.ndarray, acoustic_scale: float | None = None) -> GeneratedLattice:
            if loglikes[0, 0] < 0:
                assert begun.wait(60)
                raise DktError("spoilt")
            begun.set()
            end = time.monotonic() + 60
            try:
                while time.monotonic() < end:
                    check_abandoned()
                    time.sleep(0.001)
            except AbandonedError:
                how.append("abandoned")
                raise
            raise AssertionError

    table = [(name, np.full((2, 3), value, dtype=np.float32)) for name, value in (("bad", -1), ("slow", 1))]
    before = set(threading.enumerate())
    with pytest.raises(DktError, match="x: utterance 'bad': spoilt"):
        decode_table(Slow(), table, "x", Tally("decode"), lambda utt, found: None, num_threads=2)
    for thread in set(threading.enumerate()) - before:
        thread.join()
    assert how == ["abandoned"]
