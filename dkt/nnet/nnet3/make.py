"""Components of nnet3 made of plain values, and a network that grows node by node.

What is not given has the default of Kaldi's ``InitFromConfig``, so that Kaldi can go on training.
"""

from __future__ import annotations

import numpy as np

from dkt.nnet.nnet3.components import Nnet3Component, new_component
from dkt.nnet.nnet3.descriptors import Expression, node
from dkt.nnet.nnet3.network import Nnet3, Node

_NONE = np.zeros(0, np.float32)
# What xconfigs give the layers of LSTMs and the last layer, and hidden layers.
_MAX_CHANGE = 1.5
_HIDDEN_MAX_CHANGE = 0.75
# nnet3's LstmNonlinearityComponent: least derivatives of the five nonlinearities, and scales of their repair.
_SELF_REPAIR = np.array([0.05, 0.05, 0.2, 0.05, 0.2, *[1.0e-5] * 5], np.float32)
_RELU_REPAIR = 1.0e-5


def affine(weight: np.ndarray, bias: np.ndarray, hidden: bool = False) -> Nnet3Component:
    """``NaturalGradientAffineComponent`` of a weight ``(O, I)`` and a bias ``(O,)``."""
    rows, columns = weight.shape
    return new_component(
        "NaturalGradientAffineComponent",
        MaxChange=_HIDDEN_MAX_CHANGE if hidden else _MAX_CHANGE,
        LearningRate=0.001,
        LinearParams=np.asarray(weight, np.float32),
        BiasParams=np.asarray(bias, np.float32),
        RankIn=min(20, (columns + 1) // 2),
        RankOut=min(80, (rows + 1) // 2),
        UpdatePeriod=4,
        NumSamplesHistory=2000.0,
        Alpha=4.0,
    )


def fixed_affine(weight: np.ndarray, bias: np.ndarray) -> Nnet3Component:
    """``FixedAffineComponent``, which is not trained, of a weight ``(O, I)`` and a bias ``(O,)``."""
    return new_component(
        "FixedAffineComponent",
        LinearParams=np.asarray(weight, np.float32),
        BiasParams=np.asarray(bias, np.float32),
    )


def nonlinearity(kind: str, dim: int) -> Nnet3Component:
    """A component without parameters of a kind such as ``SigmoidComponent``."""
    repair = {"SelfRepairScale": _RELU_REPAIR} if kind == "RectifiedLinearComponent" else {}
    return new_component(
        kind,
        Dim=dim,
        ValueAvg=_NONE,
        DerivAvg=_NONE,
        Count=0.0,
        OderivRms=_NONE,
        OderivCount=0.0,
        NumDimsSelfRepaired=0.0,
        NumDimsProcessed=0.0,
        **repair,
    )


def no_op(dim: int) -> Nnet3Component:
    """``NoOpComponent``, which gives a sum or an ``Append`` a name."""
    return new_component("NoOpComponent", Dim=dim, BackpropScale=1.0)


def per_element_scale(scales: np.ndarray) -> Nnet3Component:
    """``NaturalGradientPerElementScaleComponent`` of the scales ``(C,)``, such as peepholes."""
    return new_component(
        "NaturalGradientPerElementScaleComponent",
        MaxChange=_HIDDEN_MAX_CHANGE,
        LearningRate=0.001,
        Params=np.asarray(scales, np.float32),
        IsGradientAgain=False,
        Rank=8,
        UpdatePeriod=10,
        NumSamplesHistory=2000.0,
        Alpha=4.0,
    )


def lstm_nonlinearity(peepholes: np.ndarray) -> Nnet3Component:
    """``LstmNonlinearityComponent`` of the peepholes ``(3, C)`` of the gates i, f and o."""
    none = np.zeros((5, peepholes.shape[1]), np.float32)
    return new_component(
        "LstmNonlinearityComponent",
        MaxChange=_HIDDEN_MAX_CHANGE,
        LearningRate=0.001,
        Params=np.asarray(peepholes, np.float32),
        ValueAvg=none,
        DerivAvg=none,
        SelfRepairConfig=_SELF_REPAIR,
        SelfRepairProb=np.zeros(5, np.float32),
        Count=0.0,
    )


def backprop_truncation(dim: int) -> Nnet3Component:
    """``BackpropTruncationComponent`` of an LSTM whose delay is one frame."""
    return new_component(
        "BackpropTruncationComponent",
        Dim=dim,
        Scale=1.0,
        ClippingThreshold=30.0,
        ZeroingThreshold=15.0,
        ZeroingInterval=20,
        RecurrenceInterval=1,
        NumElementsClipped=0.0,
        NumElementsZeroed=0.0,
        NumElementsProcessed=0.0,
        NumZeroingBoundaries=0.0,
    )


class Nnet3Builder:
    """A network that grows; every method but ``build`` gives what the next may read."""

    def __init__(self) -> None:
        self._nodes: list[Node] = []
        self._components: dict[str, Nnet3Component] = {}

    def input(self, name: str, dim: int) -> Expression:
        """An input-node."""
        self._nodes.append(Node("input-node", name, dim=dim))
        return node(name)

    def component(self, name: str, source: Expression, component: Nnet3Component) -> Expression:
        """A component and a node of the same name."""
        self._components[name] = component
        self._nodes.append(Node("component-node", name, source, name))
        return node(name)

    def range(self, name: str, source: Expression, first: int, dim: int) -> Expression:
        """``dim`` dimensions of a node from ``first`` on."""
        self._nodes.append(Node("dim-range-node", name, source, dim=dim, dim_offset=first))
        return node(name)

    def output(self, name: str, source: Expression) -> None:
        """An output-node."""
        self._nodes.append(Node("output-node", name, source))

    def build(self) -> Nnet3:
        """The network."""
        return Nnet3(self._nodes, self._components)
