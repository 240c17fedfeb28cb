"""Frames of many utterances in a graph of ONNX, and windows over them that know where utterances end.

T rows, N utterances or streams, D dimensions, K frames of a window. Inside the graph axes are ``(T, N, D)``.

Whole utterances are the rows 0 to T - 1. A stream comes in chunks of T rows: what a window needs of earlier
chunks is a state, all zeros where an utterance begins; what it needs of frames to come makes its results
late. Every window repeats the first and the last frame of what it is given, as the feature pipeline does:
the rows are numbered for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import onnx

from dkt.export.onnx_graph import OnnxGraph

_TO_THE_END = int(np.iinfo(np.int64).max)


class OnnxState(NamedTuple):
    """What a stream carries from chunk to chunk: an input of a graph, and the output ``<name>_out``.

    Attributes:
        name: of the input.
        dtype: numpy's name of its type.
        shape: of one stream; N goes before it.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Rows:
    """Frames of utterances, one a row.

    Attributes:
        values: their name in the graph; shape ``(T, N, D)``.
        dim: D.
        late: row t of a chunk is the frame that stands ``late`` rows before row t of the input.
        left, right: frames of the input on each side that a row is made of.
    """

    values: str
    dim: int
    late: int = 0
    left: int = 0
    right: int = 0

    def made(self, values: str, dim: int) -> Rows:
        """Something else of the same frames."""
        return replace(self, values=values, dim=dim)


