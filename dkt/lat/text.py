"""Lattices as text: lines of arcs and final states, and an empty line (``lat/kaldi-lattice.cc``)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import BinaryIO

import numpy as np

from dkt.base.errors import DktError
from dkt.lat.lattice import CompactLattice, Lattice, parted
from dkt.matrix.matrix_io import refuse_underscore

_Line = list[bytes]
# Columns of a line. A final state is itself and its cost, unless that is nothing; an arc is its two states,
# its labels, one or two, and its cost likewise.
_MOST_OF_FINAL, _MOST_OF_ARC = 2, 5
_INFINITY = float("inf")


def read_text_lattice(stream: BinaryIO) -> Lattice | CompactLattice:
    """Read one lattice of either kind, the line end in front of its first line having been taken already.

    Where nothing tells one kind from the other, for there is neither arc nor cost, it is compact.

    Raises:
        DktError: a line is malformed, or the text ends within the lattice. Costs are not looked at.
        ValueError, OverflowError: what should be a number is none, or does not fit.
    """
    lines = _read_lines(stream)
    parse = (
        _parse_compact if next(filter(None, map(_kind, lines)), "compact") == "compact" else _parse_lattice
    )
    finals = [line for line in lines if len(line) <= _MOST_OF_FINAL]
    arcs = [line for line in lines if len(line) > _MOST_OF_FINAL]
    return parse(int(lines[0][0]) if lines else -1, arcs, finals)


def _read_lines(stream: BinaryIO) -> list[_Line]:
    lines: list[_Line] = []
    while line := stream.readline():
        columns = line.split()
        if not columns and line.endswith(b"\n"):
            return lines
        if not 1 <= len(columns) <= _MOST_OF_ARC:
            raise _bad_line(columns)
        lines.append(columns)
    raise DktError("the archive is cut short: no empty line after the lattice")


def _bad_line(columns: _Line) -> DktError:
    return DktError(f"expected a line of a lattice, found {b' '.join(columns)[:40]!r}")


def _kind(line: _Line) -> str:
    """The kind of lattice that a line is of, empty if it may be of both."""
    commas = line[-1].count(b",")
    if len(line) == 1:
        return ""
    if len(line) == 3 or commas == 2:
        return "compact"
    return "state-level"


def _parse_compact(start: int, arcs: list[_Line], finals: list[_Line]) -> CompactLattice:
    fields, (labels,), strings, (final_states, strings_of_finals) = _parse_fields(arcs, finals, 1, b"0,0,")
    final_strings = [np.empty(0, dtype=np.int32)] * len(fields["final_graph"])
    for state, string in zip(final_states.tolist(), strings_of_finals, strict=True):
        final_strings[state] = string
    return CompactLattice(start, labels=labels, strings=strings, final_strings=final_strings, **fields)


def _parse_lattice(start: int, arcs: list[_Line], finals: list[_Line]) -> Lattice:
    fields, (ilabels, olabels), *_ = _parse_fields(arcs, finals, 2, b"0,0")
    return Lattice(start, ilabels=ilabels, olabels=olabels, **fields)


def _parse_fields(
    arcs: list[_Line], finals: list[_Line], num_labels: int, nothing: bytes
) -> tuple[dict[str, np.ndarray], np.ndarray, list[np.ndarray], tuple[np.ndarray, list[np.ndarray]]]:
    """What both kinds of lattices have, with arcs in the order of the states that they leave.

    Args:
        arcs, finals: their lines.
        num_labels: how many labels an arc has.
        nothing: the cost that is not written.

    Returns:
        The fields; the labels, ``(num_labels, A)``, and strings of the arcs; final states and their strings.
    """
    num_parts = nothing.count(b",") + 1
    sources, nextstates, *labels = _integers(arcs, 2 + num_labels)
    costs, strings = _costs_and_strings([_cost(line, 2 + num_labels, nothing) for line in arcs], num_parts)
    (final_states,) = _integers(finals, 1)
    final_costs, final_strings = _costs_and_strings([_cost(line, 1, nothing) for line in finals], num_parts)
    num_states = _count_states(sources, nextstates, final_states)
    order = np.argsort(sources, kind="stable")
    final = _spread(final_states, final_costs, num_states)
    fields = {
        "offsets": np.searchsorted(sources[order], np.arange(num_states + 1)),
        "graph_costs": costs[0][order],
        "acoustic_costs": costs[1][order],
        "nextstates": nextstates[order],
        "final_graph": final[0],
        "final_acoustic": final[1],
    }
    ordered = [strings[arc] for arc in order] if strings else []
    return fields, np.array(labels)[:, order], ordered, (final_states, final_strings)


def _integers(lines: list[_Line], count: int) -> np.ndarray:
    """The first ``count`` columns of all lines, int32 of shape ``(count, lines)``."""
    for line in lines:
        if not count <= len(line) <= count + 1:
            raise _bad_line(line)
    words = [word for line in lines for word in line[:count]]
    refuse_underscore(b" ".join(words))
    return np.array(list(map(int, words)), dtype=np.int32).reshape(-1, count).T


def _cost(line: _Line, place: int, nothing: bytes) -> bytes:
    return line[place] if len(line) > place else nothing


def _costs_and_strings(words: list[bytes], num_parts: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Costs of shape ``(2, words)`` and strings of words ``graph,acoustic`` or ``graph,acoustic,1_2_3``."""
    parts = [word.split(b",") for word in words]
    for word, part in zip(words, parts, strict=True):
        if len(part) != num_parts:
            raise _bad_line([word])
    costs = [cost for part in parts for cost in part[:2]]
    refuse_underscore(b" ".join(costs))
    with np.errstate(over="ignore"):
        values = np.array(list(map(float, costs)), dtype=np.float64).astype(np.float32).reshape(-1, 2).T
    return values, _parse_strings([part[2] for part in parts]) if num_parts == 3 else []


