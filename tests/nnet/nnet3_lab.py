"""Random networks of nnet3, and an interpreter that asks for one value of one node at one time."""

from __future__ import annotations

import random
import sys

import numpy as np

from dkt.nnet.nnet3.components import new_component
from dkt.nnet.nnet3.descriptors import parse_descriptor
from dkt.nnet.nnet3.network import Nnet3, Node
from dkt.nnet.nnet3.propagate import propagation

#: Times at which there is no input, nor anything that comes of one.
FARTHEST = 60
UPDATABLE = {"MaxChange": 0.75, "LearningRate": 0.001}
NATURAL = {"RankIn": 20, "RankOut": 80, "UpdatePeriod": 4, "NumSamplesHistory": 2000.0, "Alpha": 4.0}


def reals(chance, *shape):
    return np.array([chance.gauss(0, 0.5) for _ in range(int(np.prod(shape)))], np.float32).reshape(shape)


def affine(chance, inputs, outputs):
    return new_component(
        "NaturalGradientAffineComponent",
        **UPDATABLE,
        **NATURAL,
        LinearParams=reals(chance, outputs, inputs),
        BiasParams=reals(chance, outputs),
    )


def plain(kind, dim):
    none = np.zeros(0, np.float32)
    return new_component(
        kind,
        Dim=dim,
        ValueAvg=none,
        DerivAvg=none,
        Count=0.0,
        OderivRms=none,
        OderivCount=0.0,
        NumDimsSelfRepaired=0.0,
        NumDimsProcessed=0.0,
    )


def tdnn(chance, inputs, outputs, offsets, bias=True):
    return new_component(
        "TdnnComponent",
        **UPDATABLE,
        TimeOffsets=np.array(offsets, np.int32),
        LinearParams=reals(chance, outputs, inputs * len(offsets)),
        BiasParams=reals(chance, outputs if bias else 0),
        OrthonormalConstraint=-1.0,
        UseNaturalGradient=True,
        NumSamplesHistory=2000.0,
        AlphaInOut=(4.0, 4.0),
        RankInOut=(4, 8),
    )


def batch_norm(chance, dim, block):
    return new_component(
        "BatchNormComponent",
        Dim=dim,
        BlockDim=block,
        Epsilon=0.001,
        TargetRms=0.7,
        TestMode=False,
        Count=9.0,
        StatsMean=reals(chance, block),
        StatsVar=np.abs(reals(chance, block)),
    )


def lstm(chance, cells, dropout=False):
    none = np.zeros((5, cells), np.float32)
    return new_component(
        "LstmNonlinearityComponent",
        **UPDATABLE,
        Params=reals(chance, 3, cells),
        ValueAvg=none,
        DerivAvg=none,
        SelfRepairConfig=np.full(10, 0.05, np.float32),
        SelfRepairProb=np.zeros(5, np.float32),
        Count=0.0,
        **({"UseDropout": True} if dropout else {}),
    )


