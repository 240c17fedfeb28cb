"""What of a feature pipeline goes into a graph of ONNX: online CMVN, deltas, splicing and the transform.

CMVN by stored statistics and transforms of speakers are of a speaker, whom a graph does not know: they are
done before it, and so is everything that stands before them in the pipeline.
"""

from __future__ import annotations

import numpy as np

from dkt.base.errors import DktError
from dkt.export.onnx_frames import FrameGraph, Rows
from dkt.feat.functions import add_deltas
from dkt.feat.online_cmvn import OnlineCmvnOptions
from dkt.feat.pipeline import FeatureOptions
from dkt.nnet.model_file import ModelInfo
from dkt.nnet.pipeline_window import PipelineWindow, pipeline_window

# As of apply_cmvn.
_VARIANCE_FLOOR = 1.0e-20


def options_before_onnx(options: FeatureOptions) -> FeatureOptions:
    """The part of a feature pipeline that is done before the graph.

    What it gives is the graph's input ``features``, and ``ivectors`` where i-vectors are appended.
    """
    if options.speaker_transforms:
        return options
    before = options.replace(delta_opts=None, splice_opts=None, transform=None)
    if _online(options) is None:
        return before
    return before.replace(online_cmvn_opts=None, global_cmvn_stats=None)


def _online(options: FeatureOptions) -> OnlineCmvnOptions | None:
    """Online CMVN, if it begins anew with every utterance."""
    parsed = options.parse_online_cmvn("online_cmvn_opts")
    return None if parsed is None or parsed[1] else parsed[0]


def input_dim(info: ModelInfo, raw_dim: int | None) -> int:
    """The dimension of the graph's input ``features``.

    Args:
        info: of the model file.
        raw_dim: that of the features on disk; None to find it out, see ``pipeline_window``.

    Raises:
        DktError: the pipeline does not make what the model takes of such features.
    """
    if info.speaker_transforms:
        return info.feature_dim - info.ivector_dim
    return _window(info, raw_dim).raw_dim


def _window(info: ModelInfo, raw_dim: int | None) -> PipelineWindow:
    stats = info.feature_options.global_cmvn_stats
    return pipeline_window(info, stats.values.shape[1] - 1 if raw_dim is None and stats else raw_dim)


def pipeline_rows(frames: FrameGraph, info: ModelInfo) -> Rows:
    """What the pipeline makes of the input ``features``, without i-vectors."""
    options, rows = info.feature_options, frames.inputs["features"]
    if options.speaker_transforms:
        return rows
    window = _window(info, rows.dim)
    online = _online(options)
    if online is not None and online.norm_means and options.global_cmvn_stats is not None:
        rows = _online_cmvn(frames, rows, options.global_cmvn_stats.values, online)
    if window.delta_order:
        rows = _deltas(frames, rows, window.delta_order, window.delta_window)
    rows = spliced(frames, rows, window.left, window.right)
    return rows if options.transform is None else _transform(frames, rows, options.transform.values)


def spliced(frames: FrameGraph, rows: Rows, left: int, right: int) -> Rows:
    """Frames with their neighbours."""
    offsets = range(-left, right + 1)
    if offsets == range(1):
        return rows
    return frames.joined(frames.window(rows, offsets, "splice_context"), len(offsets))


def with_ivectors(frames: FrameGraph, rows: Rows) -> Rows:
    """The rows and, beside them, the i-vectors of their frames, if the graph has any."""
    ivectors = frames.inputs.get("ivectors")
    if ivectors is None:
        return rows
    if rows.late:
        ivectors = frames.joined(frames.window(ivectors, (0,), "ivector_context", late=rows.late), 1)
    values = frames.graph.op("Concat", rows.values, ivectors.values, axis=2)
    return rows.made(values, rows.dim + ivectors.dim)


def _deltas(frames: FrameGraph, rows: Rows, order: int, size: int) -> Rows:
    reach = order * size
    around = frames.window(rows, range(-reach, reach + 1), "delta_context")
    # What the deltas of the middle frame make of a one at each frame.
    taps = add_deltas(np.eye(2 * reach + 1), order, size)[reach].reshape(order + 1, 2 * reach + 1)
    values = frames.graph.op("MatMul", frames.graph.constant(taps, "deltas"), around.values)
    return frames.joined(around.made(values, rows.dim), order + 1)


