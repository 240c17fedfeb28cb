"""Graphs of ONNX, node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from dkt.base.errors import DktError
from dkt.base.version import __version__

#: Old enough for the servers that are in use, new enough for all that the networks need.
OPSET = 17
_IR_VERSION = 8
# A message of protobuf is below 2 GiB; what is no weight takes little of it.
_MOST_BYTES = 2**31 - 2**24


class _Contents:
    """What a graph and the bodies of its loops share: one space of names, and the size of one file."""

    def __init__(self) -> None:
        self._used: dict[str, int] = {}
        self._num_bytes = 0

    def name(self, stem: str) -> str:
        number = self._used[stem] = self._used.get(stem, 0) + 1
        return stem if number == 1 else f"{stem}_{number}"

    def add(self, num_bytes: int) -> None:
        self._num_bytes += num_bytes
        if self._num_bytes > _MOST_BYTES:
            raise DktError(
                "the weights of the network take more than 2 GB, which a file of ONNX cannot hold",
                hint="train a smaller network",
            )


class OnnxGraph:
    """A graph in the making. Values are known by their names; what makes a value gives that of it.

    Args:
        name: of the graph.
        outer: the graph of a loop that this one is the body of; None for a model's own.
    """

    def __init__(self, name: str, outer: OnnxGraph | None = None) -> None:
        self._name = name
        self._contents: _Contents = _Contents() if outer is None else outer._contents
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def constant(self, values: np.ndarray, name: str = "constant", dtype: str = "float32") -> str:
        """Numbers, of any shape, that belong to the file.

        Raises:
            DktError: a value is not a number, or the file becomes too large.
        """
        name = self._contents.name(name)
        values = np.asarray(values, dtype, order="C")
        if not np.isfinite(values).all():
            raise DktError(f"{name} of the network holds a value that is not a number", hint="train it again")
        self._contents.add(values.nbytes)
        self._constants.append(numpy_helper.from_array(values, name))
        return name

    def integers(self, *values: int) -> str:
        """A vector of int64."""
        return self.constant(np.array(values, np.int64), dtype="int64")

    def node(self, operator: str, inputs: Sequence[str], num_outputs: int, **attributes: Any) -> list[str]:
        """The results of an operator."""
        outputs = [self._contents.name(operator.lower()) for _ in range(num_outputs)]
        self._nodes.append(helper.make_node(operator, list(inputs), outputs, name=outputs[0], **attributes))
        return outputs

    def op(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """The result of an operator that has one."""
        return self.node(operator, inputs, 1, **attributes)[0]

    def affine(self, inputs: str, weight: np.ndarray, bias: np.ndarray, name: str) -> str:
        """Inputs ``(..., D)`` times the transpose of ``weight``, ``(E, D)``, plus ``bias``, ``(E,)``."""
        product = self.op("MatMul", inputs, self.constant(weight.T, f"{name}.weight"))
        return self.op("Add", product, self.constant(bias, f"{name}.bias"))

    def to(self, values: str, dtype: str) -> str:
        """The values as those of another type, by numpy's name of it."""
        return self.op("Cast", values, to=_element_type(dtype))

    def input(self, name: str, dtype: str, shape: Sequence[int | str]) -> str:
        """An input; names in a shape are of axes of any length."""
        name = self._contents.name(name)
        self._inputs.append(helper.make_tensor_value_info(name, _element_type(dtype), list(shape)))
        return name

    def output(self, value: str, name: str, dtype: str, shape: Sequence[int | str]) -> None:
        """Make a value an output, under a name of its own."""
        name = self._contents.name(name)
        self._nodes.append(helper.make_node("Identity", [value], [name], name=name))
        self._outputs.append(helper.make_tensor_value_info(name, _element_type(dtype), list(shape)))

    def scan(
        self, body: OnnxGraph, states: Sequence[str], inputs: Sequence[str], reverse: bool = False
    ) -> list[str]:
        """The body at one row of the inputs after the other: the last states, then all rows of its outputs.

        Args:
            body: its inputs are the states and a row of each input, its outputs new states and what remains.
            states: those before the first row.
            inputs: each of shape ``(T, ...)``.
            reverse: from the last row to the first.
        """
        num_outputs = len(body._outputs)
        return self.node(
            "Scan",
            [*states, *inputs],
            num_outputs,
            body=body._proto(),
            num_scan_inputs=len(inputs),
            scan_input_directions=[int(reverse)] * len(inputs),
            scan_output_directions=[int(reverse)] * (num_outputs - len(states)),
        )

    def _proto(self) -> onnx.GraphProto:
        return helper.make_graph(self._nodes, self._name, self._inputs, self._outputs, self._constants)

    def model(self, metadata: Mapping[str, str], doc: str) -> onnx.ModelProto:
        """The model, checked.

        Args:
            metadata: names and texts that the file holds beside the graph.
            doc: what the file is, for whoever looks into it.
        """
        model = helper.make_model(
            self._proto(),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=_IR_VERSION,
            producer_name="dkt",
            producer_version=__version__,
            doc_string=doc,
        )
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model, full_check=True)
        return model


def _element_type(dtype: str) -> int:
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
