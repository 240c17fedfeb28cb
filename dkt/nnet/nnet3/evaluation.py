"""An interpreter of nnet3's networks in NumPy: any node, at any time, of inputs at given times.

Kaldi asks of each node at each time whether it can be computed, and takes zero for an ``IfDefined`` that
cannot (``nnet3/nnet-computation-graph.h``); so does this. Feed-forward nodes are computed for all times at
once; nodes that recur, a few times after each other. A window of times holds all there is, row t - first for
the time t.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dkt.base.errors import DktError
from dkt.nnet.nnet3.descriptors import NODE, Expression
from dkt.nnet.nnet3.network import Nnet3, Node
from dkt.nnet.nnet3.propagate import Propagate, propagation


@dataclass(frozen=True)
class _Read:
    """A node that is read, and how many frames later; None where that depends on the time."""

    name: str
    shift: int | None


@dataclass(frozen=True)
class _Stage:
    """Nodes that are computed together, each after those that it reads at the same time.

    ``block`` is 0 for those that do not recur, else the number of frames that can be computed at once;
    ``forward`` tells the direction.
    """

    nodes: tuple[str, ...]
    block: int = 0
    forward: bool = True


class Evaluator:
    """Computes a network.

    Args:
        network: the network.
        dtype: the precision, float32 as Kaldi's or float64.

    Raises:
        DktError: nodes read each other in a circle that no order of times resolves.
    """

    def __init__(self, network: Nnet3, dtype: type = np.float32) -> None:
        self.network = network
        self.dtype = np.dtype(dtype)
        used = {node.component for node in network.nodes.values() if node.kind == "component-node"}
        self._run = {name: self._propagation(name) for name in used}
        self._reads = {name: list(self._reads_of(node)) for name, node in network.nodes.items()}
        self.stages = [self._stage(names) for names in _components_of(self._reads)]
        self._margin = sum(
            max((abs(shift) for read in reads for shift in [read.shift or 0]), default=0)
            for reads in self._reads.values()
        )
        self._times = [number for node in network.nodes.values() for number in _fixed_times(node.source)]

    def computable(self, inputs: Mapping[str, np.ndarray], output: str, times: np.ndarray) -> np.ndarray:
        """Which of ``times`` of a node can be computed of inputs at the times ``inputs`` alone."""
        window = self._window(inputs, times)
        self._mark_computable(window, inputs)
        return window.at(window.computable[output], times)

    def __call__(
        self, inputs: Mapping[str, tuple[np.ndarray, np.ndarray]], output: str, times: np.ndarray
    ) -> np.ndarray:
        """Values ``(len(times), O)`` of a node at ``times``.

        Args:
            inputs: of each input-node its times, ascending, and its values, one row for each.
            output: the name of the node.
            times: when.

        Raises:
            DktError: an input has another dimension, or a time cannot be computed.
        """
        for name, (_, values) in inputs.items():
            dim = self.network.dim_of("input-node", name)
            if values.shape[1] != dim:
                raise DktError(f"the network takes dimension {dim} as '{name}', found {values.shape[1]}")
        window = self._window({name: when for name, (when, _) in inputs.items()}, times)
        self._mark_computable(window, {name: when for name, (when, _) in inputs.items()})
        missing = times[~window.at(window.computable[output], times)]
        if len(missing):
            raise DktError(
                f"'{output}' at frame {missing[0]} cannot be computed of the inputs that are there"
            )
        self._mark_needed(window, output, times)
        for name, (when, values) in inputs.items():
            window.values[name] = np.zeros((window.size, values.shape[1]), self.dtype)
            window.values[name][when - window.first] = values
        for stage in self.stages:
            self._compute(stage, window)
        return window.values[output][times - window.first]

    def _propagation(self, name: str) -> Propagate:
        try:
            return propagation(self.network.components[name], self.dtype)
        except DktError as error:
            raise DktError(f"component '{name}': {error}") from None

    def _reads_of(self, node: Node) -> Iterator[_Read]:
        if node.source is None:
            return
        offsets: Sequence[int] = (0,)
        if node.kind == "component-node":
            component = self.network.components[node.component]
            if not component.reads_input:
                return
            offsets = component.time_offsets
        for read in _shifted_reads(node.source, 0):
            yield from (_Read(read.name, None if read.shift is None else read.shift + o) for o in offsets)

    def _stage(self, names: list[str]) -> _Stage:
        inside = [(name, read) for name in names for read in self._reads[name] if read.name in set(names)]
        if not inside:
            return _Stage(tuple(names))
        shifts = [read.shift for _, read in inside]
        moves = [shift for shift in shifts if shift]
        order = _ordered(names, [(read.name, name) for name, read in inside if read.shift == 0])
        if order is None or None in shifts or len({move > 0 for move in moves}) > 1:
            raise DktError(
                f"nodes {', '.join(sorted(names)[:10])} read each other in a circle at the same time"
            )
        return _Stage(tuple(order), min(map(abs, moves)), moves[0] < 0)

    def _window(self, inputs: Mapping[str, np.ndarray], times: np.ndarray) -> _Window:
        ends = [times, *inputs.values(), np.array(self._times, np.int64)]
        low, high = (int(end(np.concatenate(ends))) for end in (np.min, np.max))
        return _Window(low - self._margin, high - low + 2 * self._margin + 1)

    def _mark_computable(self, window: _Window, inputs: Mapping[str, np.ndarray]) -> None:
        for name, node in self.network.nodes.items():
            window.computable[name] = np.zeros(window.size, bool)
            if node.source is None and name in inputs:
                window.computable[name][inputs[name] - window.first] = True
        for stage in self.stages:
            changed = True
            while changed:
                changed = False
                for name in stage.nodes:
                    found = self._can_compute(self.network.nodes[name], window)
                    # What recurs becomes possible by and by; what does not is known at once.
                    changed |= bool(stage.block) and not np.array_equal(found, window.computable[name])
                    window.computable[name] = found

    def _can_compute(self, node: Node, window: _Window) -> np.ndarray:
        if node.source is None:
            return window.computable[node.name]
        found = np.ones(window.size, bool)
        if node.kind == "component-node":
            component = self.network.components[node.component]
            if component.reads_input:
                for offset in component.time_offsets:
                    found &= _defined(node.source, window.times + offset, window)
            return found
        return _defined(node.source, window.times, window)

    def _mark_needed(self, window: _Window, output: str, times: np.ndarray) -> None:
        for name in self.network.nodes:
            window.needed[name] = np.zeros(window.size, bool)
        window.needed[output][times - window.first] = True
        for stage in reversed(self.stages):
            if stage.block:
                self._spread(stage, window)
            for name in stage.nodes:
                node = self.network.nodes[name]
                rows = np.flatnonzero(window.needed[name])
                if node.source is None or not len(rows) or not self._reads[name]:
                    continue
                offsets = self._offsets(node)
                for offset in offsets:
                    _need(node.source, window.times[rows] + offset, window)

    def _spread(self, stage: _Stage, window: _Window) -> None:
        # All that is before what is needed, from where on it can be computed.
        anything = np.logical_or.reduce([window.needed[name] for name in stage.nodes])
        for name in stage.nodes:
            ways = anything[::-1] if stage.forward else anything
            until = np.logical_or.accumulate(ways)
            window.needed[name] = (until[::-1] if stage.forward else until) & window.computable[name]

    def _offsets(self, node: Node) -> Sequence[int]:
        if node.kind != "component-node":
            return (0,)
        return self.network.components[node.component].time_offsets

    def _compute(self, stage: _Stage, window: _Window) -> None:
        for name in stage.nodes:
            if name not in window.values:
                window.values[name] = np.zeros((window.size, self.network.dims[name]), self.dtype)
        if not stage.block:
            self._compute_rows(stage.nodes[0], np.flatnonzero(window.needed[stage.nodes[0]]), window)
            return
        anything = np.flatnonzero(np.logical_or.reduce([window.needed[name] for name in stage.nodes]))
        if not len(anything):
            return
        starts = list(range(int(anything[0]), int(anything[-1]) + 1, stage.block))
        if not stage.forward:
            starts = list(
                range(int(anything[-1]) + 1 - stage.block, int(anything[0]) - stage.block, -stage.block)
            )
        for start in starts:
            rows = np.arange(max(start, 0), min(start + stage.block, window.size))
            for name in stage.nodes:
                self._compute_rows(name, rows[window.needed[name][rows]], window)

    def _compute_rows(self, name: str, rows: np.ndarray, window: _Window) -> None:
        node = self.network.nodes[name]
        if node.source is None or not len(rows):
            return
        times = window.times[rows]
        if node.kind == "component-node":
            component = self.network.components[node.component]
            if component.reads_input:
                parts = [self._read(node.source, times + offset, window) for offset in component.time_offsets]
                inputs = np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
            else:
                inputs = np.zeros((len(rows), component.input_dim), self.dtype)
            window.values[name][rows] = self._run[node.component](inputs)
        elif node.kind == "dim-range-node":
            columns = slice(node.dim_offset, node.dim_offset + node.dim)
            window.values[name][rows] = window.values[node.source.name][rows, columns]
        else:
            window.values[name][rows] = self._read(node.source, times, window)

    def _read(self, source: Expression, times: np.ndarray, window: _Window) -> np.ndarray:
        """Values ``(len(times), dim)`` of an expression where it can be computed, else zeros."""
        if source.op == NODE:
            return window.values[source.name][times - window.first]
        if source.op == "Const":
            return np.full((len(times), source.number), source.factor, self.dtype)
        if source.op == "Append":
            return np.concatenate([self._read(part, times, window) for part in source.inputs], axis=1)
        if source.op == "Sum":
            values = self._read(source.inputs[0], times, window)
            for part in source.inputs[1:]:
                values = values + self._read(part, times, window)
            return values
        if source.op == "Scale":
            return self._read(source.inputs[0], times, window) * self.dtype.type(source.factor)
        if source.op in _MOVES:
            return self._read(source.inputs[0], _moved(source, times), window)
        values = np.zeros((len(times), source.dim(self.network.dims)), self.dtype)
        for part, rows in _chosen(source, times, window):
            values[rows] = self._read(part, times[rows], window)
        return values


class _Window:
    def __init__(self, first: int, size: int) -> None:
        self.first = first
        self.size = size
        self.times = np.arange(first, first + size)
        self.computable: dict[str, np.ndarray] = {}
        self.needed: dict[str, np.ndarray] = {}
        self.values: dict[str, np.ndarray] = {}

    def at(self, mask: np.ndarray, times: np.ndarray) -> np.ndarray:
        """The mask at some times, False outside of the window."""
        rows = times - self.first
        inside = (rows >= 0) & (rows < self.size)
        return inside & mask[np.clip(rows, 0, self.size - 1)]


_MOVES = ("Offset", "Round", "ReplaceIndex")


def _moved(source: Expression, times: np.ndarray) -> np.ndarray:
    if source.op == "Offset":
        return times + source.number
    if source.op == "Round":
        return times - times % source.number
    return np.full(len(times), source.number)


def _chosen(
    source: Expression, times: np.ndarray, window: _Window
) -> Iterator[tuple[Expression, np.ndarray]]:
    """Of IfDefined, Failover and Switch what is read, and the indices of the times of each."""
    if source.op == "Switch":
        turn = times % len(source.inputs)
        for number, part in enumerate(source.inputs):
            yield part, np.flatnonzero(turn == number)
        return
    left = np.ones(len(times), bool)
    for part in source.inputs:
        there = left & _defined(part, times, window)
        left &= ~there
        yield part, np.flatnonzero(there)


def _defined(source: Expression, times: np.ndarray, window: _Window) -> np.ndarray:
    """Whether an expression can be computed at each of ``times``."""
    if source.op == NODE:
        return window.at(window.computable[source.name], times)
    if source.op in ("Const", "IfDefined"):
        return np.ones(len(times), bool)
    if source.op in _MOVES:
        return _defined(source.inputs[0], _moved(source, times), window)
    parts = [_defined(part, times, window) for part in source.inputs]
    if source.op == "Switch":
        return np.stack(parts)[times % len(parts), np.arange(len(times))]
    return np.logical_or.reduce(parts) if source.op == "Failover" else np.logical_and.reduce(parts)


def _need(source: Expression, times: np.ndarray, window: _Window) -> None:
    """Mark what an expression reads at ``times``."""
    if source.op == NODE:
        there = times[window.at(window.computable[source.name], times)]
        window.needed[source.name][there - window.first] = True
    elif source.op in _MOVES:
        _need(source.inputs[0], _moved(source, times), window)
    elif source.op in ("Switch", "Failover", "IfDefined"):
        for part, rows in _chosen(source, times, window):
            _need(part, times[rows], window)
    else:
        for part in source.inputs:
            _need(part, times, window)


def _shifted_reads(source: Expression, shift: int | None) -> Iterator[_Read]:
    if source.op == NODE:
        yield _Read(source.name, shift)
    elif source.op == "Offset":
        yield from _shifted_reads(source.inputs[0], None if shift is None else shift + source.number)
    else:
        inner = None if source.op in ("Round", "ReplaceIndex") else shift
        for part in source.inputs:
            yield from _shifted_reads(part, inner)


def _fixed_times(source: Expression | None) -> Iterator[int]:
    """Times that are read wherever one is, and how far rounding goes back."""
    if source is not None:
        if source.op == "ReplaceIndex":
            yield source.number
        if source.op == "Round":
            yield -source.number
        for part in source.inputs:
            yield from _fixed_times(part)


def _ordered(names: Sequence[str], before: Sequence[tuple[str, str]]) -> list[str] | None:
    """The names, each first of a pair before the second, else in their order; None for a circle."""
    place = {name: number for number, name in enumerate(names)}
    followers: dict[str, list[str]] = {name: [] for name in names}
    open_reads = dict.fromkeys(names, 0)
    for first, second in set(before):
        followers[first].append(second)
        open_reads[second] += 1
    ready = [place[name] for name in names if not open_reads[name]]
    heapq.heapify(ready)
    order = []
    while ready:
        name = names[heapq.heappop(ready)]
        order.append(name)
        for follower in followers[name]:
            open_reads[follower] -= 1
            if not open_reads[follower]:
                heapq.heappush(ready, place[follower])
    return order if len(order) == len(names) else None


def _components_of(reads: Mapping[str, Sequence[_Read]]) -> list[list[str]]:
    """Groups of nodes that read each other, each after those that it reads (Tarjan, 1972)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []
    for root in reads:
        if root in number:
            continue
        number[root] = lowest[root] = len(number)
        stack.append(root)
        path = [(root, iter(reads[root]))]
        while path:
            name, rest = path[-1]
            read = next(rest, None)
            if read is None:
                path.pop()
                if path:
                    lowest[path[-1][0]] = min(lowest[path[-1][0]], lowest[name])
                if lowest[name] == number[name]:
                    at = stack.index(name)
                    groups.append(stack[at:])
                    del stack[at:]
            elif read.name not in number:
                number[read.name] = lowest[read.name] = len(number)
                stack.append(read.name)
                path.append((read.name, iter(reads[read.name])))
            elif read.name in stack:
                lowest[name] = min(lowest[name], number[read.name])
    return groups
