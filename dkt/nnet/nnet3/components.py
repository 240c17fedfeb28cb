"""Components of nnet3: read from their files, written, and their dimensions.

I and O are the dimensions of a component's input and output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dkt.base.errors import DktError
from dkt.nnet.nnet3.layouts import LAYOUTS, Field
from dkt.util.object_io import ObjectReader, ObjectWriter


@dataclass(frozen=True)
class Nnet3Component:
    """One component.

    Attributes:
        kind: for example ``TdnnComponent``.
        fields: what follows each token, by ``Field.key`` of its layout, in the order of the file; arrays
            are as stored, float64 of text.
        input_dim: I.
        output_dim: O.
    """

    kind: str
    fields: Mapping[str, Any]
    input_dim: int
    output_dim: int

    @property
    def time_offsets(self) -> tuple[int, ...]:
        """The frames, relative to that of the output, of the input."""
        return tuple(self.fields["TimeOffsets"].tolist()) if self.kind == "TdnnComponent" else (0,)

    @property
    def reads_input(self) -> bool:
        """Whether the input is of any effect; some have one only to be well formed."""
        return self.kind not in ("ConstantComponent", "DropoutMaskComponent")


def new_component(kind: str, **fields: Any) -> Nnet3Component:
    """A component of given values, which are put into the order of files.

    Raises:
        DktError: values are missing, or their dimensions do not fit together.
    """
    layout = LAYOUTS[kind]
    missing = [field.key for field in layout if not field.optional and field.key not in fields]
    if missing or set(fields) - {field.key for field in layout}:
        raise DktError(f"{kind} needs {' '.join(missing)} and has {' '.join(fields)}")
    ordered = {field.key: fields[field.key] for field in layout if field.key in fields}
    try:
        return Nnet3Component(kind, ordered, *_dims(kind, ordered))
    except ValueError as error:
        raise DktError(f"{kind}: {error}") from None


def read_component(reader: ObjectReader, name: str) -> Nnet3Component:
    """Read one component; ``name`` is for errors.

    Raises:
        DktError: it is damaged, or none that dkt runs.
    """
    kind = reader.token().strip("<>")
    reader.within = f"component '{name[:100]}'"
    if kind not in LAYOUTS:
        raise reader.fail(
            f"'{kind[:40]}' is not a component of nnet3 that dkt runs, which are {', '.join(sorted(LAYOUTS))}"
        )
    reader.within = f"component '{name[:100]}' ({kind})"
    fields = {}
    for field in LAYOUTS[kind]:
        if not field.optional:
            reader.expect(f"<{field.token}>")
        elif reader.peek_token() == f"<{field.token}>":
            reader.token()
        else:
            continue
        fields[field.key] = _value(reader, field)
    reader.expect(f"</{kind}>")
    try:
        dims = _dims(kind, fields)
    except ValueError as error:
        raise reader.fail(str(error)) from None
    reader.within = ""
    return Nnet3Component(kind, fields, *dims)


def _value(reader: ObjectReader, field: Field) -> Any:
    if field.form == "none":
        return None
    if field.form == "bool":
        return reader.boolean()
    if field.form == "int32":
        return reader.int32()
    if field.form == "int32s":
        return (reader.int32(), reader.int32())
    if field.form == "int_vector":
        return reader.int_vector()
    value: Any
    if field.form in ("real", "double"):
        value = reader.real()
    elif field.form == "reals":
        value = (reader.real(), reader.real())
    else:
        value = reader.vector() if field.form == "vector" else reader.matrix()
    # What is too large for single precision becomes infinite, as in Kaldi, and is refused with the rest.
    with np.errstate(over="ignore"):
        single = np.asarray(value, dtype=np.float64 if field.form == "double" else np.float32)
    if not np.isfinite(single).all():
        raise reader.fail(f"<{field.token}> has a value that is not a number")
    return value


def write_component(writer: ObjectWriter, component: Nnet3Component) -> None:
    """Write one component as Kaldi does."""
    writer.token(f"<{component.kind}>")
    for field in LAYOUTS[component.kind]:
        if field.key in component.fields:
            writer.token(f"<{field.token}>")
            _write_value(writer, field, component.fields[field.key])
    writer.token(f"</{component.kind}>")
    writer.newline()


def _write_value(writer: ObjectWriter, field: Field, value: Any) -> None:
    if field.form == "none":
        return
    one = {"int32s": "int32", "reals": "real", "bool": "boolean"}.get(field.form, field.form)
    for item in value if field.form in ("int32s", "reals") else (value,):
        getattr(writer, one)(item)


def _dims(kind: str, fields: Mapping[str, Any]) -> tuple[int, int]:
    """I and O; ValueError if the parameters contradict each other."""
    dims = _DIMS.get(kind, _of_dim)(fields)
    if min(dims) < 1:
        raise ValueError(f"impossible dimensions {dims[0]} and {dims[1]}")
    return dims


def _same(what: str, found: Any, expected: Any) -> None:
    if found != expected:
        raise ValueError(f"{what} is {found}, expected {expected}")


def _divides(what: str, part: int, whole: int) -> int:
    if part < 1 or whole < 1 or whole % part:
        raise ValueError(f"{what} is {part}, which does not divide {whole}")
    return whole // part


def _of_dim(fields: Mapping[str, Any]) -> tuple[int, int]:
    dim = fields["Dim"]
    _divides("<BlockDim>", fields.get("BlockDim", dim), dim)
    return dim, dim


def _of_nonlinear(fields: Mapping[str, Any]) -> tuple[int, int]:
    for token in ("ValueAvg", "DerivAvg", "OderivRms"):
        size = len(fields.get(token, ()))
        if size not in (0, fields["Dim"]):
            raise ValueError(f"<{token}> has {size} values, expected {fields['Dim']}")
    return _of_dim(fields)


def _of_normalize(fields: Mapping[str, Any]) -> tuple[int, int]:
    dim = fields.get("InputDim", fields.get("Dim"))
    if dim is None:
        raise ValueError("expected <InputDim>")
    blocks = _divides("<BlockDim>", fields.get("BlockDim", dim), dim)
    if fields.get("TargetRms", 1.0) <= 0.0:
        raise ValueError(f"<TargetRms> is {fields['TargetRms']}, expected more than 0")
    return dim, dim + (blocks if fields.get("AddLogStddev") else 0)


def _of_batch_norm(fields: Mapping[str, Any]) -> tuple[int, int]:
    for token in ("StatsMean", "StatsVar"):
        _same(f"the number of values of <{token}>", len(fields[token]), fields["BlockDim"])
    if fields["Epsilon"] <= 0.0 or fields["TargetRms"] <= 0.0:
        raise ValueError("<Epsilon> and <TargetRms> have to be more than 0")
    return _of_dim(fields)


def _of_affine(fields: Mapping[str, Any]) -> tuple[int, int]:
    rows, columns = fields["LinearParams"].shape
    _same("the number of values of <BiasParams>", len(fields["BiasParams"]), rows)
    return columns, rows


def _of_blocks(fields: Mapping[str, Any]) -> tuple[int, int]:
    columns, rows = _of_affine(fields)
    _divides("<NumBlocks>", fields["NumBlocks"], rows)
    return columns * fields["NumBlocks"], rows


def _of_repeats(fields: Mapping[str, Any]) -> tuple[int, int]:
    columns, rows = _of_affine(fields)
    return columns * fields["NumRepeats"], rows * fields["NumRepeats"]


def _of_tdnn(fields: Mapping[str, Any]) -> tuple[int, int]:
    rows, columns = fields["LinearParams"].shape
    offsets = fields["TimeOffsets"].tolist()
    if len(fields["BiasParams"]):
        _same("the number of values of <BiasParams>", len(fields["BiasParams"]), rows)
    if not offsets or sorted(set(offsets)) != offsets or max(map(abs, offsets)) > 100_000:
        raise ValueError(f"<TimeOffsets> are {offsets[:20]}, expected frames in ascending order")
    _divides("the number of <TimeOffsets>", len(offsets), columns)
    return columns // len(offsets), rows


def _of_linear(fields: Mapping[str, Any]) -> tuple[int, int]:
    rows, columns = fields["Params"].shape
    return columns, rows


def _of_vector(token: str) -> Callable[[Mapping[str, Any]], tuple[int, int]]:
    return lambda fields: (len(fields[token]), len(fields[token]))


def _of_offsets(fields: Mapping[str, Any]) -> tuple[int, int]:
    dim = fields.get("Dim", len(fields["Offsets"]))
    _divides("the number of <Offsets>", len(fields["Offsets"]), dim)
    return dim, dim


def _of_scale_and_offset(fields: Mapping[str, Any]) -> tuple[int, int]:
    _same("the number of <Offsets>", len(fields["Offsets"]), len(fields["Scales"]))
    return _of_offsets(fields)


def _of_two_dims(fields: Mapping[str, Any]) -> tuple[int, int]:
    _divides("<OutputDim>", fields["OutputDim"], fields["InputDim"])
    return fields["InputDim"], fields["OutputDim"]


def _of_sum_group(fields: Mapping[str, Any]) -> tuple[int, int]:
    sizes = fields["Sizes"].astype(np.int64)
    if not len(sizes) or sizes.min() < 1:
        raise ValueError("<Sizes> have to be more than 0")
    return int(sizes.sum()), len(sizes)


def _of_permutation(fields: Mapping[str, Any]) -> tuple[int, int]:
    columns = fields["ColumnMap"]
    if sorted(columns.tolist()) != list(range(len(columns))):
        raise ValueError("<ColumnMap> does not name each column once")
    return len(columns), len(columns)


def _of_constant_function(fields: Mapping[str, Any]) -> tuple[int, int]:
    return fields["InputDim"], len(fields["Output"])


def _of_mask(fields: Mapping[str, Any]) -> tuple[int, int]:
    return fields["OutputDim"], fields["OutputDim"]


def _of_lstm(fields: Mapping[str, Any]) -> tuple[int, int]:
    rows, cells = fields["Params"].shape
    _same("the number of rows of <Params>", rows, 3)
    for token in ("ValueAvg", "DerivAvg"):
        _same(f"the shape of <{token}>", fields[token].shape, (5, cells))
    _same("the number of values of <SelfRepairConfig>", len(fields["SelfRepairConfig"]), 10)
    _same("the number of values of <SelfRepairProb>", len(fields["SelfRepairProb"]), 5)
    return 5 * cells + (3 if fields.get("UseDropout") else 0), 2 * cells


_DIMS: dict[str, Callable[[Mapping[str, Any]], tuple[int, int]]] = {
    **dict.fromkeys(
        (
            "SigmoidComponent",
            "TanhComponent",
            "SoftmaxComponent",
            "LogSoftmaxComponent",
            "RectifiedLinearComponent",
        ),
        _of_nonlinear,
    ),
    "NormalizeComponent": _of_normalize,
    "BatchNormComponent": _of_batch_norm,
    **dict.fromkeys(
        ("AffineComponent", "NaturalGradientAffineComponent", "FixedAffineComponent"), _of_affine
    ),
    "BlockAffineComponent": _of_blocks,
    **dict.fromkeys(("RepeatedAffineComponent", "NaturalGradientRepeatedAffineComponent"), _of_repeats),
    "TdnnComponent": _of_tdnn,
    "LinearComponent": _of_linear,
    **dict.fromkeys(
        ("PerElementScaleComponent", "NaturalGradientPerElementScaleComponent"), _of_vector("Params")
    ),
    "FixedScaleComponent": _of_vector("Scales"),
    "FixedBiasComponent": _of_vector("Bias"),
    "ConstantComponent": _of_vector("Output"),
    "ConstantFunctionComponent": _of_constant_function,
    "PerElementOffsetComponent": _of_offsets,
    "ScaleAndOffsetComponent": _of_scale_and_offset,
    **dict.fromkeys(("PnormComponent", "ElementwiseProductComponent", "SumBlockComponent"), _of_two_dims),
    "SumGroupComponent": _of_sum_group,
    "PermuteComponent": _of_permutation,
    "DropoutMaskComponent": _of_mask,
    "LstmNonlinearityComponent": _of_lstm,
}
