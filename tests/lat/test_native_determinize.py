"""The kernel that determinises, against NumPy, to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from dkt.base.native import load_kernel
from dkt.lat import native_determinize
from dkt.lat.determinize import Determinized
from dkt.lat.lattice import CompactLattice
from dkt.lat.native_determinize import determinize_raw
from dkt.lat.raw_lattice import RawLattice
from dkt.lat.word_closure import TooManyWaysError
from tests.kernels import WAYS, Interrupted, computed_by
from tests.lattices import all_paths, assert_same

# What NumPy says of costs without bounds and of lattices without paths.
pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered")

INFINITE = np.inf
COSTS = ("graph_costs", "acoustic_costs", "final_graph", "final_acoustic")


def random_raw(
    rng: np.random.Generator, costs: Callable[[int], np.ndarray], most_layers: int = 12, words: float = 0.4
) -> RawLattice:
    """States in layers, some that nothing leads to or from; arcs of all kinds, some between the same two."""
    sizes = rng.integers(1, 5, rng.integers(1, most_layers))
    layers = np.concatenate([[0, 1], 1 + np.cumsum(sizes)])
    layer_of = np.repeat(np.arange(len(layers) - 1), np.diff(layers))
    num_states, num_arcs = int(layers[-1]), int(rng.integers(0, 5 * layers[-1]))
    ends = np.sort(rng.integers(0, num_states, (num_arcs, 2)), axis=1)
    ends = ends[layer_of[ends[:, 0]] < layer_of[ends[:, 1]]]
    ends = ends[np.argsort(ends[:, 1], kind="stable")].astype(np.int32)
    count = len(ends)
    graph, acoustic = costs(count), costs(count)
    alpha = np.full(num_states, INFINITE)
    alpha[0] = 0.0
    for (source, target), cost in zip(ends.tolist(), (graph + acoustic).tolist(), strict=True):
        alpha[target] = min(alpha[target], alpha[source] + cost)
    final = np.where(rng.random(num_states) < 0.2, costs(num_states), INFINITE)
    if rng.random() < 0.8:
        final[-1] = 0.0
    tids = rng.integers(1, 9, count) * (rng.random(count) < 0.7)
    labels = rng.integers(1, 4, count) * (rng.random(count) < words)
    columns = (tids.astype(np.int32), labels.astype(np.int32), graph, acoustic)
    return RawLattice(0, layers, alpha, final, ends[:, 0].copy(), ends[:, 1].copy(), *columns)


def both(raw: RawLattice, *bounds: float) -> list[Determinized | str]:
    """Of the kernel and of NumPy; the text of the error if there is one."""
    found: list[Determinized | str] = []
    for way in WAYS:
        with computed_by(way):
            try:
                found.append(determinize_raw(raw, *bounds))  # type: ignore[arg-type]
            except TooManyWaysError as error:
                found.append(str(error))
    return found


def assert_both_same(raw: RawLattice, *bounds: float) -> Determinized | str:
    one, other = both(raw, *bounds)
    if isinstance(one, str) or isinstance(other, str):
        assert one == other
        return one
    assert one.beam == other.beam
    assert_same(one.lattice, other.lattice)
    for name in ("offsets", "labels", "nextstates", *COSTS):
        assert getattr(one.lattice, name).dtype == getattr(other.lattice, name).dtype, name
    return one


KINDS: dict[str, Callable[[np.random.Generator], Callable[[int], np.ndarray]]] = {
    "normal": lambda rng: lambda n: rng.normal(size=n),
    "ties": lambda rng: lambda n: rng.integers(0, 3, n) / 2.0,
    "zero": lambda rng: np.zeros,
    "close": lambda rng: lambda n: 1.0 + rng.integers(-2, 3, n) / 2048.0,
    "large": lambda rng: lambda n: rng.normal(size=n) * 1e5,
    "huge": lambda rng: lambda n: rng.normal(size=n) * 1e25,
    "infinite": lambda rng: lambda n: np.where(rng.random(n) < 0.2, INFINITE, rng.random(n)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_random_lattices_are_the_same(kind: str) -> None:
    sizes = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        raw = random_raw(rng, KINDS[kind](rng), words=float(rng.choice([0.1, 0.4, 1.0])))
        for beam in (0.0, 0.7, 8.0, 1e30):
            found = assert_both_same(raw, beam)
            assert isinstance(found, Determinized)
            sizes.append(found.lattice.num_arcs)
    # Most have paths, and there are deep ones among them.
    assert np.mean(np.array(sizes) > 0) > 0.3 and max(sizes) > 10


@pytest.mark.parametrize("bounds", [(1,), (300,), (2000,), (10**9,), (0, 1), (0, 20), (0, 60), (500, 60)])
def test_bounds_end_it_at_the_same_place(bounds: tuple[int, ...]) -> None:
    found = []
    for seed in range(30):
        rng = np.random.default_rng(1000 + seed)
        found.append(assert_both_same(random_raw(rng, KINDS["normal"](rng), 40), 6.0, *bounds))
    if bounds[0] in (1, 300, 2000):
        assert any(isinstance(one, Determinized) and one.beam < 6.0 for one in found)
    if len(bounds) > 1:
        assert f"more than {bounds[1]} ways between words" in found


def test_a_lattice_without_a_path_is_empty() -> None:
    rng = np.random.default_rng(5)
    raw = random_raw(rng, KINDS["normal"](rng))
    for final in (
        np.full(raw.num_states, INFINITE),
        np.where(np.arange(raw.num_states) == 99, 0.0, INFINITE),
    ):
        found = assert_both_same(replace(raw, final=final), 8.0)
        assert isinstance(found, Determinized)
        assert (found.lattice.start, found.lattice.num_states, found.lattice.num_arcs) == (-1, 0, 0)


def test_one_state_is_start_and_end() -> None:
    nothing, no_costs = np.empty(0, dtype=np.int32), np.empty(0)
    labels, costs = [nothing] * 4, [no_costs] * 2
    raw = RawLattice(0, np.array([0, 1]), np.zeros(1), np.array([0.25]), *labels, *costs)
    found = assert_both_same(raw, 8.0)
    assert isinstance(found, Determinized)
    assert list(all_paths(found.lattice)) == [([], [], 0.25, 0.0)]


def test_it_is_computed_in_pieces_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two of them signals are heard."""
    rng = np.random.default_rng(7)
    raw = random_raw(rng, KINDS["normal"](rng), 20)
    monkeypatch.setattr(native_determinize, "_WORK", 1)
    found = assert_both_same(raw, 8.0)
    assert isinstance(found, Determinized) and isinstance(found.lattice, CompactLattice)


def test_it_ends_at_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    raw = random_raw(rng, KINDS["normal"](rng), 40)
    with computed_by("kernel"):
        library = load_kernel(native_determinize._KERNEL)
        assert library is not None
        interrupted = Interrupted(library)
        monkeypatch.setattr(native_determinize, "load_kernel", lambda _: interrupted)
        monkeypatch.setattr(native_determinize, "_WORK", 1)
        with pytest.raises(KeyboardInterrupt):
            determinize_raw(raw, 8.0)
    assert interrupted.calls.count("dkt_determinize_advance") in (3, 4)
    assert interrupted.calls[-1] == "dkt_determinize_free"


def test_no_memory_is_told_as_by_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    class Starved:
        """A library whose calls find no memory."""

        def __getattr__(self, name: str) -> Callable[..., int]:
            def call(*_: object) -> int:
                return {"dkt_determinize_new": 1, "dkt_determinize_advance": -1}.get(name, 0)

            setattr(self, name, call)
            return call

    rng = np.random.default_rng(7)
    monkeypatch.setattr(native_determinize, "load_kernel", lambda _: Starved())
    with pytest.raises(MemoryError):
        determinize_raw(random_raw(rng, KINDS["normal"](rng)), 8.0)
