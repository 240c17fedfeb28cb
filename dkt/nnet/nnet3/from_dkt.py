"""Networks of dkt as networks of nnet3, as its xconfigs lay them out (``steps/libs/nnet3/xconfig``).

CMVN stays outside, as in Kaldi's scripts; deltas, splicing and transforms go in. In nnet3 the input is
repeated beyond its ends, in dkt the frames after the feature pipeline are: where a pipeline with deltas or
splicing is followed by a splicing network or by a delay, the first and the last frames differ. And an LSTM of
a delay of d frames has seen x(0) .. x(d-1) in nnet3 when it comes to x(d), its first output; in dkt, as in
nnet1, it begins at x(d). ``log_posteriors_as_nnet3`` evaluates dkt's network in nnet3's way.

I-vectors are constant over a chunk in nnet3.
"""

from __future__ import annotations

from functools import partial
from typing import cast

import numpy as np
import torch
from torch import nn

from dkt.base.errors import DktError
from dkt.feat.functions import add_deltas, apply_transform, splice
from dkt.feat.pipeline import FEATS
from dkt.hmm.transition_model import TransitionModel
from dkt.nnet.batch_norm import folded
from dkt.nnet.blstm import Blstm
from dkt.nnet.dnn import Dnn
from dkt.nnet.lstm import Lstm
from dkt.nnet.lstm_layer import LstmLayer
from dkt.nnet.model_file import ModelInfo
from dkt.nnet.network import Network, SequenceNetwork
from dkt.nnet.nnet3.components import Nnet3Component, new_component
from dkt.nnet.nnet3.decodable import Nnet3Computer
from dkt.nnet.nnet3.descriptors import Expression, append, if_defined, node, offset
from dkt.nnet.nnet3.make import (
    Nnet3Builder,
    affine,
    backprop_truncation,
    fixed_affine,
    lstm_nonlinearity,
    nonlinearity,
)
from dkt.nnet.nnet3.model import Nnet3Model, check_parts
from dkt.nnet.nnet3.network import Nnet3
from dkt.nnet.nnet3.propagate import LEAST_SCALE
from dkt.nnet.pdf_prior import DEFAULT_PRIOR_FLOOR
from dkt.nnet.pipeline_window import PipelineWindow, pipeline_window
from dkt.nnet.splice import splice_utterance

_NONLINEARITIES = {"sigmoid": "SigmoidComponent", "tanh": "TanhComponent", "relu": "RectifiedLinearComponent"}
# That statistics of batch normalisation count for in Kaldi; PyTorch has no number of frames.
_FRAMES = 10_000.0
# A pdf that is never seen gets a prior that no posterior makes up for: nnet3 takes the log of it, and has no
# other way to disable one.
_DISABLED_PRIOR = 1.0e30


def nnet3_of(
    info: ModelInfo, network: Network, raw_dim: int | None = None, fold_batch_norm: bool = True
) -> Nnet3:
    """The network and its feature pipeline but for CMVN, with log-posteriors as its ``output``.

    Args:
        info: of the model file.
        network: a DNN, an LSTM or a BLSTM.
        raw_dim: dimension of the features on disk; None to find it out from the pipeline, where a transform
            without deltas and splicing is taken for one without offsets.
        fold_batch_norm: whether batch normalisation becomes a part of the affine transform before it; else it
            has components of its own, for Kaldi to go on training.

    Raises:
        DktError: nnet3 cannot express it; the reason is told.
    """
    window = _window_of(info, raw_dim)
    builder = Nnet3Builder()
    ivector = _ivector(builder, info)
    source = _pipeline(builder, info, window)
    if isinstance(network, Dnn):
        spliced = _spliced(builder, info, source, ivector)
        outputs = _dnn(builder, network, spliced, fold_batch_norm)
    elif isinstance(network, Lstm | Blstm):
        outputs = _recurrent(builder, network, append(source, *ivector))
    else:
        raise DktError(
            f"nnet3 has no form of a network of the kind {info.kind} here, it has of dnn, lstm and blstm"
        )
    weight, bias = _numpy(network.output.weight), _numpy(network.output.bias)
    outputs = builder.component("output.affine", outputs, affine(weight, bias))
    soft = nonlinearity("LogSoftmaxComponent", network.num_pdfs)
    outputs = builder.component("output.log-softmax", outputs, soft)
    builder.output("output", offset(outputs, _delay(network)))
    return builder.build()


