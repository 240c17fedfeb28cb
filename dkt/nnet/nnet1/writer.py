"""Components of Kaldi's nnet1, written as Kaldi writes them (``Nnet::Write`` in ``nnet/nnet-nnet.cc``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy.typing as npt

from dkt.nnet.nnet1 import components as nnet1
from dkt.util.object_io import ObjectWriter

_END = "<!EndOfComponent>"


def write_nnet1(components: Sequence[nnet1.Component], binary: bool = True) -> bytes:
    """The bytes of a network, binary or text.

    Args:
        components: in their order; an LSTM has its options, its ``CellDim`` among them.
        binary: Kaldi's binary form, else its text form.
    """
    writer = ObjectWriter(binary)
    writer.token("<Nnet>")
    writer.newline()
    for component in components:
        _write_component(writer, component)
    writer.token("</Nnet>")
    writer.newline()
    return writer.getvalue()


class _PrototypeWriter(ObjectWriter):
    """Writes the text of a component without its parameters."""

    def __init__(self) -> None:
        super().__init__(binary=False)

    def real(self, value: float) -> None:
        """Write all digits: the binary form has more than seven."""
        self.token(repr(float(value)))

    def vector(self, values: npt.ArrayLike) -> None:
        """Leave it out."""

    def matrix(self, values: npt.ArrayLike) -> None:
        """Leave it out."""


def write_prototype(components: Sequence[nnet1.Component]) -> list[str]:
    """Components without their parameters: a line for each, as its text form has it."""
    lines = []
    for component in components:
        writer = _PrototypeWriter()
        _write_component(writer, component)
        lines.append(" ".join(writer.getvalue().decode().split()).removesuffix(f" {_END}"))
    return lines


def _write_component(writer: ObjectWriter, component: nnet1.Component) -> None:
    writer.token(component.marker)
    writer.int32(component.output_dim)
    writer.int32(component.input_dim)
    writer.newline()
    _WRITERS[type(component)](writer, component)
    writer.token(_END)
    writer.newline()


def _write_options(writer: ObjectWriter, component: nnet1.Component, line: bool = True) -> None:
    options = component.options or dict.fromkeys(nnet1.RATES.get(component.marker, ()), 0.0)
    for name, value in options.items():
        writer.token(f"<{name}>")
        if name == "CellDim":
            writer.int32(int(value))
        else:
            writer.real(value)
    if line:
        writer.newline()


def _write_plain(writer: ObjectWriter, component: nnet1.Component) -> None:
    _write_options(writer, component, line=False)


def _write_affine(writer: ObjectWriter, component: nnet1.Affine) -> None:
    _write_options(writer, component)
    writer.matrix(component.weight)
    if component.bias is not None:
        writer.vector(component.bias)


def _write_splice(writer: ObjectWriter, component: nnet1.Splice) -> None:
    writer.int_vector(component.offsets)


def _write_copy(writer: ObjectWriter, component: nnet1.Copy) -> None:
    writer.int_vector(component.indices + 1)


def _write_block_softmax(writer: ObjectWriter, component: nnet1.BlockSoftmax) -> None:
    writer.int_vector(component.blocks)


def _write_per_dimension(writer: ObjectWriter, component: nnet1.PerDimension) -> None:
    _write_options(writer, component, line=False)
    writer.vector(component.values)


def _write_parametric_relu(writer: ObjectWriter, component: nnet1.ParametricRelu) -> None:
    _write_options(writer, component)
    writer.vector(component.above)
    writer.vector(component.below)


def _write_lstm(writer: ObjectWriter, component: nnet1.LstmComponent) -> None:
    _write_options(writer, component, line=False)
    for direction in component.directions:
        writer.newline()
        writer.matrix(direction.w_gifo_x)
        writer.matrix(direction.w_gifo_r)
        writer.vector(direction.bias)
        for peephole in direction.peepholes:
            writer.vector(peephole)
        writer.matrix(direction.w_r_m)


_WRITERS: dict[type, Callable[..., None]] = {
    nnet1.Component: _write_plain,
    nnet1.Affine: _write_affine,
    nnet1.PerDimension: _write_per_dimension,
    nnet1.ParametricRelu: _write_parametric_relu,
    nnet1.Splice: _write_splice,
    nnet1.Copy: _write_copy,
    nnet1.BlockSoftmax: _write_block_softmax,
    nnet1.LstmComponent: _write_lstm,
}
