"""What deltas and splicing of a feature pipeline make of the features on disk, for formats that hold them."""

from __future__ import annotations

from dataclasses import dataclass

from dkt.base.errors import DktError
from dkt.nnet.model_file import ModelInfo


@dataclass(frozen=True)
class PipelineWindow:
    """What deltas and splicing of the feature pipeline take: frames on each side and dimensions."""

    delta_order: int
    delta_window: int
    left: int
    right: int
    raw_dim: int

    @property
    def deltas(self) -> int:
        """Frames on each side of a frame that its deltas are made of."""
        return self.delta_order * self.delta_window


def pipeline_window(info: ModelInfo, raw_dim: int | None) -> PipelineWindow:
    """The window of a model's feature pipeline.

    Args:
        info: of the model file.
        raw_dim: dimension of the features on disk; None to find it out from the pipeline, where a transform
            without deltas and splicing is taken for one without offsets.

    Raises:
        DktError: the pipeline does not make what the model takes of such features.
    """
    options = info.feature_options
    delta, spliced = options.parse_deltas("delta_opts"), options.parse_splice("splice_opts")
    order, size = (0, 0) if delta is None else (delta.delta_order, delta.delta_window)
    left, right = (0, 0) if spliced is None else (spliced.left_context, spliced.right_context)
    dim = info.feature_dim - info.ivector_dim
    parts = (order + 1) * (left + 1 + right)
    if options.transform is not None:
        # The last column may be an offset.
        columns = options.transform.values.shape[1]
        whole = columns if raw_dim is None else raw_dim * parts
        dim = columns - 1 if columns % parts or columns == whole + 1 else columns
    if dim < 1 or dim % parts or (raw_dim is not None and raw_dim * parts != dim):
        found = "features" if raw_dim is None else f"features of dimension {raw_dim}"
        raise DktError(
            f"the feature pipeline ({options.describe()}) of {found} does not give {dim} dimensions"
        )
    return PipelineWindow(order, size, left, right, dim // parts)
