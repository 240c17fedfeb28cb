"""Frames beside one another as the input of a network."""

from __future__ import annotations

import torch

from dkt.feat.functions import splice_indices


def gather_context(
    features: torch.Tensor, index: torch.Tensor, frames: torch.Tensor, ivector_dim: int
) -> torch.Tensor:
    """Splice frames; i-vectors at their end are taken once, of the frame itself.

    Args:
        features: shape ``(sum of T, F)``.
        index: the frames that each spliced frame is made of, shape ``(B, context)``.
        frames: the frames themselves, shape ``(B,)``.
        ivector_dim: I, the last dimensions of ``features`` that are i-vectors.

    Returns:
        Shape ``(B, context * (F - I) + I)``.
    """
    spliced = features.index_select(0, index.flatten())
    if ivector_dim == 0:
        return spliced.view(len(frames), -1)
    acoustic = spliced[:, :-ivector_dim].reshape(len(frames), -1)
    return torch.cat([acoustic, features[frames, -ivector_dim:]], dim=1)


def splice_utterance(features: torch.Tensor, left: int, right: int, ivector_dim: int) -> torch.Tensor:
    """All frames ``(T, F)`` of an utterance as ``gather_context`` splices them; those at its edges repeat."""
    index = torch.from_numpy(splice_indices(len(features), left, right)).to(features.device)
    return gather_context(features, index, torch.arange(len(features), device=features.device), ivector_dim)