def more_components(chance, dim):
    """One of each kind that takes ``dim``, a multiple of 6."""
    return [
        new_component("NormalizeComponent", InputDim=dim, TargetRms=0.5, AddLogStddev=True),
        new_component("NormalizeComponent", InputDim=dim, BlockDim=3, TargetRms=1.0, AddLogStddev=True),
        new_component("PnormComponent", InputDim=dim, OutputDim=dim // 3),
        new_component("ElementwiseProductComponent", InputDim=dim, OutputDim=dim // 2),
        new_component("SumBlockComponent", InputDim=dim, OutputDim=dim // 2, Scale=0.5),
        new_component("SumGroupComponent", Sizes=np.array([1, 2, dim - 3], np.int32)),
        new_component("PermuteComponent", ColumnMap=np.array(chance.sample(range(dim), dim), np.int32)),
        new_component("FixedScaleComponent", Scales=reals(chance, dim)),
        new_component("FixedBiasComponent", Bias=reals(chance, dim)),
        new_component(
            "FixedAffineComponent", LinearParams=reals(chance, 4, dim), BiasParams=reals(chance, 4)
        ),
        new_component(
            "LinearComponent",
            **UPDATABLE,
            Params=reals(chance, 5, dim),
            OrthonormalConstraint=-1.0,
            UseNaturalGradient=True,
            RankInOut=(3, 4),
            Alpha=4.0,
            NumSamplesHistory=2000.0,
            UpdatePeriod=4,
        ),
        new_component(
            "BlockAffineComponent",
            **UPDATABLE,
            NumBlocks=2,
            LinearParams=reals(chance, 4, dim // 2),
            BiasParams=reals(chance, 4),
        ),
        new_component(
            "RepeatedAffineComponent",
            **UPDATABLE,
            NumRepeats=3,
            LinearParams=reals(chance, 2, dim // 3),
            BiasParams=reals(chance, 2),
        ),
        new_component("PerElementScaleComponent", **UPDATABLE, Params=reals(chance, dim)),
        new_component(
            "NaturalGradientPerElementScaleComponent",
            **UPDATABLE,
            Params=reals(chance, dim),
            IsGradientAgain=False,
            Rank=8,
            UpdatePeriod=10,
            NumSamplesHistory=2000.0,
            Alpha=4.0,
        ),
        new_component(
            "PerElementOffsetComponent",
            **UPDATABLE,
            Offsets=reals(chance, dim // 2),
            Dim=dim,
            UseNaturalGradient=True,
        ),
        new_component(
            "ScaleAndOffsetComponent",
            **UPDATABLE,
            Dim=dim,
            Scales=reals(chance, dim // 2),
            Offsets=reals(chance, dim // 2),
            UseNaturalGradient=True,
            Rank=20,
        ),
        new_component("NoOpComponent", Dim=dim, BackpropScale=1.0),
        new_component(
            "DropoutComponent", Dim=dim, DropoutProportion=0.25, DropoutPerFrame=False, TestMode=False
        ),
        new_component(
            "GeneralDropoutComponent",
            Dim=dim,
            BlockDim=dim,
            TimePeriod=0,
            DropoutProportion=0.5,
            Continuous=None,
        ),
        new_component("SpecAugmentTimeMaskComponent", Dim=dim, ZeroedProportion=0.25, TimeMaskMaxFrames=10),
        new_component(
            "ClipGradientComponent",
            Dim=dim,
            ClippingThreshold=30.0,
            NormBasedClipping=True,
            SelfRepairClippedProportionThreshold=0.01,
            SelfRepairTarget=0.0,
            SelfRepairScale=1.0,
            NumElementsClipped=1,
            NumElementsProcessed=7,
            NumSelfRepaired=0,
            NumBackpropped=0,
        ),
        truncation(dim),
        new_component(
            "ConstantFunctionComponent",
            **UPDATABLE,
            InputDim=dim,
            Output=reals(chance, 3),
            IsUpdatable=True,
            UseNaturalGradient=True,
        ),
        batch_norm(chance, dim, dim // 2),
        tdnn(chance, dim, 3, [-2, 0, 1], bias=False),
        *(
            plain(f"{kind}Component", dim)
            for kind in ("Sigmoid", "Tanh", "RectifiedLinear", "Softmax", "LogSoftmax")
        ),
    ]


def truncation(dim):
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


class Build:
    """Nodes and components of a network that grows."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.nodes = []
        self.components = {}
        self.dims = {}

    def input(self, name, dim):
        self.nodes.append(Node("input-node", name, dim=dim))
        self.dims[name] = dim

    def add(self, name, source, make):
        """A component-node; ``make`` gives its component for the dimension of its input."""
        expression = parse_descriptor(source)
        self.component(name, source, make(expression.dim(self.dims)))

    def component(self, name, source, component):
        self.components[name] = component
        self.nodes.append(Node("component-node", name, parse_descriptor(source), name))
        self.dims[name] = component.output_dim

    def range(self, name, source, first, dim):
        self.nodes.append(Node("dim-range-node", name, parse_descriptor(source), dim=dim, dim_offset=first))
        self.dims[name] = dim

    def network(self, output):
        self.nodes.append(Node("output-node", "output", parse_descriptor(output)))
        return Nnet3(self.nodes, self.components)

    def lstm_layer(self, name, source, delay, cells=4, dropout=False):
        """Nodes as those of a fast-lstm-layer; gives the name of its output."""
        chance = self.chance
        mask = f", {name}.mask" if dropout else ""
        dim = parse_descriptor(source).dim(self.dims)
        self.component(
            f"{name}.W",
            f"Append({source}, IfDefined(Offset({name}.m_trunc, {delay})))",
            affine(chance, dim + cells, 4 * cells),
        )
        if dropout:
            self.component(
                f"{name}.mask",
                f"{name}.mask",
                new_component("DropoutMaskComponent", OutputDim=3, DropoutProportion=0.25),
            )
        self.component(
            f"{name}.nonlin",
            f"Append({name}.W, IfDefined(Offset({name}.c_trunc, {delay})){mask})",
            lstm(chance, cells, dropout),
        )
        self.range(f"{name}.m", f"{name}.nonlin", cells, cells)
        self.component(f"{name}.trunc", f"{name}.nonlin", truncation(2 * cells))
        self.range(f"{name}.c_trunc", f"{name}.trunc", 0, cells)
        self.range(f"{name}.m_trunc", f"{name}.trunc", cells, cells)
        return f"{name}.m"


def random_network(seed):
    """Layers of all sorts one on the other, with i-vectors or without."""
    build = Build(seed)
    chance = build.chance
    build.input("input", 3)
    has_ivectors = chance.random() < 0.5
    source = "Append(Offset(input, -1), input, Offset(input, 1))"
    if has_ivectors:
        build.input("ivector", 2)
        source = "Append(input, ReplaceIndex(ivector, t, 0))"
    for number in range(chance.randint(1, 4)):
        name = f"l{number}"
        if chance.random() < 0.4:
            delay = chance.choice([-3, -2, -1, 1, 3])
            source = build.lstm_layer(name, source, delay, dropout=chance.random() < 0.3)
            continue
        build.add(f"{name}.affine", source, lambda dim: affine(chance, dim, 6))
        component = chance.choice(more_components(chance, 6))
        build.component(name, f"{name}.affine", component)
        a = f"Offset({name}, {chance.randint(-3, 3)})"
        source = chance.choice(
            [
                name,
                f"Append({a}, Offset({name}, {chance.randint(1, 4)}))",
                f"Sum({name}, Scale(0.66, {a}))",
                f"Failover({a}, {name})",
                f"Sum({name}, IfDefined({a}))",
                f"Append({name}, IfDefined({a}))",
                f"Round({name}, 2)",
                f"Switch({name}, {a})",
                f"Sum({name}, Const(0.5, {component.output_dim}))",
            ]
        )
    build.add("last", source, lambda dim: affine(chance, dim, 2))
    return build.network(f"Offset(last, {chance.choice([0, 0, 2, 5])})"), has_ivectors


class OneByOne:
    """Values by the definition: of one node at one time, or None where it cannot be computed."""

    def __init__(self, network, inputs):
        self.network = network
        self.inputs = inputs
        self.known = {}
        sys.setrecursionlimit(max(sys.getrecursionlimit(), 10_000))

    def node(self, name, t):
        if abs(t) > FARTHEST:
            return None
        if (name, t) not in self.known:
            self.known[name, t] = None  # whoever comes back to it finds nothing
            self.known[name, t] = self._node(self.network.nodes[name], t)
        return self.known[name, t]

    def _node(self, node, t):
        if node.kind == "input-node":
            return self.inputs[node.name].get(t)
        if node.kind == "dim-range-node":
            value = self.node(node.source.name, t)
            return None if value is None else value[node.dim_offset : node.dim_offset + node.dim]
        if node.kind == "output-node":
            return self.read(node.source, t)
        component = self.network.components[node.component]
        parts = [np.zeros(component.input_dim)]
        if component.reads_input:
            parts = [self.read(node.source, t + offset) for offset in component.time_offsets]
        if any(part is None for part in parts):
            return None
        return propagation(component, np.dtype(np.float64))(np.concatenate(parts)[None])[0]

    def read(self, source, t):
        op, inner = source.op, source.inputs
        if op == "":
            return self.node(source.name, t)
        if op == "Const":
            return np.full(source.number, source.factor)
        times = {"Offset": t + source.number, "Round": t // max(source.number, 1) * source.number}
        if op in ("Offset", "Round", "ReplaceIndex"):
            return self.read(inner[0], times.get(op, source.number))
        if op == "Switch":
            return self.read(inner[t % len(inner)], t)
        values = [self.read(part, t) for part in inner]
        if op == "IfDefined" and values[0] is None:
            return np.zeros(source.dim(self.network.dims))
        if op == "Failover":
            return values[0] if values[0] is not None else values[1]
        if any(value is None for value in values):
            return None
        if op == "Append":
            return np.concatenate(values)
        return sum(values) * (source.factor if op == "Scale" else 1.0)