def _parse_strings(words: Sequence[bytes]) -> list[np.ndarray]:
    lengths = np.array([word.count(b"_") + 1 if word else 0 for word in words], dtype=np.int64)
    ids = b"_".join(word for word in words if word)
    values = np.array(list(map(int, ids.split(b"_"))) if ids else [], dtype=np.int32)
    return parted(values, lengths)


def _count_states(*states: np.ndarray) -> int:
    named = np.concatenate(states)
    num_states = int(named.max(initial=-1)) + 1
    # Every state has a line, or leads from one: more than are named are damage, and may be very many.
    if named.min(initial=0) < 0 or num_states > len(named):
        raise DktError(
            f"the lattice has state {named.min()} or {num_states - 1}, but {len(named)} states are named"
        )
    return num_states


def _spread(states: np.ndarray, costs: np.ndarray, num_states: int) -> np.ndarray:
    final = np.full((2, num_states), np.inf, dtype=np.float32)
    final[:, states] = costs
    return final


def encode_text_lattice(lattice: Lattice | CompactLattice) -> bytes:
    """The text of a lattice, six digits a cost as Kaldi writes them, with the line ends around it."""
    if isinstance(lattice, CompactLattice):
        labels: Iterable[str] = map(str, lattice.labels.tolist())
        strings: Sequence[str] = _join_strings(lattice.strings)
        final_strings: Sequence[str] = _join_strings(lattice.final_strings)
    else:
        pairs = zip(lattice.ilabels.tolist(), lattice.olabels.tolist(), strict=True)
        labels = (f"{ilabel}\t{olabel}" for ilabel, olabel in pairs)
        strings = final_strings = ()
    states = zip(lattice.sources.tolist(), lattice.nextstates.tolist(), labels, strict=True)
    costs = _costs(lattice.graph_costs, lattice.acoustic_costs, strings)
    arcs = [f"{s}\t{n}\t{label}{cost}\n" for (s, n, label), cost in zip(states, costs, strict=True)]
    final_costs = _costs(lattice.final_graph, lattice.final_acoustic, final_strings)
    lines = ["\n"]
    is_final, offsets = lattice.is_final.tolist(), lattice.offsets.tolist()
    for state in _start_first(lattice):
        begin, end = offsets[state], offsets[state + 1]
        lines += arcs[begin:end]
        # A state that is nothing is written as final at infinite cost, so that it is there.
        if is_final[state] or begin == end:
            lines.append(f"{state}{final_costs[state]}\n")
    return "".join([*lines, "\n"]).encode("ascii")


def _start_first(lattice: Lattice | CompactLattice) -> Iterable[int]:
    if lattice.start < 0:
        return []
    return [lattice.start, *(state for state in range(lattice.num_states) if state != lattice.start)]


def _join_strings(strings: Sequence[np.ndarray]) -> list[str]:
    return ["," + "_".join(map(str, string.tolist())) for string in strings]


def _costs(graph: np.ndarray, acoustic: np.ndarray, strings: Sequence[str]) -> list[str]:
    """The column of the cost, with the tab in front of it; empty where the cost is nothing."""
    triples = zip(graph.tolist(), acoustic.tolist(), strings or [""] * len(graph), strict=True)
    return ["" if g == a == 0.0 and len(s) <= 1 else f"\t{_number(g)},{_number(a)}{s}" for g, a, s in triples]


def _number(cost: float) -> str:
    return "Infinity" if cost == _INFINITY else f"{cost:g}"
