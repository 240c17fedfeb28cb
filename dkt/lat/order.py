"""The order of a lattice's states, and whether what was read is a lattice at all."""

from __future__ import annotations

import numpy as np

from dkt.base.errors import DktError
from dkt.base.grouping import expand
from dkt.lat.lattice import CompactLattice, Lattice, joined


def topological_order(lattice: Lattice | CompactLattice) -> np.ndarray:
    """The states in an order in which every arc leads to a later one, int64 of shape ``(S,)``.

    That is their own order if they are numbered so already.

    Raises:
        DktError: the lattice has a cycle.
    """
    if (lattice.nextstates > lattice.sources).all():
        return np.arange(lattice.num_states)
    # Kahn's algorithm, all states at once whose predecessors have had their turn.
    missing = np.bincount(lattice.nextstates, minlength=lattice.num_states)
    ready = np.flatnonzero(missing == 0)
    layers = [ready]
    while len(ready):
        _, arcs = expand(lattice.offsets[ready], lattice.offsets[ready + 1])
        targets = lattice.nextstates[arcs]
        np.subtract.at(missing, targets, 1)
        targets = np.unique(targets)
        ready = targets[missing[targets] == 0]
        layers.append(ready)
    order = np.concatenate(layers)
    if len(order) < lattice.num_states:
        raise DktError("the lattice has a cycle", hint="make it anew: no decoder writes such lattices")
    return order


def check_lattice(lattice: Lattice | CompactLattice) -> None:
    """Raise DktError unless states and labels are possible, costs finite and paths too."""
    states, finals = lattice.num_states, (lattice.final_graph, lattice.final_acoustic)
    if not -1 <= lattice.start < states or (lattice.start == -1 and states):
        raise DktError(f"the lattice starts at state {lattice.start} of {states}")
    if lattice.num_arcs and not 0 <= lattice.nextstates.min() <= lattice.nextstates.max() < states:
        raise DktError(f"an arc of the lattice leads to a state outside its {states}")
    if any(len(labels) and labels.min() < 0 for labels in _labels(lattice)):
        raise DktError("the lattice has a negative label")
    if not (np.isfinite(lattice.graph_costs) & np.isfinite(lattice.acoustic_costs)).all():
        raise DktError("the cost of an arc is infinite or not a number")
    if (
        any((np.isnan(costs) | (costs == -np.inf)).any() for costs in finals)
        or (np.isinf(finals[0]) != np.isinf(finals[1])).any()
    ):
        raise DktError("a final cost is not a number, or one of its parts alone is infinite")
    topological_order(lattice)


def _labels(lattice: Lattice | CompactLattice) -> list[np.ndarray]:
    if isinstance(lattice, Lattice):
        return [lattice.ilabels, lattice.olabels]
    return [lattice.labels, joined(lattice.strings), joined(lattice.final_strings)]
