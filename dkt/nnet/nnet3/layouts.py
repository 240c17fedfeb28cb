"""What stands in a file for each component of nnet3, token by token (``Write`` and ``Read`` of each in
``nnet3/nnet-*-component.cc``)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """One token and what follows it.

    Attributes:
        token: without its brackets.
        form: int32, real, double, bool, vector, matrix, int_vector, reals, int32s (two numbers) or none.
        optional: whether it may be missing; Kaldi leaves out what has its default, and old files what came
            later.
        key: by which its value is found: the token, with ``Again`` where it is there for the second time.
    """

    token: str
    form: str
    optional: bool
    key: str


def _fields(text: str) -> tuple[Field, ...]:
    """Fields written ``Token:form``, those that may be missing ``Token?form``."""
    fields: dict[str, Field] = {}
    for word in text.split():
        optional = "?" in word
        token, form = word.split("?" if optional else ":")
        key = f"{token}Again" if token in fields else token
        fields[key] = Field(token, form, optional, key)
    return tuple(fields.values())


_UPDATABLE = "LearningRateFactor?real IsGradient?bool MaxChange?real L2Regularize?real LearningRate?real "
_NONLINEAR = _fields(
    "Dim:int32 BlockDim?int32 ValueAvg:vector DerivAvg:vector Count:double OderivRms?vector "
    "OderivCount?double NumDimsSelfRepaired?double NumDimsProcessed?double SelfRepairLowerThreshold?real "
    "SelfRepairUpperThreshold?real SelfRepairScale?real"
)
_REPEATED = _fields(_UPDATABLE + "NumRepeats:int32 LinearParams:matrix BiasParams:vector IsGradient?bool")

#: Of each component that dkt runs.
LAYOUTS: dict[str, tuple[Field, ...]] = {
    **dict.fromkeys(
        (
            "SigmoidComponent",
            "TanhComponent",
            "SoftmaxComponent",
            "LogSoftmaxComponent",
            "RectifiedLinearComponent",
        ),
        _NONLINEAR,
    ),
    "NormalizeComponent": _fields(
        "Dim?int32 InputDim?int32 BlockDim?int32 TargetRms?real AddLogStddev?bool "
        "ValueAvg?vector DerivAvg?vector Count?double"
    ),
    "BatchNormComponent": _fields(
        "Dim:int32 BlockDim:int32 Epsilon:real TargetRms:real TestMode:bool Count:double "
        "StatsMean:vector StatsVar:vector"
    ),
    "PnormComponent": _fields("InputDim:int32 OutputDim:int32"),
    "AffineComponent": _fields(
        _UPDATABLE + "LinearParams:matrix BiasParams:vector IsGradient?bool OrthonormalConstraint?real"
    ),
    "NaturalGradientAffineComponent": _fields(
        _UPDATABLE + "LinearParams:matrix BiasParams:vector RankIn:int32 RankOut:int32 "
        "OrthonormalConstraint?real UpdatePeriod:int32 NumSamplesHistory:real Alpha:real "
        "MaxChangePerSample?real IsGradient?bool UpdateCount?double ActiveScalingCount?double "
        "MaxChangeScaleStats?double"
    ),
    "LinearComponent": _fields(
        _UPDATABLE + "Params:matrix OrthonormalConstraint?real UseNaturalGradient:bool RankInOut:int32s "
        "Alpha:real NumSamplesHistory:real UpdatePeriod:int32"
    ),
    "FixedAffineComponent": _fields("LinearParams:matrix BiasParams:vector"),
    "BlockAffineComponent": _fields(
        _UPDATABLE + "NumBlocks:int32 LinearParams:matrix BiasParams:vector IsGradient?bool"
    ),
    "RepeatedAffineComponent": _REPEATED,
    "NaturalGradientRepeatedAffineComponent": _REPEATED,
    "TdnnComponent": _fields(
        _UPDATABLE + "TimeOffsets:int_vector LinearParams:matrix BiasParams:vector "
        "OrthonormalConstraint:real UseNaturalGradient:bool NumSamplesHistory:real Alpha?real "
        "AlphaInOut?reals RankInOut:int32s"
    ),
    "PerElementScaleComponent": _fields(_UPDATABLE + "Params:vector IsGradient?bool"),
    "NaturalGradientPerElementScaleComponent": _fields(
        _UPDATABLE + "Params:vector IsGradient:bool Rank:int32 UpdatePeriod:int32 NumSamplesHistory:real "
        "Alpha:real MaxChangePerMinibatch?real"
    ),
    "PerElementOffsetComponent": _fields(
        _UPDATABLE + "Offsets:vector IsGradient?bool Dim?int32 UseNaturalGradient?bool"
    ),
    "ScaleAndOffsetComponent": _fields(
        _UPDATABLE + "Dim:int32 Scales:vector Offsets:vector UseNaturalGradient:bool Rank:int32"
    ),
    "FixedScaleComponent": _fields("Scales:vector"),
    "FixedBiasComponent": _fields("Bias:vector"),
    "NoOpComponent": _fields(
        "Dim:int32 ValueAvg?vector DerivAvg?vector Count?real OderivRms?vector OderivCount?real "
        "NumDimsSelfRepaired?real NumDimsProcessed?real BackpropScale?real"
    ),
    "ClipGradientComponent": _fields(
        "Dim:int32 ClippingThreshold:real NormBasedClipping:bool SelfRepairClippedProportionThreshold?real "
        "SelfRepairTarget?real SelfRepairScale?real NumElementsClipped:int32 NumElementsProcessed:int32 "
        "NumSelfRepaired?int32 NumBackpropped?int32"
    ),
    "BackpropTruncationComponent": _fields(
        "Dim:int32 Scale?real ClippingThreshold:real ZeroingThreshold:real ZeroingInterval:int32 "
        "RecurrenceInterval:int32 NumElementsClipped:double NumElementsZeroed:double "
        "NumElementsProcessed:double NumZeroingBoundaries:double"
    ),
    "ElementwiseProductComponent": _fields("InputDim:int32 OutputDim:int32"),
    "SumBlockComponent": _fields("InputDim:int32 OutputDim:int32 Scale:real"),
    "SumGroupComponent": _fields("Sizes:int_vector"),
    "PermuteComponent": _fields("ColumnMap:int_vector"),
    "ConstantComponent": _fields(_UPDATABLE + "Output:vector IsUpdatable:bool UseNaturalGradient:bool"),
    "ConstantFunctionComponent": _fields(
        _UPDATABLE + "InputDim:int32 Output:vector IsUpdatable:bool UseNaturalGradient:bool"
    ),
    "DropoutComponent": _fields("Dim:int32 DropoutProportion:real DropoutPerFrame?bool TestMode?bool"),
    "DropoutMaskComponent": _fields("OutputDim:int32 DropoutProportion:real TestMode?bool Continuous?none"),
    "GeneralDropoutComponent": _fields(
        "Dim:int32 BlockDim:int32 TimePeriod:int32 DropoutProportion:real SpecAugmentMaxProportion?real "
        "SpecAugmentMaxRegions?int32 TestMode?none Continuous?none"
    ),
    "SpecAugmentTimeMaskComponent": _fields(
        "Dim:int32 ZeroedProportion:real TimeMaskMaxFrames:int32 TestMode?none"
    ),
    "LstmNonlinearityComponent": _fields(
        _UPDATABLE + "Params:matrix ValueAvg:matrix DerivAvg:matrix SelfRepairConfig:vector "
        "SelfRepairProb:vector UseDropout?bool Count:double"
    ),
}
