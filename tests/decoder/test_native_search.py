"""The kernel that searches, against NumPy, to the last bit."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from dkt.base.errors import DktError
from dkt.decoder import native_search
from dkt.decoder.lattice_decoder import FoundLattice, LatticeSearcher
from dkt.decoder.token_passing import Beams
from dkt.fstext.fst import ARC, FstArrays
from dkt.lat.raw_lattice import RawLattice
from tests.kernels import WAYS, Interrupted, computed_by
from tests.search_lab import ID2PDF, SCALE, WIDE, random_graph

BEAMS = {
    "wide": Beams(beam=WIDE, lattice_beam=4.0, min_active=0),
    "narrow": Beams(beam=1.0, lattice_beam=0.5, min_active=0, prune_interval=1),
    "few": Beams(beam=2.0, max_active=3, min_active=2, lattice_beam=1.5, prune_interval=3),
    "many": Beams(beam=0.5, max_active=9, min_active=6, lattice_beam=8.0, prune_interval=4, beam_delta=0.1),
    "all": Beams(beam=1.0, min_active=200, lattice_beam=3.0, prune_interval=7),
}


def found_by(way: str, graph: FstArrays, loglikes: np.ndarray, beams: Beams, **options: int) -> object:
    """What is found, or the text of the error."""
    with computed_by(way):
        try:
            return LatticeSearcher(graph, ID2PDF, beams, SCALE, **options).search(loglikes)  # type: ignore
        except DktError as error:
            return f"{type(error).__name__}: {error}"


def assert_both_same(
    graph: FstArrays, loglikes: np.ndarray, beams: Beams, **options: int
) -> FoundLattice | str:
    one, other = (found_by(way, graph, loglikes, beams, **options) for way in WAYS)
    if isinstance(one, str) or isinstance(other, str):
        assert one == other
        return one  # type: ignore[return-value]
    assert isinstance(one, FoundLattice) and isinstance(other, FoundLattice)
    assert (one.reached_final, one.lattice_beam) == (other.reached_final, other.lattice_beam)
    for field in fields(RawLattice):
        mine, others = (getattr(found.lattice, field.name) for found in (one, other))
        np.testing.assert_array_equal(mine, others, err_msg=field.name)
        assert np.asarray(mine).dtype == np.asarray(others).dtype, field.name
    return one


def scores(rng: np.random.Generator, kind: str, num_frames: int) -> np.ndarray:
    loglikes = rng.normal(size=(num_frames, 3))
    if kind == "ties":
        loglikes = rng.integers(0, 2, (num_frames, 3)).astype(float)
    elif kind == "infinite":
        loglikes[rng.random(loglikes.shape) < 0.2] = -np.inf
    elif kind == "huge":
        loglikes *= 1e8
    return loglikes.astype(np.float64 if kind == "double" else np.float32)


@pytest.mark.parametrize("beams", BEAMS)
@pytest.mark.parametrize("kind", ["normal", "ties", "infinite", "huge", "double"])
def test_random_searches_are_the_same(kind: str, beams: str) -> None:
    found = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        graph = random_graph(rng, int(rng.integers(3, 15)), int(rng.integers(8, 90)))
        if kind == "ties":
            graph.arcs["weight"] = np.round(graph.arcs["weight"])
        loglikes = scores(rng, kind, int(rng.integers(1, 30)))
        for partial in (False, True):
            found.append(assert_both_same(graph, loglikes, BEAMS[beams], allow_partial=partial))
    assert sum(isinstance(one, FoundLattice) for one in found) >= 2


@pytest.mark.parametrize("size, lattice_beam", [(1e18, 10.0), (1e30, 10.0), (1.0, 1e-15)])
def test_a_path_that_is_lost_in_rounding_is_an_error(size: float, lattice_beam: float) -> None:
    errors = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        graph = random_graph(rng, 10, 60)
        found = assert_both_same(
            graph, rng.normal(size=(40, 3)) * size, Beams(beam=1e38, lattice_beam=lattice_beam, min_active=0)
        )
        errors += isinstance(found, str) and "NoPathError: its costs are too large" in found
    assert errors >= 5


def test_scores_of_other_layouts_are_read_as_they_are() -> None:
    rng = np.random.default_rng(1)
    graph, loglikes = random_graph(rng, 8, 40), rng.normal(size=(20, 6)).astype(np.float32)
    plain = assert_both_same(graph, loglikes[:, ::2].copy(), BEAMS["wide"], allow_partial=True)
    strided = assert_both_same(graph, loglikes[:, ::2], BEAMS["wide"], allow_partial=True)
    halves = assert_both_same(graph, loglikes[:, ::2].astype(np.float16), BEAMS["wide"], allow_partial=True)
    assert isinstance(plain, FoundLattice) and isinstance(strided, FoundLattice)
    np.testing.assert_array_equal(plain.lattice.acoustic_costs, strided.lattice.acoustic_costs)
    assert isinstance(halves, FoundLattice)


def test_it_backs_off_at_the_same_number_of_arcs() -> None:
    rng = np.random.default_rng(7)
    graph, loglikes = random_graph(rng, 8, 40), rng.normal(size=(30, 3)).astype(np.float32)
    beams = Beams(beam=40.0, lattice_beam=30.0, min_active=0)
    for max_links in (100, 200, 300, 500, 10**6):
        found = assert_both_same(graph, loglikes, beams, max_links=max_links, allow_partial=True)
        assert isinstance(found, FoundLattice) and (found.lattice_beam < 30.0) == (max_links < 10**6)


@pytest.mark.parametrize(
    ("weights", "message"),
    [((-1.0, 0.5), "whose cost is negative"), ((0.0, 0.5), "loop of arcs"), ((0.0, 0.0), "loop of arcs")],
)
def test_loops_are_refused_in_the_same_words(weights: tuple[float, float], message: str) -> None:
    first, second = weights
    arcs = np.array([(1, 1, 0.0, 1), (0, 0, first, 2), (0, 0, second, 1), (1, 2, 0.1, 2)], dtype=ARC)
    graph = FstArrays.from_arcs(0, [np.inf, np.inf, 0.0], [0, 1, 2, 2], arcs)
    found = assert_both_same(graph, np.zeros((3, 3), dtype=np.float32), BEAMS["wide"])
    assert isinstance(found, str) and message in found


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("nextstate", 99, "a state that is not there"),
        ("nextstate", -1, "a state"),
        ("ilabel", -2, "negative"),
    ],
)
def test_a_graph_that_leads_nowhere_is_refused(name: str, value: int, message: str) -> None:
    graph = random_graph(np.random.default_rng(0))
    graph.arcs[name][3] = value
    for way in WAYS:
        found = found_by(way, graph, np.zeros((3, 3), dtype=np.float32), BEAMS["wide"])
        assert isinstance(found, str) and message in found


def test_it_is_computed_in_pieces_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_search, "_FRAMES", 1)
    rng = np.random.default_rng(3)
    graph, loglikes = random_graph(rng, 9, 50), rng.normal(size=(31, 3)).astype(np.float32)
    assert isinstance(assert_both_same(graph, loglikes, BEAMS["wide"], allow_partial=True), FoundLattice)


def test_it_ends_at_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_search, "_FRAMES", 1)
    rng = np.random.default_rng(3)
    graph, loglikes = random_graph(rng, 9, 50), rng.normal(size=(31, 3)).astype(np.float32)
    with computed_by("kernel"):
        searcher = LatticeSearcher(graph, ID2PDF, BEAMS["wide"], SCALE, allow_partial=True)
    assert searcher._native is not None
    interrupted = Interrupted(searcher._native.library)
    searcher._native = replace(searcher._native, library=interrupted)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        searcher.search(loglikes)
    assert interrupted.calls.count("dkt_search_advance") in (3, 4)
    assert interrupted.calls[-1] == "dkt_search_free"
