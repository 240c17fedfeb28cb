"""Networks of nnet3, their nodes and components: read, checked and written (``nnet3/nnet-nnet.cc``)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dkt.base.errors import DktError
from dkt.nnet.nnet3.components import Nnet3Component, read_component, write_component
from dkt.nnet.nnet3.descriptors import Expression, parse_descriptor
from dkt.util.object_io import ObjectReader, ObjectWriter

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*", re.ASCII)
_KEY = re.compile(r"\s([a-z-]+)=")
_NATURAL = re.compile(r"[0-9]{1,9}", re.ASCII)
_MOST_COMPONENTS = 100_000
# What other files begin with, or go on with after a transition model.
_FOREIGN = {
    "<Nnet>": "a network of nnet1 or nnet2",
    "<DIMENSION>": "a GMM model",
    "<TransitionModel>": "a transition model",
    "<TOPOLOGY>": "the acoustic models of an old format",
    "<Topology>": "a topology",
    "ContextDependency": "a decision tree",
}


@dataclass(frozen=True)
class Node:
    """One node.

    Attributes:
        kind: input-node, component-node, dim-range-node or output-node.
        name: by which others read it.
        source: what it reads; None for an input.
        component: the name of its component, of a component-node.
        dim: of an input-node and a dim-range-node.
        dim_offset: the first dimension of a dim-range-node.
        objective: of an output-node, linear or quadratic.
    """

    kind: str
    name: str
    source: Expression | None = None
    component: str = ""
    dim: int = 0
    dim_offset: int = 0
    objective: str = "linear"

    def config_line(self) -> str:
        """The node as Kaldi writes it."""
        start = f"{self.kind} name={self.name}"
        if self.kind == "input-node":
            return f"{start} dim={self.dim}"
        if self.kind == "dim-range-node":
            return f"{start} input-node={self.source} dim-offset={self.dim_offset} dim={self.dim}"
        if self.kind == "output-node":
            return f"{start} input={self.source} objective={self.objective}"
        return f"{start} component={self.component} input={self.source}"


class Nnet3:
    """A network whose nodes and components fit together.

    Args:
        nodes: in the order of the file.
        components: by their names, in the order of the file.

    Attributes:
        nodes: by their names.
        components: by their names.
        dims: the dimension of what each node gives.

    Raises:
        DktError: a node reads what is not there, or dimensions do not fit together; the node is named.
    """

    def __init__(self, nodes: Iterable[Node], components: Mapping[str, Nnet3Component]) -> None:
        self.nodes: dict[str, Node] = {}
        self.components = dict(components)
        for node in nodes:
            if node.name in self.nodes:
                raise DktError(f"there are two nodes '{node.name}'")
            self.nodes[node.name] = node
        self.dims = {node.name: self._dim(node) for node in self.nodes.values() if node.kind != "output-node"}
        for node in self.nodes.values():
            self._check(node)
        for kind in ("input-node", "output-node"):
            if not any(node.kind == kind for node in self.nodes.values()):
                raise DktError(f"the network has no {kind}")

    def _dim(self, node: Node) -> int:
        if node.kind != "component-node":
            return node.dim
        if node.component not in self.components:
            raise DktError(f"node '{node.name}': there is no component '{node.component}'")
        return self.components[node.component].output_dim

    def _check(self, node: Node) -> None:
        if node.source is None:
            return
        for name in node.source.nodes():
            if name not in self.dims:
                raise DktError(f"node '{node.name}': there is no node '{name}' to read")
        try:
            dim = node.source.dim(self.dims)
        except DktError as error:
            raise DktError(f"node '{node.name}': {error}") from None
        if node.kind == "component-node":
            expected = self.components[node.component].input_dim
            if dim != expected:
                raise DktError(
                    f"node '{node.name}': its input has dimension {dim}, "
                    f"component '{node.component}' takes {expected}"
                )
        elif node.kind == "dim-range-node":
            if self.nodes[node.source.name].kind not in ("component-node", "input-node"):
                raise DktError(f"node '{node.name}': it reads a {self.nodes[node.source.name].kind}")
            last = node.dim_offset + node.dim - 1
            if last >= dim:
                raise DktError(f"node '{node.name}': dimensions {node.dim_offset} to {last} of {dim}")
        else:
            self.dims[node.name] = dim

    def names(self, kind: str) -> list[str]:
        """The names of the nodes of a kind."""
        return [node.name for node in self.nodes.values() if node.kind == kind]

    def dim_of(self, kind: str, name: str) -> int:
        """The dimension of an ``input-node`` or an ``output-node``; 0 if there is none of that name."""
        node = self.nodes.get(name)
        return self.dims[name] if node is not None and node.kind == kind else 0


def read_nnet3(reader: ObjectReader) -> Nnet3:
    """Read ``<Nnet3> ... </Nnet3>``.

    Raises:
        DktError: it is something else or damaged; the component or the node is named, and the place.
    """
    found = reader.peek_token()
    if found != "<Nnet3>":
        what = _FOREIGN.get(found, "something else")
        raise reader.fail(f"expected a network of nnet3, found {what} ('{found[:40]}')")
    reader.token()
    if reader.line().strip():
        raise reader.fail("expected the end of the line after <Nnet3>")
    nodes = []
    while line := reader.line().strip():
        try:
            nodes.append(_parse_line(line))
        except DktError as error:
            raise reader.fail(str(error)) from None
    reader.expect("<NumComponents>")
    count = reader.int32()
    if not 0 <= count < _MOST_COMPONENTS:
        raise reader.fail(f"impossible number of components {count}")
    components: dict[str, Nnet3Component] = {}
    for _ in range(count):
        reader.expect("<ComponentName>")
        name = reader.token()
        if name in components:
            raise reader.fail(f"there are two components '{name[:100]}'")
        components[name] = read_component(reader, name)
    reader.expect("</Nnet3>")
    try:
        return Nnet3(nodes, components)
    except DktError as error:
        raise DktError(str(error), path=reader.path) from None


def write_nnet3(writer: ObjectWriter, network: Nnet3) -> None:
    """Write ``<Nnet3> ... </Nnet3>`` as Kaldi does."""
    writer.token("<Nnet3>")
    for line in ("", *(node.config_line() for node in network.nodes.values()), ""):
        writer.raw_line(line)
    writer.token("<NumComponents>")
    writer.int32(len(network.components))
    writer.newline()
    for name, component in network.components.items():
        writer.token("<ComponentName>")
        writer.token(name)
        write_component(writer, component)
    writer.token("</Nnet3>")


def _parse_line(line: str) -> Node:
    parts = _KEY.split(line)
    kind, values = parts[0], dict(zip(parts[1::2], (value.strip() for value in parts[2::2]), strict=True))
    if kind not in _LINES:
        raise DktError(f"expected one of {', '.join(_LINES)}, found '{kind[:60]}'")
    expected = _LINES[kind]
    if len(parts[1::2]) != len(values) or set(values) - {"objective"} != set(expected) - {"objective"}:
        raise DktError(f"expected {' '.join(f'{key}=' for key in expected)} in the line '{line[:200]}'")
    for key in ("name", "component", "input-node"):
        if key in values and not (_NAME.fullmatch(values[key]) or (key == "component" and values[key])):
            raise DktError(f"'{values[key][:60]}' is no name, in the line '{line[:200]}'")
    for key in ("dim", "dim-offset"):
        if key in values and not (_NATURAL.fullmatch(values[key]) and (key != "dim" or int(values[key]))):
            raise DktError(f"'{values[key][:60]}' is no dimension, in the line '{line[:200]}'")
    objective = values.get("objective", "linear")
    if objective not in ("linear", "quadratic") or (kind != "output-node" and "objective" in values):
        raise DktError(f"expected no objective, linear or quadratic in the line '{line[:200]}'")
    source = values.get("input", values.get("input-node"))
    return Node(
        kind,
        values["name"],
        None if source is None else parse_descriptor(source),
        values.get("component", ""),
        int(values.get("dim", 0)),
        int(values.get("dim-offset", 0)),
        objective,
    )


_LINES = {
    "input-node": ("name", "dim"),
    "component-node": ("name", "component", "input"),
    "dim-range-node": ("name", "input-node", "dim-offset", "dim"),
    "output-node": ("name", "input", "objective"),
}
