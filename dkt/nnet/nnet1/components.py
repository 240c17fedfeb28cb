"""Networks of Kaldi's nnet1, read from their files, text and binary (``nnet/nnet-component.cc``).

I and O are the dimensions of a component's input and output, C LSTM cells, R outputs of a direction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from dkt.base.errors import DktError
from dkt.util.object_io import ObjectReader

_END = "<!EndOfComponent>"
# What LSTMs were clipped at before their files told, and dropout where a file does not tell.
_CELL_CLIP = 50.0
_DROPOUT_RATE = 0.5
_AFFINE = {"LearnRateCoef": 1.0, "BiasLearnRateCoef": 1.0, "MaxNorm": 0.0}
#: The options of components that have parameters, in Kaldi's order, and what they are where a file is silent.
RATES: dict[str, dict[str, float]] = {
    "<AffineTransform>": _AFFINE,
    "<LinearTransform>": {"LearnRateCoef": 1.0},
    "<AddShift>": {"LearnRateCoef": 1.0},
    "<Rescale>": {"LearnRateCoef": 1.0},
    "<ParametricRelu>": {"AlphaLearnRateCoef": 0.0, "BetaLearnRateCoef": 0.0},
}


@dataclass(frozen=True)
class Component:
    """One component; those without parameters are of this very class.

    Attributes:
        marker: as Kaldi writes it, for example ``<Sigmoid>``.
        input_dim: I.
        output_dim: O.
        options: the numbers before its parameters, by their names, most of them for training; none for one
            that is not trained, whose rates of learning are zero.
    """

    marker: str
    input_dim: int
    output_dim: int
    options: dict[str, float] = field(default_factory=dict, kw_only=True)


@dataclass(frozen=True)
class Affine(Component):
    """``<AffineTransform>`` and ``<LinearTransform>``: weight ``(O, I)``, bias ``(O,)`` or None."""

    weight: np.ndarray
    bias: np.ndarray | None


@dataclass(frozen=True)
class PerDimension(Component):
    """``<AddShift>`` and ``<Rescale>``: what is added to each dimension, or what it is multiplied by."""

    values: np.ndarray


@dataclass(frozen=True)
class ParametricRelu(Component):
    """``<ParametricRelu>``: the slopes above and below zero, each of shape ``(I,)``."""

    above: np.ndarray
    below: np.ndarray


@dataclass(frozen=True)
class Splice(Component):
    """``<Splice>``: the frames, relative to the present one, that are joined."""

    offsets: np.ndarray


@dataclass(frozen=True)
class Copy(Component):
    """``<Copy>``: the input dimension that each output dimension is; here they count from 0."""

    indices: np.ndarray


@dataclass(frozen=True)
class BlockSoftmax(Component):
    """``<BlockSoftmax>``: the dimensions of its blocks."""

    blocks: np.ndarray


@dataclass(frozen=True)
class LstmWeights:
    """One direction of an LSTM, gates in the order g, i, f, o.

    Attributes:
        w_gifo_x: shape ``(4C, I)``.
        w_gifo_r: shape ``(4C, R)``.
        bias: shape ``(4C,)``.
        peepholes: shape ``(3, C)``, of i, f and o.
        w_r_m: shape ``(R, C)``.
    """

    w_gifo_x: np.ndarray
    w_gifo_r: np.ndarray
    bias: np.ndarray
    peepholes: np.ndarray
    w_r_m: np.ndarray


@dataclass(frozen=True)
class LstmComponent(Component):
    """``<LstmProjected>`` and ``<BlstmProjected>``: forward in time and, in the latter, backward.

    Attributes:
        cell_clip: cells are kept within ± this; 0 for no clipping.
        directions: one or two, whose outputs are joined.
    """

    cell_clip: float
    directions: tuple[LstmWeights, ...]


def dropout_rate(component: Component) -> float:
    """The probability that ``<Dropout>`` zeroes a value in training; older files tell what is retained."""
    options = component.options
    return options.get("DropoutRate", 1.0 - options.get("DropoutRetention", 1.0 - _DROPOUT_RATE))


class _PrototypeReader(ObjectReader):
    """Reads the text of components without their parameters, which are zero and take no memory."""

    def __init__(self, text: str) -> None:
        super().__init__(text.encode(), "prototype")

    def zeros(self, *shape: int) -> np.ndarray:
        return np.broadcast_to(np.float32(0.0), shape)


def read_prototype(lines: Sequence[str]) -> list[Component]:
    """Components as ``dkt.nnet.nnet1.writer.write_prototype`` tells them, their parameters zero.

    Raises:
        DktError: a line is none of a component.
    """
    components = []
    for line in lines:
        reader = _PrototypeReader(line)
        components.append(_read_component(reader))
        if not reader.at_end():
            raise reader.fail("expected one component in a line")
    return components


def read_nnet1(path: str | Path) -> list[Component]:
    """Read a network: a file, ``-`` or ``command |``.

    Raises:
        DktError: it is none or is damaged, has a component that is not known here, or one whose dimension
            is not that of the component before it.
    """
    reader = ObjectReader.open(path)
    if not reader.peek_token().startswith("<"):
        raise DktError("is not a network of Kaldi's nnet1", path=path)
    framed = reader.peek_token() == "<Nnet>"
    if framed:
        reader.token()
    components: list[Component] = []
    # As in Kaldi, a file may do without the tokens that frame it; one that is framed must be whole.
    while framed or not reader.at_end():
        if reader.peek_token() == "</Nnet>":
            reader.token()
            break
        component = _read_component(reader)
        if components and components[-1].output_dim != component.input_dim:
            raise reader.fail(
                f"{components[-1].marker} has {components[-1].output_dim} outputs, {component.marker} after "
                f"it {component.input_dim} inputs"
            )
        components.append(component)
    if not reader.at_end():
        raise reader.fail("expected the end of the file after the network")
    return components


def _read_component(reader: ObjectReader) -> Component:
    marker = reader.token()
    # Kaldi does not mind capitals.
    if marker.lower() not in _READERS:
        known = ", ".join(kind.marker for kind in _KINDS)
        raise DktError(
            f"'{marker[:40]}' is not a component of nnet1 that dkt runs, which are {known}", path=reader.path
        )
    kind = _READERS[marker.lower()]
    output_dim, input_dim = reader.int32(), reader.int32()
    if output_dim < 1 or input_dim < 1:
        raise reader.fail(f"{kind.marker} has impossible dimensions {output_dim} and {input_dim}")
    component = kind.read(reader, Component(kind.marker, input_dim, output_dim))
    if reader.peek_token() == _END:
        reader.token()
    return component


def _options(reader: ObjectReader, *names: str) -> dict[str, float]:
    """The numbers, each after its token in any order, that precede the parameters."""
    values: dict[str, float] = {}
    while (token := reader.peek_token()).startswith("<") and token != _END:
        reader.expect(*(f"<{name}>" for name in names))
        value = reader.int32() if token == "<CellDim>" else reader.real()
        if not np.isfinite(value):
            raise reader.fail(f"{token} is not a number")
        values[token.strip("<>")] = value
    return values


def _with_rates(reader: ObjectReader, head: Component) -> Component:
    options = _options(reader, *RATES[head.marker]) or RATES[head.marker]
    untrained = options == dict.fromkeys(RATES[head.marker], 0.0)
    return replace(head, options={} if untrained else dict(options))


def _checked(reader: ObjectReader, marker: str, values: np.ndarray, *shape: int) -> np.ndarray:
    if values.shape != shape:
        raise reader.fail(f"{marker} has parameters of shape {values.shape}, expected {shape}")
    # What is too large for single precision becomes infinite, as in Kaldi, and is refused with the rest.
    with np.errstate(over="ignore", invalid="ignore"):
        values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise reader.fail(f"{marker} has a parameter that is not a number")
    return values


def _vector(reader: ObjectReader, head: Component, dim: int) -> np.ndarray:
    if isinstance(reader, _PrototypeReader):
        return reader.zeros(dim)
    return _checked(reader, head.marker, reader.vector(), dim)


def _matrix(reader: ObjectReader, head: Component, rows: int, columns: int) -> np.ndarray:
    if isinstance(reader, _PrototypeReader):
        return reader.zeros(rows, columns)
    return _checked(reader, head.marker, reader.matrix(), rows, columns)


def _same_dim(reader: ObjectReader, head: Component) -> None:
    if head.input_dim != head.output_dim:
        raise reader.fail(f"{head.marker} has {head.input_dim} inputs and {head.output_dim} outputs")


def _read_plain(reader: ObjectReader, head: Component) -> Component:
    _same_dim(reader, head)
    return head


def _read_dropout(reader: ObjectReader, head: Component) -> Component:
    # Its rate is for training only.
    options = _options(reader, "DropoutRate", "DropoutRetention")
    return replace(_read_plain(reader, head), options=options)


def _read_affine(reader: ObjectReader, head: Component) -> Component:
    head = _with_rates(reader, head)
    weight = _matrix(reader, head, head.output_dim, head.input_dim)
    return Affine(**vars(head), weight=weight, bias=_vector(reader, head, head.output_dim))


def _read_linear(reader: ObjectReader, head: Component) -> Component:
    head = _with_rates(reader, head)
    return Affine(**vars(head), weight=_matrix(reader, head, head.output_dim, head.input_dim), bias=None)


def _read_per_dimension(reader: ObjectReader, head: Component) -> Component:
    _same_dim(reader, head)
    head = _with_rates(reader, head)
    return PerDimension(**vars(head), values=_vector(reader, head, head.input_dim))


def _read_parametric_relu(reader: ObjectReader, head: Component) -> Component:
    _same_dim(reader, head)
    head = _with_rates(reader, head)
    above = _vector(reader, head, head.input_dim)
    return ParametricRelu(**vars(head), above=above, below=_vector(reader, head, head.input_dim))


def _read_splice(reader: ObjectReader, head: Component) -> Component:
    offsets = reader.int_vector()
    if len(offsets) * head.input_dim != head.output_dim:
        raise reader.fail(f"{head.marker} of {len(offsets)} frames has {head.output_dim} outputs")
    return Splice(**vars(head), offsets=offsets)


def _read_copy(reader: ObjectReader, head: Component) -> Component:
    indices = reader.int_vector()
    if len(indices) != head.output_dim or indices.min() < 1 or indices.max() > head.input_dim:
        raise reader.fail(f"{head.marker} does not name an input for each of its outputs")
    return Copy(**vars(head), indices=indices - 1)


def _read_block_softmax(reader: ObjectReader, head: Component) -> Component:
    _same_dim(reader, head)
    blocks = reader.int_vector().astype(np.int64)
    if not (blocks > 0).all() or blocks.sum() != head.output_dim:
        raise reader.fail(f"{head.marker} has blocks that do not add up to its outputs")
    return BlockSoftmax(**vars(head), blocks=blocks)


def _read_lstm(reader: ObjectReader, head: Component) -> Component:
    names = ("CellDim", "LearnRateCoef", "BiasLearnRateCoef", "CellClip", "DiffClip", "CellDiffClip")
    head = replace(head, options=_options(reader, *names, "GradClip", "ClipGradient"))
    cells = int(head.options.get("CellDim", 0))
    if cells < 1:
        raise reader.fail(f"{head.marker} does not tell its <CellDim>")
    number = 2 if head.marker == "<BlstmProjected>" else 1
    outputs = head.output_dim // number
    if outputs * number != head.output_dim:
        raise reader.fail(f"{head.marker} has {head.output_dim} outputs, expected an even number")
    directions = tuple(_read_direction(reader, head, cells, outputs) for _ in range(number))
    clip = head.options.get("CellClip", _CELL_CLIP)
    return LstmComponent(**vars(head), cell_clip=clip, directions=directions)


def _read_direction(reader: ObjectReader, head: Component, cells: int, outputs: int) -> LstmWeights:
    return LstmWeights(
        w_gifo_x=_matrix(reader, head, 4 * cells, head.input_dim),
        w_gifo_r=_matrix(reader, head, 4 * cells, outputs),
        bias=_vector(reader, head, 4 * cells),
        peepholes=_peepholes(reader, head, cells),
        w_r_m=_matrix(reader, head, outputs, cells),
    )


def _peepholes(reader: ObjectReader, head: Component, cells: int) -> np.ndarray:
    if isinstance(reader, _PrototypeReader):
        return reader.zeros(3, cells)
    return np.stack([_vector(reader, head, cells) for _ in range(3)])


@dataclass(frozen=True)
class _Kind:
    marker: str
    read: Callable[[ObjectReader, Component], Component]
    old_marker: str = ""


_KINDS = [
    _Kind("<AffineTransform>", _read_affine),
    _Kind("<LinearTransform>", _read_linear),
    _Kind("<LstmProjected>", _read_lstm, "<LstmProjectedStreams>"),
    _Kind("<BlstmProjected>", _read_lstm, "<BlstmProjectedStreams>"),
    *(_Kind(f"<{name}>", _read_plain) for name in ("Softmax", "HiddenSoftmax", "Sigmoid", "Tanh")),
    _Kind("<LengthNormComponent>", _read_plain),
    _Kind("<BlockSoftmax>", _read_block_softmax),
    _Kind("<ParametricRelu>", _read_parametric_relu),
    _Kind("<Dropout>", _read_dropout),
    _Kind("<Splice>", _read_splice),
    _Kind("<Copy>", _read_copy),
    _Kind("<AddShift>", _read_per_dimension),
    _Kind("<Rescale>", _read_per_dimension),
]
_READERS = {marker.lower(): kind for kind in _KINDS for marker in (kind.marker, kind.old_marker) if marker}
