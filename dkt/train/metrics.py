"""Loss and frame accuracy, summed over frames."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass
class Metrics:
    """Sums over frames; ``loss`` and ``accuracy`` are their means."""

    loss_sum: float = 0.0
    num_correct: int = 0
    num_frames: int = 0

    def add(self, loss_sum: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Add one batch: the summed loss, logits ``(B, P)`` and labels ``(B,)``."""
        self.loss_sum += float(loss_sum)
        self.num_correct += int((logits.argmax(dim=1) == labels).sum())
        self.num_frames += len(labels)

    @property
    def loss(self) -> float:
        """Mean loss a frame, in nats (Kaldi's AvgLoss)."""
        return self.loss_sum / max(self.num_frames, 1)

    @property
    def accuracy(self) -> float:
        """Frame accuracy in percent (Kaldi's FRAME_ACCURACY)."""
        return 100.0 * self.num_correct / max(self.num_frames, 1)
