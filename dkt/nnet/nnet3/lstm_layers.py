"""LSTM layers as nodes of nnet3, in one of two forms (``steps/libs/nnet3/xconfig/lstm.py``).

C cells, R outputs that recur.
"""

from __future__ import annotations

import numpy as np
import torch

from dkt.nnet.lstm_layer import LstmLayer
from dkt.nnet.nnet3.components import new_component
from dkt.nnet.nnet3.descriptors import Expression, append, if_defined, node, offset, scaled, total
from dkt.nnet.nnet3.make import (
    Nnet3Builder,
    affine,
    backprop_truncation,
    lstm_nonlinearity,
    no_op,
    nonlinearity,
    per_element_scale,
)

_GATES = "ifgo"  # in the order of nnet3's weights


def lstm_layer(
    builder: Nnet3Builder, name: str, layer: LstmLayer, source: Expression, step: int
) -> Expression:
    """A layer whose outputs all recur, projected or not.

    nnet3's own nonlinearity, as ``fast-lstmp-layer`` has it, does not clip cells, as dkt and nnet1 do: a
    layer that clips them is made of plain components, as ``lstmp-layer`` is.

    Args:
        builder: the network that grows.
        name: of the layer, the beginning of the names of its nodes.
        layer: its weights.
        source: its input.
        step: -1 for one that runs ahead in time, 1 for one that runs back.
    """
    cells, recurring = layer.cells, layer.output_dim
    c_before = if_defined(offset(node(f"{name}.c_trunc"), step))
    r_before = if_defined(offset(node(f"{name}.r_trunc"), step))
    weight = np.concatenate([_ifgo(layer.w_gifo_x), _ifgo(layer.w_gifo_r)], axis=1)
    sums = builder.component(f"{name}.W_all", append(source, r_before), affine(weight, _ifgo(layer.bias)))
    make = _clipped_cells if layer.clips.cell > 0.0 else _fast_cells
    cell, outputs = make(builder, name, layer, sums, c_before)
    if layer.w_r_m is not None:
        outputs = builder.component(f"{name}.rp", outputs, affine(_array(layer.w_r_m), np.zeros(recurring)))
    state = append(cell, outputs)
    trunc = builder.component(f"{name}.cr_trunc", state, backprop_truncation(cells + recurring))
    builder.range(f"{name}.c_trunc", trunc, 0, cells)
    builder.range(f"{name}.r_trunc", trunc, cells, recurring)
    return outputs


def _fast_cells(
    builder: Nnet3Builder, name: str, layer: LstmLayer, sums: Expression, c_before: Expression
) -> tuple[Expression, Expression]:
    """Cells and what their output gates let through, by ``LstmNonlinearityComponent``."""
    cells = layer.cells
    peepholes = np.zeros((3, cells)) if layer.peepholes is None else _array(layer.peepholes)
    nonlin = builder.component(f"{name}.lstm_nonlin", append(sums, c_before), lstm_nonlinearity(peepholes))
    return builder.range(f"{name}.c", nonlin, 0, cells), builder.range(f"{name}.m", nonlin, cells, cells)


def _clipped_cells(
    builder: Nnet3Builder, name: str, layer: LstmLayer, sums: Expression, c_before: Expression
) -> tuple[Expression, Expression]:
    """The same of cells that are clipped before the output gate sees them."""
    cells = layer.cells
    gates = {
        gate: builder.range(f"{name}.{gate}_sum", sums, number * cells, cells)
        for number, gate in enumerate(_GATES)
    }

    def gate(letter: str, cell: Expression) -> Expression:
        source = gates[letter]
        if layer.peepholes is not None:
            weights = _array(layer.peepholes)["ifo".index(letter)]
            source = total(source, builder.component(f"{name}.w_{letter}c", cell, per_element_scale(weights)))
        return builder.component(f"{name}.{letter}", source, nonlinearity("SigmoidComponent", cells))

    def product(part: str, *factors: Expression) -> Expression:
        component = new_component("ElementwiseProductComponent", InputDim=2 * cells, OutputDim=cells)
        return builder.component(f"{name}.{part}", append(*factors), component)

    new = builder.component(f"{name}.g", gates["g"], nonlinearity("TanhComponent", cells))
    kept, added = product("c1", gate("f", c_before), c_before), product("c2", gate("i", c_before), new)
    cell = _clip(builder, f"{name}.c", total(kept, added), cells, layer.clips.cell)
    squashed = builder.component(f"{name}.h", cell, nonlinearity("TanhComponent", cells))
    return cell, product("m", gate("o", cell), squashed)


def _clip(builder: Nnet3Builder, name: str, source: Expression, dim: int, limit: float) -> Expression:
    """``source`` within ± limit.

    What is beyond is taken off: within the limit nothing is added that rounding would tell.
    """
    whole = builder.component(f"{name}_sum", source, no_op(dim))
    beyond = []
    for side, sign in (("over", 1.0), ("under", -1.0)):
        bias = new_component("FixedBiasComponent", Bias=np.full(dim, -limit, np.float32))
        distance = builder.component(f"{name}_{side}_by", whole if sign > 0 else scaled(-1, whole), bias)
        excess = nonlinearity("RectifiedLinearComponent", dim)
        beyond.append(builder.component(f"{name}_{side}", distance, excess))
    over, under = beyond
    return builder.component(name, total(whole, scaled(-1, over), under), no_op(dim))


def _ifgo(gifo: torch.Tensor) -> np.ndarray:
    g, i, f, o = np.split(_array(gifo), 4)
    return np.concatenate([i, f, g, o])


def _array(values: torch.Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()
