"""Networks of dkt as files of ONNX, for servers that run them in onnxruntime.

T frames, or rows of a chunk; N utterances or streams, F features, P pdfs. There are two forms, and the
metadata ``form`` says which one a file has.

**whole** (DNN, BLSTM). Inputs: ``features`` ``(N, T, F)`` and ``lengths``, int64 ``(N,)``, the frames of
each utterance; what follows them is padding of any finite value. Output: ``log_posteriors`` ``(N, T, P)``,
of which the rows of the padding mean nothing.

**streaming** (LSTM, GRU). Inputs: ``features`` ``(T, N, F)``, the next T >= 1 frames of N streams,
``lengths`` as above, and the states that the metadata ``states`` lists (``c1``, ``r1``, ``c2``, ...), each
with N as its first axis. Outputs: ``log_posteriors`` ``(T, N, P)`` and the states for the next chunk,
``c1_out`` and so on. A server

1. begins an utterance with states of zeros;
2. gives frames as they come, and as the length a number that is larger than any utterance (``2**62``) as
   long as it does not know where the utterance ends;
3. at the end gives the length, and ``output_delay`` more frames of any finite value;
4. leaves out the first ``output_delay`` rows of the output: row ``t + output_delay`` is that of frame t.

Streams may be at different frames; to begin another utterance in one of them, set its row in all states to
zero. The delay is that of the network's targets (``target_delay``) and the frames that deltas and splicing
wait for (``right_context``). The graph repeats the last frame by itself, and the network begins where it
begins in dkt: the output is that of ``dkt forward`` in every frame, the first and the last ones included.

Global normalisation, LDA, transforms, splicing, deltas, and online CMVN that begins with each utterance are
in the graph; CMVN by stored statistics and what else needs the speaker is done before it, see
``dkt.export.onnx_features``. The metadata ``features_before`` are the option lines of what ``features`` has
gone through, ``feature_pipeline`` all of them. With i-vectors there is an input ``ivectors``, ``(N, T, I)``
or ``(T, N, I)``: one for each frame of ``features``. ``left_context`` and ``right_context`` are the frames
around a frame that deltas and splicing of the graph see.

With counts of the pdfs there is an output ``loglikes`` too: log-posteriors minus the log-priors, which are
the initializer ``log_priors`` of the graph; Kaldi's ``nnet-forward --no-softmax`` but for a constant in each
frame.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import onnx

from dkt.base.errors import DktError
from dkt.base.version import __version__
from dkt.export.onnx_features import (
    input_dim,
    options_before_onnx,
    pipeline_rows,
    spliced,
    with_ivectors,
)
from dkt.export.onnx_frames import FrameGraph, Rows
from dkt.export.onnx_layers import dnn_layers, output_layer, recurrent_layers
from dkt.feat.pipeline import FeatureOptions, MatrixFile
from dkt.nnet.blstm import Blstm
from dkt.nnet.dnn import Dnn
from dkt.nnet.gru import Gru
from dkt.nnet.lstm import Lstm
from dkt.nnet.model_file import ModelInfo
from dkt.nnet.network import Network
from dkt.nnet.pdf_prior import log_priors

# Of the contract above.
_VERSION = 1
_ABOUT = "An acoustic model of dkt: features in, log-posteriors of pdfs out (see dkt/export/onnx.py)."


def onnx_of(
    info: ModelInfo, network: Network, counts: np.ndarray | None = None, raw_dim: int | None = None
) -> onnx.ModelProto:
    """The network and what can be of its feature pipeline, in the form that the module describes.

    Args:
        info: of the model file.
        network: a DNN, an LSTM, a GRU or a BLSTM.
        counts: frames of each pdf, shape ``(P,)``, for the output ``loglikes``; None for none.
        raw_dim: dimension of the features on disk; None to find it out from the pipeline, where a transform
            without deltas and splicing is taken for one without offsets.

    Raises:
        DktError: it cannot be expressed; the reason is told.
    """
    if counts is not None and np.shape(counts) != (info.num_pdfs,):
        raise DktError(
            f"counts of shape {np.shape(counts)} for a model of {info.num_pdfs} pdfs",
            hint="give the ali_train_pdf.counts of this model",
        )
    if not isinstance(network, Dnn | Lstm | Gru | Blstm):
        raise DktError(
            f"a network of the kind {info.kind} has no form in ONNX; dnn, lstm, gru and blstm have"
        )
    dims = {"features": input_dim(info, raw_dim)}
    if info.ivector_dim:
        dims["ivectors"] = info.ivector_dim
    frames = FrameGraph(isinstance(network, Lstm | Gru), dims)
    rows = spliced(frames, pipeline_rows(frames, info), info.left_context, info.right_context)
    rows = with_ivectors(frames, rows)
    metadata = {"left_context": rows.left, "right_context": rows.right}
    if isinstance(network, Dnn):
        hidden = dnn_layers(frames.graph, network, rows.values)
    else:
        metadata["target_delay"] = network.target_delay
        rows = _delayed(frames, rows, network.target_delay)
        hidden = recurrent_layers(frames, network, rows)
    metadata["output_delay"] = rows.late
    output = output_layer(frames.graph, network, hidden)
    frames.output(output, "log_posteriors", info.num_pdfs)
    if counts is not None:
        priors = frames.graph.constant(log_priors(np.asarray(counts, np.float64)), "log_priors")
        frames.output(frames.graph.op("Sub", output, priors), "loglikes", info.num_pdfs)
    return frames.model(_metadata(info, frames, counts is not None, metadata), _ABOUT)


def _delayed(frames: FrameGraph, rows: Rows, delay: int) -> Rows:
    return frames.joined(frames.window(rows, (delay,), "delay_context"), 1) if delay else rows


def _metadata(
    info: ModelInfo, frames: FrameGraph, with_priors: bool, contexts: dict[str, int]
) -> dict[str, str]:
    options = info.feature_options
    values: dict[str, Any] = {
        "model_type": f"dkt_{info.kind}",
        "version": _VERSION,
        "model_author": "dkt",
        "dkt_version": __version__,
        "kind": info.kind,
        "form": "streaming" if frames.streaming else "whole",
        "num_pdfs": info.num_pdfs,
        # What sherpa-onnx calls these.
        "vocab_size": info.num_pdfs,
        "subsampling_factor": 1,
        "feature_dim": frames.inputs["features"].dim,
        "ivector_dim": info.ivector_dim,
        "target_delay": 0,
        "features_before": _lines(options_before_onnx(options)),
        "feature_pipeline": _lines(options),
        "states": [state._asdict() for state in frames.states],
        "log_priors": "log_priors" if with_priors else "",
        "network": info.network,
    }
    texts = values | contexts
    return {name: text if isinstance(text, str) else json.dumps(text) for name, text in texts.items()}


def _lines(options: FeatureOptions) -> dict[str, Any]:
    """The option lines of a pipeline; of a matrix its shape."""
    values = {part.name: getattr(options, part.name) for part in dataclasses.fields(options)}
    return {
        name: list(value.values.shape) if isinstance(value, MatrixFile) else value
        for name, value in values.items()
        if value is not None
    }
