"""Compact lattices to state-level ones and back (``ConvertLattice`` in ``fstext/lattice-utils-inl.h``)."""

from __future__ import annotations

import numpy as np

from dkt.lat.lattice import CompactLattice, Lattice, joined, lengths_of, parted


def to_state_level(lattice: CompactLattice) -> Lattice:
    """A lattice with one transition-id per arc: strings become chains of states, numbered after the old ones.

    Word and costs of an arc go to the first of its chain. A final state with a string is final no more: the
    chain of that string ends in a new one.
    """
    with_string = np.flatnonzero(lattice.is_final & (lengths_of(lattice.final_strings) > 0))
    # Items become chains: of each state the final string, which leads to no old state, then the arcs.
    sources = np.concatenate([with_string, lattice.sources])
    order = np.argsort(sources, kind="stable")
    strings = [*(lattice.final_strings[state] for state in with_string.tolist()), *lattice.strings]
    strings = [strings[item] for item in order]
    nothing = np.zeros(len(with_string), dtype=np.int32)
    words = np.concatenate([nothing, lattice.labels])[order]
    targets = np.concatenate([nothing - 1, lattice.nextstates])[order]
    graph = np.concatenate([lattice.final_graph[with_string], lattice.graph_costs])[order]
    acoustic = np.concatenate([lattice.final_acoustic[with_string], lattice.acoustic_costs])[order]

    lengths = np.maximum(lengths_of(strings), 1)  # an arc without transition-ids remains one
    item = np.repeat(np.arange(len(strings)), lengths)
    step = np.arange(len(item)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    is_first, is_last = step == 0, step == lengths[item] - 1
    to_new = ~is_last | (targets[item] < 0)
    after = np.where(to_new, lattice.num_states + np.cumsum(to_new) - 1, targets[item])
    before = np.where(is_first, sources[order][item], np.roll(after, 1))
    ids = np.zeros(len(item), dtype=np.int32)
    ids[np.repeat(lengths_of(strings) > 0, lengths)] = joined(strings)
    ends = after[is_last & (targets[item] < 0)]

    num_states = lattice.num_states + int(to_new.sum())
    arcs = np.argsort(before, kind="stable")
    return Lattice(
        start=lattice.start,
        offsets=np.searchsorted(before[arcs], np.arange(num_states + 1)),
        ilabels=ids[arcs],
        olabels=np.where(is_first, words[item], 0).astype(np.int32)[arcs],
        graph_costs=np.where(is_first, graph[item], 0.0).astype(np.float32)[arcs],
        acoustic_costs=np.where(is_first, acoustic[item], 0.0).astype(np.float32)[arcs],
        nextstates=after.astype(np.int32)[arcs],
        final_graph=_moved(lattice.final_graph, num_states, with_string, ends),
        final_acoustic=_moved(lattice.final_acoustic, num_states, with_string, ends),
    )


def _moved(costs: np.ndarray, num_states: int, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Final costs of more states: ``old`` are no longer final, ``new`` are so without cost."""
    longer = np.full(num_states, np.inf, dtype=np.float32)
    longer[: len(costs)] = costs
    longer[old], longer[new] = np.inf, 0.0
    return longer


def to_compact(lattice: Lattice) -> CompactLattice:
    """A lattice whose arcs carry the transition-ids of whole chains of arcs.

    A chain's inner states have one arc in, one arc out without a word, and are not final; they go, the others
    keep their order. Source: ``Factor`` in ``fstext/factor-inl.h``.
    """
    is_inner = _inner_states(lattice)
    heads = np.flatnonzero(~is_inner[lattice.sources])
    graph, acoustic = lattice.graph_costs[heads], lattice.acoustic_costs[heads]
    targets = lattice.nextstates[heads].copy()
    # All chains are followed at once, an arc further each time.
    going = np.arange(len(heads))
    chains, arcs = [going], [heads]
    while len(going := going[is_inner[targets[going]]]):
        following = lattice.offsets[targets[going]]
        graph[going] += lattice.graph_costs[following]
        acoustic[going] += lattice.acoustic_costs[following]
        targets[going] = lattice.nextstates[following]
        chains.append(going)
        arcs.append(following)
    number = np.cumsum(~is_inner) - 1
    kept = np.flatnonzero(~is_inner)
    return CompactLattice(
        start=int(number[lattice.start]) if lattice.start >= 0 else -1,
        offsets=np.concatenate([[0], np.cumsum(np.diff(lattice.offsets)[kept])]),
        labels=lattice.olabels[heads],
        graph_costs=graph,
        acoustic_costs=acoustic,
        strings=_strings(lattice.ilabels, np.concatenate(chains), np.concatenate(arcs), len(heads)),
        nextstates=number[targets].astype(np.int32),
        final_graph=lattice.final_graph[kept],
        final_acoustic=lattice.final_acoustic[kept],
        final_strings=[np.empty(0, dtype=np.int32)] * len(kept),
    )


def _inner_states(lattice: Lattice) -> np.ndarray:
    num_out = np.diff(lattice.offsets)
    num_in = np.bincount(lattice.nextstates, minlength=lattice.num_states)
    is_inner = (num_in == 1) & (num_out == 1) & ~lattice.is_final
    is_inner[is_inner] = lattice.olabels[lattice.offsets[:-1][is_inner]] == 0
    is_inner[[lattice.start] if lattice.start >= 0 else []] = False
    return is_inner


def _strings(ilabels: np.ndarray, chains: np.ndarray, arcs: np.ndarray, num_chains: int) -> list[np.ndarray]:
    order = np.argsort(chains, kind="stable")
    ids, chains = ilabels[arcs[order]], chains[order]
    is_id = ids != 0
    return parted(ids[is_id], np.bincount(chains[is_id], minlength=num_chains))