def nnet3_model_of(
    info: ModelInfo,
    network: Network,
    transition_model: TransitionModel,
    counts: np.ndarray,
    raw_dim: int | None = None,
) -> Nnet3Model:
    """A complete ``final.mdl``.

    Args:
        info, network, raw_dim: as ``nnet3_of`` takes them.
        transition_model: that of the alignments.
        counts: frames of each pdf, shape ``(P,)``; pdfs that hardly occur are disabled, as in nnet1.

    Raises:
        DktError: as ``nnet3_of``, or the parts are of different numbers of pdfs.
    """
    made = nnet3_of(info, network, raw_dim)
    computer = Nnet3Computer(made)
    frequency = np.asarray(counts, np.float64) / np.sum(counts)
    priors = np.where(frequency < DEFAULT_PRIOR_FLOOR, _DISABLED_PRIOR, frequency).astype(np.float32)
    model = Nnet3Model(made, transition_model, computer.left_context, computer.right_context, priors)
    check_parts(model)
    return model


@torch.no_grad()
def log_posteriors_as_nnet3(
    info: ModelInfo, network: Network, features: np.ndarray, ivector: np.ndarray | None = None
) -> np.ndarray:
    """Log-posteriors ``(T, P)`` of one utterance by dkt's network, in nnet3's way at both ends.

    Args:
        info, network: as ``nnet3_of`` takes them.
        features: of the utterance, after CMVN, before the rest of the pipeline.
        ivector: that of the utterance, shape ``(V,)``.
    """
    window = _window_of(info, features.shape[1])
    delay = _delay(network)
    before = window.left + window.deltas + info.left_context
    after = window.right + window.deltas + info.right_context
    # nnet3 asks for no more input than the first output needs.
    left, right = max(0, before - delay), after + delay
    rows = np.clip(np.arange(-left, len(features) + right), 0, len(features) - 1)
    frames = _after_pipeline(info, window, features[rows])
    if ivector is not None:
        frames = np.concatenate([frames, np.tile(ivector, (len(frames), 1))], axis=1).astype(np.float32)
    inputs = torch.from_numpy(np.ascontiguousarray(frames))
    if isinstance(network, SequenceNetwork):
        # Row 0 of what can be computed of whole windows is for the input at before - left.
        whole = inputs[before : len(inputs) - after]
        logits = network(whole[:, None])[0][:, 0]
        logits = logits[delay - (before - left) :]
    else:
        spliced = splice_utterance(inputs, info.left_context, info.right_context, info.ivector_dim)
        logits = network(spliced[left : len(spliced) - right])
    return torch.log_softmax(logits, dim=1).numpy()


def _after_pipeline(info: ModelInfo, window: PipelineWindow, features: np.ndarray) -> np.ndarray:
    options = info.feature_options
    if options.delta_opts is not None:
        features = add_deltas(features, window.delta_order, window.delta_window)
    if options.splice_opts is not None:
        features = splice(features, window.left, window.right)
    if options.transform is not None:
        features = apply_transform(features, options.transform.values)
    return features.astype(np.float32)


def _window_of(info: ModelInfo, raw_dim: int | None) -> PipelineWindow:
    options = info.feature_options
    if options.paste.split() != [FEATS]:
        raise DktError(f"pasted features ({options.paste}) cannot be told to nnet3's scripts")
    if options.speaker_transforms:
        raise DktError("fMLLR transforms of the speakers cannot be part of a network of nnet3")
    return pipeline_window(info, raw_dim)