class FrameGraph:
    """A graph on frames.

    Args:
        streaming: whether it takes chunks and states, or whole utterances.
        dims: of the inputs, by name; ``features`` is one of them.

    Attributes:
        graph: the graph.
        streaming: as given.
        states: those that were made up to now.
        inputs: by name.
        num_streams: N, a value of one element.
    """

    def __init__(self, streaming: bool, dims: dict[str, int]) -> None:
        self.graph = graph = OnnxGraph("dkt")
        self.streaming = streaming
        self.states: list[OnnxState] = []
        self.inputs: dict[str, Rows] = {}
        for name, dim in dims.items():
            values = graph.input(name, "float32", self.axes(dim))
            self.inputs[name] = Rows(values if streaming else self.turned(values), dim)
        lengths = graph.input("lengths", "int64", ["N"])
        self._lengths = graph.op("Reshape", lengths, graph.integers(1, -1))
        shape = graph.op("Shape", self.inputs["features"].values)
        self._num_rows = graph.op("Gather", shape, graph.integers(0))
        self.num_streams = graph.op("Gather", shape, graph.integers(1))
        self._first: str | None = None
        self._kept: dict[str, str] = {}

    def axes(self, dim: int) -> list[int | str]:
        """The shape of an input or output of the graph."""
        return ["T", "N", dim] if self.streaming else ["N", "T", dim]

    def turned(self, values: str) -> str:
        """The values with their first two axes in the other order."""
        return self.graph.op("Transpose", values, perm=[1, 0, 2])

    def output(self, values: str, name: str, dim: int) -> None:
        """Make values ``(T, N, D)`` an output."""
        self.graph.output(values if self.streaming else self.turned(values), name, "float32", self.axes(dim))

    def state(self, name: str, *shape: int, dtype: str = "float32") -> str:
        """The value ``(N, *shape)`` of a new state; ``keep`` says what follows it."""
        self.states.append(OnnxState(name, dtype, shape))
        return self.graph.input(name, dtype, ["N", *shape])

    def keep(self, name: str, value: str) -> None:
        """Carry a value on as a state."""
        self._kept[name] = value

    def model(self, metadata: Mapping[str, str], doc: str) -> onnx.ModelProto:
        """As ``OnnxGraph.model``; the states follow the other outputs in the order of the inputs."""
        for name, dtype, shape in self.states:
            self.graph.output(self._kept[name], f"{name}_out", dtype, ["N", *shape])
        return self.graph.model(metadata, doc)

    def zeros(self, *shape: str, dtype: str = "float32") -> str:
        """Zeros of a shape that consists of values of one element each."""
        zero = self.graph.constant(np.zeros(1), "zero", dtype)
        return self.graph.op("Expand", zero, self.graph.op("Concat", *shape, axis=0))

    def numbers(self, late: int = 0) -> str:
        """Which frame of its utterance each row is, ``(T, N)``: none below 0 and from its length on."""
        steps = self.graph.op("Unsqueeze", self._range(self._num_rows), self.graph.integers(1))
        return self.graph.op("Add", self._number_of_first(late), steps)

    def _range(self, end: str) -> str:
        """The numbers from 0 up to a value of one element."""
        zero, one = (self.graph.constant(np.array(value), dtype="int64") for value in (0, 1))
        return self.graph.op("Range", zero, self.graph.op("Squeeze", end), one)

    def _number_of_first(self, late: int) -> str:
        """Which frame the first row is, ``(1, N)``."""
        graph = self.graph
        if self._first is None and self.streaming:
            position = self.state("position", dtype="int64")
            self.keep("position", graph.op("Add", position, self._num_rows))
            self._first = graph.op("Reshape", position, graph.integers(1, -1))
        elif self._first is None:
            self._first = self.zeros(graph.integers(1), self.num_streams, dtype="int64")
        return graph.op("Sub", self._first, graph.integers(late)) if late else self._first

    def inside(self, late: int) -> str:
        """1 for the rows of utterances and 0 for others, float32 of shape ``(T, N, 1)``.

        In a stream only rows before its beginning are others: what follows its end changes nothing.
        """
        graph, numbers = self.graph, self.numbers(late)
        if self.streaming:
            inside = graph.op("GreaterOrEqual", numbers, graph.integers(0))
        else:
            inside = graph.op("Less", numbers, self._lengths)
        return graph.op("Unsqueeze", graph.to(inside, "float32"), graph.integers(2))

    def with_past(self, rows: Rows, name: str, num_frames: int) -> str:
        """The frames before the rows, then the rows: ``(num_frames + T, N, D)``; zeros where there are none.

        Args:
            rows: the frames.
            name: of the state.
            num_frames: before the rows; none need a state.
        """
        graph = self.graph
        if not num_frames:
            return rows.values
        if not self.streaming:
            shape = graph.integers(num_frames), self.num_streams, graph.integers(rows.dim)
            return graph.op("Concat", self.zeros(*shape), rows.values, axis=0)
        past = self.turned(self.state(name, num_frames, rows.dim))
        source = graph.op("Concat", past, rows.values, axis=0)
        ends = graph.integers(-num_frames), graph.integers(_TO_THE_END)
        self.keep(name, self.turned(graph.op("Slice", source, *ends, graph.integers(0))))
        return source

    def window(self, rows: Rows, offsets: Sequence[int], name: str, late: int | None = None) -> Rows:
        """Frames at some distances from each frame: values of shape ``(T, N, K, D)``.

        Args:
            rows: the frames.
            offsets: the distances.
            name: of the state.
            late: by how many rows the results are to be later than ``rows``; None for the fewest.
        """
        graph = self.graph
        wait = 0
        if self.streaming:
            wait = max(0, *offsets) if late is None else late
        past = wait + max(0, -min(offsets)) if self.streaming else 0
        source = self.with_past(rows, name, past)
        third = graph.integers(2)
        last = graph.op("Unsqueeze", graph.op("Sub", self._lengths, graph.integers(1)), third)
        centres = graph.op("Unsqueeze", self.numbers(rows.late + wait), third)
        frames = graph.op("Min", graph.op("Add", centres, graph.integers(*offsets)), last)
        frames = graph.op("Max", frames, graph.integers(0))
        first = graph.op("Unsqueeze", self._number_of_first(rows.late + past), third)
        values = self._gather(source, graph.op("Sub", frames, first), rows.dim)
        left, right = rows.left + max(0, -min(offsets)), rows.right + max(0, *offsets)
        return Rows(values, rows.dim, rows.late + wait, left, right)

    def _gather(self, source: str, index: str, dim: int) -> str:
        """Of ``source``, ``(T', N, D)``, the rows of an index ``(T, N, K)``; what is none may be any row."""
        graph = self.graph
        size = graph.op("Gather", graph.op("Shape", source), graph.integers(0))
        index = graph.op("Min", index, graph.op("Sub", size, graph.integers(1)))
        index = graph.op("Max", index, graph.integers(0))
        streams = graph.op("Reshape", self._range(self.num_streams), graph.integers(1, -1, 1))
        flat = graph.op("Add", graph.op("Mul", index, self.num_streams), streams)
        return graph.op("Gather", graph.op("Reshape", source, graph.integers(-1, dim)), flat, axis=0)

    def joined(self, window: Rows, num_frames: int) -> Rows:
        """The K frames of a window, ``(T, N, K, D)``, beside one another: ``(T, N, K * D)``."""
        dim = num_frames * window.dim
        values = self.graph.op("Reshape", window.values, self.graph.integers(0, 0, dim))
        return window.made(values, dim)
