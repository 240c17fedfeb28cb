"""What each component of nnet3 computes, in NumPy (``Propagate`` of each in ``nnet3/nnet-*-component.cc``).

As in Kaldi's programs for decoding: batch normalisation with its statistics, dropout with its mean. R rows
are frames; every function maps ``(R, I)`` to ``(R, O)``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dkt.base.errors import DktError
from dkt.nnet.nnet3.components import Nnet3Component

Propagate = Callable[[np.ndarray], np.ndarray]

# cu-math.cc: what the mean square of a row is raised to, 2^-66.
_NORM_FLOOR = 2.0**-66
#: What nearer to zero a scale is taken for, ``ScaleAndOffsetComponent::Epsilon``.
LEAST_SCALE = 1.0e-4


def propagation(component: Nnet3Component, dtype: np.dtype) -> Propagate:
    """The function of a component, in the precision ``dtype``.

    That of ``TdnnComponent`` takes its frames side by side, ``(R, frames * I)``.

    Raises:
        DktError: it is a batch normalisation without statistics.
    """
    make = _WITH_PARAMETERS.get(component.kind)
    return _PLAIN[component.kind] if make is None else make(component, dtype)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    # Of the exponent of what is never above 0: no overflow on either side.
    small = np.exp(-np.abs(values))
    return np.where(values >= 0.0, 1.0, small) / (1.0 + small)


def _log_softmax(values: np.ndarray) -> np.ndarray:
    shifted = values - values.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _same(values: np.ndarray) -> np.ndarray:
    return values


_PLAIN: dict[str, Propagate] = {
    "SigmoidComponent": _sigmoid,
    "TanhComponent": np.tanh,
    "RectifiedLinearComponent": lambda values: np.maximum(values, 0.0),
    "SoftmaxComponent": lambda values: np.exp(_log_softmax(values)),
    "LogSoftmaxComponent": _log_softmax,
    "NoOpComponent": _same,
    "ClipGradientComponent": _same,
    "GeneralDropoutComponent": _same,
    "SpecAugmentTimeMaskComponent": _same,
}


def _affine(component: Nnet3Component, dtype: np.dtype) -> Propagate:
    fields = component.fields
    weight = np.asarray(fields["Params"] if "Params" in fields else fields["LinearParams"], dtype).T
    bias = np.asarray(fields.get("BiasParams", np.zeros(0)), dtype)
    if not len(bias):
        return lambda values: values @ weight
    return lambda values: values @ weight + bias


def _blocks(component: Nnet3Component, dtype: np.dtype) -> Propagate:
    # The weights of each block are rows of one matrix.
    count = component.fields["NumBlocks"]
    rows, columns = component.fields["LinearParams"].shape
    weight = np.asarray(component.fields["LinearParams"], dtype).reshape(count, rows // count, columns)
    bias = np.asarray(component.fields["BiasParams"], dtype)

    def run(values: np.ndarray) -> np.ndarray:
        parts = np.einsum("rbi,boi->rbo", values.reshape(len(values), count, columns), weight)
        return parts.reshape(len(values), rows) + bias

    return run


def _repeats(component: Nnet3Component, dtype: np.dtype) -> Propagate:
    count = component.fields["NumRepeats"]
    weight = np.asarray(component.fields["LinearParams"], dtype).T
    bias = np.asarray(component.fields["BiasParams"], dtype)

    def run(values: np.ndarray) -> np.ndarray:
        outputs = values.reshape(len(values) * count, -1) @ weight + bias
        return outputs.reshape(len(values), -1)

    return run


def _scale_and_offset(component: Nnet3Component, dtype: np.dtype) -> Propagate:
    """A factor and a summand for each dimension, repeated where they are of blocks."""
    fields = component.fields
    tokens = {
        "FixedScaleComponent": ("Scales", None),
        "FixedBiasComponent": (None, "Bias"),
        "PerElementOffsetComponent": (None, "Offsets"),
        "ScaleAndOffsetComponent": ("Scales", "Offsets"),
    }
    scale_token, offset_token = tokens.get(component.kind, ("Params", None))
    scale = np.ones(1, dtype) if scale_token is None else np.asarray(fields[scale_token], dtype)
    offset = np.zeros(1, dtype) if offset_token is None else np.asarray(fields[offset_token], dtype)
    if component.kind == "ScaleAndOffsetComponent":
        least = np.where(scale < 0.0, -LEAST_SCALE, LEAST_SCALE)
        scale = np.where(np.abs(scale) < LEAST_SCALE, least, scale).astype(dtype)
    scale, offset = (np.tile(each, component.input_dim // len(each)) for each in (scale, offset))
    return lambda values: values * scale + offset


def _batch_norm(component: Nnet3Component, dtype: np.dtype) -> Propagate:
    fields = component.fields
    if fields["Count"] <= 0.0:
        raise DktError("a BatchNormComponent without statistics (<Count> 0), which has never been trained")
    mean, variance = (np.asarray(fields[token], np.float64) for token in ("StatsMean", "StatsVar"))
    scale = fields["TargetRms"] / np.sqrt(np.maximum(variance, 0.0) + fields["Epsilon"])
    blocks = component.input_dim // len(mean)
    factor = np.tile(scale, blocks).astype(dtype)
    summand = np.tile(-mean * scale, blocks).astype(dtype)
    return lambda values: values * factor + summand


def _normalize(component: Nnet3Component, dtype: np.dtype) -> Propagate:
    fields = component.fields
    target = dtype.type(fields.get("TargetRms", 1.0))
    block = fields.get("BlockDim", component.input_dim)

    def run(values: np.ndarray) -> np.ndarray:
        rows = values.reshape(-1, block)
        power = np.einsum("ri,ri->r", rows, rows) / (block * target * target)
        scale = np.maximum(power, dtype.type(_NORM_FLOOR))[:, None] ** dtype.type(-0.5)
        outputs = rows * scale
        if fields.get("AddLogStddev"):
            outputs = np.concatenate([outputs, np.log(target) - np.log(scale)], axis=1)
        return outputs.reshape(len(values), -1)

    return run


def _grouped(component: Nnet3Component, dtype: np.dtype) -> Propagate:
    """Neighbours are joined, or blocks are: by the root of the sum of squares, a product or a sum."""
    outputs, parts = component.output_dim, component.input_dim // component.output_dim
    if component.kind == "PnormComponent":
        return lambda values: np.sqrt((values.reshape(-1, outputs, parts) ** 2).sum(axis=2))
    if component.kind == "ElementwiseProductComponent":
        return lambda values: values.reshape(-1, parts, outputs).prod(axis=1)
    scale = dtype.type(component.fields["Scale"])
    return lambda values: values.reshape(-1, parts, outputs).sum(axis=1) * scale


def _sum_group(component: Nnet3Component, dtype: np.dtype) -> Propagate:
    starts = np.cumsum(component.fields["Sizes"]) - component.fields["Sizes"]
    return lambda values: np.add.reduceat(values, starts, axis=1)


def _permute(component: Nnet3Component, dtype: np.dtype) -> Propagate:
    columns = component.fields["ColumnMap"]
    return lambda values: values[:, columns]


def _constant(component: Nnet3Component, dtype: np.dtype) -> Propagate:
    fields = component.fields
    if component.kind == "DropoutMaskComponent":
        mean = 1.0 if "Continuous" in fields else 1.0 - fields["DropoutProportion"]
        row = np.full(component.output_dim, mean, dtype)
    else:
        row = np.asarray(fields["Output"], dtype)
    return lambda values: np.tile(row, (len(values), 1))


def _scaled(component: Nnet3Component, dtype: np.dtype) -> Propagate:
    if component.kind == "DropoutComponent":
        scale = dtype.type(1.0 - component.fields["DropoutProportion"])
    else:
        scale = dtype.type(component.fields.get("Scale", 1.0))
    return lambda values: values * scale


def _lstm_nonlinearity(component: Nnet3Component, dtype: np.dtype) -> Propagate:
    """One step of an LSTM of C cells (``CpuComputeLstmNonlinearity`` in ``cu-math.cc``).

    It takes the sums of the gates i, f, c and o, the cell before, and three factors of dropout or none, and
    gives the cell and the output.
    """
    peepholes = np.asarray(component.fields["Params"], dtype)
    cells = peepholes.shape[1]

    def run(values: np.ndarray) -> np.ndarray:
        i, f, g, o, before = (values[:, part * cells : (part + 1) * cells] for part in range(5))
        kept = values[:, 5 * cells :, None] if values.shape[1] > 5 * cells else np.ones((1, 3, 1), dtype)
        i = _sigmoid(i + peepholes[0] * before) * kept[:, 0]
        f = _sigmoid(f + peepholes[1] * before) * kept[:, 1]
        cell = f * before + i * np.tanh(g)
        o = _sigmoid(o + peepholes[2] * cell) * kept[:, 2]
        return np.concatenate([cell, o * np.tanh(cell)], axis=1)

    return run


_WITH_PARAMETERS: dict[str, Callable[[Nnet3Component, np.dtype], Propagate]] = {
    **dict.fromkeys(
        (
            "AffineComponent",
            "NaturalGradientAffineComponent",
            "FixedAffineComponent",
            "LinearComponent",
            "TdnnComponent",
        ),
        _affine,
    ),
    "BlockAffineComponent": _blocks,
    **dict.fromkeys(("RepeatedAffineComponent", "NaturalGradientRepeatedAffineComponent"), _repeats),
    **dict.fromkeys(
        (
            "PerElementScaleComponent",
            "NaturalGradientPerElementScaleComponent",
            "PerElementOffsetComponent",
            "ScaleAndOffsetComponent",
            "FixedScaleComponent",
            "FixedBiasComponent",
        ),
        _scale_and_offset,
    ),
    "BatchNormComponent": _batch_norm,
    "NormalizeComponent": _normalize,
    **dict.fromkeys(("PnormComponent", "ElementwiseProductComponent", "SumBlockComponent"), _grouped),
    "SumGroupComponent": _sum_group,
    "PermuteComponent": _permute,
    **dict.fromkeys(("ConstantComponent", "ConstantFunctionComponent", "DropoutMaskComponent"), _constant),
    **dict.fromkeys(("DropoutComponent", "BackpropTruncationComponent"), _scaled),
    "LstmNonlinearityComponent": _lstm_nonlinearity,
}