def _transform(frames: FrameGraph, rows: Rows, transform: np.ndarray) -> Rows:
    bias = transform[:, rows.dim] if transform.shape[1] > rows.dim else np.zeros(len(transform))
    values = frames.graph.affine(rows.values, transform[:, : rows.dim], bias, "transform")
    return rows.made(values, len(transform))


def _online_cmvn(
    frames: FrameGraph, rows: Rows, global_stats: np.ndarray, options: OnlineCmvnOptions
) -> Rows:
    """As ``dkt.feat.online_cmvn.apply_online_cmvn``, in double precision, with the sums as a state."""
    graph, dim, window = frames.graph, rows.dim, options.cmn_window
    if global_stats.shape != (2, dim + 1) or not global_stats[0, -1] > 0.0:
        raise DktError(f"global CMVN statistics of shape {global_stats.shape} for {dim} dimensions")
    source = frames.with_past(rows, "cmvn_context", window)
    begin, axis = graph.integers(0), graph.integers(0)
    leaving = graph.op("Slice", source, begin, graph.integers(-window), axis)
    number = graph.to(frames.numbers(), "float64")
    number = graph.op("Unsqueeze", number, graph.integers(2))
    one, size = (graph.constant(np.array(value), dtype="float64") for value in (1.0, window))
    count = graph.op("Min", graph.op("Add", number, one), size)
    most = graph.constant(np.array(options.global_frames), dtype="float64")
    taken = graph.op("Min", graph.op("Sub", size, count), most)
    sums = _sums(frames, rows, leaving, options.norm_vars)
    means = global_stats[: 1 + options.norm_vars, :dim].astype(np.float64) / global_stats[0, -1]
    everybody = graph.constant(means.reshape(-1), "global_means", "float64")
    sums = graph.op("Add", sums, graph.op("Mul", taken, everybody))
    return _normalised(frames, rows, graph.op("Div", sums, graph.op("Add", count, taken)), options)


def _sums(frames: FrameGraph, rows: Rows, leaving: str, squares: bool) -> str:
    """Sums over the window up to each frame, with those of squares if wanted: double, ``(T, N, D or 2D)``."""
    graph = frames.graph

    def terms(values: str) -> str:
        double = graph.to(values, "float64")
        return graph.op("Concat", double, graph.op("Mul", double, double), axis=2) if squares else double

    dim = rows.dim * (1 + squares)
    changes = graph.op("Sub", terms(rows.values), terms(leaving))
    sums = graph.op("CumSum", changes, graph.constant(np.array(0), dtype="int64"))
    if not frames.streaming:
        return sums
    sums = graph.op("Add", sums, frames.state("cmvn_sums", dim, dtype="float64"))
    frames.keep("cmvn_sums", graph.op("Gather", sums, graph.constant(np.array(-1), dtype="int64")))
    return sums


def _normalised(frames: FrameGraph, rows: Rows, moments: str, options: OnlineCmvnOptions) -> Rows:
    """The rows less their means, by their deviations if those are asked for; some dimensions stay."""
    graph = frames.graph
    kept = np.ones(rows.dim)
    kept[list(options.skip_dims)] = 0.0
    mask = graph.constant(kept, "normalised_dims", "float64")
    if not options.norm_vars:
        mean = graph.to(graph.op("Mul", moments, mask), "float32")
        return rows.made(graph.op("Sub", rows.values, mean), rows.dim)
    mean, square = graph.node("Split", [moments, graph.integers(rows.dim, rows.dim)], 2, axis=2)
    variance = graph.op("Sub", square, graph.op("Mul", mean, mean))
    variance = graph.op("Max", variance, graph.constant(np.array(_VARIANCE_FLOOR), dtype="float64"))
    # A mean of 0 and a variance of 1 for the others.
    mean, variance = graph.op("Mul", mean, mask), graph.op("Mul", variance, mask)
    variance = graph.op("Add", variance, graph.constant(1.0 - kept, dtype="float64"))
    deviation = graph.op("Sqrt", variance)
    scaled = graph.op("Div", rows.values, graph.to(deviation, "float32"))
    shift = graph.to(graph.op("Div", mean, deviation), "float32")
    return rows.made(graph.op("Sub", scaled, shift), rows.dim)
