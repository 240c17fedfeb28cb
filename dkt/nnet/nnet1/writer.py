"""Components of Kaldi's nnet1, written as Kaldi writes them (``Nnet::Write`` in ``nnet/nnet-nnet.cc``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dkt.nnet.nnet1 import components as nnet1
from dkt.util.object_io import ObjectWriter


def write_nnet1(components: Sequence[nnet1.Component], binary: bool = True) -> bytes:
    """The bytes of a network, binary or text.

    Args:
        components: plain, affine, per dimension, splicing and copying ones.
        binary: Kaldi's binary form, else its text form.
    """
    writer = ObjectWriter(binary)
    writer.token("<Nnet>")
    writer.newline()
    for component in components:
        writer.token(component.marker)
        writer.int32(component.output_dim)
        writer.int32(component.input_dim)
        writer.newline()
        _WRITERS[type(component)](writer, component)
        writer.token("<!EndOfComponent>")
        writer.newline()
    writer.token("</Nnet>")
    writer.newline()
    return writer.getvalue()


def _write_affine(writer: ObjectWriter, component: nnet1.Affine) -> None:
    # Rates of learning: as a part of the features it is not trained.
    names = ["LearnRateCoef"] if component.bias is None else ["LearnRateCoef", "BiasLearnRateCoef", "MaxNorm"]
    for name in names:
        writer.token(f"<{name}>")
        writer.real(0.0)
    writer.matrix(component.weight)
    if component.bias is not None:
        writer.vector(component.bias)


def _write_splice(writer: ObjectWriter, component: nnet1.Splice) -> None:
    writer.int_vector(component.offsets)


def _write_copy(writer: ObjectWriter, component: nnet1.Copy) -> None:
    writer.int_vector(component.indices + 1)


def _write_per_dimension(writer: ObjectWriter, component: nnet1.PerDimension) -> None:
    writer.token("<LearnRateCoef>")
    writer.real(0.0)
    writer.vector(component.values)


def _write_nothing(writer: ObjectWriter, component: nnet1.Component) -> None:
    pass


_WRITERS: dict[type, Callable[..., None]] = {
    nnet1.Component: _write_nothing,
    nnet1.Affine: _write_affine,
    nnet1.PerDimension: _write_per_dimension,
    nnet1.Splice: _write_splice,
    nnet1.Copy: _write_copy,
}