def _delay(network: Network) -> int:
    return network.target_delay if isinstance(network, SequenceNetwork) else 0


def _ivector(builder: Nnet3Builder, info: ModelInfo) -> tuple[Expression, ...]:
    """The i-vector of the chunk, or nothing."""
    if not info.ivector_dim:
        return ()
    return (Expression("ReplaceIndex", (builder.input("ivector", info.ivector_dim),)),)


def _pipeline(builder: Nnet3Builder, info: ModelInfo, window: PipelineWindow) -> Expression:
    source = builder.input("input", window.raw_dim)
    if window.delta_order:
        reach = window.deltas
        # What the deltas of the middle frame make of a one at each frame.
        taps = add_deltas(np.eye(2 * reach + 1), window.delta_order, window.delta_window)[reach]
        filters = np.asarray(taps).reshape(window.delta_order + 1, 2 * reach + 1)
        weight = np.kron(filters, np.eye(window.raw_dim))
        around = append(*(offset(source, step) for step in range(-reach, reach + 1)))
        source = builder.component("deltas", around, fixed_affine(weight, np.zeros(len(weight))))
    if window.left or window.right:
        source = append(*(offset(source, step) for step in range(-window.left, window.right + 1)))
    transform = info.feature_options.transform
    if transform is not None:
        columns = window.raw_dim * (window.delta_order + 1) * (window.left + 1 + window.right)
        weight, bias = transform.values[:, :columns], np.zeros(len(transform.values))
        if transform.values.shape[1] > columns:
            bias = transform.values[:, columns]
        source = builder.component("transform", source, fixed_affine(weight, bias))
    return source


def _normalised(builder: Nnet3Builder, network: Network, source: Expression) -> Expression:
    bias = new_component("FixedBiasComponent", Bias=_numpy(network.shift))
    scale = new_component("FixedScaleComponent", Scales=_numpy(network.scale))
    return builder.component("normalise.scale", builder.component("normalise.shift", source, bias), scale)


def _spliced(
    builder: Nnet3Builder, info: ModelInfo, source: Expression, ivector: tuple[Expression, ...]
) -> Expression:
    frames = range(-info.left_context, info.right_context + 1)
    # A splice of the pipeline is one descriptor, whose parts cannot be spliced again as they stand.
    if len(frames) > 1 and source.op == "Append":
        dim = info.feature_dim - info.ivector_dim
        same = new_component("NoOpComponent", Dim=dim, BackpropScale=1.0)
        source = builder.component("spliced", source, same)
    return append(*(offset(source, step) for step in frames), *ivector)


def _dnn(builder: Nnet3Builder, network: Dnn, outputs: Expression, fold_batch_norm: bool) -> Expression:
    if isinstance(network.lda, nn.Linear):
        lda = fixed_affine(_numpy(network.lda.weight), _numpy(network.lda.bias))
        outputs = builder.component("lda", outputs, lda)
    outputs = _normalised(builder, network, outputs)
    number = 0
    modules = list(network.hidden)
    for place, module in enumerate(modules):
        if not isinstance(module, nn.Linear):
            continue
        number += 1
        weight, bias = _numpy(module.weight), _numpy(module.bias)
        following = modules[place + 1]
        norm = following if isinstance(following, nn.BatchNorm1d) else None
        if norm is not None and fold_batch_norm:
            weight, bias = folded(weight, bias, norm)
        outputs = builder.component(f"dnn{number}.affine", outputs, affine(weight, bias, hidden=True))
        if norm is not None and not fold_batch_norm:
            for name, component in _batch_norm(norm).items():
                outputs = builder.component(f"dnn{number}.{name}", outputs, component)
        kind = _NONLINEARITIES[network.config.activation]
        name = f"dnn{number}.{network.config.activation}"
        outputs = builder.component(name, outputs, nonlinearity(kind, len(bias)))
    return outputs


