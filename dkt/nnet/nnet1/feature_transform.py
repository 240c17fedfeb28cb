"""``final.feature_transform``: what Kaldi's ``steps/nnet`` scripts do between CMVN, deltas and the network.

Those scripts do CMVN, deltas and i-vectors themselves, by the option files of the model's directory. F is the
dimension of the features that they give, I that of the i-vectors at the end of each frame.
"""

from __future__ import annotations

import numpy as np

from dkt.base.errors import DktError
from dkt.feat.pipeline import FEATS, FeatureOptions
from dkt.nnet.nnet1 import components as nnet1


def beyond_kaldi(options: FeatureOptions) -> str | None:
    """What of a feature pipeline those scripts cannot do; None if they can do all of it."""
    if options.paste.split() != [FEATS]:
        return f"pasted features ({options.paste})"
    if options.speaker_transforms:
        return "fMLLR transforms of the speakers"
    return None


def feature_transform(options: FeatureOptions, raw_dim: int) -> list[nnet1.Component]:
    """Splicing and transform of a feature pipeline as components of nnet1; i-vectors pass by both.

    Args:
        options: the pipeline.
        raw_dim: dimension of the features on disk.

    Raises:
        DktError: the transform is of another dimension.
    """
    delta = options.parse_deltas("delta_opts")
    dim = raw_dim * (1 if delta is None else delta.delta_order + 1)
    spliced = options.parse_splice("splice_opts")
    left, right = (0, 0) if spliced is None else (spliced.left_context, spliced.right_context)
    components = spliced_context(dim, options.ivector_dim, left, right)
    if options.transform is not None:
        acoustic_dim = dim * (left + 1 + right)
        components.append(_affine(options.transform.values, acoustic_dim, options.ivector_dim))
    return components


def spliced_context(dim: int, ivector_dim: int, left: int, right: int) -> list[nnet1.Component]:
    """Frames beside one another; i-vectors behind them are taken once, of the frame itself.

    Args:
        dim: F without i-vectors.
        ivector_dim: I.
        left, right: frames of context.
    """
    offsets = np.arange(-left, right + 1, dtype=np.int32)
    whole, num_frames = dim + ivector_dim, len(offsets)
    components: list[nnet1.Component] = [nnet1.Splice("<Splice>", whole, whole * num_frames, offsets)]
    if ivector_dim and num_frames > 1:
        # Of what is spliced the i-vectors are kept once, those of the frame itself.
        places = np.arange(whole * num_frames, dtype=np.int32).reshape(num_frames, whole)
        kept = np.concatenate([places[:, :dim].flatten(), places[left, dim:]])
        components.append(nnet1.Copy("<Copy>", whole * num_frames, len(kept), kept))
    return components


def _affine(matrix: np.ndarray, acoustic_dim: int, ivector_dim: int) -> nnet1.Affine:
    rows, columns = matrix.shape
    if columns not in (acoustic_dim, acoustic_dim + 1):
        raise DktError(f"a transform of shape {matrix.shape} for features of dimension {acoustic_dim}")
    weight = np.zeros((rows + ivector_dim, acoustic_dim + ivector_dim), dtype=np.float32)
    weight[:rows, :acoustic_dim] = matrix[:, :acoustic_dim]
    weight[rows:, acoustic_dim:] = np.eye(ivector_dim)
    dims = (weight.shape[1], weight.shape[0])
    if columns == acoustic_dim:
        return nnet1.Affine("<LinearTransform>", *dims, weight, None)
    bias = np.zeros(rows + ivector_dim, dtype=np.float32)
    bias[:rows] = matrix[:, acoustic_dim]
    return nnet1.Affine("<AffineTransform>", *dims, weight, bias)
