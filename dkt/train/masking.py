"""Parts of the features that are hidden in training (SpecAugment: Park et al., Interspeech 2019)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import torch

from dkt.base import ranges
from dkt.base.errors import DktError
from dkt.dataset.batch import Batch
from dkt.dataset.utterances import Utterances
from dkt.feat.pipeline import FeatureOptions
from dkt.nnet.network import Sequences
from dkt.nnet.normalisation import shift_and_scale

# Frames that are read at a time, for the mean.
_BLOCK = 1 << 16


@dataclass
class MaskingConfig:
    """What is hidden of the features in training, as in SpecAugment.

    The mean of the training data stands in its place; labels and the teacher's posteriors stay as they are.

    Attributes:
        frequency_masks: bands of the filterbank, hidden with their deltas, of every chunk of a sequence
            network and every spliced frame of a frame network; 0 for none.
        frequency_width: the most filters of a band; its width is drawn from 0 on.
        time_masks: runs of frames, of every chunk or spliced frame; 0 for none.
        time_width: the most frames of a run; its length is drawn from 0 on.
    """

    frequency_masks: Annotated[int, ranges.MASKS] = 0
    frequency_width: Annotated[int, ranges.MASK_WIDTH] = 6
    time_masks: Annotated[int, ranges.MASKS] = 0
    time_width: Annotated[int, ranges.MASK_WIDTH] = 5

    @property
    def any(self) -> bool:
        """Whether anything is hidden."""
        return self.frequency_masks > 0 or self.time_masks > 0


class Masking:
    """Hides parts of the inputs of batch after batch, as PyTorch's random numbers draw them.

    Args:
        config: how much.
        mean: what stands in their place, of one frame without i-vectors, shape ``(K, F)``: K filterbanks (its
            deltas, or frames spliced by the feature pipeline) of F filters.
        ivector_dim: I, the last features, which are never hidden.
    """

    def __init__(self, config: MaskingConfig, mean: torch.Tensor, ivector_dim: int = 0) -> None:
        self.config = config
        self.mean = mean
        self.ivector_dim = ivector_dim

    def __call__(self, batch: Batch) -> Batch:
        """The batch with parts of its inputs hidden; what it was made of stays as it is."""
        if isinstance(batch.inputs, Sequences):
            features = self._sequences(batch.inputs.features, batch.inputs.lengths)
            return replace(batch, inputs=replace(batch.inputs, features=features))
        return replace(batch, inputs=self._spliced(batch.inputs))

    def _sequences(self, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Features ``(T, N, K * F + I)`` of pieces of ``lengths`` frames, shape ``(N,)``."""
        num_frames, num_pieces, _ = features.shape
        bands = self._bands(num_pieces, features.device)
        runs = _runs(self.config.time_masks, self.config.time_width, lengths, num_frames)
        return self._hide(features, bands[None, :, None, None] | runs.T[:, :, None, None, None])

    def _spliced(self, frames: torch.Tensor) -> torch.Tensor:
        """Spliced frames ``(B, C * K * F + I)``, of C frames each."""
        context = (frames.shape[1] - self.ivector_dim) // self.mean.numel()
        bands = self._bands(len(frames), frames.device)
        sizes = torch.full((len(frames),), context, device=frames.device)
        runs = _runs(self.config.time_masks, self.config.time_width, sizes, context)
        hidden = bands[:, None, None] | runs[:, :, None, None]
        return self._hide(frames, hidden)

    def _bands(self, count: int, device: torch.device) -> torch.Tensor:
        """Bool ``(count, F)``: the filters that are hidden."""
        sizes = torch.full((count,), self.mean.shape[1], device=device)
        return _runs(self.config.frequency_masks, self.config.frequency_width, sizes, self.mean.shape[1])

    def _hide(self, features: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """The mean where ``hidden`` is true; never in i-vectors.

        Args:
            features: shape ``(..., C * K * F + I)``; C is 1 in sequences.
            hidden: a shape that extends to ``(..., C, K, F)``.
        """
        # I-vectors may be of more dimensions than a frame.
        acoustic = features.shape[-1] - self.ivector_dim
        lead = features.shape[:-1]
        banks = features[..., :acoustic].reshape(*lead, -1, *self.mean.shape)
        masked = torch.where(hidden, self.mean.to(features), banks).reshape(*lead, acoustic)
        return torch.cat([masked, features[..., acoustic:]], dim=-1)


def _runs(count: int, width: int, sizes: torch.Tensor, size: int) -> torch.Tensor:
    """Bool ``(B, size)``: in each row, among its first ``sizes``, ``count`` runs of 0 to ``width`` places."""
    place = torch.arange(size, device=sizes.device)
    hidden = torch.zeros(len(sizes), size, dtype=torch.bool, device=sizes.device)
    for _ in range(count):
        # Drawn on the CPU: the same on every device.
        drawn = torch.rand(2, len(sizes)).to(sizes.device)
        length = torch.minimum((drawn[0] * (width + 1)).long(), sizes)
        begin = (drawn[1] * (sizes - length + 1)).long()[:, None]
        hidden |= (place >= begin) & (place < begin + length[:, None])
    return hidden


def make_masking(
    config: MaskingConfig, options: FeatureOptions, raw_dim: int, utterances: Utterances
) -> Masking | None:
    """The masking of a training; None where nothing is hidden.

    Args:
        config: how much.
        options: the feature pipeline.
        raw_dim: F, of the features on disk.
        utterances: the training data, for the mean.

    Raises:
        DktError: bands are to be hidden of features that are no filterbanks any more.
    """
    if not config.any:
        return None
    mixed = options.transform is not None or options.speaker_transforms or len(options.paste.split()) > 1
    if mixed and config.frequency_masks:
        raise DktError(
            "'masking.frequency_masks' hides bands of a filterbank; these features are transformed or pasted",
            hint="set it to 0",
        )
    shift, _ = shift_and_scale(torch.from_numpy(rows) for rows in utterances.blocks(_BLOCK))
    mean = -shift[: utterances.dim - options.ivector_dim].float()
    return Masking(config, mean.view(1, -1) if mixed else mean.view(-1, raw_dim), options.ivector_dim)