def _batch_norm(norm: nn.BatchNorm1d) -> dict[str, Nnet3Component]:
    """A batch normalisation, and its scale and offset, which are a component of their own in nnet3."""
    mean, variance = (_numpy(cast(torch.Tensor, part)) for part in (norm.running_mean, norm.running_var))
    scales, offsets = _numpy(norm.weight), _numpy(norm.bias)
    if np.abs(scales).min() < LEAST_SCALE:
        raise DktError(
            f"a scale of a batch normalisation is below {LEAST_SCALE}, which nnet3 does not keep",
            hint="have it folded into the affine transform",
        )
    return {
        "batchnorm": new_component(
            "BatchNormComponent",
            Dim=len(mean),
            BlockDim=len(mean),
            Epsilon=norm.eps,
            TargetRms=1.0,
            TestMode=False,
            Count=_FRAMES,
            StatsMean=mean,
            StatsVar=variance,
        ),
        "so": new_component(
            "ScaleAndOffsetComponent",
            MaxChange=0.75,
            LearningRate=0.001,
            Dim=len(mean),
            Scales=scales,
            Offsets=offsets,
            UseNaturalGradient=True,
            Rank=20,
        ),
    }


def _recurrent(builder: Nnet3Builder, network: Lstm | Blstm, source: Expression) -> Expression:
    outputs = _normalised(builder, network, source)
    for number, layer in enumerate(network.layers, 1):
        if isinstance(network, Lstm):
            outputs = _lstm_layer(builder, f"lstm{number}", cast(LstmLayer, layer), outputs, -1)
        else:
            make = partial(_lstm_layer, builder)
            ahead = make(f"blstm{number}-forward", cast(LstmLayer, layer.ahead), outputs, -1)
            back = make(f"blstm{number}-backward", cast(LstmLayer, layer.back), outputs, 1)
            outputs = append(ahead, back)
    return outputs


def _lstm_layer(
    builder: Nnet3Builder, name: str, layer: LstmLayer, source: Expression, step: int
) -> Expression:
    """As ``fast-lstmp-layer``, all outputs of which recur, or ``fast-lstm-layer``.

    Cells are not clipped, for nnet3 has no such thing: where they come to the limit of dkt's, outputs differ.
    """
    cells, recurring = layer.cells, layer.output_dim
    c_before = if_defined(offset(node(f"{name}.c_trunc"), step))
    r_before = if_defined(offset(node(f"{name}.r_trunc"), step))
    # nnet3's gates are in the order i, f, c, o.
    weight = np.concatenate([_ifgo(layer.w_gifo_x), _ifgo(layer.w_gifo_r)], axis=1)
    sums = builder.component(f"{name}.W_all", append(source, r_before), affine(weight, _ifgo(layer.bias)))
    peepholes = np.zeros((3, cells)) if layer.peepholes is None else _numpy(layer.peepholes)
    nonlin = builder.component(f"{name}.lstm_nonlin", append(sums, c_before), lstm_nonlinearity(peepholes))
    outputs = builder.range(f"{name}.m", nonlin, cells, cells)
    state = nonlin
    if layer.w_r_m is not None:
        outputs = builder.component(f"{name}.rp", outputs, affine(_numpy(layer.w_r_m), np.zeros(recurring)))
        state = append(builder.range(f"{name}.c", nonlin, 0, cells), outputs)
    trunc = builder.component(f"{name}.cr_trunc", state, backprop_truncation(cells + recurring))
    builder.range(f"{name}.c_trunc", trunc, 0, cells)
    builder.range(f"{name}.r_trunc", trunc, cells, recurring)
    return outputs


def _ifgo(gifo: torch.Tensor) -> np.ndarray:
    g, i, f, o = np.split(_numpy(gifo), 4)
    return np.concatenate([i, f, g, o])


def _numpy(values: torch.Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()
